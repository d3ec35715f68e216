"""Traces of executions arrive at a collector by OTLP: a span a state and attempt, also when the server or the collector is
away in between, and a span that comes twice is the same span."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deadline import eventually
from passo import ACCOUNT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"


class Collector:
    """Takes OTLP over HTTP as JSON; while `is_down`, it refuses."""

    def __init__(self):
        self.requests, self.spans, self.is_down = [], {}, False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                is_down = collector.is_down
                collector.requests.append((self.path, dict(self.headers)))
                if not is_down:
                    collector.take(json.loads(body))
                self.send_response(503 if is_down else 200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, document):
        for group in document["resourceSpans"]:
            resource = attributes(group["resource"])
            for scope in group["scopeSpans"]:
                for span in scope["spans"]:
                    span["resource"], span["attributes"] = resource, attributes(span)
                    known = self.spans.setdefault((span["traceId"], span["spanId"]), span)
                    assert known == span, "one id, two spans"

    def of(self, execution):
        """The spans of one execution's trace, once the execution's own has come."""
        roots = [s for s in list(self.spans.values()) if s["attributes"].get("aws.step_functions.execution.arn") == execution]
        trace = {root["traceId"] for root in roots}
        return [span for span in list(self.spans.values()) if span["traceId"] in trace]


def attributes(holder):
    return {one["key"]: next(iter(one["value"].values())) for one in holder.get("attributes", [])}


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def machine(server, name, states, **more):
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    return server.client("stepfunctions").create_state_machine(
        name=name, definition=definition, roleArn=ROLE, **more)["stateMachineArn"]


def tree(spans):
    """Name, parent's name and error of each span, in order."""
    names = {span["spanId"]: span["name"] for span in spans}
    lines = [(s["name"], names.get(s.get("parentSpanId")), s.get("status", {}).get("message")) for s in spans]
    return sorted(lines, key=repr)


def test_an_execution_is_a_trace_with_a_span_a_state_branch_and_attempt(world, collector):
    server = world.serve("--iam", "off", env={
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"})
    missing = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True,
               "Parameters": {"QueueUrl": "http://none/000000000000/none", "MessageBody": "a-secret"},
               "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 1}]}
    fan = {"Type": "Parallel", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "After"}], "End": True, "Branches": [
        {"StartAt": "Send", "States": {"Send": missing}}]}
    arn = machine(server, "m", {"Fan": fan, "After": {"Type": "Pass", "End": True}})
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    execution = server.client("stepfunctions").start_execution(
        stateMachineArn=arn, input='{"card": "a-secret"}', traceHeader=header)["executionArn"]
    server.ended(execution)
    spans = eventually(lambda: collector.of(execution), what="the trace")
    assert {span["traceId"] for span in spans} == {"5759e988bd862e3fe1be46a994272793"}
    error = next(span["status"]["message"] for span in spans if span["name"] == "sqs:sendMessage")
    assert tree(spans) == sorted([
        ("m", None, None), ("Fan", "m", None), ("Parallel", "Fan", error), ("branch 0", "Parallel", error),
        ("Send", "branch 0", error), ("sqs:sendMessage", "Send", error), ("sqs:sendMessage", "Send", error),
        ("After", "m", None)], key=repr)
    root = next(span for span in spans if span["name"] == "m")
    assert root["parentSpanId"] == "53995c3f42cd8ad8" and root["attributes"]["aws.step_functions.execution.status"] == "SUCCEEDED"
    resource = root["resource"]
    assert resource["service.name"] == "passo" and resource["deployment.environment.name"] == "test"
    assert resource["cloud.account.id"] == ACCOUNT
    attempts = [s["attributes"] for s in spans if s["name"] == "sqs:sendMessage"]
    assert sorted(a["aws.step_functions.attempt"] for a in attempts) == ["1", "2"]
    assert all(a["rpc.method"] == "sendMessage" and a["error.type"] == error for a in attempts)
    path, headers = collector.requests[0]
    assert path == "/v1/traces" and headers["x-tenant"] == "blue" and headers["content-type"] == "application/json"
    assert "a-secret" not in json.dumps(spans)


def test_children_of_a_map_run_link_to_it_and_express_and_redrives_have_their_spans(world, collector):
    server = world.serve("--iam", "off", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    states = server.client("stepfunctions", inject_host_prefix=False)
    each = {"Type": "Map", "End": True, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Item", "States": {"Item": {"Type": "Pass", "End": True}}}}
    parent = states.start_execution(stateMachineArn=machine(server, "each", {"Each": each}), input="[1, 2]")["executionArn"]
    server.ended(parent)
    run = eventually(lambda: [s for s in collector.of(parent) if s["name"] == "MapRun"], what="the Map Run")[0]

    def children():
        return [s for s in list(collector.spans.values()) if "aws.step_functions.map.index" in s["attributes"]]

    assert eventually(lambda: len(children()) == 2, what="the children")
    link = {"traceId": run["traceId"], "spanId": run["spanId"]}
    assert all(child["links"] == [link] and child["traceId"] != run["traceId"] for child in children())

    quick = machine(server, "quick", {"Only": {"Type": "Pass", "End": True}}, type="EXPRESS")
    express = states.start_sync_execution(stateMachineArn=quick)["executionArn"]
    assert tree(eventually(lambda: collector.of(express), what="the Express trace")) == [("Only", "quick", None), ("quick", None, None)]

    broken = machine(server, "broken", {"Only": {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}})
    failed = states.start_execution(stateMachineArn=broken)["executionArn"]
    server.ended(failed)
    states.redrive_execution(executionArn=failed)
    spans = eventually(lambda: len(found := collector.of(failed)) == 4 and found, what="both runs")
    assert tree(spans) == [
        ("Only", "broken", "Broken"), ("Only", "broken", "Broken"), ("broken", "broken", "Broken"), ("broken", None, "Broken")]


def test_a_killed_server_and_a_collector_that_is_down_lose_no_span(world, collector):
    server = world.serve("--iam", "off", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    wait = {"First": {"Type": "Pass", "Next": "Wait"}, "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Last"},
            "Last": {"Type": "Pass", "End": True}}
    arn = machine(server, "m", wait)
    executions = []
    for turn in range(3):
        collector.is_down = turn == 1
        states = server.client("stepfunctions")
        for _ in range(3):
            executions.append(states.start_execution(stateMachineArn=arn)["executionArn"])
        if turn == 1:
            seen = len(collector.requests)
            eventually(lambda: len(collector.requests) > seen, what="a refused request")
        server.kill()
        server.start()
    for execution in executions:
        server.ended(execution)
    for execution in executions:
        spans = eventually(lambda: collector.of(execution), seconds=90, what=execution)
        assert tree(spans) == sorted(
            [("First", "m", None), ("Wait", "m", None), ("Last", "m", None), ("m", None, None)], key=repr)
