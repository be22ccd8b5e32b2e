"""An EMULATOR of Azure Key Vault and of the login server of Microsoft Entra, for tests. usage: azure.py FOLDER

It checks what their documentation demands: the credentials of an application, the scope of the token, the challenge,
the version of the interface, the algorithm and the encoding. Each key has two versions, each an RSA key of its own.
"""

import json
import os
import re
import tempfile
from urllib.parse import parse_qs

import emulator
from emulator import FOLDER, base64url, from_base64url, openssl

LOGIN = "login.microsoftonline.com"
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "~client~secret~"
VERSIONS = ["1" * 32, "2" * 32]
KEY = re.compile(r"/keys/([0-9A-Za-z-]+)(?:/([0-9a-f]*))?(?:/(encrypt|decrypt))?/?")


def error(status, code, message, inner=None):
    error = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return status, {"error": error}


class Handler(emulator.Handler):
    tokens = {}

    @classmethod
    def prepare(cls, port):
        for version in VERSIONS:
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", version + ".key")
        # What Kubernetes gives a Pod with a workload identity.
        (FOLDER / "federated-token").write_text("the.federated.token")

    def answer(self, method, host, path, query, body):
        if host == LOGIN:
            return self.login(method, path, parse_qs(body.decode()))
        self.vault(method, host, path, parse_qs(query), body)

    def login(self, method, path, form):
        if path == "/common/discovery/instance":
            return self.reply(200, {
                "tenant_discovery_endpoint": f"https://{LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": LOGIN, "preferred_cache": LOGIN, "aliases": [LOGIN]}],
            })
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            base = f"https://{LOGIN}/{TENANT}"
            return self.reply(200, {
                "token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
                "issuer": base + "/v2.0", "jwks_uri": base + "/discovery/v2.0/keys",
            })
        if (method, path) != ("POST", f"/{TENANT}/oauth2/v2.0/token"):
            return self.refuse(400, 90002, "invalid_request", "AADSTS90002: Tenant not found.")
        field = lambda name: form.get(name, [""])[0]
        if field("grant_type") != "client_credentials":
            return self.refuse(400, 70003, "unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
        if field("client_id") != CLIENT:
            return self.refuse(400, 700016, "unauthorized_client", "AADSTS700016: Application was not found.")
        federated = (
            field("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            and field("client_assertion") == (FOLDER / "federated-token").read_text()
        )
        if not federated and field("client_secret") != SECRET:
            return self.refuse(401, 7000215, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        scopes = [scope for scope in field("scope").split() if scope.endswith("/.default")]
        if len(scopes) != 1:
            return self.refuse(400, 70011, "invalid_scope", "AADSTS70011: The scope is not valid.")
        token = "eyJ." + os.urandom(16).hex()
        self.tokens[token] = scopes[0]
        self.reply(200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token})

    def refuse(self, status, code, name, description):
        self.reply(status, {"error": name, "error_description": description, "error_codes": [code]})

    def vault(self, method, host, path, query, body):
        domain = host.partition(".")[2]
        if self.tokens.get(self.bearer()) != f"https://{domain}/.default":
            challenge = f'Bearer authorization="https://{LOGIN}/{TENANT}", resource="https://{domain}"'
            refusal = error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
            return self.reply(*refusal, [("WWW-Authenticate", challenge)])
        if query.get("api-version", [""])[0] not in ("7.4", "7.5", "7.6", "2025-07-01"):
            return self.reply(*error(400, "BadParameter", "The API version is not supported."))
        match = KEY.fullmatch(path)
        if not match:
            return self.reply(*error(404, "NotFound", "There is nothing here."))
        name, version, verb = match.groups()
        if (method, bool(verb)) not in (("GET", False), ("POST", True)):
            return self.reply(*error(405, "MethodNotAllowed", "The method is not allowed."))
        if self.misbehave(name, {
            "denied": error(403, "Forbidden", "Caller is not authorized to perform action on resource.", "ForbiddenByRbac"),
            "missing": error(404, "KeyNotFound", f"A key with (name/id) {name} was not found in this key vault."),
            "disabled": error(403, "Forbidden", f"Operation {verb} is not allowed on a disabled key.", "KeyDisabled"),
            "expired": error(401, "Unauthorized", "AKV10046: The token has expired."),
        }):
            return
        version = version or VERSIONS[-1]
        if version not in VERSIONS:
            return self.reply(*error(404, "KeyNotFound", f"A key with (name/id) {name}/{version} was not found in this key vault."))
        kid = f"https://{host}/keys/{name}/{version}"
        if not verb:
            return self.reply(200, {"key": {"kid": kid, "kty": "RSA"}, "attributes": {"enabled": True}})
        self.use(kid, version, verb, body)

    def use(self, kid, version, verb, body):
        try:
            request = json.loads(body)
            algorithm, value = request["alg"], request["value"]
            if "=" in value:
                raise ValueError("padding")
            value = from_base64url(value)
        except (ValueError, KeyError):
            return self.reply(*error(400, "BadParameter", "Property value is not valid base64url."))
        if algorithm != "RSA-OAEP-256":
            return self.reply(*error(400, "BadParameter", "The algorithm is not the one that this test is about."))
        padding = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"]
        with tempfile.NamedTemporaryFile() as file:
            file.write(value)
            file.flush()
            value = openssl("pkeyutl", f"-{verb}", "-inkey", version + ".key", "-in", file.name, *padding)
        if value is None:
            return self.reply(*error(400, "BadParameter", "The parameter is incorrect."))
        self.reply(200, {"kid": kid, "value": base64url(value)})


emulator.run(Handler)
