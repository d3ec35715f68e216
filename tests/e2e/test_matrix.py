"""The first command works on the machines there are: with and without an engine that can pull, with no or an old boto3, and
with the usual port taken."""

import os
import socket

import pytest

import engine
from passo import ORDER
from test_isolation import old_boto3

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and networks need root")
NO_SOCKETS = "for d in /run/podman /run/docker; do [ -d $d ] && mount -t tmpfs tmpfs $d; done; [ -S /run/docker.sock ] && mount --bind /dev/null /run/docker.sock; "
NOTHING = "for d in /usr/lib/python3/dist-packages /usr/local/lib/python3*/dist-packages; do [ -d $d ] && mount -t tmpfs tmpfs $d; done; "


def busy_4566():
    """Takes the port if nobody has it; taken it is either way."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", 4566))
        taken.listen()
    except OSError:
        pass
    return taken


@pytest.fixture
def socket_without_network():
    """An engine that answers, has no image and cannot pull one."""
    reason = engine.missing()
    if reason:
        pytest.skip(reason)
    podman = engine.Engine()
    try:
        yield podman.start(prefix=["unshare", "--net"])
    finally:
        podman.stop()


@needs_root
@pytest.mark.parametrize("boto3", ["no boto3", "old boto3"])
@pytest.mark.parametrize("containers", ["no socket", "socket without network"])
def test_the_first_command_works(world, request, containers, boto3):
    script, env = NO_SOCKETS, {}
    if containers == "socket without network":
        podman = request.getfixturevalue("socket_without_network")
        env["DOCKER_HOST"] = f"unix://{podman.socket}"
    if boto3 == "no boto3":
        script += NOTHING
    else:
        folder = old_boto3(world.folder / "old")
        script += f"for d in /usr/local/lib/python3*/dist-packages; do mount --bind {folder} $d; done; "
    with busy_4566():
        done = world.run(ORDER, ecs="auto", env=env, timeout=180, prefix=["unshare", "--mount", "sh", "-c", script + 'exec "$@"', "sh"])
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    assert done.result["output"]["status"] == "FULFILLED"
    if containers == "no socket":
        assert "no Docker or Podman socket was found" in done.stderr


def test_serve_on_the_usual_port_says_what_to_do_when_it_is_taken(world):
    with busy_4566():
        done = world.passo("serve", "--data", world.folder / "data")
    assert done.returncode == 3
    assert "4566" in done.stderr and "--listen" in done.stderr


