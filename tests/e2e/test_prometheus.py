"""`/metrics` is what Prometheus can read, and counts what happened."""

import json
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deadline import eventually
from passo import ACCOUNT, REGION

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"


def scrape(server):
    """Samples by name and labels."""
    with urllib.request.urlopen(server.endpoint + "/metrics") as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        families = text_string_to_metric_families(answer.read().decode())
        return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def test_executions_and_requests_are_counted(world):
    server = world.serve("--iam", "off")
    states = server.client("stepfunctions")
    definition = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Fail", "Error": "Broken"}}})
    machine = states.create_state_machine(name="broken", definition=definition, roleArn=ROLE)["stateMachineArn"]
    for _ in range(3):
        server.ended(states.start_execution(stateMachineArn=machine)["executionArn"])
    labels = [("account", ACCOUNT), ("region", REGION), ("state_machine", "broken")]
    ended = ("passo_executions_ended_total", *labels, ("status", "FAILED"))
    eventually(lambda: scrape(server).get(ended) == 3, what="three failed executions")
    found = scrape(server)
    assert found[("passo_executions_started_total", *labels)] == 3
    assert found[("passo_execution_duration_seconds_count", *labels, ("status", "FAILED"))] == 3
    assert found[("passo_requests_total", ("code", "200"), ("service", "states"))] >= 7
    assert found[("passo_request_duration_seconds_count", ("service", "states"))] >= 7
    assert 10_000_000 < found[("process_resident_memory_bytes",)] < 1_000_000_000
    assert any(name[0] == "passo_build_info" for name in found)


def test_a_bucket_may_have_the_same_name(world):
    server = world.serve("--iam", "off")
    s3 = server.client("s3")
    s3.create_bucket(Bucket="metrics")
    s3.put_object(Bucket="metrics", Key="a", Body=b"1")
    assert [item["Key"] for item in s3.list_objects(Bucket="metrics")["Contents"]] == ["a"]
