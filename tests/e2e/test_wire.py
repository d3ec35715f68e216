"""The wire: TLS, who may reach the server, packed bodies, bounds, connections that are kept, the `sync-` host."""

import gzip
import http.client
import json
import shutil
import ssl
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from deadline import eventually
from passo import ACCOUNT, REGION

TLS = Path(__file__).parent / "tls"
KEY, SECRET = "AKIAWIRE", "of-the-wire"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
PASS = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})
OPEN = "0.0.0.0:0"


@pytest.fixture
def config(world):
    file = world.folder / "passo.toml"
    file.write_text(f'[keys.{KEY}]\nsecret = "{SECRET}"\n')
    return str(file)


def pair(world, name):
    """Certificate and key, where the server finds them."""
    paths = world.folder / "cert.pem", world.folder / "key.pem"
    for source, target in zip((TLS / f"{name}.pem", TLS / f"{name}-key.pem"), paths):
        # Whole at once: a half-written file would be looked at.
        shutil.copy(source, target.with_suffix(".new"))
        target.with_suffix(".new").rename(target)
    return paths


def client(url, secret=SECRET, **more):
    return boto3.client(
        "stepfunctions", endpoint_url=url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}), **more)


def served(port, name):
    """Whether the server shows a certificate."""
    context = ssl.create_default_context(cafile=str(TLS / f"{name}.pem"))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except ssl.SSLCertVerificationError:
        return False
    finally:
        connection.close()


def call(connection, action, body, **headers):
    """One request without a signature on a connection; the answer, read to its end."""
    given = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AWSStepFunctions.{action}"}
    connection.request("POST", "/", body, given | {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


def test_others_are_served_by_https_and_this_machine_by_either(world, config):
    certificate, key = pair(world, "one")
    server = world.serve("--config", config, "--tls-cert", str(certificate), "--tls-key", str(key), listen=OPEN)
    port = int(server.listen.split(":")[1])
    secure = f"https://127.0.0.1:{port}"
    assert client(secure, verify=str(certificate)).list_state_machines()["stateMachines"] == []
    assert client(server.endpoint).list_state_machines()["stateMachines"] == []
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        client(secure, "of-somebody-else", verify=str(certificate)).list_state_machines()
    assert refused.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert served(port, "one") and not served(port, "two")
    # A new pair is taken up without a new start.
    pair(world, "two")
    eventually(lambda: served(port, "two"), 60, "the new certificate")


def test_nobody_is_served_beyond_this_machine_without_keys_and_encryption(world, config):
    def refused(*words):
        done = world.passo("serve", "--ephemeral", "--listen", OPEN, *words)
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "requests have to be signed" in refused()
    assert "--tls-cert" in refused("--config", config)
    assert "--tls-key" in refused("--config", config, "--tls-cert", TLS / "one.pem")
    assert "one.pem" in refused("--config", config, "--tls-cert", TLS / "one.pem", "--tls-key", TLS / "one.pem")
    server = world.serve("--config", config, "--insecure-http", listen=OPEN)
    assert client(server.endpoint).list_state_machines()["stateMachines"] == []
    with pytest.raises(botocore.exceptions.ClientError):
        client(server.endpoint, "of-somebody-else").list_state_machines()


def test_bodies_may_be_packed_and_are_bounded(world):
    server = world.serve()
    host, port = server.listen.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    body = json.dumps({"name": "packed", "definition": PASS, "roleArn": ROLE}).encode()
    answer, text = call(connection, "CreateStateMachine", gzip.compress(body), content_encoding="gzip")
    assert answer.status == 200, text
    assert json.loads(text)["stateMachineArn"].endswith(":packed")
    # The same connection goes on to serve.
    socket = connection.sock
    answer, text = call(connection, "CreateStateMachine", body, content_encoding="gzip")
    assert answer.status == 400 and json.loads(text)["__type"] == "SerializationException"
    bomb = gzip.compress(b" " * (9 << 20))
    answer, text = call(connection, "ListStateMachines", bomb, content_encoding="gzip")
    assert answer.status == 413 and json.loads(text)["__type"] == "RequestEntityTooLarge"
    answer, text = call(connection, "ListStateMachines", b" " * (9 << 20))
    assert answer.status == 413 and json.loads(text)["__type"] == "RequestEntityTooLarge"
    for number in range(20):
        made = json.dumps({"name": f"machine-{number}", "definition": PASS, "roleArn": ROLE})
        assert call(connection, "CreateStateMachine", made)[0].status == 200
    answer, text = call(connection, "ListStateMachines", "{}", accept_encoding="gzip")
    assert answer.getheader("content-encoding") == "gzip"
    assert len(json.loads(gzip.decompress(text))["stateMachines"]) == 21
    answer, text = call(connection, "ListStateMachines", "{}")
    assert answer.getheader("content-encoding") is None and len(json.loads(text)["stateMachines"]) == 21
    assert connection.sock is socket


def test_the_host_may_begin_with_sync_or_not(world):
    server = world.serve()
    host, port = server.listen.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    body = json.dumps({"name": "quick", "definition": PASS, "roleArn": ROLE, "type": "EXPRESS"})
    arn = json.loads(call(connection, "CreateStateMachine", body)[1])["stateMachineArn"]
    for name in ("localhost", "sync-localhost", "127.0.0.1"):
        answer, text = call(connection, "StartSyncExecution", json.dumps({"stateMachineArn": arn}), host=f"{name}:{port}")
        assert answer.status == 200 and json.loads(text)["status"] == "SUCCEEDED", text
    answer, _ = call(connection, "StartSyncExecution", json.dumps({"stateMachineArn": arn}), host=f"sync-elsewhere.example:{port}")
    assert answer.status == 403
