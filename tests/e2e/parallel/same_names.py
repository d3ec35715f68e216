"""What one of several test processes does on a server that all share: the same names in each, an account of its own.

Run by test_accounts.py with pytest-xdist; it is no test of the suite by itself.
"""

import datetime
import io
import json
import os
import time
import zipfile

import boto3
import pytest
from botocore.config import Config

REGION = "us-east-1"
ACCOUNTS = [f"{number:04d}" * 3 for number in range(1, 9)]


def trust(service):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})


def eventually(look, seconds=60):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"nothing came within {seconds} s"
        time.sleep(0.05)
    return found


@pytest.fixture(params=ACCOUNTS)
def account(request):
    return request.param


@pytest.fixture
def client(account):
    session = boto3.session.Session(aws_access_key_id=account, aws_secret_access_key="test", region_name=REGION)
    config = Config(read_timeout=120, retries={"total_max_attempts": 1})
    return lambda service: session.client(service, endpoint_url=os.environ["SHARED_ENDPOINT"], config=config)


def test_the_same_names_in_every_account(account, client):
    assert client("sts").get_caller_identity()["Account"] == account
    arn = lambda service, rest: f"arn:aws:{service}:{REGION}:{account}:{rest}"

    s3 = client("s3")
    s3.create_bucket(Bucket="shared-name")
    s3.put_object(Bucket="shared-name", Key="who", Body=account.encode())

    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="table", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}])

    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    assert topic == arn("sns", "topic")
    queue = sqs.create_queue(QueueName="queue", Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": "*"}]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn("sqs", "queue"))

    iam = client("iam")
    for name, service in (("code", "lambda"), ("machine", "states")):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(f"{service}.amazonaws.com"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("app.py", "def handler(event, context):\n    print('in', context.invoked_function_arn)\n"
                                  "    return {'arn': context.invoked_function_arn}\n")
    client("lambda").create_function(
        FunctionName="function", Runtime="python3.12", Handler="app.handler", Role=f"arn:aws:iam::{account}:role/code",
        Code={"ZipFile": archive.getvalue()}, Timeout=60)

    task = lambda resource, parameters, **more: {
        "Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "ResultPath": None, **more}
    states = client("stepfunctions")
    definition = {"StartAt": "Call", "States": {
        "Call": task("lambda:invoke", {"FunctionName": "function"}, ResultSelector={"arn.$": "$.Payload.arn"}, Next="Keep",
                     ResultPath="$.called"),
        "Keep": task("dynamodb:putItem", {"TableName": "table", "Item": {"k": {"S.$": "$.called.arn"}}}, Next="Say"),
        "Say": task("sns:publish", {"TopicArn": topic, "Message.$": "$.called.arn"}, Next="Measure"),
        "Measure": task("aws-sdk:cloudwatch:putMetricData", {"Namespace": "Shared", "MetricData": [
            {"MetricName": "runs", "Value": 1}]}, End=True)}}
    machine = states.create_state_machine(
        name="machine", definition=json.dumps(definition), roleArn=f"arn:aws:iam::{account}:role/machine")["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine, name="execution", input="{}")["executionArn"]
    assert execution == arn("states", "execution:machine:execution")
    described = eventually(
        lambda: (found := states.describe_execution(executionArn=execution))["status"] != "RUNNING" and found)
    assert described["status"] == "SUCCEEDED", described

    function = arn("lambda", "function:function")
    assert [item["k"]["S"] for item in dynamodb.scan(TableName="table")["Items"]] == [function]
    messages = sqs.receive_message(QueueUrl=queue["QueueUrl"], WaitTimeSeconds=20)["Messages"]
    assert [json.loads(message["Body"])["Message"] for message in messages] == [function]
    assert s3.get_object(Bucket="shared-name", Key="who")["Body"].read().decode() == account
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["shared-name"]
    assert [found["name"] for found in states.list_state_machines()["stateMachines"]] == ["machine"]
    lines = lambda: [event["message"] for event in client("logs").filter_log_events(
        logGroupName="/aws/lambda/function")["events"] if event["message"].startswith("in ")]
    assert [line.strip() for line in eventually(lines)] == [f"in {function}"]
    now = datetime.datetime.now(datetime.timezone.utc)
    points = client("cloudwatch").get_metric_statistics(
        Namespace="Shared", MetricName="runs", StartTime=now - datetime.timedelta(hours=1),
        EndTime=now + datetime.timedelta(hours=1), Period=7200, Statistics=["Sum"])["Datapoints"]
    assert sum(point["Sum"] for point in points) == 1.0
