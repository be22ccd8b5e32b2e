"""What the emulators of clouds have in common.

THIS IS AN EMULATOR for tests, written from the public documentation of the vendors: no vendor had a hand in it.

One port takes HTTP, TLS, and CONNECT as a proxy does: whatever host a client asks for is answered here, with a
certificate of an authority that the test trusts. So clients use the addresses that they always use.

What a key is called says how it behaves: `slow`, `denied`, `expired`, `missing`, `disabled`, `malformed`, `oversize`,
`busy`, `moved`, `lying`; every other one works. Each request is a line of the file `requests.log`.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(sys.argv[1])
SECRET = os.urandom(32)

HOSTS = [
    "localhost",
    "*.googleapis.com",
    "login.microsoftonline.com",
    "*.vault.azure.net",
    "*.vault.example.com",
    "*.myhuaweicloud.com",
    "*.tr-west-1.myhuaweicloud.com",
]


def openssl(*arguments, text=None):
    """Runs openssl, and returns what it prints; None if it fails."""
    done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, cwd=FOLDER)
    return done.stdout if done.returncode == 0 else None


def make_certificates():
    """Makes an authority (ca.pem) and a certificate for all hosts."""
    subject = ["-newkey", "rsa:2048", "-nodes"]
    openssl("req", "-x509", *subject, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test authority",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", *subject, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=emulator")
    names = ",".join(["IP:127.0.0.1", *("DNS:" + host for host in HOSTS)])
    (FOLDER / "extensions").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "server.pem")


def wrap(name, plaintext):
    """Encrypts with a symmetric key of the emulator, for a name."""
    nonce = os.urandom(16)
    key = hmac.new(SECRET, name.encode() + nonce, hashlib.sha512).digest()
    stream = hashlib.shake_256(key[:32]).digest(len(plaintext))
    body = nonce + bytes(a ^ b for a, b in zip(plaintext, stream))
    return body + hmac.new(key[32:], body, hashlib.sha256).digest()


def unwrap(name, ciphertext):
    """Decrypts what wrap() made; None if it did not."""
    body, tag = ciphertext[:-32], ciphertext[-32:]
    key = hmac.new(SECRET, name.encode() + body[:16], hashlib.sha512).digest()
    if not hmac.compare_digest(tag, hmac.new(key[32:], body, hashlib.sha256).digest()):
        return None
    stream = hashlib.shake_256(key[:32]).digest(len(body) - 16)
    return bytes(a ^ b for a, b in zip(body[16:], stream))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class Handler(BaseHTTPRequestHandler):
    """One connection. Emulators answer in answer(method, host, path, query, body)."""

    protocol_version = "HTTP/1.1"
    context = None

    def setup(self):
        # A client that speaks TLS at once begins with this byte.
        if self.request.recv(1, socket.MSG_PEEK) == b"\x16":
            self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.request = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = socketserver._SocketWriter(self.connection)
        self.close_connection = False

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.host = self.headers.get("Host", "").split(":")[0]
        with open(FOLDER / "requests.log", "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.host}{url.path} {self.headers.get('User-Agent', '-')}\n")
        try:
            self.answer(self.command, self.host, url.path, url.query, body)
        except Exception as error:  # A bug here must not look like a slow server.
            print("the emulator fails:", repr(error), file=sys.stderr, flush=True)
            self.reply(500, {"emulator": repr(error)})
            raise

    do_GET = do_POST = do_PUT = serve

    def reply(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def misbehave(self, key, errors):
        """Does what the name of a key asks for; returns whether it did."""
        if "slow" in key:
            time.sleep(20)
        for word, error in errors.items():
            if word in key:
                self.reply(*error)
                return True
        if "malformed" in key:
            self.reply(200, b"<html>Welcome to our network</html>")
        elif "oversize" in key:
            self.reply(200, b" " * (3 << 20))
        elif "busy" in key:
            self.reply(503, b"busy", [("Retry-After", "7")])
        elif "moved" in key:
            self.reply(307, b"", [("Location", "https://elsewhere.example.com/")])
        else:
            return False
        return True

    def bearer(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Clients that do not wait for an answer are part of the tests.
        pass


def run(handler):
    """Serves until its input ends; says its port as soon as it listens."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    make_certificates()
    handler.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    handler.context.load_cert_chain(FOLDER / "server.pem", FOLDER / "server.key")
    server = Server(("127.0.0.1", 0), handler)
    handler.port = server.server_port
    if hasattr(handler, "prepare"):
        handler.prepare(server.server_port)
    print(server.server_port, flush=True)
    server.serve_forever()
