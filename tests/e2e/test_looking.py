"""Looking at a server from the command line: executions, history, logs, graph."""

import json
import subprocess
import xml.etree.ElementTree as ET

import pytest

from deadline import eventually
from passo import ORDER, ROOT, binary

ESCAPE = "\x1b"
pytestmark = pytest.mark.xdist_group("looking")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with two executions of the order workflow and one that waits."""
    from passo import World
    world = World(tmp_path_factory.mktemp("world"))
    server = world.serve()
    machine = server.deploy()
    server.good = server.execute(machine, "2-default.json", "good-one")
    server.bad = server.execute(machine, "4-fails-for-good.json", "bad-one")
    client = server.client("stepfunctions")
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    waiting = client.create_state_machine(
        name="waits", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/r")["stateMachineArn"]
    for name in ("twin-1", "twin-2"):
        client.start_execution(stateMachineArn=waiting, name=name)
    server.waiting = client.start_execution(stateMachineArn=waiting, name="waiting-one")["executionArn"]
    server.ended(server.good)
    server.ended(server.bad)
    # Log lines of an execution are written soon after it.
    eventually(lambda: "ExecutionSucceeded" in look(server, "logs", "good-one").stdout)
    yield server
    world.close()


def look(server, *words, **more):
    return server.world.passo(*words, env={"AWS_ENDPOINT_URL": server.endpoint, **more})


def test_executions_are_listed_over_all_machines_the_newest_first(served):
    done = look(served, "executions")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "STATUS" in lines[0] and "waiting-one" in lines[1]
    assert any("✓ SUCCEEDED" in line and "good-one" in line for line in lines)
    assert any("✗ FAILED" in line and "bad-one" in line for line in lines)
    assert ESCAPE not in done.stdout


def test_executions_can_be_narrowed(served):
    failed = look(served, "executions", "--status", "failed", "--json")
    assert [json.loads(line)["executionArn"] for line in failed.stdout.splitlines()] == [served.bad]
    one = look(served, "executions", "--state-machine", "waits")
    assert "waiting-one" in one.stdout and "good-one" not in one.stdout
    assert len(look(served, "executions", "--limit", "1", "--json").stdout.splitlines()) == 1
    unknown = look(served, "executions", "--state-machine", "nobody")
    assert unknown.returncode == 2 and "waits" in unknown.stderr


@pytest.mark.parametrize("way", ["arn", "name", "prefix"])
def test_a_history_reads_like_a_run(served, way):
    named = {"arn": served.good, "name": "good-one", "prefix": "goo"}[way]
    done = look(served, "history", named)
    assert done.returncode == 0, done.stderr
    for word in ("✓ ProcessOrder", "lambda:invoke", "→ StoreOrder (Default)", "✓ SUCCEEDED", "output:"):
        assert word in done.stdout, word
    assert not done.stderr and ESCAPE not in done.stdout


def test_a_followed_history_has_the_exit_code_of_a_run(served):
    assert look(served, "history", "good-one", "--follow").returncode == 0
    failed = look(served, "history", "bad-one", "--follow")
    assert failed.returncode == 1 and "PriceServiceUnavailable" in failed.stdout
    assert look(served, "history", "bad-one").returncode == 0


def test_a_history_can_be_the_events_as_they_are(served):
    done = look(served, "history", "good-one", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["id"] for event in events] == [event["id"] for event in served.history(served.good)]
    assert events[0]["type"] == "ExecutionStarted" and events[0]["timestamp"].endswith("Z")


def test_a_running_execution_shows_what_it_waits_for(served):
    done = look(served, "history", "waiting")
    assert done.returncode == 0
    assert "… Wait" in done.stdout and "RUNNING" in done.stdout


def test_what_is_not_clear_is_asked_back(served):
    nobody = look(served, "history", "nobody")
    assert nobody.returncode == 2 and "passo executions" in nobody.stderr
    twins = look(served, "history", "twin")
    assert twins.returncode == 2 and "twin-1" in twins.stderr and "twin-2" in twins.stderr


def test_no_server_is_the_environment(served):
    done = look(served, "executions", "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 3 and "passo serve" in done.stderr


def test_logs_of_an_execution_are_those_of_its_functions_and_its_own(served):
    done = look(served, "logs", "good-one", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    groups = {line["logGroup"] for line in lines}
    assert any(group.startswith("/aws/lambda/") for group in groups), groups
    own = [line["message"] for line in lines if not line["logGroup"].startswith("/aws/lambda/")]
    assert own and all(served.good in message for message in own)
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)


def test_logs_of_a_function_and_of_a_group(served):
    group = next(group["logGroupName"] for group in served.client("logs").describe_log_groups()["logGroups"]
                 if group["logGroupName"].startswith("/aws/lambda/"))
    function = group.rsplit("/", 1)[1]
    of_group = look(served, "logs", group, "--since", "1h")
    assert of_group.returncode == 0 and "REPORT RequestId" in of_group.stdout
    assert look(served, "logs", function, "--since", "1h").stdout == of_group.stdout
    only = look(served, "logs", group, "--since", "1h", "--filter", "REPORT")
    assert only.stdout and all("REPORT" in line for line in only.stdout.splitlines())
    assert look(served, "logs", "/no/such/group").returncode == 2
    assert look(served, "logs", group, "--since", "soon").returncode == 2


def test_followed_logs_of_an_execution_end_with_it(served):
    done = look(served, "logs", "good-one", "--follow")
    assert done.returncode == 0 and "ExecutionSucceeded" in done.stdout


def test_a_reader_that_leaves_is_no_error(served):
    command = f"'{binary()}' logs good-one | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=served.world.environment(AWS_ENDPOINT_URL=served.endpoint),
        capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[1] == "0" and not done.stderr


def test_an_execution_is_drawn_with_its_states_coloured(served):
    done = look(served, "graph", "--execution", "good-one")
    assert done.returncode == 0, done.stderr
    ET.fromstring(done.stdout)
    assert "ProcessOrder · Lambda: Invoke · Succeeded" in done.stdout
    assert "FulfilOrder · Parallel state · " not in done.stdout
    failed = look(served, "graph", "--execution", "bad-one", "--format", "mermaid").stdout
    assert "classDef caught" in failed and "classDef failed" in failed


@pytest.mark.parametrize("example", ["order", "logs"])
def test_the_pictures_of_the_readmes_are_what_the_command_draws(world, example):
    done = world.passo("graph", ROOT / "examples" / example)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / f"docs/pictures/{example}.svg").read_text()
    for readme in ("README.md", "README.pt-BR.md"):
        assert f"docs/pictures/{example}.svg" in (ROOT / readme).read_text()


def test_a_definition_that_leads_nowhere_is_not_drawn(world):
    file = world.folder / "lost.asl.json"
    file.write_text(json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}))
    done = world.passo("graph", file)
    assert done.returncode == 2 and '"B"' in done.stderr
    assert world.passo("graph").returncode == 2
    out = world.folder / "drawn.svg"
    assert world.passo("graph", ORDER, "--output", out).returncode == 0 and out.read_text().startswith("<svg")
