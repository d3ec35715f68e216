"""The cases of `cases/` that need no tasks and no time, over HTTP: the histories that clients see are those of the engine.

Left out are cases with a script (tasks answer as it says), with a Task, a Map Run or a wait, and those whose history names
ARNs of the engine's tests.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor

from passo import ROOT

CASES = ROOT / "cases"
ROLE = "arn:aws:iam::000000000000:role/cases"


def sections(path):
    head, *parts = path.read_text().split("\n--- ")
    return {name.strip(): body.strip() for name, _, body in (part.partition("\n") for part in parts)}


def runs_by_itself(case):
    lines = case["history"].splitlines()
    tasks = re.search(r'"Type": "Task"|"DISTRIBUTED"', case["definition"])
    waits = any(re.match(r"(\d+<\d+|·) \+", line) for line in lines)
    return not ("script" in case or tasks or waits or "arn:aws:states" in case["history"])


def described(event):
    """An event in the words of the cases."""
    details = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
    kind, words = event["type"], []
    if kind == "EvaluationFailed":
        words = [details["state"], "at", details.get("location", "-")]
    elif kind == "MapStateStarted":
        words = [str(details["length"])]
    elif "name" in details:
        words = [details["name"]]
        if "index" in details:
            words.append(str(details["index"]))
    words += [details[member] for member in ("input", "output") if member in details]
    words += [f"${name}={value}" for name, value in details.get("assignedVariables", {}).items()]
    if "error" in details or "cause" in details or kind == "ExecutionFailed":
        error, cause = details.get("error"), details.get("cause")
        told = error if cause is None else f"{error or '-'}{':' if error else ''} {cause}"
        words.append(told or "-")
    return f"{event['id']}<{event['previousEventId']} {' '.join([kind, *words])}"


def test_cases_without_a_script_have_the_same_history_over_http(world):
    server = world.serve()
    cases = {path.relative_to(CASES).with_suffix("").as_posix(): sections(path) for path in CASES.rglob("*.case")}
    chosen = {name: case for name, case in sorted(cases.items()) if runs_by_itself(case)}
    assert len(chosen) > 30, sorted(chosen)
    client = server.client("stepfunctions")

    def history(name, case):
        machine = client.create_state_machine(
            name=name.replace("/", "-")[:80], definition=case["definition"], roleArn=ROLE)["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=machine, input=case.get("input", "{}"))["executionArn"]
        server.ended(execution)
        return [described(event) for event in server.history(execution)]

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(chosen, pool.map(lambda item: history(*item), chosen.items())))
    wrong = {}
    for name, case in chosen.items():
        expected = [line for line in case["history"].splitlines() if not line.startswith("·")]
        if found[name] != expected:
            wrong[name] = {"expected": expected, "found": found[name]}
    assert not wrong, json.dumps(wrong, indent=1)
