"""No call leaves the machine, and user code sees nothing that is not its own."""

import json
import os
import re
import socket
import threading

import pytest

import functions
from passo import ORDER, network

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="name spaces, tracing and other users need root")


class Trap:
    """A listening socket that nobody must connect to."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.caught = []
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.caught.append(connection.recv(1000))


@pytest.fixture
def trap():
    trap = Trap()
    yield trap
    trap.socket.close()


def poison(world, trap):
    """A user whose configuration sends every SDK to the trap, with credentials that must not be used."""
    folder = world.home / ".aws"
    folder.mkdir()
    (folder / "config").write_text(f"[default]\nregion = eu-west-1\nendpoint_url = http://{trap.address}\n")
    (folder / "credentials").write_text("[default]\naws_access_key_id = POISON\naws_secret_access_key = poison\n")
    return {
        "AWS_PROFILE": "default", "AWS_ENDPOINT_URL": f"http://{trap.address}", "AWS_ACCESS_KEY_ID": "POISON",
        "AWS_SECRET_ACCESS_KEY": "poison", "AWS_SESSION_TOKEN": "poison", "HTTP_PROXY": f"http://{trap.address}",
        "http_proxy": f"http://{trap.address}",
    }


def old_boto3(folder):
    """A package that says it is an old boto3 and, like one, ignores AWS_ENDPOINT_URL."""
    for name in ("boto3", "botocore"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            "__version__ = '1.26.0'\n\ndef client(*_, **__):\n    raise SystemExit('the old boto3 calls the real AWS')\n")
        (folder / f"{name}-1.26.0.dist-info").mkdir()
        (folder / f"{name}-1.26.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.26.0\n")
    return folder


def with_old_boto3(folder):
    """Command prefix: the old package lies where Debian's Python looks first."""
    old_boto3(folder)
    mount = f"for d in /usr/local/lib/python3*/dist-packages; do mount --bind {folder} $d; done; exec \"$@\""
    return ["unshare", "--mount", "sh", "-c", mount, "sh"]


@needs_root
@pytest.mark.parametrize("name", ["1-rule-1.json", "2-default.json"])
def test_with_a_poisoned_configuration_no_call_leaves_the_machine(world, trap, name):
    trace = world.folder / "trace"
    watch = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-e", "signal=none", "-o", str(trace)]
    done = world.run(
        ORDER, "--input", f"@{ORDER / 'inputs' / name}", env=poison(world, trap),
        prefix=[*with_old_boto3(world.folder / "old"), *watch])
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    calls = trace.read_text()
    addresses = set(re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', calls))
    addresses = {one or other for one, other in addresses}
    assert addresses <= {"127.0.0.1", "::1"}, addresses
    assert "127.0.0.1" in addresses, "the watch sees calls"
    assert trap.caught == []


@needs_root
def test_the_order_needs_no_network(world):
    """In a network of its own, with nothing but loopback."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    done = world.run(ORDER, prefix=alone)
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr


def test_the_environment_of_a_function_starts_empty(world, trap):
    server = world.serve(env=poison(world, trap) | {"SECRET_OF_THE_USER": "s3cret"})
    code = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
    functions.function(server, "look", code, functions.role(server, "r"), {"MINE": "yes"})
    seen = functions.invoke(server, "look", {})
    assert seen["MINE"] == "yes"
    assert seen["AWS_ENDPOINT_URL"] == server.endpoint
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["AWS_EC2_METADATA_DISABLED"] == "true"
    assert seen["AWS_ACCESS_KEY_ID"] != "POISON" and seen["AWS_SESSION_TOKEN"] != "poison"
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        with open(seen[name]) as file:
            assert file.read() == ""
    assert not {"SECRET_OF_THE_USER", "AWS_PROFILE", "HTTP_PROXY", "http_proxy"} & set(seen)
    assert "s3cret" not in json.dumps(seen) and trap.address not in json.dumps(seen)


HOSTILE = '''
import glob, os, signal

def attempt(work):
    try:
        return work()
    except BaseException as error:
        return "refused: " + type(error).__name__

def read(path):
    with open(path, "rb") as file:
        return file.read(4096).decode("latin-1")

def handler(event, context):
    parent = os.getppid()
    found = {
        "uid": os.getuid(),
        "data": attempt(lambda: os.listdir(event["data"])),
        "services": attempt(lambda: os.listdir(event["data"] + "/services")),
        "journal": attempt(lambda: read(event["data"] + "/passo.db")),
        "server environment": attempt(lambda: read(f"/proc/{event['server']}/environ")),
        "server memory": attempt(lambda: read(f"/proc/{event['server']}/mem")),
        "kill server": attempt(lambda: os.kill(event["server"], signal.SIGKILL)),
        "kill parent": attempt(lambda: os.kill(parent, signal.SIGKILL)) if parent == event["server"] else "refused: not the parent",
        "write code": attempt(lambda: open(os.environ["LAMBDA_TASK_ROOT"] + "/app.py", "a").write("#")),
        "become root": attempt(lambda: os.setuid(0)),
        "environments": [], "trees": [],
    }
    for process in glob.glob("/proc/[0-9]*"):
        if process != f"/proc/{os.getpid()}":
            text = attempt(lambda: read(process + "/environ"))
            if "VICTIMS_SECRET" in text:
                found["environments"].append(process)
    for path in event["paths"]:
        text = attempt(lambda: str(os.listdir(path)))
        if not text.startswith("refused"):
            found["trees"].append(path)
    return found
'''

VICTIM = "import os\ndef handler(event, context):\n    return {'code': os.environ['LAMBDA_TASK_ROOT'], 'tmp': os.environ['TMPDIR'], 'uid': os.getuid()}\n"


@needs_root
def test_a_hostile_function_reads_neither_the_store_nor_another_function(world):
    server = world.serve()
    role = functions.role(server, "r")
    functions.function(server, "victim", VICTIM, role, {"VICTIMS_SECRET": "hunter2"})
    functions.function(server, "hostile", HOSTILE, role)
    victim = functions.invoke(server, "victim", {})
    event = {"data": str(server.data), "server": server.process.pid, "paths": [victim["code"], victim["tmp"]]}
    found = functions.invoke(server, "hostile", event)
    assert found["uid"] not in (0, victim["uid"])
    for name in ("data", "services", "journal", "server environment", "server memory", "kill server", "kill parent", "write code", "become root"):
        assert str(found[name]).startswith("refused"), (name, found[name])
    assert found["environments"] == [] and found["trees"] == []
    assert functions.invoke(server, "victim", {}) == victim, "the server and the victim live on"


@needs_root
def test_a_data_directory_is_for_its_owner_alone(world):
    server = world.serve()
    assert server.data.stat().st_mode & 0o077 == 0
    for path in server.data.rglob("*.db*"):
        reachable = path.stat().st_mode & 0o007 and all(folder.stat().st_mode & 0o001 for folder in [server.data, path.parent])
        assert not reachable, path


def test_credentials_of_a_function_are_its_roles_and_permissions_are_enforced(world):
    server = world.serve("--iam", "on")
    code = '''
import datetime, hashlib, hmac, json, os, urllib.request, urllib.error

def handler(event, context):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/us-east-1/dynamodb/aws4_request"
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], b"{}", {
        "X-Amz-Target": "DynamoDB_20120810.ListTables", "X-Amz-Date": now, "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Security-Token": os.environ["AWS_SESSION_TOKEN"],
        "Authorization": f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders=host, Signature=0"})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.read().decode()
'''
    allowed = {"Effect": "Allow", "Action": "dynamodb:ListTables", "Resource": "*"}
    functions.function(server, "poor", code, functions.role(server, "poor"))
    functions.function(server, "rich", code, functions.role(server, "rich", allowed))
    refused = json.loads(functions.invoke(server, "poor", {}))
    assert "AccessDeniedException" in refused["__type"]
    assert "assumed-role/poor/poor is not authorized to perform: dynamodb:ListTables" in (refused.get("Message") or refused["message"])
    assert functions.invoke(server, "rich", {}) == 200


def test_boto3_is_offered_as_on_aws_and_speaks_to_this_server(world):
    """The interpreter has none or an old one: it is fetched once, into the data directory."""
    server = world.serve(env=network())
    allowed = {"Effect": "Allow", "Action": "dynamodb:ListTables", "Resource": "*"}
    code = "import boto3\ndef handler(event, context):\n    return [boto3.__version__, boto3.client('dynamodb').list_tables()['TableNames']]\n"
    functions.function(server, "modern", code, functions.role(server, "r", allowed), Publish=False)
    version, tables = functions.invoke(server, "modern", {})
    assert tuple(map(int, version.split(".")[:2])) >= (1, 28)
    assert tables == []
