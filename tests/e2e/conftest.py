"""Fixtures: every test has a world of its own, and every server is gone when the test is."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from passo import World  # noqa: E402


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def server(world):
    """A server with the order workflow's defaults and permissions enforced."""
    return world.serve("--iam", "on")
