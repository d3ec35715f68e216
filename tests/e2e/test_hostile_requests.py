"""Mutated requests to every action of Step Functions: an error of AWS's kind or a well-formed success, never more.

PASSO_REQUESTS says how many (10,000 is what a release is tried with), PASSO_SEED repeats a run.
"""

import copy
import http.client
import json
import os
import random
import sys

import botocore.session
import pytest

from passo import ACCOUNT, REGION

REQUESTS = int(os.environ.get("PASSO_REQUESTS", "1500"))
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
DEFINITION = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})
STRANGE = [
    None, True, -1, 0, 1e308, 2**63, "", " ", "\u0000", "a" * 100_000, "\U0001f980" * 300, [], {}, [[]], {"a": {"b": []}},
    "arn:aws:states", "arn:aws:states:::stateMachine:", "arn:aws:states:us-east-1:000000000000:execution:a:b:c:d",
    "arn:aws:states:us-east-1:000000000000:stateMachine:" + "x" * 500, "{%", "$$.", "../../etc/passwd", "%00", "<b>&'\"",
]
# Long polls and synchronous runs would only make the test slow.
SLOW = {"GetActivityTask"}


def shapes():
    session = botocore.session.get_session()
    return session.get_service_model("stepfunctions")


@pytest.fixture(scope="module")
def model():
    return shapes()


class Requests:
    """Requests as a client would send them, made from the model and from what exists, and what mutations make of them."""

    def __init__(self, model, known, chance):
        self.model, self.known, self.chance = model, known, chance
        self.actions = sorted(set(model.operation_names) - SLOW)

    def value(self, name, shape, depth=0):
        if name in self.known and self.chance.random() < 0.8:
            return self.chance.choice(self.known[name])
        if shape.type_name == "structure":
            return {
                member: self.value(member, inner, depth + 1) for member, inner in shape.members.items()
                if depth < 4 and (member in shape.required_members or self.chance.random() < 0.4)}
        if shape.type_name == "list":
            return [self.value(name, shape.member, depth + 1) for _ in range(self.chance.randrange(3))]
        if shape.type_name == "map":
            return {f"k{n}": self.value(name, shape.value, depth + 1) for n in range(self.chance.randrange(3))}
        if shape.type_name == "boolean":
            return self.chance.choice([True, False])
        if shape.type_name in ("integer", "long"):
            return self.chance.choice([0, 1, 7, 1000, 100_000])
        if shape.type_name == "string":
            return self.chance.choice(getattr(shape, "enum", None) or ["name", "{}", f"n{self.chance.randrange(1000)}"])
        return 1.5

    def next(self):
        action = self.chance.choice(self.actions)
        shape = self.model.operation_model(action).input_shape
        body = self.value(action, shape) if shape else {}
        target, method, path = f"AWSStepFunctions.{action}", "POST", "/"
        kind = self.chance.randrange(12)
        if kind < 6:
            body = self.mutated(body)
        text = json.dumps(body).encode("utf-8", "surrogatepass")
        if kind == 6:
            text = text[:self.chance.randrange(len(text) + 1)]
        elif kind == 7 and text:
            at = self.chance.randrange(len(text))
            text = text[:at] + bytes([self.chance.randrange(256)]) + text[at + 1:]
        elif kind == 8:
            text = b'{"name":' + b"[" * self.chance.choice([10, 200, 50_000]) + b"]" * self.chance.choice([0, 10]) + b"}"
        elif kind == 9:
            target = self.chance.choice(["", "AWSStepFunctions.", "AWSStepFunctions.DropTables", "x" * 3000, "Nothing.Here"])
        elif kind == 10:
            method, path = self.chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]), self.chance.choice(["/", "/a/b", "/%00", "//"])
        return method, path, target, text

    def mutated(self, body):
        body = copy.deepcopy(body)
        for _ in range(self.chance.randrange(1, 4)):
            place = body
            while isinstance(place, dict) and place and self.chance.random() < 0.5:
                inner = place[self.chance.choice(sorted(place))]
                if not isinstance(inner, dict):
                    break
                place = inner
            if not isinstance(place, dict):
                continue
            names = sorted(place) + ["surplus"]
            name = self.chance.choice(names)
            if self.chance.random() < 0.3:
                place.pop(name, None)
            else:
                place[name] = copy.deepcopy(self.chance.choice(STRANGE))
        return body


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def known_things(server):
    states = server.client("stepfunctions")
    machine = states.create_state_machine(name="known", definition=DEFINITION, roleArn=ROLE, publish=True)
    alias = states.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": machine["stateMachineVersionArn"], "weight": 100}])
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], name="known")["executionArn"]
    activity = states.create_activity(name="known")["activityArn"]
    machines = [machine["stateMachineArn"], machine["stateMachineVersionArn"], alias["stateMachineAliasArn"]]
    return {
        "stateMachineArn": machines, "resourceArn": [*machines, activity], "executionArn": [execution], "activityArn": [activity],
        "stateMachineVersionArn": [machine["stateMachineVersionArn"]], "stateMachineAliasArn": [alias["stateMachineAliasArn"]],
        "definition": [DEFINITION], "roleArn": [ROLE], "input": ["{}"], "taskToken": ["token"],
    }


def check(asked, status, headers, body):
    """What a client's parser needs."""
    assert 200 <= status < 500, (asked, status, body[:500])
    if headers.get("x-amzn-requestid") is None:
        assert asked[0] != "POST", (asked, status, headers)
    if status == 200:
        assert isinstance(json.loads(body), dict), (asked, body[:500])
    elif asked[0] == "POST":
        answer = json.loads(body)
        assert answer.get("__type"), (asked, status, body[:500])


def test_no_request_gets_more_than_an_error(world, model):
    seed = int(os.environ.get("PASSO_SEED", random.randrange(10**6)))
    print(f"PASSO_SEED={seed}")
    chance = random.Random(seed)
    server = world.serve("--iam", "off")
    requests = Requests(model, known_things(server), chance)
    host, port = server.listen.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    sizes = []
    for number in range(REQUESTS):
        method, path, target, body = requests.next()
        headers = {
            "content-type": "application/x-amz-json-1.0", "x-amz-target": target,
            "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/states/aws4_request, SignedHeaders=host, Signature=0"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, OSError) as error:
            raise AssertionError(f"no answer to {method} {path} {target} {body[:300]!r}: {error!r}\n{server.log.read_text()[-2000:]}") from error
        check((method, path, target, body[:300]), answer.status, {k.lower(): v for k, v in answer.getheaders()}, content)
        if number % max(REQUESTS // 10, 1) == 0:
            sizes.append(resident_bytes(server.process.pid))
    log = server.log.read_text()
    assert "panicked" not in log, log[-3000:]
    # Requests make state machines and executions, which are kept; that is little.
    assert sizes[-1] - sizes[1] < 64 * 2**20, sizes
    server.kill()
    server.start()
    assert server.client("stepfunctions").list_activities()["activities"] is not None
    print(sizes, file=sys.stderr)
