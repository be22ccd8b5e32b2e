"""Runs moto as a server on a free port of this machine, and calls it for the tests.

The first line of the output is the port. Then each line of the input is a call as JSON:
{"service": ..., "region": ..., "operation": ..., "parameters": {...}}, and is answered by a line: {"answer": ...} or
{"error": code}. Bytes are base64 texts in both directions. It ends with its input.
"""

import base64
import json
import os
import sys

# Nothing of whoever runs the tests: their credentials, their region, their endpoints.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

clients = {}


def client(service, region, port):
    if (service, region) not in clients:
        clients[service, region] = boto3.client(
            service,
            region_name=region,
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="driver",
            aws_secret_access_key="driver",
        )
    return clients[service, region]


def plain(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "read"):
        return plain(value.read())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def parameters(given):
    is_bytes = ("Plaintext", "CiphertextBlob", "Body")
    return {name: base64.b64decode(value) if name in is_bytes else value for name, value in given.items()}


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    print(port, flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        operation = getattr(client(call["service"], call["region"], port), call["operation"])
        try:
            answer = {"answer": plain(operation(**parameters(call["parameters"])))}
        except ClientError as error:
            answer = {"error": error.response["Error"]["Code"]}
        print(json.dumps(answer), flush=True)


main()
