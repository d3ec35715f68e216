"""The binary as its users meet it: a home of one's own, a command line, a server, real clients.

The binary is named by PASSO_BIN. Nothing of the machine's user reaches it: every world has its own HOME, its own XDG
directories and an environment that starts empty.
"""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
ORDER, LOGS = ROOT / "examples" / "order", ROOT / "examples" / "logs"
EXPECTED = json.loads((ORDER / "inputs" / "expected.json").read_text())
REGION, ACCOUNT = "us-east-1", "000000000000"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


def binary():
    path = os.environ.get("PASSO_BIN")
    if not path or not Path(path).is_file():
        raise RuntimeError("PASSO_BIN must name the passo binary")
    return path


class World:
    """A machine's user with nothing but a home."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.servers = []

    def environment(self, **more):
        given = {
            "PATH": PATH,
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_RUNTIME_DIR": str(self.home / "runtime"),
            "LANG": "C.UTF-8",
        }
        return given | {name: str(value) for name, value in more.items()}

    def passo(self, *words, env=None, timeout=90, prefix=(), user=None):
        """Runs the command to its end."""
        command = [*prefix, binary(), *map(str, words)]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(**(env or {})), timeout=timeout, user=user,
            group=user, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def run(self, path=ORDER, *words, ecs="process", **options):
        """`passo run --json`; the result is in `.result`."""
        done = self.passo("run", path, "--json", "--ecs", ecs, *words, **options)
        lines = done.stdout.splitlines()
        done.result = json.loads(lines[0]) if len(lines) == 1 else None
        return done

    def serve(self, *words, data=None, ecs="process", env=None, prefix=(), listen=None):
        """`passo serve`, once it answers."""
        server = Server(self, data or self.folder / "data", ["--ecs", ecs, *words], env or {}, prefix)
        self.servers.append(server)
        return server.start(listen or f"127.0.0.1:{free_port()}")

    def close(self):
        for server in self.servers:
            server.kill()


def ports():
    """Ports of this worker, below those that the system gives to clients and to who asks for any: between a kill and the
    next start, nobody else takes one."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    for count in itertools.cycle(range(1_000)):
        yield 20_000 + worker * 1_000 + count


PORTS = ports()


def free_port():
    for port in PORTS:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """A `passo serve` that can be killed and started again on the same data and port."""

    def __init__(self, world, data, words, env, prefix):
        self.world, self.data, self.words, self.env, self.prefix = world, Path(data), words, env, prefix
        self.process = None
        self.log = world.folder / f"serve-{len(world.servers)}.log"

    def start(self, listen=None, env=None, seconds=120):
        listen = listen or self.listen
        command = [*self.prefix, binary(), "serve", "--listen", listen, "--data", str(self.data), *self.words]
        since = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.world.folder, env=self.world.environment(**{**self.env, **(env or {})}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + seconds
        while not (found := re.search(r" on (http://([\d.]+:\d+))\n", self.log.read_text()[since:])):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server did not start:\n{self.log.read_text()[since:]}")
            time.sleep(0.01)
        self.endpoint, self.listen = found.groups()
        return self

    def client(self, service, key="test", secret="test", **options):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=key,
            aws_secret_access_key=secret, config=Config(retries={"total_max_attempts": 1}, **options))

    def deploy(self, path=ORDER, *words, **options):
        """Deploys by running an input that ends at once; returns the ARN that executions are started with."""
        done = self.world.run(
            path, "--endpoint", self.endpoint, "--data", self.data, "--input", "@" + str(ORDER / "inputs/7-rejected.json"),
            *words, **options)
        assert done.returncode == 0, done.stderr
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:order-workflow:live"

    def execute(self, machine, name, execution=None):
        """Starts an execution of the order workflow with one of its inputs."""
        more = {"name": execution} if execution else {}
        text = (ORDER / "inputs" / name).read_text()
        return self.client("stepfunctions").start_execution(stateMachineArn=machine, input=text, **more)["executionArn"]

    def ended(self, execution, seconds=180):
        """Describes an execution once it has ended."""
        client = self.client("stepfunctions")
        end = time.monotonic() + seconds
        while (found := client.describe_execution(executionArn=execution))["status"] not in ENDED:
            assert time.monotonic() < end, f"{execution} has not ended:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.05)
        return found

    def history(self, execution):
        pages = self.client("stepfunctions").get_paginator("get_execution_history")
        return [event for page in pages.paginate(executionArn=execution) for event in page["events"]]

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=60):
        """Ends it as an operator does; returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        """`kill -9`."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def children(self):
        """Processes that run for this server: their environment points at it."""
        return processes_of(self.endpoint)


def network():
    """What pip needs to reach its index from this machine, and where it keeps what it has fetched once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pip"
    settings = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    return {"PIP_CACHE_DIR": str(cache), **settings}


def processes_of(endpoint):
    """Ids and command lines of processes whose environment names the endpoint."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if f"AWS_ENDPOINT_URL={endpoint}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80]
            except OSError:
                pass  # It ended meanwhile.
    return found


def aws(server, *words):
    """The AWS CLI from PyPI, with nothing but an endpoint."""
    command = [sys.executable, "-m", "awscli", "--output", "json", *map(str, words)]
    environment = server.world.environment(
        AWS_ENDPOINT_URL=server.endpoint, AWS_DEFAULT_REGION=REGION, AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test")
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
