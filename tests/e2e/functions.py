"""Making Lambda functions from a few lines of code."""

import io
import json
import zipfile

TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


def role(server, name, *statements):
    iam = server.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    if statements:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(document))
    return arn


def function(server, name, code, role_arn, variables=None, **more):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("app.py", code)
    server.client("lambda").create_function(
        FunctionName=name, Runtime="python3.12", Handler="app.handler", Role=role_arn,
        Code={"ZipFile": archive.getvalue()}, Timeout=30, Environment={"Variables": variables or {}}, **more)


def invoke(server, name, event):
    answer = server.client("lambda", read_timeout=120).invoke(FunctionName=name, Payload=json.dumps(event))
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload
