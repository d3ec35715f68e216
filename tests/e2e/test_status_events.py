"""Status changes of executions arrive as EventBridge events, each once, also when the server is killed between."""

import json
import random

from deadline import eventually
from passo import ACCOUNT, REGION

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
KEYS = {
    "executionArn", "stateMachineArn", "stateMachineVersionArn", "stateMachineAliasArn", "name", "status", "startDate",
    "stopDate", "redriveCount", "redriveDate", "redriveStatus", "redriveStatusReason", "input", "inputDetails", "output",
    "outputDetails", "error", "cause",
}


def machine(server, name, state):
    definition = json.dumps({"StartAt": "Only", "States": {"Only": state}})
    return server.client("stepfunctions").create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]


def queue_of(server, pattern):
    """A queue that receives what a rule matches."""
    sqs, events = server.client("sqs"), server.client("events")
    url = sqs.create_queue(QueueName="changes")["QueueUrl"]
    events.put_rule(Name="changes", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="changes", Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:changes"}])
    return url


def received(server, url, count):
    """Details of the events, oldest first, once there are so many."""
    sqs, found = server.client("sqs"), []

    def enough():
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages", []):
            found.append(json.loads(message["Body"]))
        return len(found) >= count

    eventually(enough, what=f"{count} events")
    return found


def test_each_start_end_and_redrive_is_an_event_with_every_member(world):
    server = world.serve("--iam", "off")
    states = server.client("stepfunctions")
    url = queue_of(server, {"source": ["aws.states"], "detail-type": ["Step Functions Execution Status Change"]})
    good = machine(server, "good", {"Type": "Pass", "End": True})
    bad = machine(server, "bad", {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"})
    first = states.start_execution(stateMachineArn=good, input='{"a": 1}')["executionArn"]
    server.ended(first)
    second = states.start_execution(stateMachineArn=bad)["executionArn"]
    server.ended(second)
    states.redrive_execution(executionArn=second)
    events = received(server, url, 6)
    assert all(event["source"] == "aws.states" and event["resources"] == [event["detail"]["executionArn"]] for event in events)
    assert all(set(event["detail"]) == KEYS for event in events)
    seen = [(e["detail"]["executionArn"], e["detail"]["status"], e["detail"]["redriveCount"]) for e in events]
    assert sorted(seen) == sorted([
        (first, "RUNNING", 0), (first, "SUCCEEDED", 0),
        (second, "RUNNING", 0), (second, "FAILED", 0), (second, "RUNNING", 1), (second, "FAILED", 1)])
    succeeded = next(e["detail"] for e in events if e["detail"]["status"] == "SUCCEEDED")
    described = states.describe_execution(executionArn=first)
    assert succeeded["input"] == '{"a": 1}' and json.loads(succeeded["output"]) == {"a": 1}
    assert succeeded["inputDetails"] == succeeded["outputDetails"] == {"included": True}
    assert succeeded["startDate"] == round(described["startDate"].timestamp() * 1000)
    assert succeeded["stopDate"] == round(described["stopDate"].timestamp() * 1000)
    failed = next(e["detail"] for e in events if e["detail"]["status"] == "FAILED" and e["detail"]["redriveCount"] == 1)
    assert (failed["error"], failed["cause"], failed["redriveStatus"]) == ("Broken", "on purpose", "REDRIVABLE")
    assert failed["redriveDate"] is not None and failed["output"] is None and failed["outputDetails"] is None


def test_a_killed_server_loses_no_event_and_repeats_none(world):
    server = world.serve("--iam", "off")
    url = queue_of(server, {"source": ["aws.states"], "detail": {"status": ["SUCCEEDED"]}})
    arn = machine(server, "good", {"Type": "Pass", "End": True})
    wanted = []
    for _ in range(5):
        for _ in range(random.randrange(1, 5)):
            wanted.append(server.client("stepfunctions").start_execution(stateMachineArn=arn)["executionArn"])
        server.kill()
        server.start()
    events = received(server, url, len(wanted))
    for execution in wanted:
        server.ended(execution)
    assert sorted(event["detail"]["executionArn"] for event in events) == sorted(wanted)


def test_express_executions_have_no_events(world):
    server = world.serve("--iam", "off")
    states = server.client("stepfunctions")
    url = queue_of(server, {"source": ["aws.states"]})
    definition = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})
    express = states.create_state_machine(name="quick", definition=definition, roleArn=ROLE, type="EXPRESS")["stateMachineArn"]
    states.start_execution(stateMachineArn=express)
    standard = machine(server, "good", {"Type": "Pass", "End": True})
    states.start_execution(stateMachineArn=standard)
    assert {event["detail"]["stateMachineArn"] for event in received(server, url, 2)} == {standard}
