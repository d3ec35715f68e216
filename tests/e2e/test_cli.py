"""What the command promises to people and to scripts: streams, exit codes, updates, colour."""

import json
import os
import pty
import shutil
import subprocess

import pytest

from passo import EXPECTED, ORDER, binary

QUICK = f"@{ORDER / 'inputs/7-rejected.json'}"
ESCAPE = "\x1b"


@pytest.fixture
def definition(tmp_path):
    file = tmp_path / "greet.asl.json"
    file.write_text(json.dumps({"StartAt": "Greet", "States": {"Greet": {"Type": "Pass", "End": True}}}))
    return file


def on_a_terminal(world, *words, **more):
    """Runs the command with a terminal as standard error; returns what was written to it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [binary(), *map(str, words)], cwd=world.folder, env=world.environment(TERM="xterm", **more),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:
        pass  # The other side is closed.
    os.close(ours)
    assert process.wait(180) == 0
    return written.decode()


def test_json_prints_one_object_and_nothing_else_on_standard_output(world):
    done = world.run(ORDER, "--input", QUICK)
    assert done.stdout.endswith("\n") and done.stdout.count("\n") == 1
    assert list(done.result) == ["executionArn", "status", "output", "startDate", "stopDate"]
    assert done.result["output"]["status"] == "REJECTED"
    assert done.stderr, "the story is told on standard error"


def test_json_has_error_and_cause_of_a_failure(world):
    done = world.run(ORDER, "--input", f"@{ORDER / 'inputs/4-fails-for-good.json'}")
    assert done.returncode == 1
    assert list(done.result) == ["executionArn", "status", "error", "cause", "startDate", "stopDate"]
    assert json.loads(done.result["cause"])["errorType"] == "PriceServiceUnavailable"


def test_a_failure_is_explained(world):
    done = world.run(ORDER, "--input", f"@{ORDER / 'inputs/4-fails-for-good.json'}")
    line = next(n for n, text in enumerate((ORDER / "functions/process_order/app.py").read_text().splitlines(), 1)
                if "down for good" in text)
    assert f"functions/process_order/app.py:{line}" in done.stderr
    assert "PriceServiceUnavailable" in done.stderr and "advice" in done.stderr


def test_people_see_header_states_output_effects_and_what_to_type_next(world):
    done = world.passo("run", ORDER, "--ecs", "process", "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.returncode == 0
    for word in ("passo ", "stack order", "http://127.0.0.1:", "data", "python", "ecs", "iam", "✓ ProcessOrder", "lambda:invoke",
                 "HowToHandle", "✓ StoreOrder", "SUCCEEDED", "output:", "effects:", "order-orders", "next:", "passo"):
        assert word in done.stderr, word


def test_exit_code_0_is_success_and_1_another_end(world, definition):
    assert world.run(definition).returncode == 0
    failing = definition.with_name("fail.asl.json")
    failing.write_text(json.dumps({"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "No"}}}))
    assert world.run(failing).returncode == 1


@pytest.mark.parametrize("words", [["frob"], ["run"], ["run", "--frob"], ["run", "nowhere.yaml"], ["run", ".", "--timeout", "x"],
                                   ["serve", "--listen", "somewhere"], ["serve", "--listen", "0.0.0.0:0"], []])
def test_exit_code_2_is_wrong_usage(world, words):
    done = world.passo(*words)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


def test_exit_code_3_is_the_environment(world, definition):
    blocked = world.folder / "blocked"
    blocked.write_text("a file where a directory should be")
    done = world.run(definition, "--data", blocked / "data")
    assert done.returncode == 3, done.stderr
    assert str(blocked) in done.stderr


def test_exit_code_3_when_no_server_is_at_the_endpoint(world, definition):
    done = world.run(definition, "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 3, done.stderr
    assert "127.0.0.1:9" in done.stderr


def test_a_second_run_is_an_update_that_changes_nothing(world):
    first = world.run(ORDER, "--input", QUICK)
    assert "created" in first.stderr
    second = world.run(ORDER, "--input", QUICK)
    assert second.returncode == 0
    assert "unchanged" in second.stderr and "created" not in second.stderr
    server = world.serve(data=world.folder / ".passo/order")
    client = server.client("stepfunctions")
    machine = client.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    assert len(client.list_executions(stateMachineArn=machine)["executions"]) == 2
    assert len(client.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]) == 1


def test_a_changed_function_is_updated_and_nothing_else(world):
    project = world.folder / "order"
    shutil.copytree(ORDER, project)
    assert world.run(project, "--input", QUICK).returncode == 0
    code = project / "functions/process_order/app.py"
    code.write_text(code.read_text().replace("unknown sku", "unheard-of sku"))
    second = world.run(project, "--input", QUICK)
    assert "1 updated" in second.stderr and "0 created" in second.stderr
    assert "unheard-of sku" in json.dumps(second.result["output"])


def test_fresh_forgets_earlier_runs(world):
    assert world.run(ORDER, "--input", QUICK).returncode == 0
    again = world.run(ORDER, "--fresh", "--input", QUICK)
    assert again.returncode == 0 and "16 created" in again.stderr
    server = world.serve(data=world.folder / ".passo/order")
    client = server.client("stepfunctions")
    machine = client.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    assert len(client.list_executions(stateMachineArn=machine)["executions"]) == 1


def test_fresh_deletes_no_directory_that_is_not_ours(world, definition):
    precious = world.folder / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    done = world.run(definition, "--fresh", "--data", precious)
    assert done.returncode == 2
    assert (precious / "letter.txt").read_text() == "dear"


def test_a_pipe_gets_plain_lines(world, definition):
    done = world.passo("run", definition)
    assert ESCAPE not in done.stderr and "\r" not in done.stderr


def test_a_terminal_gets_colour_and_no_color_is_honoured(world, definition):
    assert ESCAPE + "[32m" in on_a_terminal(world, "run", definition)
    plain = on_a_terminal(world, "run", definition, NO_COLOR="1")
    assert ESCAPE + "[3" not in plain and ESCAPE + "[1m" not in plain


def test_timeout_stops_the_execution(world):
    file = world.folder / "slow.asl.json"
    file.write_text(json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}))
    done = world.run(file, "--timeout", "1")
    assert done.returncode == 1
    assert done.result["status"] == "ABORTED"


def test_input_may_be_text_or_a_file_or_the_first_beside_the_template(world, definition):
    assert world.run(definition, "--input", '{"a": 1}').result["output"] == {"a": 1}
    file = world.folder / "some.json"
    file.write_text('{"b": [2]}')
    assert world.run(definition, "--input", f"@{file}").result["output"] == {"b": [2]}
    first = next(iter(EXPECTED))
    assert world.run(ORDER).result["output"]["orderId"] == json.loads((ORDER / "inputs" / first).read_text())["orderId"]


def test_validate_says_ok_or_points_at_the_mistake(world, definition):
    assert world.passo("validate", definition, ORDER / "template.yaml").returncode == 0
    wrong = definition.with_name("wrong.asl.json")
    wrong.write_text('{\n  "StartAt": "A",\n  "States": {\n    "A": { "Type": "Psas", "End": true }\n  }\n}\n')
    done = world.passo("validate", wrong)
    assert done.returncode == 1
    assert "wrong.asl.json:4:20" in done.stderr + done.stdout
    assert "^^^^^^" in done.stderr + done.stdout


def test_help_and_version_go_to_standard_output(world):
    done = world.passo("--help")
    assert done.returncode == 0 and "Exit codes" in done.stdout and not done.stderr
    assert world.passo("--version").stdout.startswith("passo ")


def test_serve_ends_cleanly_on_sigterm_and_on_ctrl_c(world):
    import signal
    for number in (signal.SIGTERM, signal.SIGINT):
        server = world.serve(data=world.folder / f"data-{number}")
        server.signal(number)
        assert server.process.wait(20) == 0


