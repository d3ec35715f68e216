"""The audit: who changed what is on disk before the caller is answered, without secrets, in the account and region it belongs to."""

import json
import random

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
import pytest

from deadline import eventually
from passo import ACCOUNT, REGION, aws

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
PASS = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})
WAIT = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Wait", "Seconds": 1, "End": True}}})


def records(server, client=None, **lookup):
    """All records that a lookup finds, the newest first."""
    client = client or server.client("cloudtrail")
    attributes = [{"AttributeKey": key, "AttributeValue": value} for key, value in lookup.items()]
    pages = client.get_paginator("lookup_events").paginate(LookupAttributes=attributes)
    events = [event for page in pages for event in page["Events"]]
    for event in events:
        event["Record"] = json.loads(event["CloudTrailEvent"])
    return events


def names(events):
    return [event["EventName"] for event in events]


def test_a_change_tells_who_where_what_and_the_revision_before_and_after(world):
    server = world.serve("--iam", "off")
    states = server.client("stepfunctions", user_agent_extra="audit/1")
    arn = states.create_state_machine(name="m", definition=PASS, roleArn=ROLE)["stateMachineArn"]
    updated = states.update_state_machine(stateMachineArn=arn, definition=WAIT)
    states.describe_state_machine(stateMachineArn=arn)
    execution = states.start_execution(stateMachineArn=arn, input='{"card": "4111-secret"}')["executionArn"]
    with pytest.raises(ClientError):
        states.update_state_machine(stateMachineArn=arn, definition="{}")
    states.delete_state_machine(stateMachineArn=arn)

    found = records(server, ResourceName=arn)
    assert names(found) == [
        "DeleteStateMachine", "UpdateStateMachine", "StartExecution", "UpdateStateMachine", "CreateStateMachine"]
    deleted, refused, started, update, created = (event["Record"] for event in found)
    assert created["eventSource"] == "states.amazonaws.com" and created["awsRegion"] == REGION
    assert created["sourceIPAddress"] == "127.0.0.1" and "audit/1" in created["userAgent"]
    assert created["userIdentity"]["type"] == "Root" and created["userIdentity"]["accessKeyId"] == "test"
    assert created["recipientAccountId"] == ACCOUNT and created["readOnly"] is False
    assert created["requestParameters"]["definition"] == "HIDDEN_DUE_TO_SECURITY_REASONS"
    assert created["requestParameters"]["roleArn"] == ROLE
    assert created["responseElements"]["stateMachineArn"] == arn
    assert created["additionalEventData"]["before"] is None
    change = update["additionalEventData"]
    assert change["before"] == created["additionalEventData"]["after"]
    assert change["before"]["revisionId"] == "INITIAL" and change["after"]["revisionId"] == updated["revisionId"]
    assert change["before"]["definitionSha256"] != change["after"]["definitionSha256"]
    assert refused["errorCode"] == "InvalidDefinition" and refused["errorMessage"]
    assert refused["additionalEventData"]["before"] == refused["additionalEventData"]["after"] == change["after"]
    assert deleted["additionalEventData"]["before"] == change["after"]
    assert started["responseElements"]["executionArn"] == execution
    assert "4111" not in json.dumps(records(server), default=str)
    request_id = eventually(lambda: started["requestID"])
    assert len(request_id) == 36 and len({event["EventId"] for event in found}) == 5


def test_services_are_recorded_with_their_callers_and_without_secrets(world):
    server = world.serve("--iam", "on")
    iam = server.client("iam")
    iam.create_user(UserName="alice")
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:CreateQueue", "Resource": "*"}]}
    iam.put_user_policy(UserName="alice", PolicyName="queues", PolicyDocument=json.dumps(allow))
    alice = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    url = server.client("sqs", **alice).create_queue(QueueName="q", tags={"team": "blue"})["QueueUrl"]
    with pytest.raises(ClientError):
        server.client("sqs", **alice).delete_queue(QueueUrl=url)
    server.client("sqs").send_message(QueueUrl=url, MessageBody="a-secret-message")
    server.client("s3").create_bucket(Bucket="bucket")
    server.client("s3").put_object(Bucket="bucket", Key="k", Body=b"a-secret-object")

    by_alice = records(server, Username="alice")
    assert names(by_alice) == ["DeleteQueue", "CreateQueue"]
    identity = by_alice[1]["Record"]["userIdentity"]
    assert identity["type"] == "IAMUser" and identity["accessKeyId"] == by_alice[1]["AccessKeyId"] == key["AccessKeyId"]
    assert "AccessDenied" in by_alice[0]["Record"]["errorCode"]
    assert by_alice[1]["Record"]["requestParameters"]["tags"] == {"team": "blue"}
    everything = records(server)
    assert {"CreateUser", "CreateAccessKey", "PutUserPolicy", "CreateBucket"} <= set(names(everything))
    assert not {"SendMessage", "PutObject"} & set(names(everything))
    text = json.dumps(everything, default=str)
    assert key["SecretAccessKey"] not in text and "a-secret" not in text

    found = aws(server, "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=CreateBucket")
    assert found.returncode == 0, found.stderr
    assert [event["EventName"] for event in json.loads(found.stdout)["Events"]] == ["CreateBucket"]
    lines = world.passo("audit", "--endpoint", server.endpoint, "--user", "alice").stdout.splitlines()
    assert [json.loads(line)["eventName"] for line in lines] == ["CreateQueue", "DeleteQueue"]


def test_accounts_and_regions_do_not_see_each_other(world):
    server = world.serve("--iam", "off")

    def client(service, account, region):
        return boto3.client(
            service, endpoint_url=server.endpoint, region_name=region, aws_access_key_id=account,
            aws_secret_access_key="x", config=Config(retries={"total_max_attempts": 1}))

    places = [("111111111111", "us-east-1"), ("111111111111", "sa-east-1"), ("222222222222", "us-east-1")]
    for index, place in enumerate(places):
        client("stepfunctions", *place).create_activity(name=f"a{index}")
    for index, place in enumerate(places):
        found = records(server, client("cloudtrail", *place))
        assert [event["Record"]["requestParameters"]["name"] for event in found] == [f"a{index}"]


def test_a_killed_server_has_a_record_of_all_that_it_acknowledged(world):
    server = world.serve("--iam", "off")
    acknowledged = []
    for _ in range(4):
        states, logs = server.client("stepfunctions"), server.client("logs")
        for _ in range(random.randrange(1, 6)):
            name = f"n{len(acknowledged)}"
            if random.random() < 0.5:
                states.create_activity(name=name)
            else:
                logs.create_log_group(logGroupName=name)
            acknowledged.append(name)
        server.kill()
        server.start()
    found = records(server)
    recorded = []
    for event in found:
        request = event["Record"]["requestParameters"]
        recorded.append(request.get("name") or request.get("logGroupName"))
    assert sorted(recorded) == sorted(acknowledged)
