"""Answers as Google Cloud Storage does to who uploads an object by its JSON interface, on a port of this machine.

usage: gcs.py FOLDER BUCKET[=TOKEN] ...

The first line of the output is the port. An object is kept in FOLDER/BUCKET/NAME, and its type in
FOLDER/BUCKET/NAME.type. A bucket with a token takes only requests that bear it; there are no others than those that are
named. It ends with its input. An emulator: it knows what the interface documents of uploads of the kinds `media` and
`multipart`, and refuses all else.
"""

import email.parser
import email.policy
import http.server
import json
import pathlib
import sys
import threading
import urllib.parse

FOLDER = pathlib.Path(sys.argv[1])
BUCKETS = dict((word.split("=", 1) + [None])[:2] for word in sys.argv[2:])


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.body()
        try:
            self.answer(200, self.upload(body))
        except Refused as refused:
            errors = [{"message": str(refused), "domain": "global"}]
            self.answer(refused.status, {"error": {"code": refused.status, "message": str(refused), "errors": errors}})

    def upload(self, body):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, strict_parsing=True))
        parts = url.path.split("/")
        if parts[:5] != ["", "upload", "storage", "v1", "b"] or parts[6:] != ["o"]:
            raise Refused(404, "Not Found")
        bucket = urllib.parse.unquote(parts[5])
        if bucket not in BUCKETS:
            raise Refused(404, "The specified bucket does not exist.")
        self.authorize(BUCKETS[bucket])
        kind, name = query.get("uploadType"), query.get("name")
        if kind == "multipart":
            described, content_type, body = self.parts(body)
            name = name or described.get("name")
        elif kind == "media":
            content_type = self.headers["Content-Type"]
        else:
            raise Refused(400, "Bad upload type")
        if not name or not content_type:
            raise Refused(400, "Required")
        path = FOLDER / bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.with_name(path.name + ".type").write_text(content_type)
        return {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(body))}

    def authorize(self, token):
        given = self.headers["Authorization"]
        if token is None:
            return
        if given is None:
            raise Refused(401, "Anonymous caller does not have storage.objects.create access")
        if given != f"Bearer {token}":
            raise Refused(403, "The caller does not have storage.objects.create access")

    def parts(self, body):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        # Not read as text: line ends stay as they are.
        boundary = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head).get_boundary()
        found = body.split(b"--" + boundary.encode())[1:-1]
        (_, described), (headers, content) = (part[2:-2].split(b"\r\n\r\n", 1) for part in found)
        headers = dict(line.split(": ", 1) for line in headers.decode().split("\r\n"))
        return json.loads(described), headers["Content-Type"], content

    def body(self):
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status, json_object):
        body = json.dumps(json_object).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
