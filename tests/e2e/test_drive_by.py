"""A web page that a browser shows on this machine can do nothing: not from another origin, not by a rebound host name."""

import http.client
import json

import pytest

# service, target or path, body: each would change something.
CALLS = {
    "states": ("AWSStepFunctions.CreateActivity", {"name": "evil"}),
    "dynamodb": ("DynamoDB_20120810.CreateTable", {
        "TableName": "evil", "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}]}),
    "sqs": ("AmazonSQS.CreateQueue", {"QueueName": "evil"}),
    "logs": ("Logs_20140328.CreateLogGroup", {"logGroupName": "evil"}),
    "events": ("AWSEvents.PutRule", {"Name": "evil", "EventPattern": '{"source": ["evil"]}'}),
    "ecs": ("AmazonEC2ContainerServiceV20141113.CreateCluster", {"clusterName": "evil"}),
    "sns": (None, "Action=CreateTopic&Name=evil&Version=2010-03-31"),
    "iam": (None, "Action=CreateUser&UserName=evil&Version=2010-05-08"),
    "sts": (None, "Action=GetCallerIdentity&Version=2011-06-15"),
    "monitoring": (None, "Action=PutMetricData&Namespace=evil&MetricData.member.1.MetricName=m&MetricData.member.1.Value=1&Version=2010-08-01"),
    "lambda": ("/2015-03-31/functions", {"FunctionName": "evil", "Runtime": "python3.12", "Handler": "a.b", "Role": "arn:aws:iam::000000000000:role/r",
                                         "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}),
    "info": ("GET", "/local/info"),
}
PAGES = {
    "foreign origin": {"Origin": "https://evil.example"},
    "another port of this machine": {"Origin": "http://localhost:3000"},
    "sandboxed page": {"Origin": "null"},
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "rebound host": {"Host": "evil.example"},
    "rebound host with our port": {"Host": "rebound.evil.example:4566"},
    "host below a public suffix for addresses": {"Host": "127.0.0.1.nip.io"},
}


def send(server, service, headers):
    name, body = CALLS[service]
    method, path, content = "POST", "/", json.dumps(body) if not isinstance(body, str) else body
    sent = {"Host": server.listen, "Authorization":
            f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"}
    if name == "GET":
        method, path, content = "GET", body, None
    elif name is None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    elif name.startswith("/"):
        path, sent["Content-Type"] = name, "application/json"
    else:
        sent |= {"X-Amz-Target": name, "Content-Type": "application/x-amz-json-1.0"}
    connection = http.client.HTTPConnection(server.listen, timeout=90)
    connection.putrequest(method, path, skip_host=True)
    content = (content or "").encode()
    for key, value in {**sent, **headers, "Content-Length": str(len(content))}.items():
        connection.putheader(key, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def everything(server):
    """What a drive-by could have made."""
    names = json.dumps([
        server.client("stepfunctions").list_activities()["activities"],
        server.client("dynamodb").list_tables()["TableNames"],
        server.client("sqs").list_queues().get("QueueUrls", []),
        server.client("logs").describe_log_groups()["logGroups"],
        server.client("events").list_rules()["Rules"],
        server.client("ecs").list_clusters()["clusterArns"],
        server.client("sns").list_topics()["Topics"],
        [user["UserName"] for user in server.client("iam").list_users()["Users"]],
        server.client("cloudwatch").list_metrics(Namespace="evil")["Metrics"],
        server.client("lambda").list_functions()["Functions"],
    ], default=str)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_refused_on_every_service_and_changes_nothing(server, page):
    for service in CALLS:
        status, body, headers = send(server, service, PAGES[page])
        assert status == 403, f"{service}: {status} {body}"
        assert "Refused" in body
        assert not any(name.lower().startswith("access-control-") for name in headers)
    assert "evil" not in everything(server)


def test_a_preflight_is_refused(server):
    connection = http.client.HTTPConnection(server.listen, timeout=90)
    connection.request("OPTIONS", "/", headers={
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-amz-target"})
    answer = connection.getresponse()
    assert answer.status == 403
    assert not any(name.lower().startswith("access-control-") for name in dict(answer.getheaders()))


def test_the_same_calls_without_a_page_are_answered(server):
    for service in CALLS:
        status, body, _ = send(server, service, {})
        refused_for_its_content = service == "lambda" and status == 400
        assert status < 300 or refused_for_its_content, f"{service}: {status} {body}"


def test_requests_without_a_host_or_with_two_are_refused(server):
    import socket
    for head in (b"GET /local/info HTTP/1.1\r\n\r\n",
                 b"GET /local/info HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
                 b"GET http://evil.example/local/info HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        host, port = server.listen.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=90) as connection:
            connection.sendall(head)
            status = connection.recv(4096).split(b"\r\n")[0]
            assert b" 403 " in status or b" 400 " in status, (head, status)
