"""Test processes in parallel on one server, kept apart by the account that their access key names."""

import subprocess
import sys
from pathlib import Path


def test_eight_processes_do_the_same_on_one_server_without_meeting(world):
    server = world.serve("--iam", "off")
    suite = Path(__file__).parent / "parallel" / "same_names.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--numprocesses", "8", "--rootdir", suite.parent,
         "--basetemp", world.folder / "inner", suite],
        env=world.environment(SHARED_ENDPOINT=server.endpoint, PYTHONDONTWRITEBYTECODE="1"), cwd=world.folder,
        capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + server.log.read_text()[-2000:]
    assert "8 passed" in done.stdout
