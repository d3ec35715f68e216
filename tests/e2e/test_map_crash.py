"""`kill -9` in the middle of a distributed Map: counts, results and the ResultWriter's files are those of an undisturbed run.

Items come from S3 (CSV, JSON, a listing); some children fail within the tolerance. Each child counts in DynamoDB how often it
ran: Standard children once, Express children at least once.
"""

import json
import os
import random
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from deadline import eventually
from passo import ACCOUNT, REGION

ROUNDS = int(os.environ.get("PASSO_MAP_CRASHES", "4"))
ROLE = f"arn:aws:iam::{ACCOUNT}:role/map"
BAD = 40  # Every so many items one is bad.
FAILPOINTS = [
    ("map_run.commit.before", 1), ("map_run.commit.before", 4), ("map_run.commit.after", 1), ("map_run.commit.after", 7),
    ("child.start.before", 1), ("child.start.after", 15), ("commit.after", 6),
    ("map_run.results.before", 1), ("map_run.results.after", 1), ("parent.tell.before", 1), ("parent.tell.after", 1),
]


def definition(reader, kind, concurrency):
    """Counts the item's runs, then gives its number, or fails if the item is bad."""
    count = {
        "Type": "Task", "Resource": "arn:aws:states:::dynamodb:updateItem",
        "Arguments": {
            "TableName": "runs",
            "Key": {"id": {"S": "{% $states.input.map & '/' & $states.input.n %}"}},
            "UpdateExpression": "ADD runs :one", "ExpressionAttributeValues": {":one": {"N": "1"}}},
        "Output": "{% $states.input %}", "Next": "Judge"}
    judge = {
        "Type": "Choice", "Default": "Good",
        "Choices": [{"Condition": f"{{% $number($states.input.n) % {BAD} = 1 %}}", "Next": "Bad"}]}
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": {
        "Type": "Map", "End": True, "Label": "each", "MaxConcurrency": concurrency, "ToleratedFailurePercentage": 10,
        "ItemReader": reader,
        "ItemSelector": {"map": "{% $states.context.Execution.Name %}", "n": (
            "{% $string($states.context.Map.Item.Index) %}")},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "StartAt": "Count",
            "States": {"Count": count, "Judge": judge, "Good": {"Type": "Pass", "End": True},
                       "Bad": {"Type": "Fail", "Error": "Rotten", "Cause": "It is bad."}}},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject",
                         "Arguments": {"Bucket": "results", "Prefix": "{% $states.context.Execution.Name %}"}},
    }}})


class Maps:
    """Maps over a server that may die at any moment."""

    def __init__(self, server, items):
        self.server, self.items, self.started = server, items, {}
        s3 = server.client("s3")
        for bucket in ("input", "results"):
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket="input", Key="items.csv", Body="id,name\n" + "".join(f"{n},n{n}\n" for n in range(items)))
        s3.put_object(Bucket="input", Key="items.json", Body=json.dumps([{"id": n} for n in range(items)]))
        server.client("dynamodb").create_table(
            TableName="runs", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])

    def reader(self, form):
        if form == "list":
            return {"Resource": "arn:aws:states:::s3:listObjectsV2", "Arguments": {"Bucket": "input", "Prefix": "objects/"}}
        config = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"} if form == "csv" else {"InputType": "JSON"}
        return {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config,
                "Arguments": {"Bucket": "input", "Key": f"items.{form}"}}

    def objects(self):
        s3 = self.server.client("s3")
        for n in range(self.items):
            s3.put_object(Bucket="input", Key=f"objects/{n:05d}.log", Body=b"x")

    def start(self, form, kind, concurrency):
        name = f"{form}-{kind}"
        client = self.server.client("stepfunctions")
        machine = client.create_state_machine(
            name=name, roleArn=ROLE, definition=definition(self.reader(form), kind, concurrency))["stateMachineArn"]
        execution = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{name}:{name}"
        try:
            client.start_execution(stateMachineArn=machine, name=name, input="{}")
        except client.exceptions.ExecutionAlreadyExists:
            pass  # Asked before, and ended meanwhile.
        self.started[execution] = (name, kind)

    def check(self):
        runs = self.runs()
        for execution, (name, kind) in self.started.items():
            described = self.server.ended(execution, seconds=240)
            assert described["status"] == "SUCCEEDED", (name, described.get("error"), described.get("cause"))
            runs = self.runs()
            numbers = {str(n): runs.get(f"{name}/{n}", 0) for n in range(self.items)}
            wrong = {n: count for n, count in numbers.items() if (count < 1 if kind == "EXPRESS" else count != 1)}
            assert not wrong, (name, wrong)
            self.check_counts(execution, kind)
            self.check_files(json.loads(described["output"]))

    def runs(self):
        pages = self.server.client("dynamodb").get_paginator("scan").paginate(TableName="runs")
        return {item["id"]["S"]: int(item["runs"]["N"]) for page in pages for item in page["Items"]}

    def check_counts(self, execution, kind):
        client = self.server.client("stepfunctions")
        [listed] = client.list_map_runs(executionArn=execution)["mapRuns"]
        described = client.describe_map_run(mapRunArn=listed["mapRunArn"])
        bad = len(range(1, self.items, BAD))
        expected = {"total": self.items, "succeeded": self.items - bad, "failed": bad, "resultsWritten": self.items}
        for counts in (described["itemCounts"], described["executionCounts"]):
            assert {name: counts[name] for name in expected} == expected, (execution, counts)
            assert counts["running"] == counts["pending"] == counts["aborted"] == counts["timedOut"] == 0
        assert described["status"] == "SUCCEEDED" and described["stopDate"]
        if kind == "STANDARD":
            pages = client.get_paginator("list_executions").paginate(mapRunArn=listed["mapRunArn"])
            children = [child for page in pages for child in page["executions"]]
            assert len(children) == self.items
            assert sum(child["status"] == "FAILED" for child in children) == bad

    def check_files(self, output):
        s3 = self.server.client("s3")
        details = output["ResultWriterDetails"]
        read = lambda key: json.loads(s3.get_object(Bucket=details["Bucket"], Key=key)["Body"].read())
        files = read(details["Key"])["ResultFiles"]
        records = {status: [record for file in files[status] for record in read(file["Key"])] for status in files}
        numbers = lambda status: sorted(int(json.loads(record["Input"])["n"]) for record in records[status])
        bad = list(range(1, self.items, BAD))
        assert numbers("FAILED") == bad and all(record["Error"] == "Rotten" for record in records["FAILED"])
        assert numbers("SUCCEEDED") == [n for n in range(self.items) if n not in bad]
        assert all(json.loads(record["Output"]) == json.loads(record["Input"]) for record in records["SUCCEEDED"])
        assert len({record["ExecutionArn"] for status in records for record in records[status]}) == self.items


def test_killed_at_random_moments_every_map_ends_as_it_would_have(world):
    seed = int(os.environ.get("PASSO_SEED", random.randrange(10**6)))
    print(f"PASSO_SEED={seed}")
    chance = random.Random(seed)
    server = world.serve()
    maps = Maps(server, 240)
    maps.objects()
    for form in ("csv", "json", "list"):
        for kind in ("STANDARD", "EXPRESS"):
            maps.start(form, kind, chance.choice([5, 20, 60]))
    for _ in range(ROUNDS):
        # The moment is what is tested; there is nothing to wait for.
        time.sleep(chance.choice([0.2, 1, 3]) * chance.random())
        server.kill()
        server.start()
    maps.check()
    # What was told once is told again by the next process.
    server.kill()
    server.start()
    for execution, (_, kind) in maps.started.items():
        maps.check_counts(execution, kind)
    assert server.stop() == 0


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
@pytest.mark.parametrize("point, passage", FAILPOINTS, ids=[f"{point}-{n}" for point, n in FAILPOINTS])
def test_killed_at_a_named_point_the_map_ends_as_it_would_have(world, point, passage, kind):
    server = world.serve()
    maps = Maps(server, 50)
    server.kill()
    server.start(env={"PASSO_FAILPOINT": f"{point}:{passage}"})
    try:
        maps.start("csv", kind, 10)
    except (BotoCoreError, ClientError, OSError):
        pass  # It died before it answered; then the same is asked again.
    eventually(lambda: server.process.poll() is not None, seconds=60, what="the death at the failpoint")
    server.start()
    maps.start("csv", kind, 10)
    maps.check()


def test_an_update_that_was_answered_survives_a_kill(world):
    server = world.serve()
    maps = Maps(server, 200)
    maps.start("csv", "STANDARD", 1)
    client = server.client("stepfunctions")
    [execution] = maps.started
    found = lambda: client.list_map_runs(executionArn=execution)["mapRuns"]
    [listed] = eventually(found, what="the Map Run")

    def update():
        try:
            client.update_map_run(mapRunArn=listed["mapRunArn"], maxConcurrency=7, toleratedFailureCount=99)
        except client.exceptions.ResourceNotFound:
            return False
        return True

    eventually(update, what="an answer to UpdateMapRun")
    server.kill()
    server.start()
    described = server.client("stepfunctions").describe_map_run(mapRunArn=listed["mapRunArn"])
    assert (described["maxConcurrency"], described["toleratedFailureCount"]) == (7, 99)
    maps.check()
