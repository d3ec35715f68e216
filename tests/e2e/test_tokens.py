"""Tokens that survive the process: pages, and requests that are made twice."""

import json
import urllib.request
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from passo import ACCOUNT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
FAIL = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Fail", "Error": "Broken"}}})
WAIT = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Wait", "Seconds": 86400, "End": True}}})
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def code(call, **parameters):
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return error.value.response["Error"]["Code"]


def set_clock(server, time):
    body = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
    request = urllib.request.Request(f"{server.endpoint}/local/clock", body, {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=60).read()


def test_a_page_goes_on_after_a_restart_with_the_same_arguments_and_for_a_day(world):
    server = world.serve("--clock", START.strftime("%Y-%m-%dT%H:%M:%SZ"))
    states = server.client("stepfunctions")
    machines = [states.create_state_machine(name=f"m{n}", definition=WAIT, roleArn=ROLE)["stateMachineArn"] for n in range(3)]
    executions = [states.start_execution(stateMachineArn=machines[0])["executionArn"] for _ in range(3)]
    page = states.list_state_machines(maxResults=2)
    runs = states.list_executions(stateMachineArn=machines[0], maxResults=2)
    server.kill()
    server.start()
    rest = states.list_state_machines(maxResults=2, nextToken=page["nextToken"])
    seen = [item["stateMachineArn"] for item in page["stateMachines"] + rest["stateMachines"]]
    assert sorted(seen) == sorted(machines) and "nextToken" not in rest
    rest = states.list_executions(stateMachineArn=machines[0], maxResults=2, nextToken=runs["nextToken"])
    assert sorted(item["executionArn"] for item in runs["executions"] + rest["executions"]) == sorted(executions)
    # A token is for what it was given for.
    token = runs["nextToken"]
    assert code(states.list_executions, stateMachineArn=machines[1], nextToken=token) == "InvalidToken"
    assert code(states.list_executions, stateMachineArn=machines[0], statusFilter="RUNNING", nextToken=token) == "InvalidToken"
    assert code(states.list_state_machines, nextToken=token) == "InvalidToken"
    assert code(states.list_activities, nextToken=page["nextToken"]) == "InvalidToken"
    set_clock(server, START + timedelta(hours=25))
    assert code(states.list_state_machines, nextToken=page["nextToken"]) == "InvalidToken"


def test_a_redrive_with_the_same_token_is_the_same_for_a_quarter_of_an_hour(world):
    server = world.serve("--clock", START.strftime("%Y-%m-%dT%H:%M:%SZ"))
    states = server.client("stepfunctions")
    machine = states.create_state_machine(name="fails", definition=FAIL, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    server.ended(execution)
    first = states.redrive_execution(executionArn=execution, clientToken="once")["redriveDate"]
    server.ended(execution)
    assert states.redrive_execution(executionArn=execution, clientToken="once")["redriveDate"] == first
    server.kill()
    server.start()
    assert states.redrive_execution(executionArn=execution, clientToken="once")["redriveDate"] == first
    assert server.ended(execution)["redriveCount"] == 1
    # Another token is another request, and after a while the first one is, too.
    states.redrive_execution(executionArn=execution, clientToken="again")
    assert server.ended(execution)["redriveCount"] == 2
    set_clock(server, START + timedelta(minutes=16))
    assert states.redrive_execution(executionArn=execution, clientToken="once")["redriveDate"] > first
    assert server.ended(execution)["redriveCount"] == 3


def test_the_same_request_again_is_answered_as_the_first(world):
    server = world.serve()
    states = server.client("stepfunctions")
    machine = states.create_state_machine(name="m", definition=WAIT, roleArn=ROLE)
    activity = states.create_activity(name="a")
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"], name="one", input='{"a": 1}')
    server.kill()
    server.start()

    def same(first, again):
        return [first[name] for name in first if name != "ResponseMetadata"] == [again[name] for name in first if name != "ResponseMetadata"]

    assert same(machine, states.create_state_machine(name="m", definition=WAIT, roleArn=ROLE))
    assert same(activity, states.create_activity(name="a", tags=[{"key": "k", "value": "v"}]))
    assert same(started, states.start_execution(stateMachineArn=machine["stateMachineArn"], name="one", input='{"a": 1}'))
    assert code(states.start_execution, stateMachineArn=machine["stateMachineArn"], name="one", input="{}") == "ExecutionAlreadyExists"
    assert code(states.create_state_machine, name="m", definition=FAIL, roleArn=ROLE) == "StateMachineAlreadyExists"
    states.stop_execution(executionArn=started["executionArn"])
    assert code(states.start_execution, stateMachineArn=machine["stateMachineArn"], name="one", input='{"a": 1}') == "ExecutionAlreadyExists"
