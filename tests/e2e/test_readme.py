"""The commands of the README, run as they stand there: the server is started by the test, everything else by the page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from passo import ACCOUNT, PATH, REGION, ROOT, binary, network

PAGES = ("README.md", "README.pt-BR.md")
VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


def blocks(page):
    """The blocks of shell commands that need nothing but a server."""
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(world):
    """A clone's examples, where the commands are typed."""
    folder = world.folder / "clone"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.fixture
def shell(world, checkout):
    """A shell with `aws` and `passo` on its PATH and the variables that the page says."""
    programs = world.folder / "programs"
    programs.mkdir()
    (programs / "passo").symlink_to(Path(binary()).resolve())
    # Not the whole of the environment: its Python would be found, too, and it has boto3.
    (programs / "aws").write_text(f"#!/bin/sh\nexec {sys.executable} -m awscli \"$@\"\n")
    (programs / "aws").chmod(0o755)
    server = world.serve("--iam", "on", env=network())
    export = re.search(r"^export (AWS_ENDPOINT_URL=.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)[1]
    said = dict(word.split("=", 1) for word in export.split())
    assert set(said) == set(VARIABLES) and said["AWS_DEFAULT_REGION"] == REGION
    variables = {**said, "AWS_ENDPOINT_URL": server.endpoint, "PATH": f"{programs}:{PATH}"}

    def run(text):
        return subprocess.run(
            ["sh", "-e", "-x", "-c", text], stdin=subprocess.DEVNULL, cwd=checkout, env=world.environment(**variables), timeout=900,
            capture_output=True, text=True)

    run.server = server
    return run


def test_both_pages_have_the_same_commands():
    first, second = (blocks(page) for page in PAGES)
    assert first and first == second


def test_the_commands_of_the_readme_do_what_it_says(shell):
    done = shell("\n".join(blocks("README.md")))
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    told = done.stdout
    assert told.count("SUCCEEDED") == 2
    for words in (
        "StoreOrder",  # the history
        '"STORED"',  # the item
        "ReceiptHandle",  # the message
        "order 1002: 1 lines, 6490 cents",  # the function's line
        '"failed": 1',  # the Map Run
        "# Logs of 2026-03-14",  # the report
        "`logs/2026-03-14/web-11/17.log`: States.DataLimitExceeded",
        '"Sum":',  # the metric
        "2026-03-14: 311 files",  # the other function's line
        "ALARM",
        "America/Sao_Paulo",
    ):
        assert words in told, f"{words!r} is missing in:\n{told[-6000:]}"
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:logs-workflow"
    runs = shell.server.client("stepfunctions").list_executions(stateMachineArn=arn)["executions"]
    assert sorted(run["status"] for run in runs) == ["FAILED", "SUCCEEDED"]
