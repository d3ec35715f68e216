"""CloudWatch Logs as people read it with the AWS CLI: tail, filter, Insights."""

import json
import shutil
import subprocess
import time

import pytest

from deadline import eventually
from passo import PATH, REGION, aws

GROUP = "/app/requests"
pytestmark = pytest.mark.xdist_group("log_queries")


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A server with a group of JSON lines, and one of plain lines."""
    from passo import World
    world = World(tmp_path_factory.mktemp("world"))
    server = world.serve()
    logs = server.client("logs")
    server.base = int(time.time() * 1000) // 60_000 * 60_000 - 600_000
    lines = [{"level": ["INFO", "WARN", "ERROR"][n % 3], "ms": n * 10, "user": {"id": n % 2}, "path": f"/p/{n}"}
             for n in range(30)]
    put(logs, GROUP, "web", [(server.base + n * 10_000, json.dumps(line)) for n, line in enumerate(lines)])
    plain = [(server.base + n, f"user=u{n % 2}, took {n} ms, {'ERROR' if n == 3 else 'fine'}") for n in range(5)]
    put(logs, "/app/plain", "one", plain)
    yield server
    world.close()


def put(logs, group, stream, lines):
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(logGroupName=group, logStreamName=stream,
                        logEvents=[{"timestamp": at, "message": text} for at, text in lines])


def query(server, text, groups=(GROUP,), **more):
    """Rows of an Insights query, through the AWS CLI."""
    start = ["logs", "start-query", "--log-group-names", *groups, "--start-time", server.base // 1000,
             "--end-time", server.base // 1000 + 3600, "--query-string", text]
    for name, value in more.items():
        start += [f"--{name}", value]
    started = aws(server, *start)
    assert started.returncode == 0, started.stderr
    query_id = json.loads(started.stdout)["queryId"]

    def ended():
        found = aws(server, "logs", "get-query-results", "--query-id", query_id)
        assert found.returncode == 0, found.stderr
        found = json.loads(found.stdout)
        return found if found["status"] != "Running" else None
    result = eventually(ended)
    assert result["status"] == "Complete"
    return [{field["field"]: field["value"] for field in row if field["field"] != "@ptr"} for row in result["results"]]


def tail(server, *words):
    """`aws logs tail` is part of version 2 of the CLI, which PyPI does not have."""
    environment = server.world.environment(
        AWS_ENDPOINT_URL=server.endpoint, AWS_DEFAULT_REGION=REGION, AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test", PYTHONUNBUFFERED="1")
    return subprocess.Popen(
        ["aws", "logs", "tail", *words, "--endpoint-url", server.endpoint], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env=environment)


def version_2():
    aws = shutil.which("aws", path=PATH)
    return aws and "aws-cli/2" in subprocess.run([aws, "--version"], capture_output=True, text=True).stdout


@pytest.mark.skipif(not version_2(), reason="no AWS CLI of version 2")
def test_tail_shows_lines_and_follows(logged):
    shown = tail(logged, GROUP, "--since", "1h", "--format", "short").communicate(timeout=60)[0]
    assert len(shown.splitlines()) == 30 and '"path": "/p/29"' in shown
    logs = logged.client("logs")
    put(logs, "/app/followed", "s", [(int(time.time() * 1000), "the first line")])
    process = tail(logged, "/app/followed", "--follow")
    try:
        assert "the first line" in process.stdout.readline()
        logs.put_log_events(logGroupName="/app/followed", logStreamName="s",
                            logEvents=[{"timestamp": int(time.time() * 1000), "message": "the second line"}])
        assert "the second line" in process.stdout.readline()
    finally:
        process.kill()
        process.wait()


def test_what_tail_asks_for_is_answered_page_by_page(logged):
    logs = logged.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, interleaved=True, startTime=logged.base, PaginationConfig={"PageSize": 7})
    events = [event for page in pages for event in page["events"]]
    assert len({event["eventId"] for event in events}) == len(events) == 30
    assert events == sorted(events, key=lambda event: event["timestamp"])
    later = logs.filter_log_events(logGroupName=GROUP, interleaved=True, startTime=events[-1]["timestamp"] + 1)
    assert later["events"] == []


@pytest.mark.parametrize("pattern, count", [
    ("ERROR", 10), ("?ERROR ?WARN", 20), ("-ERROR", 20), ('{ $.level = "WARN" && $.ms > 100 }', 6),
    ("{ $.user.id = 1 }", 15), ("{ $.nothing = 1 }", 0), ('"/p/29"', 1)])
def test_filter_patterns(logged, pattern, count):
    done = aws(logged, "logs", "filter-log-events", "--log-group-name", GROUP, f"--filter-pattern={pattern}")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["events"]) == count


def test_insights_without_fields_shows_time_and_message_the_newest_first(logged):
    rows = query(logged, "limit 2")
    assert [json.loads(row["@message"])["path"] for row in rows] == ["/p/29", "/p/28"]
    assert rows[0]["@timestamp"].endswith("50.000")


def test_insights_finds_the_fields_of_json(logged):
    rows = query(logged, 'fields path, ms, user.id | filter level = "ERROR" and ms >= 200 | sort ms asc')
    assert rows == [{"path": f"/p/{n}", "ms": str(n * 10), "user.id": str(n % 2)} for n in (20, 23, 26, 29)]


def test_insights_counts_and_computes(logged):
    rows = query(logged, "stats count(*) as n, sum(ms), avg(ms), min(ms), max(ms), pct(ms, 90) by level | sort level")
    of = {row["level"]: row for row in rows}
    assert list(of) == ["ERROR", "INFO", "WARN"]
    errors = [n * 10 for n in range(30) if n % 3 == 2]
    assert of["ERROR"] == {"level": "ERROR", "n": "10", "sum(ms)": str(sum(errors)), "avg(ms)": "155",
                           "min(ms)": "20", "max(ms)": "290", "pct(ms, 90)": "260"}


def test_insights_bins_time(logged):
    rows = query(logged, "stats count(*) by bin(1m) as minute | sort minute")
    assert [row["count(*)"] for row in rows] == ["6"] * 5
    assert all(row["minute"].endswith(":00.000") for row in rows)


@pytest.mark.parametrize("parse", [
    'parse @message "user=*, took * ms" as user, took', r"parse @message /user=(?<user>\w+), took (?<took>\d+) ms/"])
def test_insights_parses_lines(logged, parse):
    rows = query(logged, parse + " | stats sum(took) as all by user | sort user", groups=("/app/plain",))
    assert rows == [{"user": "u0", "all": "6"}, {"user": "u1", "all": "4"}]


def test_insights_reads_several_groups_and_limits(logged):
    assert len(query(logged, "fields @log, @logStream", groups=(GROUP, "/app/plain"))) == 35
    assert len(query(logged, "fields @message", limit=3)) == 3
    rows = query(logged, "stats count(*) by @log | sort @log", groups=(GROUP, "/app/plain"))
    assert [row["@log"] for row in rows] == ["000000000000:/app/plain", "000000000000:/app/requests"]


def test_a_malformed_query_is_told_with_its_place(logged):
    logs = logged.client("logs")
    with pytest.raises(logs.exceptions.MalformedQueryException) as caught:
        logs.start_query(logGroupName=GROUP, startTime=0, endTime=1, queryString="fields @message | fltr x")
    location = caught.value.response["queryCompileError"]["location"]
    assert location == {"startCharOffset": 18, "endCharOffset": 22}
    assert "unexpected symbol found fltr at line 1 and position 18" in str(caught.value)
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.start_query(logGroupName="/no/group", startTime=0, endTime=1, queryString="limit 1")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_query_results(queryId="no-such-query")


def test_queries_are_described_and_not_stopped_twice(logged):
    query(logged, "fields @message | limit 1")
    logs = logged.client("logs")
    found = logs.describe_queries(logGroupName=GROUP)["queries"][0]
    assert found["status"] == "Complete" and found["queryString"]
    with pytest.raises(logs.exceptions.InvalidParameterException):
        logs.stop_query(queryId=found["queryId"])
