"""The order workflow on one command: every input ends as written beside it, with its effects where they belong."""

import datetime
import email
import json

import pytest

from deadline import eventually
from history import ancestors, entered, executions_lines, span, state_of
from passo import EXPECTED, ORDER, REGION, ACCOUNT

WORKERS = ("ReserveStock", "IssueInvoice", "PrintLabel")


def subset(part, whole):
    return all(name in whole and whole[name] == value for name, value in part.items())


@pytest.mark.parametrize("name", EXPECTED)
def test_every_input_ends_as_written_beside_it(world, name):
    expected = EXPECTED[name]
    done = world.run(ORDER, "--input", f"@{ORDER / 'inputs' / name}")
    assert done.returncode == (0 if expected["status"] == "SUCCEEDED" else 1), done.stderr
    result = done.result
    assert result["status"] == expected["status"]
    assert subset(expected.get("output", {}), result.get("output", {}))
    assert result.get("error") == expected.get("error")
    server = world.serve(data=world.folder / ".passo/order")
    assert entered(server.history(result["executionArn"]))[-1] == expected["last"]


def test_the_three_tasks_overlap(server):
    machine = server.deploy()
    execution = server.execute(machine, "1-rule-1.json")
    described = server.ended(execution)
    assert described["status"] == "SUCCEEDED", described
    output = json.loads(described["output"])
    assert set(output["parts"]) == {"stock", "invoice", "label"}
    spans = [span(server.history(execution), worker) for worker in WORKERS]
    wall = max(end for _, end in spans) - min(start for start, _ in spans)
    assert wall < 0.6 * sum(end - start for start, end in spans)
    assert server.stop() == 0
    assert server.children() == {}


def test_a_task_that_exits_1_stops_its_siblings_and_reaches_its_catch(server):
    machine = server.deploy()
    execution = server.execute(machine, "5-task-exits-1.json")
    assert server.ended(execution)["error"] == "OrderNotFulfilled"
    events = server.history(execution)
    failed = [event for event in events if event["type"] == "TaskFailed"]
    assert [state_of(events, event) for event in failed] == ["ReserveStock"]
    assert json.loads(failed[0]["taskFailedEventDetails"]["cause"])["Containers"][0]["ExitCode"] == 1
    assert entered(events)[-2:] == ["CancelOrder", "OrderNotFulfilled"]
    ecs = server.client("ecs")
    tasks = ecs.list_tasks(cluster="order-cluster", desiredStatus="STOPPED")["taskArns"]

    def all_stopped():
        found = ecs.describe_tasks(cluster="order-cluster", tasks=tasks)["tasks"]
        return found if [task["lastStatus"] for task in found] == ["STOPPED"] * 3 else None

    # Step Functions does not wait for the siblings it stops.
    found = eventually(all_stopped, what="the end of the siblings")
    assert sorted(task["stopCode"] for task in found) == ["EssentialContainerExited", "UserInitiated", "UserInitiated"]
    assert ecs.list_tasks(cluster="order-cluster", desiredStatus="RUNNING")["taskArns"] == []
    item = server.client("dynamodb").get_item(TableName="order-orders", Key={"pk": {"S": "ORDER#1005"}, "sk": {"S": "ORDER"}})
    assert item["Item"]["status"] == {"S": "CANCELLED"}


def test_the_effects_are_where_they_belong(server):
    machine = server.deploy()
    execution = server.execute(machine, "2-default.json")
    described = server.ended(execution)
    message_id = json.loads(described["output"])["messageId"]

    key = {"pk": {"S": "ORDER#1002"}, "sk": {"S": "ORDER"}}
    item = server.client("dynamodb").get_item(TableName="order-orders", Key=key)["Item"]
    assert item["status"] == {"S": "STORED"}
    assert item["totalCents"] == {"N": "6490"}

    sqs = server.client("sqs")
    queue = sqs.get_queue_url(QueueName="order-orders")["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    body = json.loads(messages[0]["Body"])
    assert body["MessageId"] == message_id
    assert json.loads(body["Message"]) == {"orderId": "1002", "customer": "bruno@example.com", "totalCents": 6490}
    assert body["MessageAttributes"]["handling"] == {"Type": "String", "Value": "STORE"}

    mails = eventually(lambda: list((server.data / "outbox").glob("*.eml")), what="a mail in the outbox")
    mail = email.message_from_bytes(mails[0].read_bytes())
    assert mail["To"] == "orders@example.com"
    assert mail["Subject"] == "Order 1002 stored"


def test_every_event_is_a_log_line_at_level_all(server):
    machine = server.deploy()
    execution = server.execute(machine, "2-default.json")
    server.ended(execution)
    events = server.history(execution)

    def lines():
        pages = server.client("logs").get_paginator("filter_log_events").paginate(
            logGroupName="/aws/vendedlogs/states/order-workflow")
        found = executions_lines(pages)
        found = [line for line in found if line["execution_arn"] == execution]
        return found if len(found) == len(events) else None

    found = eventually(lines, what="a log line for every event")
    assert [line["id"] for line in found] == [str(event["id"]) for event in events]
    assert [line["type"] for line in found] == [event["type"] for event in events]
    assert [line["previous_event_id"] for line in found] == [str(event.get("previousEventId", 0)) for event in events]
    assert all(line["redrive_count"] == "0" for line in found)


def test_the_functions_own_lines_are_in_its_log_group(server):
    server.deploy()
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:order-workflow"
    server.ended(server.execute(machine, "2-default.json"))

    def lines():
        found = server.client("logs").filter_log_events(logGroupName="/aws/lambda/order-process-order")
        return [event["message"] for event in found["events"] if "order 1002: 1 lines, 6490 cents" in event["message"]]

    assert len(eventually(lines, what="the printed line")) == 1


def test_executions_are_counted_and_timed_in_cloudwatch(server):
    machine = server.deploy()
    server.ended(server.execute(machine, "2-default.json"))
    server.ended(server.execute(machine, "4-fails-for-good.json"))
    arn = machine.removesuffix(":live")
    now = datetime.datetime.now(datetime.timezone.utc)
    cloudwatch = server.client("cloudwatch")

    def points(metric, statistic):
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/States", MetricName=metric, Dimensions=[{"Name": "StateMachineArn", "Value": arn}],
            StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(hours=1), Period=7200,
            Statistics=[statistic])["Datapoints"]
        return sum(point[statistic] for point in found)

    assert eventually(lambda: points("ExecutionsFailed", "Sum") == 1.0, what="the failed execution")
    assert points("ExecutionsStarted", "Sum") == 3.0
    assert points("ExecutionsSucceeded", "Sum") == 2.0
    assert points("ExecutionTime", "SampleCount") == 3.0
    assert points("ExecutionTime", "Sum") > 0


def test_the_failed_attempts_are_retried_with_growing_pauses(server):
    machine = server.deploy()
    execution = server.execute(machine, "3-fails-twice-then-succeeds.json")
    assert server.ended(execution)["status"] == "SUCCEEDED"
    events = server.history(execution)
    kinds = [event["type"] for event in events if event["type"].startswith("Task") and "State" not in event["type"]]
    assert kinds[:9] == ["TaskScheduled", "TaskStarted", "TaskFailed"] * 2 + ["TaskScheduled", "TaskStarted", "TaskSucceeded"]
    failed = [event for event in events if event["type"] == "TaskFailed"]
    assert {event["taskFailedEventDetails"]["error"] for event in failed} == {"PriceServiceUnavailable"}
    assert next(ancestors(events, failed[0]))["id"] == failed[0]["id"]
