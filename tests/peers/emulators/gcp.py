"""An EMULATOR of Google Cloud KMS and of Google's token server, for tests. usage: gcp.py FOLDER

It checks what their documentation demands: signed assertions of a service account (RFC 7523) or tokens that such an
account signs itself (AIP-4111), their audience, scope and life; the names of keys; the bodies, and their checksums.
FOLDER gets `service-account.json` and `user.json`, credentials that are valid here.
"""

import base64
import json
import os
import re
import tempfile
import time
from urllib.parse import parse_qs

import emulator
from emulator import FOLDER, from_base64url, openssl, unwrap, wrap

EMAIL = "selkie@project.iam.gserviceaccount.com"
SCOPES = {"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/cloudkms"}
KEY = re.compile(r"/v1/(projects/[a-z0-9.:-]+/locations/([a-z0-9-]+)/keyRings/[\w-]+/cryptoKeys/([\w-]+)):(encrypt|decrypt)")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def error(code, status, message, *details):
    return code, {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


class Handler(emulator.Handler):
    tokens = {}
    token_uri = None

    @classmethod
    def prepare(cls, port):
        cls.token_uri = f"http://127.0.0.1:{port}/token"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "account.key")
        openssl("pkey", "-in", "account.key", "-pubout", "-out", "account.pub")
        account = {
            "type": "service_account", "project_id": "project", "private_key_id": "key-1", "client_email": EMAIL,
            "private_key": (FOLDER / "account.key").read_text(), "client_id": "1", "token_uri": cls.token_uri,
        }
        (FOLDER / "service-account.json").write_text(json.dumps(account))
        user = {
            "type": "authorized_user", "client_id": "client", "client_secret": "client-secret",
            "refresh_token": "refresh", "token_uri": cls.token_uri, "quota_project_id": "quota",
        }
        (FOLDER / "user.json").write_text(json.dumps(user))

    def answer(self, method, host, path, query, body):
        if path == "/token" and method == "POST":
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            form = json.loads(body) if is_json else {name: values[0] for name, values in parse_qs(body.decode()).items()}
            return self.token(form)
        match = KEY.fullmatch(path)
        if method != "POST" or not match:
            return self.reply(*error(404, "NOT_FOUND", "The requested URL was not found on this server."))
        name, location, key, verb = match.groups()
        refusal = self.who(self.bearer())
        if refusal or "expired" in key:
            return self.reply(*error(401, "UNAUTHENTICATED", f"Request had invalid authentication credentials. {refusal}"))
        denied = f"Permission 'cloudkms.cryptoKeyVersions.useTo{verb.capitalize()}' denied on resource '{name}'."
        disabled = f"{name}/cryptoKeyVersions/1 is not enabled, current state is: DISABLED."
        if self.misbehave(key, {
            "denied": error(403, "PERMISSION_DENIED", denied),
            "missing": error(404, "NOT_FOUND", f"CryptoKey {name} not found."),
            "disabled": error(400, "FAILED_PRECONDITION", disabled),
        }):
            return
        if location not in ("global", "europe-west1"):
            return self.reply(*error(404, "NOT_FOUND", f"Location {location} not found."))
        self.use(name, key, verb, body)

    def token(self, form):
        field = lambda name: form.get(name, "")
        if field("grant_type") == "refresh_token":
            good = (field("client_id"), field("client_secret"), field("refresh_token")) == ("client", "client-secret", "refresh")
            refusal = None if good else "Token has been expired or revoked."
        elif field("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            refusal = self.assertion(field("assertion"), audience=self.token_uri)
        else:
            refusal = "unknown grant_type"
        if refusal:
            return self.reply(400, {"error": "invalid_grant", "error_description": refusal})
        token = "ya29." + os.urandom(16).hex()
        self.tokens[token] = time.time() + 3600
        self.reply(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def who(self, token):
        """Returns what is wrong with a token."""
        if token in self.tokens or token == "ya29.given":
            return None
        return self.assertion(token, audience=None)

    def assertion(self, text, audience):
        """Returns what is wrong with a token that the service account signed."""
        try:
            signed, signature = text.rsplit(".", 1)
            header, claims = (json.loads(from_base64url(part)) for part in signed.split("."))
            signature = from_base64url(signature)
        except ValueError:
            return "not a token"
        with tempfile.NamedTemporaryFile() as file:
            file.write(signature)
            file.flush()
            good = openssl("dgst", "-sha256", "-verify", "account.pub", "-signature", file.name, text=signed.encode())
        if good is None or header.get("alg") != "RS256" or header.get("kid") != "key-1":
            return "Invalid JWT Signature."
        if claims.get("iss") != EMAIL or claims.get("sub", EMAIL) != EMAIL:
            return "Invalid issuer."
        now = time.time()
        if not claims["iat"] - 60 <= now <= claims["exp"] or claims["exp"] - claims["iat"] > 3660:
            return "Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        scopes = set(claims.get("scope", "").split())
        if audience:
            good = claims.get("aud") == audience and scopes & SCOPES
        else:
            good = claims.get("aud") == "https://cloudkms.googleapis.com/" or scopes & SCOPES
        return None if good else "Invalid audience or scope."

    def use(self, name, key, verb, body):
        try:
            request = json.loads(body)
            field = "plaintext" if verb == "encrypt" else "ciphertext"
            data = base64.b64decode(request[field], validate=True)
        except (ValueError, KeyError):
            return self.reply(*error(400, "INVALID_ARGUMENT", "Invalid JSON payload received."))
        checksum = request.get(field + "Crc32c")
        if checksum is not None and int(checksum) != crc32c(data):
            return self.reply(*error(400, "INVALID_ARGUMENT", f"The checksum in field {field}_crc32c did not match."))
        if verb == "encrypt":
            if not 0 < len(data) <= 65536:
                return self.reply(*error(400, "INVALID_ARGUMENT", "The plaintext must be between 1 and 64 KiB."))
            data = wrap(name, data)
            lies = "lying" in key
            return self.reply(200, {
                "name": name + "/cryptoKeyVersions/1", "protectionLevel": "SOFTWARE",
                "ciphertext": base64.b64encode(data).decode(), "ciphertextCrc32c": str(crc32c(data) ^ lies),
                "verifiedPlaintextCrc32c": checksum is not None,
            })
        data = unwrap(name, data)
        if data is None:
            return self.reply(*error(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid."))
        self.reply(200, {
            "plaintext": base64.b64encode(data).decode(), "plaintextCrc32c": str(crc32c(data)), "usedPrimary": True,
        })


emulator.run(Handler)
