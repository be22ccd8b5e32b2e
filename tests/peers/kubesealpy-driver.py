"""Seals and unseals with kubesealpy: one request a line of standard input, one answer a line, both JSON.

A request is {"do": "seal", "certificate": PEM, ...} or {"do": "unseal", "keys": [PEM, ...], ...} with "value" in
base64, "scope", and, where the scope has them, "namespace" and "name". An answer is {"ok": true, "value": base64} or
{"ok": false, "stage": request, "error": text}.
"""

import base64
import functools
import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from kubesealpy import Sealer, SealingScope, Unsealer


@functools.cache
def sealer(certificate):
    return Sealer.from_certificate_pem(certificate.encode())


@functools.cache
def unsealer(*keys):
    return Unsealer([load_pem_private_key(key.encode(), None) for key in keys])


def answer(request):
    value = base64.b64decode(request["value"], validate=True)
    place = (request.get("namespace"), request.get("name"), SealingScope(request["scope"]))
    if request["do"] == "seal":
        made = sealer(request["certificate"]).seal_value(value, *place)
    else:
        made = unsealer(*request["keys"]).unseal_value(value, *place)
    return {"ok": True, "value": base64.b64encode(made).decode()}


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as error:  # Whatever it is, the test decides what it means.
        result = {"ok": False, "stage": "kubesealpy", "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
