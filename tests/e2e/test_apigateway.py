"""REST APIs made by CloudFormation and called by a state machine and from outside; secrets read by one."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

HANDLER = """
import json

def handler(event, context):
    said = {"path": event["path"], "proxy": event["pathParameters"]["proxy"], "query": event["queryStringParameters"],
            "body": json.loads(event["body"]) if event["body"] else None, "stage": event["requestContext"]["stage"]}
    return {"statusCode": 201, "headers": {"X-Mine": "yes"}, "body": json.dumps(said)}
"""

TEMPLATE = {
    "Resources": {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}}},
        "Echo": {"Type": "AWS::Lambda::Function", "Properties": {
            "Runtime": "python3.12", "Handler": "index.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": HANDLER}}},
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "echo"}},
        "Proxy": {"Type": "AWS::ApiGateway::Resource", "Properties": {
            "RestApiId": {"Ref": "Api"}, "ParentId": {"Fn::GetAtt": ["Api", "RootResourceId"]}, "PathPart": "{proxy+}"}},
        "Any": {"Type": "AWS::ApiGateway::Method", "Properties": {
            "RestApiId": {"Ref": "Api"}, "ResourceId": {"Ref": "Proxy"}, "HttpMethod": "ANY", "AuthorizationType": "NONE",
            "Integration": {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": {
                "Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Echo.Arn}/invocations"}}}},
        "Deployment": {"Type": "AWS::ApiGateway::Deployment", "DependsOn": "Any", "Properties": {"RestApiId": {"Ref": "Api"}}},
        "Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": {
            "RestApiId": {"Ref": "Api"}, "DeploymentId": {"Ref": "Deployment"}, "StageName": "dev"}},
        "Permission": {"Type": "AWS::Lambda::Permission", "Properties": {
            "FunctionName": {"Ref": "Echo"}, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
            "SourceArn": {"Fn::Sub": "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*/*/*"}}}},
    "Outputs": {"Api": {"Value": {"Ref": "Api"}}}}


def machine(server, name, state, statements):
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    iam = server.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    if statements:
        policy = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    definition = {"StartAt": "Call", "States": {"Call": {"Type": "Task", "End": True, **state}}}
    made = server.client("stepfunctions").create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)
    return made["stateMachineArn"]


def run(server, machine, given="{}"):
    started = server.client("stepfunctions").start_execution(stateMachineArn=machine, input=given)
    return server.ended(started["executionArn"], seconds=120)


def test_an_api_of_a_stack_is_called_by_a_state_machine_and_from_outside(server):
    cloud = server.client("cloudformation")
    cloud.create_stack(StackName="echo", TemplateBody=json.dumps(TEMPLATE), Capabilities=["CAPABILITY_IAM"])
    cloud.get_waiter("stack_create_complete").wait(StackName="echo")
    api = cloud.describe_stacks(StackName="echo")["Stacks"][0]["Outputs"][0]["OutputValue"]
    parameters = {
        "ApiEndpoint": f"{api}.execute-api.us-east-1.amazonaws.com", "Method": "POST", "Stage": "dev", "Path.$": "$.path",
        "QueryParameters": {"q": ["1"]}, "RequestBody.$": "$"}
    call = machine(server, "caller", {"Resource": "arn:aws:states:::apigateway:invoke", "Parameters": parameters}, [])
    ended = run(server, call, '{"path": "pets/7"}')
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["StatusCode"] == 201 and output["StatusText"] == "Created" and output["Headers"]["x-mine"] == ["yes"]
    expected = {"path": "/pets/7", "proxy": "pets/7", "query": {"q": "1"}, "body": {"path": "pets/7"}, "stage": "dev"}
    assert output["ResponseBody"] == expected
    failed = run(server, call, '{"path": ""}')
    assert failed["error"] == "ApiGateway.403" and "Missing Authentication Token" in failed["cause"], failed
    url = f"{server.endpoint}/restapis/{api}/dev/_user_request_/pets/8?q=2"
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 201 and json.load(answer)["path"] == "/pets/8"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/restapis/{api}/prod/_user_request_/pets/8")
    assert refused.value.code == 403 and json.load(refused.value) == {"message": "Forbidden"}
    cloud.delete_stack(StackName="echo")
    cloud.get_waiter("stack_delete_complete").wait(StackName="echo")
    assert server.client("apigateway").get_rest_apis()["items"] == []


def test_a_secret_is_read_by_a_state_machine_that_may(server):
    secrets = server.client("secretsmanager")
    arn = secrets.create_secret(Name="app/key", SecretString='{"key": "hunter2"}')["ARN"]
    state = {"Resource": "arn:aws:states:::aws-sdk:secretsmanager:getSecretValue", "Parameters": {"SecretId": "app/key"}}
    may = [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}]
    ended = run(server, machine(server, "may", state, may))
    assert ended["status"] == "SUCCEEDED" and json.loads(ended["output"])["SecretString"] == '{"key": "hunter2"}', ended
    refused = run(server, machine(server, "may-not", state, []))
    assert refused["status"] == "FAILED" and "is not authorized to perform: secretsmanager:GetSecretValue" in refused["cause"]
    assert server.client("secretsmanager", key="111111111111").list_secrets()["SecretList"] == []
    secrets.put_secret_value(SecretId=arn, SecretString="new")
    server.kill()
    server.start()
    assert secrets.get_secret_value(SecretId="app/key")["SecretString"] == "new"
    assert secrets.get_secret_value(SecretId="app/key", VersionStage="AWSPREVIOUS")["SecretString"] == '{"key": "hunter2"}'
    secrets.delete_secret(SecretId="app/key", ForceDeleteWithoutRecovery=True)
    with pytest.raises(ClientError, match="can't find the specified secret"):
        secrets.get_secret_value(SecretId="app/key")
