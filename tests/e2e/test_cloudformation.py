"""CloudFormation's own calls: stacks and change sets made by the server, with boto3 and the AWS CLI's `deploy`."""

import json
import threading

import boto3
import pytest
from botocore.exceptions import ClientError

from deadline import eventually
from passo import aws

QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": {"Ref": "Delay"}}}
BAD = {"Type": "AWS::Lambda::Permission", "DependsOn": "Queue", "Properties": {
    "FunctionName": "nobody", "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"}}


def template(delay="1", **more):
    return json.dumps({
        "Description": "queues", "Parameters": {"Delay": {"Type": "String", "Default": delay}},
        "Resources": {"Queue": QUEUE} | more,
        "Outputs": {"Url": {"Value": {"Ref": "Queue"}, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-url"}}}}})


@pytest.fixture
def cloud(server):
    return server.client("cloudformation")


def stack(cloud, name):
    return cloud.describe_stacks(StackName=name)["Stacks"][0]


def events(cloud, name):
    found = cloud.describe_stack_events(StackName=name)["StackEvents"]
    return [(event["LogicalResourceId"], event["ResourceStatus"]) for event in reversed(found)]


def refused(call, code, **given):
    with pytest.raises(ClientError) as error:
        call(**given)
    assert error.value.response["Error"]["Code"] == code
    return error.value.response["Error"]["Message"]


def queues(server):
    return server.client("sqs").list_queues().get("QueueUrls", [])


def test_a_stack_is_created_updated_and_deleted_by_its_waiters(server, cloud):
    made = cloud.create_stack(StackName="shop", TemplateBody=template(), Tags=[{"Key": "team", "Value": "a"}])
    cloud.get_waiter("stack_create_complete").wait(StackName="shop")
    found = stack(cloud, "shop")
    assert found["StackId"] == made["StackId"] and found["Tags"] == [{"Key": "team", "Value": "a"}]
    assert found["Outputs"][0]["OutputValue"] == queues(server)[0] and found["Description"] == "queues"
    assert "LastUpdatedTime" not in found
    assert events(cloud, "shop") == [
        ("shop", "CREATE_IN_PROGRESS"), ("Queue", "CREATE_IN_PROGRESS"), ("Queue", "CREATE_COMPLETE"), ("shop", "CREATE_COMPLETE")]
    resource = cloud.describe_stack_resource(StackName="shop", LogicalResourceId="Queue")["StackResourceDetail"]
    assert resource["PhysicalResourceId"] == queues(server)[0]
    assert cloud.get_template(StackName="shop")["TemplateBody"] == json.loads(template())
    assert cloud.list_exports()["Exports"][0]["Name"] == "shop-url"
    message = refused(cloud.create_stack, "AlreadyExistsException", StackName="shop", TemplateBody=template())
    assert message == "Stack [shop] already exists"
    message = refused(cloud.update_stack, "ValidationError", StackName="shop", UsePreviousTemplate=True)
    assert message == "No updates are to be performed."
    cloud.update_stack(
        StackName="shop", UsePreviousTemplate=True, Parameters=[{"ParameterKey": "Delay", "ParameterValue": "7"}])
    cloud.get_waiter("stack_update_complete").wait(StackName="shop")
    attributes = server.client("sqs").get_queue_attributes(QueueUrl=queues(server)[0], AttributeNames=["DelaySeconds"])
    assert attributes["Attributes"]["DelaySeconds"] == "7"
    cloud.update_termination_protection(StackName="shop", EnableTerminationProtection=True)
    assert "TerminationProtection" in refused(cloud.delete_stack, "ValidationError", StackName="shop")
    cloud.update_termination_protection(StackName="shop", EnableTerminationProtection=False)
    cloud.delete_stack(StackName="shop")
    cloud.get_waiter("stack_delete_complete").wait(StackName="shop")
    assert queues(server) == [] and stack(cloud, made["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    cloud.delete_stack(StackName="shop")


def test_a_change_set_says_what_it_changes_and_changes_it_when_executed(server, cloud):
    made = cloud.create_change_set(
        StackName="shop", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=template())
    cloud.get_waiter("change_set_create_complete").wait(ChangeSetName=made["Id"])
    assert stack(cloud, "shop")["StackStatus"] == "REVIEW_IN_PROGRESS" and queues(server) == []
    change = cloud.describe_change_set(ChangeSetName="first", StackName="shop")["Changes"][0]["ResourceChange"]
    assert (change["Action"], change["LogicalResourceId"]) == ("Add", "Queue")
    cloud.execute_change_set(ChangeSetName=made["Id"])
    cloud.get_waiter("stack_create_complete").wait(StackName="shop")
    assert stack(cloud, "shop")["ChangeSetId"] == made["Id"] and len(queues(server)) == 1
    same = cloud.create_change_set(StackName="shop", ChangeSetName="same", UsePreviousTemplate=True)
    found = cloud.describe_change_set(ChangeSetName=same["Id"])
    assert found["Status"] == "FAILED" and "didn't contain changes" in found["StatusReason"]
    refused(cloud.execute_change_set, "InvalidChangeSetStatus", ChangeSetName=same["Id"])
    more = cloud.create_change_set(StackName="shop", ChangeSetName="more", TemplateBody=template("2", Other=QUEUE))
    actions = {change["ResourceChange"]["LogicalResourceId"]: change["ResourceChange"]["Action"]
               for change in cloud.describe_change_set(ChangeSetName=more["Id"])["Changes"]}
    assert actions == {"Queue": "Modify", "Other": "Add"}
    assert {each["ChangeSetName"] for each in cloud.list_change_sets(StackName="shop")["Summaries"]} == {"first", "same", "more"}
    cloud.delete_change_set(ChangeSetName=more["Id"])
    refused(cloud.describe_change_set, "ChangeSetNotFound", ChangeSetName=more["Id"])
    message = refused(
        cloud.create_change_set, "ValidationError", StackName="none", ChangeSetName="x", TemplateBody=template())
    assert message == "Stack [none] does not exist"


def test_a_failed_creation_is_rolled_back_and_can_only_be_deleted(server, cloud):
    cloud.create_stack(StackName="shop", TemplateBody=template(Bad=BAD))
    found = eventually(lambda: (found := stack(cloud, "shop"))["StackStatus"] == "ROLLBACK_COMPLETE" and found)
    assert "nobody" in found["StackStatusReason"] and queues(server) == []
    told = events(cloud, "shop")
    order = [("Bad", "CREATE_FAILED"), ("shop", "ROLLBACK_IN_PROGRESS"), ("Queue", "DELETE_COMPLETE"), ("shop", "ROLLBACK_COMPLETE")]
    assert [event for event in told if event in order] == order
    message = refused(cloud.update_stack, "ValidationError", StackName="shop", TemplateBody=template())
    assert "is in ROLLBACK_COMPLETE state and can not be updated." in message
    # A call is answered when its work is done, or after ten seconds: a busy machine may still be at it.
    cloud.delete_stack(StackName=found["StackId"])
    eventually(lambda: stack(cloud, found["StackId"])["StackStatus"] == "DELETE_COMPLETE")
    cloud.create_stack(StackName="shop", TemplateBody=template())
    eventually(lambda: stack(cloud, "shop")["StackStatus"] == "CREATE_COMPLETE")
    cloud.update_stack(StackName="shop", TemplateBody=template("5", Bad=BAD))
    eventually(lambda: stack(cloud, "shop")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE")
    assert len(queues(server)) == 1
    cloud.create_stack(StackName="kept", TemplateBody=template(Bad=BAD), DisableRollback=True)
    eventually(lambda: stack(cloud, "kept")["StackStatus"] == "CREATE_FAILED")
    assert len(queues(server)) == 2
    cloud.create_stack(StackName="gone", TemplateBody=template(Bad=BAD), OnFailure="DELETE")
    eventually(lambda: "gone" not in {found["StackName"] for found in cloud.describe_stacks()["Stacks"]})


def test_templates_that_cannot_be_made_are_refused_before_anything_is_kept(cloud):
    role = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r", "AssumeRolePolicyDocument": {"Statement": []}}}
    arn = "arn:aws:cloudformation:us-east-1:000000000000:stack/shop/1"
    for call, more in [(cloud.create_stack, {}), (cloud.create_change_set, {"ChangeSetName": "c", "ChangeSetType": "CREATE"})]:
        assert "at 'stackName' failed" in refused(call, "ValidationError", StackName=arn, TemplateBody=template(), **more)
    for code, text, body in [
        ("ValidationError", "Unrecognized resource types: [AWS::Foo::Bar]", template(X={"Type": "AWS::Foo::Bar"})),
        ("ValidationError", "YAML not well-formed", "Resources: ["),
        ("ValidationError", "Unresolved resource dependencies [Nobody]", template(X={
            "Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Nobody"}}})),
        ("ValidationError", "code comes from S3", template(X={
            "Type": "AWS::Lambda::Function", "Properties": {"Code": {"Passo::Folder": {"Ref": "Delay"}}}})),
        ("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_NAMED_IAM]", template(X=role)),
    ]:
        assert text in refused(cloud.create_stack, code, StackName="shop", TemplateBody=body), body
    assert cloud.list_stacks()["StackSummaries"] == []
    found = cloud.validate_template(TemplateBody=template(X=role))
    assert found["Capabilities"] == ["CAPABILITY_NAMED_IAM"] and found["Parameters"][0]["DefaultValue"] == "1"
    summary = cloud.get_template_summary(TemplateBody=template(X=role))
    assert summary["ResourceTypes"] == ["AWS::IAM::Role", "AWS::SQS::Queue"]


def test_a_stack_is_made_in_the_name_of_who_ordered_it_and_seen_by_its_account_alone(server):
    iam = server.client("iam")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "cloudformation:*", "Resource": "*"}]}
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="weak", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName="weak", PolicyName="p", PolicyDocument=json.dumps(policy))
    given = server.client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/weak", RoleSessionName="weak")["Credentials"]
    weak = boto3.client(
        "cloudformation", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])
    weak.create_stack(StackName="shop", TemplateBody=template())
    found = eventually(lambda: (found := stack(weak, "shop"))["StackStatus"] == "ROLLBACK_COMPLETE" and found)
    assert "sqs:" in found["StackStatusReason"] and "is not authorized" in found["StackStatusReason"]
    assert queues(server) == []
    other = server.client("cloudformation", key="111111111111")
    assert other.list_stacks()["StackSummaries"] == []
    message = refused(other.describe_stacks, "ValidationError", StackName=found["StackId"])
    assert message.endswith("does not exist")


def test_a_server_that_is_killed_while_it_makes_a_stack_goes_on_at_its_next_start(server, cloud):
    chain, last = {}, "Queue"
    for number in range(40):
        name = f"Queue{number}"
        chain[name] = {"Type": "AWS::SQS::Queue", "DependsOn": last}
        last = name
    given = {"StackName": "shop", "TemplateBody": template(**chain)}

    def create():
        try:
            server.client("cloudformation").create_stack(**given)
        except Exception:
            # The server is killed before it answers, or it was faster than this test.
            pass

    order = threading.Thread(target=create)
    order.start()
    eventually(lambda: len(queues(server)) >= 2)
    server.kill()
    order.join()
    server.start()
    eventually(lambda: stack(cloud, "shop")["StackStatus"] == "CREATE_COMPLETE")
    assert len(queues(server)) == 41
    told = events(cloud, "shop")
    assert told[0] == ("shop", "CREATE_IN_PROGRESS") and told[-1] == ("shop", "CREATE_COMPLETE")
    assert all((name, "CREATE_COMPLETE") in told for name in chain)


PACKAGE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Greet:
    Type: AWS::Serverless::Function
    Properties: {Runtime: python3.12, Handler: app.handler, CodeUri: ./code}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.json
      DefinitionSubstitutions: {Function: !GetAtt Greet.Arn}
      Policies: [{LambdaInvokePolicy: {FunctionName: !Ref Greet}}]
Outputs:
  Machine: {Value: !Ref Machine}
"""


def test_the_aws_cli_packages_and_deploys_a_project_twice(server, cloud, tmp_path):
    project = tmp_path / "project"
    (project / "code").mkdir(parents=True)
    (project / "code" / "app.py").write_text("def handler(event, context):\n    return {'hello': event['name']}\n")
    (project / "template.yaml").write_text(PACKAGE)
    task = {"Type": "Task", "Resource": "${Function}", "End": True}
    (project / "machine.asl.json").write_text(json.dumps({"StartAt": "Greet", "States": {"Greet": task}}))
    server.client("s3").create_bucket(Bucket="artifacts")
    packaged = project / "packaged.yaml"
    done = aws(server, "cloudformation", "package", "--template-file", project / "template.yaml", "--s3-bucket", "artifacts",
               "--output-template-file", packaged)
    assert done.returncode == 0, done.stderr
    words = ["cloudformation", "deploy", "--stack-name", "greeter", "--template-file", packaged, "--s3-bucket", "artifacts",
             "--capabilities", "CAPABILITY_IAM"]
    done = aws(server, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    machine = stack(cloud, "greeter")["Outputs"][0]["OutputValue"]
    started = server.client("stepfunctions").start_execution(stateMachineArn=machine, input='{"name": "Ada"}')
    ended = server.ended(started["executionArn"])
    assert ended["status"] == "SUCCEEDED" and json.loads(ended["output"]) == {"hello": "Ada"}, ended
    again = aws(server, *words, "--no-fail-on-empty-changeset")
    assert again.returncode == 0 and "No changes to deploy" in again.stderr + again.stdout, again.stderr + again.stdout
