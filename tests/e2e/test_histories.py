"""The histories of all inputs, as AWS records such states: types, order, previousEventId, details.

Branches race, so the golden files hold each branch by itself (`golden/INPUT.txt`); within a branch and outside of all
branches everything is in order. A line is: the event's type, the type of the event that its previousEventId names, and the
details: values that are the same in every run, the names of the others. `UPDATE_EXPECT=1` writes the files anew.
"""

import os
from pathlib import Path

import pytest

from history import ancestors
from passo import EXPECTED, ORDER

GOLDEN = Path(__file__).parent / "golden"
STABLE = ("name", "resource", "resourceType", "region", "error", "timeoutInSeconds", "heartbeatInSeconds")
#: These close a Parallel, so they are no part of the branch that happened to end last.
CLOSING = ("ParallelStateSucceeded", "ParallelStateFailed", "ParallelStateExited")


def branch_of(events, event):
    """Name of the first state of the event's branch; empty outside of all branches."""
    by_id = {event["id"]: event for event in events}
    for before in ancestors(events, event):
        if before["type"] in CLOSING:
            return ""
        led = by_id.get(before["previousEventId"], {})
        if "stateEnteredEventDetails" in before and led.get("type") == "ParallelStateStarted":
            return before["stateEnteredEventDetails"]["name"]
    return ""


def line(events, event):
    led = next((e["type"] for e in events if e["id"] == event["previousEventId"]), "-")
    shown = []
    for member, details in event.items():
        if member.endswith("EventDetails"):
            for name, value in sorted(details.items()):
                shown.append(f"{name}={value}" if name in STABLE else name)
    # A state is stopped after whichever event of the failing branch AWS blames: the type says which.
    return f"{event['type']} < {led} {' '.join(shown)}".rstrip()


def compact(events):
    branches = {}
    for event in events:
        branches.setdefault(branch_of(events, event), []).append(line(events, event))
    lines = branches.pop("", [])
    for name in sorted(branches):
        lines += ["", f"branch {name}", *branches[name]]
    return "\n".join(lines) + "\n"


def check_links(events):
    """Ids without a gap, each after what led to it, the first state after nothing (recorded)."""
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["previousEventId"] < event["id"] for event in events)
    assert events[0]["previousEventId"] == events[1]["previousEventId"] == 0


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_input_leaves_the_history_that_aws_records(world, name):
    done = world.run(ORDER, "--input", f"@{ORDER / 'inputs' / name}")
    server = world.serve(data=world.folder / ".passo/order")
    events = server.history(done.result["executionArn"])
    check_links(events)
    found = compact(events)
    golden = GOLDEN / f"{Path(name).stem}.txt"
    if os.environ.get("UPDATE_EXPECT"):
        golden.write_text(found)
    if name == "5-task-exits-1.json":
        # Which siblings have been submitted when the first fails is chance: the failing branch and the rest are not.
        kept = [part for part in golden.read_text().split("\n\n") if not part.startswith(("branch I", "branch P"))]
        found_kept = [part for part in found.split("\n\n") if not part.startswith(("branch I", "branch P"))]
        assert found_kept == kept
        return
    assert found == golden.read_text()
