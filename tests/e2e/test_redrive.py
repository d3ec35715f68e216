"""Redrive: each kind of state fails, the cause is mended, and only what failed runs again; also after a restart.

Each branch or item first sends a message to a queue and then writes to a table that is not there yet: messages count what
ran, and making the table mends the cause.
"""

import json

import pytest

from deadline import eventually
from passo import ACCOUNT, REGION

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"


def send(text, **more):
    return {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "ResultPath": None,
            "Parameters": {"QueueUrl": "QUEUE", **text}, **more}


def store(key, **more):
    return {"Type": "Task", "Resource": "arn:aws:states:::dynamodb:putItem", "ResultPath": None,
            "Parameters": {"TableName": "late", "Item": {"pk": key}}, **more}


def steps(text, key):
    return {"StartAt": "Send", "States": {"Send": send(text, Next="Store"), "Store": store(key, End=True)}}


def items(mode, **more):
    inner = steps({"MessageBody.$": "States.Format('item {}', $)"}, {"S.$": "States.Format('{}', $)"})
    if mode == "DISTRIBUTED":
        inner["ProcessorConfig"] = {"Mode": mode, "ExecutionType": "STANDARD"}
    # One item does not need the table, so it succeeds at once and must not run again.
    inner["States"]["Send"]["Next"] = "Needs"
    inner["States"]["Needs"] = {"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": 0, "Next": "Fine"}], "Default": "Store"}
    inner["States"]["Fine"] = {"Type": "Succeed"}
    return {"Type": "Map", "ItemProcessor": inner, "End": True, "MaxConcurrency": 1, **more}


def machine(state, before=True):
    """The state after a step that must not run again."""
    states = {"First": send({"MessageBody": "first"}, Next="State"), "State": state}
    return {"StartAt": "First" if before else "State", "States": states}


CASES = {
    "task": (machine(store({"S": "one"}, End=True)), "{}", {"first": 1}, "TaskSucceeded"),
    "parallel": (
        machine({"Type": "Parallel", "End": True, "Branches": [
            steps({"MessageBody": "left"}, {"S": "left"}),
            {"StartAt": "Right", "States": {"Right": send({"MessageBody": "right"}, End=True)}}]}),
        "{}", None, "ParallelStateSucceeded"),
    "map": (machine(items("INLINE")), "[0, 1]", {"first": 1, "item 0": 1, "item 1": 1}, "MapStateSucceeded"),
    "distributed map": (machine(items("DISTRIBUTED")), "[0, 1]", {"first": 1, "item 0": 1, "item 1": 1}, "MapRunSucceeded"),
}


@pytest.fixture
def server(world):
    server = world.serve("--iam", "off")
    server.queue = server.client("sqs").create_queue(QueueName="ran")["QueueUrl"]
    return server


def make(server, definition, name="m"):
    text = json.dumps(definition).replace("QUEUE", server.queue)
    return server.client("stepfunctions").create_state_machine(name=name, definition=text, roleArn=ROLE)["stateMachineArn"]


def mend(server):
    client = server.client("dynamodb")
    client.create_table(
        TableName="late", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}])
    client.get_waiter("table_exists").wait(TableName="late")


def messages(server):
    """How often each text was sent."""
    counts, sqs = {}, server.client("sqs")
    while found := sqs.receive_message(QueueUrl=server.queue, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages"):
        for message in found:
            counts[message["Body"]] = counts.get(message["Body"], 0) + 1
    return counts


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("kind", CASES)
def test_only_what_failed_runs_again(server, kind, restart):
    definition, text, wanted, last = CASES[kind]
    states = server.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=make(server, definition), input=text)["executionArn"]
    failed = server.ended(execution)
    assert failed["status"] == "FAILED" and failed["redriveStatus"] == "REDRIVABLE", failed
    before = server.history(execution)
    mend(server)
    if restart:
        server.kill()
        server.start()
        states = server.client("stepfunctions")
    states.redrive_execution(executionArn=execution)
    done = server.ended(execution)
    assert (done["status"], done["redriveCount"]) == ("SUCCEEDED", 1), done
    assert done["redriveDate"] >= failed["stopDate"]
    after = server.history(execution)
    assert after[:len(before)] == before and after[len(before)]["type"] == "ExecutionRedriven"
    assert [event["id"] for event in after] == list(range(1, len(after) + 1))
    assert after[len(before)]["executionRedrivenEventDetails"] == {"redriveCount": 1}
    assert last in [event["type"] for event in after[len(before):]]
    counts = messages(server)
    if wanted is None:
        # The other branch may have been stopped before it could send; it runs again then, and only then.
        assert counts["first"] == counts["left"] == 1 and counts["right"] in (1, 2), counts
    else:
        assert counts == wanted


def test_a_wait_that_was_stopped_waits_again_and_ends(server):
    states = server.client("stepfunctions")
    wait = machine({"Type": "Wait", "SecondsPath": "$.seconds", "End": True})
    execution = states.start_execution(stateMachineArn=make(server, wait), input='{"seconds": 2}')["executionArn"]
    eventually(lambda: server.history(execution)[-1]["type"] == "WaitStateEntered", what="the wait")
    states.stop_execution(executionArn=execution)
    assert server.ended(execution)["status"] == "ABORTED"
    server.kill()
    server.start()
    server.client("stepfunctions").redrive_execution(executionArn=execution)
    assert server.ended(execution)["status"] == "SUCCEEDED"
    assert messages(server) == {"first": 1}


def test_a_map_run_counts_its_redrives(server):
    states = server.client("stepfunctions")
    definition = machine(items("DISTRIBUTED"))
    execution = states.start_execution(stateMachineArn=make(server, definition), input="[0, 1, 2]")["executionArn"]
    server.ended(execution)
    run = states.list_map_runs(executionArn=execution)["mapRuns"][0]["mapRunArn"]
    failed = states.describe_map_run(mapRunArn=run)
    assert (failed["status"], failed["itemCounts"]["succeeded"]) == ("FAILED", 1), failed
    mend(server)
    states.redrive_execution(executionArn=execution)
    assert server.ended(execution)["status"] == "SUCCEEDED"
    done = states.describe_map_run(mapRunArn=run)
    assert (done["status"], done["redriveCount"], done["itemCounts"]["succeeded"]) == ("SUCCEEDED", 1, 3), done


def test_a_redrive_with_the_same_token_is_the_same_redrive(server):
    states = server.client("stepfunctions")
    wait = machine({"Type": "Wait", "Seconds": 86400, "End": True})
    execution = states.start_execution(stateMachineArn=make(server, wait))["executionArn"]
    states.stop_execution(executionArn=execution)
    first = states.redrive_execution(executionArn=execution, clientToken="token")["redriveDate"]
    assert states.redrive_execution(executionArn=execution, clientToken="token")["redriveDate"] == first
    assert server.client("stepfunctions").describe_execution(executionArn=execution)["redriveCount"] == 1


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING"])
def test_what_has_not_failed_cannot_be_redriven(server, status):
    states = server.client("stepfunctions")
    state = {"Type": "Pass", "End": True} if status == "SUCCEEDED" else {"Type": "Wait", "Seconds": 86400, "End": True}
    execution = states.start_execution(stateMachineArn=make(server, {"StartAt": "A", "States": {"A": state}}))["executionArn"]
    if status == "SUCCEEDED":
        server.ended(execution)
    with pytest.raises(states.exceptions.ExecutionNotRedrivable, match=f"Execution is {status} and cannot be redriven"):
        states.redrive_execution(executionArn=execution)
