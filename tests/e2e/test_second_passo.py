"""Services pointed at a second Passo that verifies signatures, as the real AWS would."""

import json

import pytest

import functions
from deadline import eventually
from history import entered, state_of
from passo import ACCOUNT, LOGS, ORDER, REGION, World, network

KEY, SECRET = "AKIAOFTHESECOND", "only the second one knows this"
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


@pytest.fixture
def second(tmp_path):
    folder = tmp_path / "second"
    folder.mkdir()
    world = World(folder)
    file = folder / "passo.toml"
    file.write_text(f'[keys.{KEY}]\nsecret = "{SECRET}"\naccount = "{ACCOUNT}"\n')
    yield world.serve("--config", file)
    world.close()


def pointing(world, second, services, secret=SECRET, more=""):
    """A configuration that points services at the second server."""
    table = f'endpoint = "{second.endpoint}"\naccess_key_id = "{KEY}"\nsecret_access_key = "{secret}"\n{more}\n'
    file = world.folder / "pointing.toml"
    file.write_text("".join(f"[services.{service}]\n{table}" for service in services))
    return file


def there(second, service, **options):
    return second.client(service, key=KEY, secret=SECRET, **options)


@pytest.mark.parametrize("name", ["1-rule-1.json", "2-default.json"])
def test_the_order_workflow_succeeds_with_its_effects_in_the_second_one(world, second, name):
    file = pointing(world, second, ["dynamodb", "s3", "sns"])
    done = world.run(ORDER, "--config", file, "--input", f"@{ORDER / 'inputs' / name}")
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    for service in ("dynamodb", "s3", "sns"):
        assert f"outside {service} is at {second.endpoint} with key {KEY}" in done.stderr
    items = there(second, "dynamodb").scan(TableName="order-orders")["Items"]
    found = sorted(item["sk"]["S"] for item in items)
    assert found == (["PART#invoice", "PART#label", "PART#stock"] if "rule" in name else ["ORDER"])
    topics = there(second, "sns").list_topics()["Topics"]
    assert topics == [{"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:order-orders"}]
    if "default" in name:
        eventually(lambda: list((second.data / "outbox").glob("*.eml")), what="the second one's mail")
    first = world.serve(data=world.folder / ".passo/order")
    assert first.client("dynamodb").list_tables()["TableNames"] == []
    assert first.client("sns").list_topics()["Topics"] == []


def test_the_log_workflow_succeeds_with_its_objects_and_items_in_the_second_one(world, second):
    file = pointing(world, second, ["dynamodb", "s3"])
    expected = json.loads((LOGS / "inputs" / "expected.json").read_text())["1-a-day.json"]["output"]
    done = world.run(
        LOGS, "--config", file, "--input", f"@{LOGS / 'inputs/1-a-day.json'}", env=network(), timeout=500)
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    assert {name: done.result["output"].get(name) for name in expected} == expected
    s3 = there(second, "s3")
    results = next(bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if "results" in bucket["Name"])
    report = json.loads(s3.get_object(Bucket=results, Key=f"reports/{expected['day']}/report.json")["Body"].read())
    assert report["lines"] == expected["lines"]
    pages = there(second, "dynamodb").get_paginator("scan").paginate(TableName="logs-summaries", Select="COUNT")
    assert sum(page["Count"] for page in pages) == expected["files"]
    first = world.serve(data=world.folder / ".passo/logs")
    assert first.client("dynamodb").list_tables()["TableNames"] == []
    assert first.client("s3").list_buckets()["Buckets"] == []


def test_a_wrong_key_gives_the_error_at_the_right_state(world, second):
    services = ["dynamodb", "sns"]
    server = world.serve("--config", pointing(world, second, services), "--iam", "on")
    machine = server.deploy()
    assert server.stop() == 0
    pointing(world, second, services, secret="a guess")
    server.start()

    def told():
        """The function has seconds for a start, which a busy machine may not give it; then another execution is asked."""
        execution = server.execute(machine, "2-default.json")
        assert server.ended(execution)["status"] == "FAILED"
        events = server.history(execution)
        return events if any(event["type"] == "TaskFailed" for event in events) else None

    events = eventually(told, seconds=120)
    failed = next(event for event in events if event["type"] == "TaskFailed")
    assert state_of(events, failed) == "StoreOrder"
    cause = failed["taskFailedEventDetails"]["cause"]
    assert "The request signature we calculated does not match the signature you provided." in cause
    assert "Error Code: InvalidSignatureException" in cause
    assert entered(events)[-1] == "OrderFailed"


def test_an_endpoint_that_does_not_answer_is_an_error_of_the_task(world, second):
    server = world.serve("--config", pointing(world, second, ["dynamodb"]))
    machine = server.deploy()
    second.kill()
    execution = server.execute(machine, "2-default.json")
    assert server.ended(execution)["status"] == "FAILED"
    failed = [event for event in server.history(execution) if event["type"] == "TaskFailed"]
    assert "Unable to execute HTTP request" in failed[0]["taskFailedEventDetails"]["cause"]


def test_objects_go_to_the_second_one_whoever_sends_them(world, second):
    server = world.serve("--config", pointing(world, second, ["s3"]))
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="by boto3/ç +%41", Body=b"x" * 100_000)
    states = server.client("stepfunctions")
    role = server.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    definition = {"StartAt": "Put", "States": {
        "Put": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "ResultPath": None, "Next": "Get",
                "Parameters": {"Bucket": "bucket", "Key": "by a task", "Body": {"n": 1}}},
        "Get": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "End": True,
                "Parameters": {"Bucket": "bucket", "Key": "by a task"}}}}
    machine = states.create_state_machine(name="m", definition=json.dumps(definition), roleArn=role)["stateMachineArn"]
    described = server.ended(states.start_execution(stateMachineArn=machine)["executionArn"])
    assert described["status"] == "SUCCEEDED", described
    assert json.loads(json.loads(described["output"])["Body"]) == {"n": 1}
    found = {found["Key"]: found["Size"] for found in there(second, "s3").list_objects_v2(Bucket="bucket")["Contents"]}
    assert found == {"by a task": 7, "by boto3/ç +%41": 100_000}
    body = s3.get_object(Bucket="bucket", Key="by boto3/ç +%41", Range="bytes=1-10")["Body"].read()
    assert body == b"x" * 10
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="bucket", Key="none")


CODE = """
import os
def handler(event, context):
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
"""


def test_functions_are_given_the_keys_only_when_the_table_says_so(world, second):
    server = world.serve("--config", pointing(world, second, ["s3", "cloudwatchlogs"]))
    functions.function(server, "look", CODE, functions.role(server, "r"))
    seen = functions.invoke(server, "look", {})
    assert seen["AWS_ENDPOINT_URL"] == server.endpoint and "AWS_ENDPOINT_URL_S3" not in seen
    assert SECRET not in seen.values() and KEY not in seen.values()
    assert server.stop() == 0
    pointing(world, second, ["s3", "cloudwatchlogs"], more="direct = true")
    server.start()
    seen = functions.invoke(server, "look", {})
    assert seen["AWS_ENDPOINT_URL"] == server.endpoint
    assert seen["AWS_ENDPOINT_URL_S3"] == seen["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] == second.endpoint
    assert (seen["AWS_ACCESS_KEY_ID"], seen["AWS_SECRET_ACCESS_KEY"]) == (KEY, SECRET)
    assert "AWS_SESSION_TOKEN" not in seen


def test_a_role_may_do_there_only_what_it_may_do_here(world, second):
    server = world.serve("--config", pointing(world, second, ["dynamodb"]), "--iam", "on")
    allowed = {"Effect": "Allow", "Action": "dynamodb:ListTables", "Resource": "*"}
    states = {"StartAt": "List", "States": {"List": {
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:dynamodb:listTables", "Arguments": {}, "End": True}},
        "QueryLanguage": "JSONata"}
    iam, sfn = server.client("iam"), server.client("stepfunctions")
    for name, statements in (("poor", []), ("rich", [allowed])):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": statements}))
        arn = sfn.create_state_machine(name=name, definition=json.dumps(states), roleArn=role)["stateMachineArn"]
        described = server.ended(sfn.start_execution(stateMachineArn=arn)["executionArn"])
        if name == "poor":
            assert described["status"] == "FAILED" and "not authorized to perform: dynamodb:ListTables" in described["cause"]
        else:
            assert described["status"] == "SUCCEEDED", described


def test_without_keys_the_server_says_which_table_lacks_them(world):
    file = world.folder / "passo.toml"
    file.write_text('[services.dynamodb]\nendpoint = "aws"\n')
    done = world.passo("serve", "--listen", "127.0.0.1:0", "--ephemeral", "--config", file)
    assert done.returncode == 3
    assert "[services.dynamodb]: no AWS_ACCESS_KEY_ID in the environment, and there is no profile 'default'" in done.stderr
