"""Makes item.txt: one value, sealed repeatably, by HKDF, OAEP and AES-GCM as the standards have them.

python3 reseal.py ../../sealed-secrets/new-cert.pem > item.txt     (needs the package cryptography)
"""

import base64
import hashlib
import hmac
import struct
import sys

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

secret, label, place, value = b"\7" * 32, b"shop/db", [b"shop", b"db", b"password"], b"hunter2"

numbers = x509.load_pem_x509_certificate(open(sys.argv[1], "rb").read()).public_key().public_numbers()


def mpint(number):
    data = number.to_bytes((number.bit_length() + 8) // 8, "big")
    return struct.pack(">I", len(data)) + data


ssh = struct.pack(">I", 7) + b"ssh-rsa" + mpint(numbers.e) + mpint(numbers.n)
fingerprint = b"SHA256:" + base64.b64encode(hashlib.sha256(ssh).digest()).rstrip(b"=")

info = b"selkie reseal" + b"".join(
    struct.pack(">Q", len(part)) + part for part in [fingerprint, label, *place, value]
)
pseudorandom = hmac.new(b"\0" * 32, secret, "sha256").digest()
first = hmac.new(pseudorandom, info + b"\1", "sha256").digest()
second = hmac.new(pseudorandom, first + info + b"\2", "sha256").digest()
session, seed = first, second

size = (numbers.n.bit_length() + 7) // 8


def mask(seed, length):
    blocks = (hashlib.sha256(seed + struct.pack(">I", i)).digest() for i in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


padding = b"\0" * (size - len(session) - 2 * 32 - 2)
block = hashlib.sha256(label).digest() + padding + b"\1" + session
block = xor(block, mask(seed, len(block)))
seed = xor(seed, mask(block, 32))
message = int.from_bytes(b"\0" + seed + block, "big")
wrapped = pow(message, numbers.e, numbers.n).to_bytes(size, "big")
sealed = AESGCM(session).encrypt(b"\0" * 12, value, None)
print(base64.b64encode(struct.pack(">H", len(wrapped)) + wrapped + sealed).decode())
