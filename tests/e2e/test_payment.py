"""The payment workflow: an event starts it, it calls an API outside, and somebody answers its task token."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request

import pytest

from deadline import eventually
from passo import REGION, ROOT, free_port, network

PAYMENT = ROOT / "examples" / "payment"
EXPECTED = json.loads((PAYMENT / "inputs" / "expected.json").read_text())
MACHINE = f"arn:aws:states:{REGION}:000000000000:stateMachine:payment-workflow"


@pytest.fixture
def provider():
    """The example's own provider, on a port that the system gives it."""
    process = subprocess.Popen([sys.executable, PAYMENT / "provider.py", "0"], stdout=subprocess.PIPE, text=True)
    yield re.search(r"http://[\d.:]+", process.stdout.readline()).group()
    process.kill()
    process.wait()


@pytest.fixture
def server(world, provider):
    """A server with the stack, where HTTP on this machine is allowed. Nobody's patience ends by accident."""
    (world.folder / "passo.toml").write_text('[http]\nplain = "loopback"\n')
    server = world.serve("--config", world.folder / "passo.toml", "--iam", "on", env=network())
    deploy(world, server, provider, 3600)
    return server


def deploy(world, server, provider, seconds):
    done = world.passo(
        "deploy", PAYMENT, "--parameter", f"ProviderUrl={provider}", "--parameter", f"ReviewHeartbeatSeconds={seconds}",
        env={"AWS_ENDPOINT_URL": server.endpoint}, timeout=180)
    assert done.returncode == 0, done.stderr


def event(name):
    return json.loads((PAYMENT / "inputs" / name).read_text())


def put(server, name):
    """Puts the event as the shop does, and returns the execution that it starts."""
    found = event(name)
    entry = {"Source": found["source"], "DetailType": found["detail-type"], "Detail": json.dumps(found["detail"])}
    answer = server.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0, answer
    listed = eventually(
        lambda: server.client("stepfunctions").list_executions(stateMachineArn=MACHINE)["executions"], 120, "the execution")
    return listed[0]["executionArn"]


def authorizations(provider):
    with urllib.request.urlopen(provider + "/") as answer:
        return json.load(answer)["authorizations"]


def test_one_command_runs_it_to_its_end(world):
    # Not the example's own port, which another run may hold.
    port, copy = free_port(), world.folder / "payment"
    shutil.copytree(PAYMENT, copy)
    template = copy / "template.yaml"
    template.write_text(template.read_text().replace("8097", str(port)))
    done = world.run(copy, env=network(), timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.result["status"] == "SUCCEEDED"
    assert done.result["output"] == {"orderId": "P-1001", "status": "CAPTURED", "approvedBy": "limit"}


@pytest.mark.parametrize("name", ["2-provider-is-busy.json", "3-declined.json"])
def test_each_input_ends_as_it_says(server, provider, name):
    found = server.ended(put(server, name), 180)
    expected = EXPECTED[name]
    assert (found["status"], found.get("error")) == (expected["status"], expected.get("error")), found
    if "output" in expected:
        assert json.loads(found["output"]).items() >= expected["output"].items()
        assert [made["status"] for made in authorizations(provider)] == ["CAPTURED"]


def test_a_review_that_nobody_makes_is_noticed(world, server, provider):
    deploy(world, server, provider, 2)
    found = server.ended(put(server, "4-nobody-reviews.json"), 180)
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"]) == {"orderId": "P-1004", "status": "VOIDED", "reason": "nobody reviewed it"}
    assert [made["status"] for made in authorizations(provider)] == ["VOIDED"]


def test_an_answer_after_a_kill_completes_what_waits(server, provider):
    execution = put(server, "4-nobody-reviews.json")
    queue = server.client("sqs").get_queue_url(QueueName="payment-manual-reviews")["QueueUrl"]
    received = eventually(
        lambda: server.client("sqs", read_timeout=30).receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages"),
        180, "the review")
    token = json.loads(received[0]["Body"])["taskToken"]
    server.kill()
    server.start()
    states = server.client("stepfunctions")
    assert states.describe_execution(executionArn=execution)["status"] == "RUNNING"
    states.send_task_success(taskToken=token, output=json.dumps({"approvedBy": "ada"}))
    found = server.ended(execution, 180)
    assert json.loads(found["output"]) == {"orderId": "P-1004", "status": "CAPTURED", "approvedBy": "ada"}
    assert [made["status"] for made in authorizations(provider)] == ["CAPTURED"]
    # The key of the API is nowhere to be read: not in the history, not in the connection, not in the log.
    told = json.dumps(server.history(execution), default=str)
    told += json.dumps(server.client("events").describe_connection(Name="payment-provider"), default=str)
    assert "demo-key" not in told + server.log.read_text()
