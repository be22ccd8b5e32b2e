"""An EMULATOR of the key management of Huawei Cloud and of its IAM, for tests. usage: huawei.py FOLDER

It checks what their documentation demands: the signature of each request (SDK-HMAC-SHA256), computed here once more
and on its own, the date, the project in path and header, and the bodies.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from calendar import timegm
from urllib.parse import parse_qsl, quote

import emulator
from emulator import unwrap, wrap

ACCESS, SECRET = "AKSELKIE", "secret/of+selkie="
TOKEN = "temporary.token"
REGION, PROJECT = "tr-west-1", "0123456789abcdef0123456789abcdef"
PATH = re.compile(r"/v1\.0/([0-9a-f]+)/kms/(encrypt|decrypt)-data")
AUTHORIZATION = re.compile(r"SDK-HMAC-SHA256 Access=(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})")


def error(status, code, message):
    return status, {"error": {"error_code": code, "error_msg": message}}


def unsigned(message):
    return 401, {"error_code": "APIGW.0301", "error_msg": "Incorrect IAM authentication information: " + message}


class Handler(emulator.Handler):
    def answer(self, method, host, path, query, body):
        refusal = self.verify(method, path, query, body)
        if refusal:
            return self.reply(*unsigned(refusal))
        if (method, path) == ("GET", "/v3/projects"):
            names = dict(parse_qsl(query))
            projects = [{"id": PROJECT, "name": REGION}] if names.get("name") == REGION else []
            return self.reply(200, {"projects": projects, "links": {}})
        match = PATH.fullmatch(path)
        if method != "POST" or not match:
            return self.reply(*error(404, "KMS.0201", "Invalid request URL."))
        project, verb = match.groups()
        if project != PROJECT or self.headers.get("X-Project-Id", project) != project:
            return self.reply(*error(403, "KMS.0301", "The project does not belong to the credentials."))
        try:
            request = json.loads(body)
            if request["encryption_algorithm"] != "SYMMETRIC_DEFAULT":
                raise ValueError("algorithm")
            key, field = request["key_id"], "plain_text" if verb == "encrypt" else "cipher_text"
            data = base64.b64decode(request[field], validate=True)
        except (ValueError, KeyError, binascii.Error):
            return self.reply(*error(400, "KMS.0202", "Invalid JSON format of the request message."))
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            return self.reply(*error(400, "KMS.0202", "The body must be JSON."))
        if self.misbehave(key, {
            "denied": error(403, "KMS.0301", "You are not allowed to perform this operation."),
            "missing": error(400, "KMS.0205", "Invalid key ID."),
            "disabled": error(400, "KMS.0209", "The key has been disabled."),
            "expired": unsigned("the token has expired"),
        }):
            return
        if verb == "encrypt":
            return self.reply(200, {"key_id": key, "cipher_text": base64.b64encode(wrap(key, data)).decode()})
        data = unwrap(key, data)
        if data is None:
            return self.reply(*error(400, "KMS.0204", "The cipher_text is invalid."))
        self.reply(200, {"key_id": key, "plain_text": base64.b64encode(data).decode()})

    def verify(self, method, path, query, body):
        """Returns what is wrong with the signature of a request."""
        match = AUTHORIZATION.fullmatch(self.headers.get("Authorization", ""))
        if not match:
            return "there is no signature"
        access, names, signature = match.groups()
        date = self.headers.get("X-Sdk-Date", "")
        try:
            skew = time.time() - timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            return "X-Sdk-Date is not a date"
        if access != ACCESS:
            return "the access key is not known"
        if abs(skew) > 900:
            return "the time of the request is out of range"
        if self.headers.get("X-Security-Token", TOKEN) != TOKEN:
            return "the security token is not known"
        names = names.split(";")
        if names != sorted(names) or "x-sdk-date" not in names:
            return "SignedHeaders is not in order"
        if self.headers.get("X-Security-Token") and "x-security-token" not in names:
            return "the security token must be signed"
        escape = lambda text: quote(text, safe="-_.~")
        uri = "/".join(escape(part) for part in path.split("/"))
        pairs = sorted((escape(name), escape(value)) for name, value in parse_qsl(query, keep_blank_values=True))
        headers = "".join(f"{name}:{self.headers.get(name, '').strip()}\n" for name in names)
        request = "\n".join([
            method, uri if uri.endswith("/") else uri + "/", "&".join("=".join(pair) for pair in pairs),
            headers, ";".join(names), hashlib.sha256(body).hexdigest(),
        ])
        text = "\n".join(["SDK-HMAC-SHA256", date, hashlib.sha256(request.encode()).hexdigest()])
        good = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(good, signature) else "the signature does not match"


emulator.run(Handler)
