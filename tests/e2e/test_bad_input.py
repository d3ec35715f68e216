"""Bad input: a clear message, the right exit code, and nothing half-written."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

from passo import ORDER, World, binary

GOOD = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")
NOBODY = 65534


def definition(world, text, name="machine.asl.json"):
    file = world.folder / name
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    return file


def order_with(world, change, file="template.yaml"):
    """A copy of the example with one file changed."""
    project = world.folder / "order"
    shutil.copytree(ORDER, project)
    path = project / file
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    return project


def refused(world, path, code, *words):
    """Runs, expects the exit code and all words, and that nothing was written."""
    done = world.run(path)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr, done.stderr
    assert "panicked" not in done.stderr
    assert not (world.folder / ".passo").exists(), "nothing is written before the input is known to be good"


@pytest.mark.parametrize("text, words", [
    ('{"StartAt": "A", "States": {"A": {"Type": "Pass"', ["machine.asl.json:1:", "INVALID_JSON_DESCRIPTION"]),
    ("", ["machine.asl.json"]),
    ("[]", ["machine.asl.json"]),
    (json.dumps({"States": GOOD["States"]}), ["machine.asl.json:1:1", "StartAt"]),
    (json.dumps({"StartAt": "A", "States": {"A": {"Type": "Psas", "End": True}}}), ["/States/A/Type", "^^^^^^"]),
    (json.dumps({"StartAt": "B", "States": GOOD["States"]}), ["MISSING_TRANSITION_TARGET", "/StartAt"]),
    (json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}), ["MISSING_TRANSITION_TARGET"]),
], ids=["cut-off", "empty", "a-list", "no-StartAt", "unknown-state-type", "StartAt-of-nothing", "Next-to-nothing"])
def test_a_broken_definition_is_pointed_at(world, text, words):
    refused(world, definition(world, text), 2, *words)


def test_broken_yaml_is_pointed_at(world):
    project = world.folder / "project"
    project.mkdir()
    (project / "template.yaml").write_text("Resources:\n  A: [1, 2\n  B: c\n")
    refused(world, project, 2, "template.yaml:3:")


def test_a_template_without_resources_is_refused(world):
    project = world.folder / "project"
    project.mkdir()
    (project / "template.yaml").write_text("Description: nothing\n")
    refused(world, project, 2, "template.yaml", "Resources")


def test_an_unsupported_resource_type_is_named_with_its_line_before_anything_is_created(world):
    vpc = "  Vpc:\n    Type: AWS::EC2::VPC\n    Properties:\n      CidrBlock: 10.0.0.0/16\n\n"
    project = order_with(world, lambda text: text.replace("Outputs:", vpc + "Outputs:"))
    lines = (project / "template.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "AWS::EC2::VPC" in text)
    refused(world, project, 2, f"template.yaml:{line}:", "Vpc", "AWS::EC2::VPC")


def test_a_reference_to_nothing_is_refused(world):
    project = order_with(world, lambda text: text.replace("!Ref OrdersTopic\n", "!Ref NoSuchTopic\n", 1))
    refused(world, project, 2, "NoSuchTopic")


def test_a_missing_definition_file_is_named(world):
    project = order_with(world, lambda text: text.replace("workflow.asl.json", "nowhere.asl.json"))
    refused(world, project, 2, "nowhere.asl.json")


def test_a_missing_code_folder_is_named(world):
    project = order_with(world, lambda text: text.replace("functions/process_order/", "functions/nowhere/"))
    refused(world, project, 2, "functions/nowhere")


def test_a_workflow_with_a_mistake_in_a_template_is_refused_before_anything_is_created(world):
    project = order_with(world, lambda text: text.replace('"Choice"', '"Chioce"'), "workflow.asl.json")
    refused(world, project, 2, "workflow.asl.json", "/States/HowToHandle/Type")


@pytest.mark.parametrize("text", ['{"a":', "", "{'a': 1}"])
def test_input_that_is_no_json_is_refused(world, text):
    done = world.run(definition(world, GOOD), "--input", text)
    assert done.returncode == 2
    assert "--input" in done.stderr and "JSON" in done.stderr
    assert not (world.folder / ".passo").exists()


def test_a_handler_that_does_not_exist_is_told_by_name(world):
    project = order_with(world, lambda text: text.replace("app.handler", "app.nothing"))
    done = world.run(project)
    assert done.returncode == 1
    assert done.result["error"] == "Runtime.HandlerNotFound"
    assert "nothing" in done.result["cause"]
    assert "ProcessOrder" in done.stderr or "Handler" in done.stderr


def test_a_handler_that_does_not_import_is_told_by_name(world):
    project = order_with(world, lambda text: "import no_such_module_anywhere\n" + text, "functions/process_order/app.py")
    done = world.run(project)
    assert done.returncode == 1
    assert done.result["error"] == "Runtime.ImportModuleError"
    assert "no_such_module_anywhere" in done.result["cause"]


def test_a_handler_with_a_syntax_error_is_told_with_its_place(world):
    project = order_with(world, lambda text: text + "\ndef broken(:\n", "functions/process_order/app.py")
    done = world.run(project)
    assert done.returncode == 1
    assert done.result["error"] == "Runtime.UserCodeSyntaxError"
    assert "app.py" in done.result["cause"]


@needs_root
def test_a_machine_without_python_is_told_what_to_install(world):
    hidden = world.folder / "empty"
    hidden.mkdir()
    # A view of the file system in which no Python can be found.
    hide = (f"for d in /usr/bin /usr/local/bin; do for f in $d/python3*; do "
            f"[ -e $f ] && mount --bind /dev/null $(readlink -f $f) 2>/dev/null; done; done; exec \"$@\"")
    done = world.run(ORDER, prefix=["unshare", "--mount", "sh", "-c", hide, "sh"], env={"PATH": f"{hidden}:/usr/bin:/bin:/usr/sbin"})
    assert done.returncode in (1, 3), done.stderr
    assert "python3.12 is not installed on this machine" in done.stderr
    assert "panicked" not in done.stderr


def test_a_busy_port_is_told_with_a_way_out(world):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = world.passo("serve", "--listen", f"127.0.0.1:{port}", "--data", world.folder / "data")
    assert done.returncode == 3
    assert str(port) in done.stderr and "--listen" in done.stderr
    assert not (world.folder / "data").exists()


def test_a_data_directory_of_a_newer_version_is_left_alone(world):
    data = world.folder / "data"
    assert world.run(definition(world, GOOD), "--data", data).returncode == 0
    connection = sqlite3.connect(data / "passo.db")
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.execute("pragma user_version = 999")
    connection.commit()
    connection.close()
    before = (data / "passo.db").read_bytes()
    for words in (["run", definition(world, GOOD), "--data", data], ["serve", "--data", data, "--listen", "127.0.0.1:0"]):
        done = world.passo(*words)
        assert done.returncode == 3
        assert "newer" in done.stderr and "999" in done.stderr
    assert (data / "passo.db").read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(world):
    data = world.folder / "data"
    data.mkdir()
    (data / "passo.db").write_text("a letter to my mother, kept in an odd place" * 100)
    done = world.passo("serve", "--data", data, "--listen", "127.0.0.1:0")
    assert done.returncode == 3
    assert "passo.db" in done.stderr and "panicked" not in done.stderr
    assert (data / "passo.db").read_text().startswith("a letter to my mother")


def test_a_data_directory_serves_one_server_at_a_time(world):
    server = world.serve()
    done = world.passo("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 3
    assert str(server.data) in done.stderr and "panicked" not in done.stderr
    assert server.client("stepfunctions").list_state_machines()["stateMachines"] == []


@needs_root
def test_a_data_directory_that_may_not_be_written_to_is_named():
    """Another user runs a copy of the binary, in a directory that this user can reach: the tests' own may be closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy = folder / "passo"
        shutil.copy(binary(), copy)
        copy.chmod(0o755)
        data = folder / "data"
        data.mkdir(mode=0o555)
        done = World(folder).passo(
            "serve", "--data", data, "--listen", "127.0.0.1:0", user=NOBODY,
            prefix=["sh", "-c", f'shift; exec {copy} "$@"', "sh"])
        assert done.returncode == 3, done.stderr
        assert str(data) in done.stderr and "permission" in done.stderr
        assert list(data.iterdir()) == []


@needs_root
@pytest.mark.parametrize("size", ["200k", "600k", "1m", "2m"])
def test_a_full_disk_is_told_and_what_was_acknowledged_is_kept(world, size):
    disk = world.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        done = world.run(ORDER, "--data", disk / "data")
        assert done.returncode in (1, 2, 3), done.stderr
        assert "panicked" not in done.stderr
        assert "space" in done.stderr or "full" in done.stderr, done.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        # With space again, the same directory serves.
        server = world.serve(data=disk / "data")
        server.client("stepfunctions").list_state_machines()
        assert server.stop() == 0
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
