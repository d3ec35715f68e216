"""With access keys configured, every request must bear a good signature; refusals are AWS's."""

import datetime
import io
import json
import urllib.error
import urllib.request
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from passo import ACCOUNT, ORDER, REGION

KEY, SECRET, OTHER = "AKIAEXAMPLE", "s3cr3t/with+signs", "111122223333"
ALL = ["dynamodb", "sqs", "sns", "iam", "sts", "lambda", "s3", "stepfunctions", "logs", "cloudwatch", "events", "ecs"]


@pytest.fixture
def keyed(world):
    file = world.folder / "passo.toml"
    file.write_text(f'[keys.{KEY}]\nsecret = "{SECRET}"\n[keys.{OTHER}]\nsecret = "of the other"\n')
    return world.serve("--config", file, "--iam", "on")


def owner(server, service, secret=SECRET, key=KEY, **options):
    return server.client(service, key=key, secret=secret, **options)


def some_call(client):
    """A harmless call of each service."""
    calls = {
        "dynamodb": "list_tables", "sqs": "list_queues", "sns": "list_topics", "iam": "list_roles",
        "sts": "get_caller_identity", "lambda": "list_functions", "s3": "list_buckets", "stepfunctions": "list_state_machines",
        "logs": "describe_log_groups", "cloudwatch": "list_metrics", "events": "list_rules", "ecs": "list_clusters"}
    return getattr(client, calls[{"sfn": "stepfunctions"}.get(name := client.meta.service_model.service_name, name)])()


def refusal(client):
    with pytest.raises(ClientError) as caught:
        some_call(client)
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


@pytest.mark.parametrize("service", ALL)
def test_good_signatures_pass_and_others_are_refused_as_by_aws(keyed, service):
    some_call(owner(keyed, service))
    query = service in ("sns", "iam", "sts")
    rest = service == "lambda"
    code, status, message = refusal(owner(keyed, service, secret="wrong"))
    assert message.startswith("The request signature we calculated does not match the signature you provided.")
    if service == "s3" or query:
        assert (code, status) == ("SignatureDoesNotMatch", 403)
    else:
        assert (code, status) == ("InvalidSignatureException", 403 if rest else 400)
    code, status, message = refusal(owner(keyed, service, key="AKIANOBODYHASTHIS"))
    expected = {"s3": ("InvalidAccessKeyId", 403)}.get(service) or (
        ("InvalidClientTokenId", 403) if query else ("UnrecognizedClientException", 403 if rest else 400))
    assert (code, status) == expected, message


@pytest.mark.parametrize("service", ["dynamodb", "sns", "s3"])
@pytest.mark.parametrize("minutes", [-20, 20])
def test_clocks_may_not_differ_by_more_than_a_quarter_of_an_hour(keyed, service, minutes):
    now = datetime.datetime.now(datetime.timezone.utc)
    for skew, passes in ((minutes, False), (minutes // 2, True)):
        with mock.patch("botocore.auth.get_current_datetime", lambda: (now + datetime.timedelta(minutes=skew)).replace(tzinfo=None)):
            client = owner(keyed, service)
            if passes:
                some_call(client)
                continue
            code, _, message = refusal(client)
    if service == "s3":
        assert code == "RequestTimeTooSkewed"
    else:
        assert code == {"dynamodb": "InvalidSignatureException", "sns": "SignatureDoesNotMatch"}[service]
        assert message.startswith("Signature expired: " if minutes < 0 else "Signature not yet current: ")


def raw(server, headers=None, path="/", data=b"{}"):
    request = urllib.request.Request(server.endpoint + path, data, headers or {})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    return caught.value.code, caught.value.read().decode()


def test_requests_without_or_with_half_a_signature_are_refused(keyed):
    json_call = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
    status, body = raw(keyed, json_call)
    assert status == 400 and json.loads(body)["__type"].endswith("MissingAuthenticationTokenException")
    status, body = raw(keyed, {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"})
    assert status == 400 and json.loads(body)["__type"].endswith("MissingAuthenticationTokenException")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, body = raw(keyed, form, data=b"Action=ListTopics&Version=2010-03-31")
    assert status == 403 and "<Code>MissingAuthenticationToken</Code>" in body
    status, body = raw(keyed, path="/bucket/key", data=None)
    assert status == 403 and "<Code>AccessDenied</Code>" in body
    scope = f"Credential={KEY}/20260101/{REGION}/dynamodb/aws4_request"
    status, body = raw(keyed, json_call | {"Authorization": f"AWS4-HMAC-SHA256 {scope}"})
    said = json.loads(body)
    assert status == 400 and said["__type"].endswith("IncompleteSignatureException")
    assert said["message"].startswith("Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders'")
    with urllib.request.urlopen(keyed.endpoint + "/healthz") as answer:
        assert answer.status == 200


def test_each_key_is_the_owner_of_its_account(keyed):
    assert owner(keyed, "sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    other = owner(keyed, "sts", key=OTHER, secret="of the other")
    assert other.get_caller_identity()["Arn"] == f"arn:aws:iam::{OTHER}:root"
    assert refusal(owner(keyed, "sts", key="222233334444", secret="any"))[0] == "InvalidClientTokenId"


def test_keys_of_users_and_sessions_are_verified_too(keyed):
    iam = owner(keyed, "iam")
    iam.create_user(UserName="ana")
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="ana", PolicyName="all", PolicyDocument=json.dumps(allowed))
    made = iam.create_access_key(UserName="ana")["AccessKey"]
    sts = owner(keyed, "sts", key=made["AccessKeyId"], secret=made["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ana"
    assert refusal(owner(keyed, "dynamodb", key=made["AccessKeyId"], secret="wrong"))[0] == "InvalidSignatureException"


def test_the_order_workflow_runs_on_a_server_that_verifies(keyed):
    """The command line signs with the keys of the environment, its functions and tasks with those of their roles."""
    done = keyed.world.run(
        ORDER, "--endpoint", keyed.endpoint, "--input", f"@{ORDER / 'inputs/1-rule-1.json'}",
        env={"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    refused = keyed.world.run(ORDER, "--endpoint", keyed.endpoint)
    assert refused.returncode == 2 and "security token included in the request is invalid" in refused.stderr


def test_a_run_of_its_own_server_needs_no_keys_in_the_environment(world):
    file = world.folder / "passo.toml"
    file.write_text(f'[keys.{KEY}]\nsecret = "{SECRET}"\naccount = "{OTHER}"\n')
    done = world.run(ORDER, "--config", file, "--input", f"@{ORDER / 'inputs/2-default.json'}")
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    assert f":{OTHER}:" in done.result["executionArn"]


class TestS3:
    @pytest.fixture
    def s3(self, keyed):
        s3 = owner(keyed, "s3")
        s3.create_bucket(Bucket="bucket")
        return s3

    def test_bodies_are_taken_in_every_way_of_signing_them(self, keyed, s3):
        key = "a b/ç+%/~x"
        ways = {
            "default": {}, "signed": {"payload_signing_enabled": True}, "unsigned": {"payload_signing_enabled": False},
        }
        for name, options in ways.items():
            for checksum in ("when_required", "when_supported"):
                client = owner(keyed, "s3", s3=options, request_checksum_calculation=checksum)
                for body in (b"whole " * 1000, io.BytesIO(b"whole " * 1000), b""):
                    client.put_object(Bucket="bucket", Key=key, Body=body, Metadata={"way": name})
                    found = client.get_object(Bucket="bucket", Key=key)
                    assert found["Body"].read() == (b"" if body == b"" else b"whole " * 1000), (name, checksum)

    def test_a_body_that_is_not_the_signed_one_is_refused(self, keyed, s3):

        client = owner(keyed, "s3", s3={"payload_signing_enabled": True}, request_checksum_calculation="when_required")
        client.meta.events.register("before-send.s3", lambda request, **_: setattr(request, "body", b"forged"))
        with pytest.raises(ClientError) as caught:
            client.put_object(Bucket="bucket", Key="k", Body=b"honest")
        assert caught.value.response["Error"]["Code"] == "XAmzContentSHA256Mismatch"

    def test_presigned_urls_are_verified(self, keyed, s3):
        s3.put_object(Bucket="bucket", Key="k", Body=b"here")
        v4 = owner(keyed, "s3", signature_version="s3v4")
        url = v4.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"}, ExpiresIn=60)
        assert urllib.request.urlopen(url).read() == b"here"
        for wrong in (url.replace("/k?", "/other?"), url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(wrong)
            assert "<Code>SignatureDoesNotMatch</Code>" in caught.value.read().decode()
        put = v4.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "new"}, ExpiresIn=60)
        urllib.request.urlopen(urllib.request.Request(put, b"sent", method="PUT"))
        assert s3.get_object(Bucket="bucket", Key="new")["Body"].read() == b"sent"
        past = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - datetime.timedelta(hours=1)
        with mock.patch("botocore.auth.get_current_datetime", lambda: past):
            late = v4.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"}, ExpiresIn=60)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(late)
        body = caught.value.read().decode()
        assert caught.value.code == 403 and "<Message>Request has expired</Message>" in body
