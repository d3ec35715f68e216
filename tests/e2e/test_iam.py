"""Permissions: with any one statement of the template taken away, the workflow fails where AWS would refuse, by AWS's name."""

import json
import re
import shutil

import pytest

from deadline import eventually
from history import entered, state_of
from passo import ORDER

NOTHING = ["Effect: Allow", "Action: sts:GetCallerIdentity", 'Resource: "*"']


def without(world, sid):
    """A copy of the example in which the statement allows nothing of use."""
    project = world.folder / "order"
    shutil.copytree(ORDER, project)
    template = project / "template.yaml"
    kept, inside = [], None
    for line in template.read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        if inside is None:
            kept.append(line)
        if line.strip() == f"- Sid: {sid}":
            inside = indent
            kept += [" " * (indent + 2) + text for text in NOTHING]
    assert any(f"Sid: {sid}" in line for line in kept)
    template.write_text("\n".join(kept) + "\n")
    return project


def sids():
    return re.findall(r"- Sid: (\w+)", (ORDER / "template.yaml").read_text())


# sid, input, state, error of that state's failure, permission named in the cause
AT_A_STATE = [
    ("InvokeProcessOrder", "2-default.json", "ProcessOrder", "Lambda.AWSLambdaException", "lambda:InvokeFunction"),
    ("RunWorkers", "1-rule-1.json", None, "ECS.AccessDeniedException", "ecs:RunTask"),
    ("HandRolesToWorkers", "1-rule-1.json", None, "ECS.AccessDeniedException", "iam:PassRole"),
    ("WatchAndStopWorkers", "1-rule-1.json", None, "ECS.AccessDeniedException", "ecs:DescribeTasks"),
    ("ReadAndWriteOrders", "2-default.json", "StoreOrder", "DynamoDB.AmazonDynamoDBException", "dynamodb:PutItem"),
    ("PublishOrders", "2-default.json", "AnnounceOrder", "SNS.AuthorizationErrorException", "SNS:Publish"),
]
WHEN_CREATED = {
    "ManagedRuleForWorkers": "is not authorized to create managed-rule.",
    "DeliverLogs": "The state machine IAM Role is not authorized to access the Log Destination",
}
ELSEWHERE = {"Trace", "WriteLogs", "StoreParts", "TopicMaySend"}


def test_every_statement_of_the_template_is_covered_here():
    assert set(sids()) == {case[0] for case in AT_A_STATE} | set(WHEN_CREATED) | ELSEWHERE


@pytest.mark.parametrize("sid, name, state, error, action", AT_A_STATE, ids=[case[0] for case in AT_A_STATE])
def test_a_missing_statement_fails_the_state_that_needs_it(world, server, sid, name, state, error, action):
    project = without(world, sid)
    done = world.run(project, "--endpoint", server.endpoint, "--data", server.data, "--input", f"@{ORDER / 'inputs' / name}")
    assert done.returncode == 1, done.stderr
    events = server.history(done.result["executionArn"])
    failed = [event for event in events if event["type"] in ("TaskFailed", "TaskSubmitFailed", "TaskStartFailed")]
    assert failed, [event["type"] for event in events]
    details = next(value for key, value in failed[0].items() if key.endswith("EventDetails"))
    assert details["error"] == error
    assert f"is not authorized to perform: {action}".lower() in details["cause"].lower()
    assert "order-WorkflowRole" in details["cause"]
    if state:
        assert state_of(events, failed[0]) == state
    else:
        assert state_of(events, failed[0]) in ("ReserveStock", "IssueInvoice", "PrintLabel")


@pytest.mark.parametrize("sid", WHEN_CREATED)
def test_a_missing_statement_refuses_the_state_machine_when_it_is_made(world, sid):
    project = without(world, sid)
    done = world.run(project)
    assert done.returncode == 2, done.stderr
    assert "CreateStateMachine: AccessDeniedException" in done.stderr
    assert WHEN_CREATED[sid] in done.stderr


def test_an_update_to_a_role_that_may_not_deliver_logs_is_refused(server):
    machine = server.deploy().removesuffix(":live")
    iam, states = server.client("iam"), server.client("stepfunctions")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="poor", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    with pytest.raises(states.exceptions.ClientError) as refused:
        states.update_state_machine(stateMachineArn=machine, roleArn=role)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert refused.value.response["Error"]["Message"] == f"'{role}' is not authorized to create managed-rule."


def test_a_role_that_step_functions_may_not_assume_is_refused(server):
    iam, states = server.client("iam"), server.client("stepfunctions")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName="of-lambda", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    with pytest.raises(states.exceptions.ClientError) as refused:
        states.create_state_machine(name="m", definition=definition, roleArn=role)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "states.amazonaws.com" in refused.value.response["Error"]["Message"]


def test_a_worker_that_may_not_store_its_part_fails_its_task(world, server):
    project = without(world, "StoreParts")
    done = world.run(project, "--endpoint", server.endpoint, "--data", server.data, "--input", f"@{ORDER / 'inputs/1-rule-1.json'}")
    assert done.returncode == 1
    assert done.result["error"] == "OrderNotFulfilled"
    assert entered(server.history(done.result["executionArn"]))[-2:] == ["CancelOrder", "OrderNotFulfilled"]
    found = server.client("logs").filter_log_events(logGroupName="/ecs/order-worker")["events"]
    assert any("HTTP Error 400" in event["message"] for event in found)


def test_a_topic_that_may_not_send_to_the_queue_leaves_it_empty(world, server):
    project = world.folder / "order"
    shutil.copytree(ORDER, project)
    template = project / "template.yaml"
    template.write_text(template.read_text().replace("Action: sqs:SendMessage", "Action: sqs:ReceiveMessage"))
    done = world.run(project, "--endpoint", server.endpoint, "--data", server.data, "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.result["status"] == "SUCCEEDED"
    eventually(lambda: list((server.data / "outbox").glob("*.eml")), what="the mail, which needs no such permission")
    sqs = server.client("sqs")
    queue = sqs.get_queue_url(QueueName="order-orders")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


@pytest.mark.parametrize("sid", ["Trace"])
def test_tracing_without_permission_changes_nothing(world, sid):
    done = world.run(without(world, sid), "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.result["status"] == "SUCCEEDED"


def test_a_function_that_may_not_write_logs_works_and_has_none(world, server):
    project = without(world, "WriteLogs")
    done = world.run(project, "--endpoint", server.endpoint, "--data", server.data, "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.result["status"] == "SUCCEEDED"
    logs = server.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    assert "/aws/lambda/order-process-order" not in groups


def test_iam_log_lets_the_call_through_and_prints_the_missing_statement(world):
    server = world.serve("--iam", "log")
    project = without(world, "PublishOrders")
    done = world.run(project, "--endpoint", server.endpoint, "--data", server.data, "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.result["status"] == "SUCCEEDED"
    line = eventually(lambda: [line for line in server.log.read_text().splitlines() if "SNS:Publish" in line or "sns:Publish" in line],
                      what="the missing statement")[0]
    statement = json.loads(re.search(r'\{"Effect.*\}', line)[0])
    assert statement["Effect"] == "Allow" and statement["Action"].lower() == "sns:publish"
    assert statement["Resource"].endswith(":order-orders")


def test_iam_off_asks_nothing(world):
    server = world.serve("--iam", "off")
    project = without(world, "PublishOrders")
    done = world.run(project, "--endpoint", server.endpoint, "--data", server.data, "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.result["status"] == "SUCCEEDED"
    assert "not authorized" not in server.log.read_text()
