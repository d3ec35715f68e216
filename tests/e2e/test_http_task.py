"""HTTP Tasks and EventBridge's connections, against a small API of this test."""

import base64
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from deadline import eventually

ROLE = "arn:aws:iam::000000000000:role/http"


class Api(BaseHTTPRequestHandler):
    """Echoes at /echo; gives out tokens at /token, of which it takes the newest only; redirects at /away."""

    protocol_version = "HTTP/1.1"
    tokens = 0

    def answer(self, status, body, **headers):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content_type": "application/json"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        path, _, query = self.path.partition("?")
        if path == "/token":
            form = dict(urllib.parse.parse_qsl(body))
            if form.get("client_secret") != "s3cret":
                return self.answer(401, {"error": "invalid_client"})
            Api.tokens += 1
            return self.answer(200, {"access_token": f"t{Api.tokens}", "expires_in": 3600})
        if path == "/mine" and self.headers.get("authorization") != f"Bearer t{Api.tokens}":
            return self.answer(401, {"error": "token"})
        if path == "/away":
            return self.answer(302, {}, location="/echo")
        if path == "/picture":
            return self.answer(200, b"x", content_type="image/png")
        if path == "/status":
            return self.answer(int(query), {"why": "told to"})
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.answer(200, {"method": self.command, "query": query, "headers": headers, "body": body})

    do_GET = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_POST

    def log_message(self, format, *arguments):
        pass


@pytest.fixture(scope="module")
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def server(world):
    (world.folder / "passo.toml").write_text('[http]\nplain = "loopback"\n')
    return world.serve("--config", world.folder / "passo.toml")


def connect(server, kind="BASIC", name="api", **parameters):
    given = {
        "BASIC": {"BasicAuthParameters": {"Username": "ada", "Password": "p4ssw0rd"}},
        "API_KEY": {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "k3y"}},
    }.get(kind, {})
    made = server.client("events").create_connection(
        Name=name, AuthorizationType=kind, AuthParameters=given | parameters)
    return made["ConnectionArn"]


def task(url, connection, method="POST", **parameters):
    parameters |= {"ApiEndpoint": url, "Method": method, "InvocationConfig": {"ConnectionArn": connection}}
    return {"Type": "Task", "Resource": "arn:aws:states:::http:invoke", "Parameters": parameters, "End": True}


def tried(server, state, **more):
    """The state by itself, which calls for real."""
    client = server.client("stepfunctions", inject_host_prefix=False)
    return client.test_state(definition=json.dumps(state), roleArn=ROLE, **more)


def test_a_task_sends_what_state_and_connection_say(server, api):
    connection = connect(server, InvocationHttpParameters={
        "HeaderParameters": [{"Key": "x-tenant", "Value": "ours"}],
        "QueryStringParameters": [{"Key": "v", "Value": "2"}],
        "BodyParameters": [{"Key": "channel", "Value": "shop"}]})
    state = task(f"{api}/echo", connection, Headers={"x-tenant": "theirs", "x-order": "7"},
                 QueryParameters={"v": "1", "q": "a b"}, RequestBody={"amount": 7})
    found = tried(server, state)
    assert found["status"] == "SUCCEEDED", found
    output = json.loads(found["output"])
    assert (output["StatusCode"], output["StatusText"]) == (200, "OK")
    assert output["Headers"]["content-type"] == ["application/json"]
    seen = output["ResponseBody"]
    assert (seen["method"], seen["query"]) == ("POST", "q=a%20b&v=2")
    assert json.loads(seen["body"]) == {"amount": 7, "channel": "shop"}
    expected = {
        "authorization": "Basic " + base64.b64encode(b"ada:p4ssw0rd").decode(), "x-tenant": "ours", "x-order": "7",
        "user-agent": "Amazon|StepFunctions|HttpInvoke|us-east-1", "range": "bytes=0-262144",
        "content-type": "application/json; charset=UTF-8"}
    assert {name: seen["headers"].get(name) for name in expected} == expected


def test_a_form_is_encoded(server, api):
    state = task(f"{api}/echo", connect(server, "API_KEY"), RequestBody={"a": ["x", "y"], "m": {"k": 1}}, Transform={
        "RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": {"ArrayFormat": "BRACKETS"}})
    seen = json.loads(tried(server, state)["output"])["ResponseBody"]
    assert seen["body"] == "a%5B%5D=x&a%5B%5D=y&m%5Bk%5D=1"
    assert seen["headers"]["x-api-key"] == "k3y"


def test_what_goes_wrong_has_its_error(server, api, world):
    connection = connect(server)
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as free:
        nobody = f"http://127.0.0.1:{free.server_port}/"
    cases = [
        (task(f"{api}/status?404", connection), "States.Http.StatusCode.404"),
        (task(f"{api}/away", connection), "States.Http.StatusCode.302"),
        (task(f"{api}/picture", connection), "States.Runtime"),
        (task(f"{api}/echo", connection, Headers={"X-Amz-Date": "x"}), "States.Runtime"),
        (task(nobody, connection), "States.Http.Socket"),
        (task("http://10.255.255.1/", connection), "States.Permissions"),
        (task("https://169.254.169.254/latest/meta-data", connection), "States.Permissions"),
        (task(f"{server.endpoint}/", connection), "States.Permissions"),
        (task(f"{api}/echo", connection + "0"), "Events.ConnectionResource.ResourceNotFound"),
    ]
    for state, error in cases:
        found = tried(server, state)
        assert (found["status"], found.get("error")) == ("FAILED", error), (state, found)
    server.stop()
    (world.folder / "passo.toml").write_text("")
    server.start()
    found = tried(server, task(f"{api}/echo", connection))
    assert found["error"] == "States.Permissions" and "HTTPS" in found["cause"], found


def test_a_token_is_fetched_and_renewed_when_it_is_refused(server, api):
    oauth = {"AuthorizationEndpoint": f"{api}/token", "HttpMethod": "POST",
             "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"}}
    connection = connect(server, "OAUTH_CLIENT_CREDENTIALS", OAuthParameters=oauth)
    events = server.client("events")
    state = lambda: events.describe_connection(Name="api")["ConnectionState"]
    eventually(lambda: state() == "AUTHORIZED", 60, "the token")
    for _ in range(2):
        found = tried(server, task(f"{api}/mine", connection))
        assert found["status"] == "SUCCEEDED", found
        Api.tokens += 1  # The API forgets the token that it gave out.
    oauth["ClientParameters"] = {"ClientID": "me", "ClientSecret": "wrong"}
    events.update_connection(Name="api", AuthParameters={"OAuthParameters": oauth})
    eventually(lambda: state() == "DEAUTHORIZED", 60, "the refusal")
    found = tried(server, task(f"{api}/mine", connection))
    assert found["error"] == "Events.ConnectionResource.InvalidConnectionState", found


def test_a_trace_shows_the_exchange_and_secrets_only_when_asked(server, api):
    state = task(f"{api}/echo", connect(server, "API_KEY"), RequestBody={"a": 1})
    hidden = tried(server, state, inspectionLevel="TRACE")["inspectionData"]
    assert hidden["request"]["method"] == "POST" and hidden["request"]["url"] == f"{api}/echo"
    assert hidden["request"]["body"] == '{"a":1}' and "k3y" not in json.dumps(hidden["request"])
    assert hidden["response"]["statusCode"] == "200" and hidden["response"]["statusMessage"] == "OK"
    shown = tried(server, state, inspectionLevel="TRACE", revealSecrets=True)["inspectionData"]
    assert "x-api-key: k3y" in shown["request"]["headers"]
    assert "request" not in tried(server, state, inspectionLevel="DEBUG")["inspectionData"]


def test_a_connection_shows_no_secret_and_its_file_holds_none(server, world):
    connect(server, InvocationHttpParameters={
        "HeaderParameters": [{"Key": "x-hidden", "Value": "unseen-words", "IsValueSecret": True}]})
    events = server.client("events")
    found = events.describe_connection(Name="api")
    assert found["AuthParameters"]["BasicAuthParameters"] == {"Username": "ada"}
    assert ":secret:events!connection/api/" in found["SecretArn"]
    assert [made["Name"] for made in events.list_connections()["Connections"]] == ["api"]
    with pytest.raises(ClientError, match="already exists"):
        connect(server)
    assert (server.data / "secrets.key").stat().st_mode & 0o777 == 0o600
    server.stop()
    for file in server.data.rglob("*"):
        if file.is_file():
            held = file.read_bytes()
            assert b"p4ssw0rd" not in held and b"unseen-words" not in held, file
    assert "p4ssw0rd" not in server.log.read_text()


def test_a_role_may_call_only_where_its_policy_says(server, api, world):
    server.stop()
    server.words += ["--iam", "on"]
    server.start()
    iam = server.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="http", AssumeRolePolicyDocument=json.dumps(trust))
    connection = connect(server)
    secret = server.client("events").describe_connection(Name="api")["SecretArn"]
    call = {"Effect": "Allow", "Action": "states:InvokeHTTPEndpoint", "Resource": "*", "Condition": {
        "StringEquals": {"states:HTTPMethod": "POST"}, "StringLike": {"states:HTTPEndpoint": f"{api}/echo*"}}}
    use = {"Effect": "Allow", "Action": "events:RetrieveConnectionCredentials", "Resource": connection}
    read = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": secret}

    def allowed(*statements, url="/echo", method="POST"):
        document = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName="http", PolicyName="http", PolicyDocument=json.dumps(document))
        found = tried(server, task(api + url, connection, method))
        return found["status"], found.get("error")

    assert allowed(call, use, read) == ("SUCCEEDED", None)
    assert allowed(use, read) == ("FAILED", "States.Permissions")
    assert allowed(call, use, read, url="/status?200") == ("FAILED", "States.Permissions")
    assert allowed(call, use, read, method="GET") == ("FAILED", "States.Permissions")
    assert allowed(call, read) == ("FAILED", "Events.ConnectionResource.AccessDenied")
    assert allowed(call, use) == ("FAILED", "Events.ConnectionResource.AccessDenied")
