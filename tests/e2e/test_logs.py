"""The log workflow on one command: what it says about a day is what the raw lines say, counted here in another way."""

import bisect
import datetime
import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from passo import ACCOUNT, LOGS, REGION, network

DAY = "2026-03-14"
INPUT, RESULTS = (f"logs-{name}-{ACCOUNT}-{REGION}" for name in ("input", "results"))
BOUNDS = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000]
NAMES = [*map(str, BOUNDS), "more"]
STATE_BYTES_MAX = 256 * 1024
EXPECTED = json.loads((LOGS / "inputs" / "expected.json").read_text())


class Raw:
    """What the generator wrote for a seed."""

    def __init__(self, folder, seed):
        subprocess.run([sys.executable, LOGS / "generate.py", str(seed), folder], check=True)
        files = {f"logs/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*.log")}
        self.too_large = {key for key, content in files.items() if len(content) > STATE_BYTES_MAX}
        self.files = {key: content.decode().splitlines() for key, content in files.items() if key not in self.too_large}
        lines = [line for lines in self.files.values() for line in lines]
        good = [parts for line in lines if (parts := parts_of(line))]
        self.lines, self.malformed = len(lines), len(lines) - len(good)
        self.levels = Counter(level for level, _, _ in good)
        self.latencies = defaultdict(list)
        for _, service, latency in good:
            self.latencies[service].append(latency)

    def service(self, name):
        """What the report should say of a service."""
        latencies = sorted(self.latencies[name])
        counts = Counter(NAMES[bisect.bisect_left(BOUNDS, latency)] for latency in latencies)

        def percentile(part):
            rank = -(-len(latencies) * part // 100)
            bound = bisect.bisect_left(BOUNDS, latencies[rank - 1])
            return min(BOUNDS[bound], latencies[-1]) if bound < len(BOUNDS) else latencies[-1]

        return {
            "lines": len(latencies), "sumMs": sum(latencies), "minMs": latencies[0], "maxMs": latencies[-1],
            "meanMs": round(sum(latencies) / len(latencies), 1), "histogram": dict(counts),
            **{f"p{part}Ms": percentile(part) for part in (50, 90, 99)},
        }


def parts_of(line):
    """Level, service and latency of a good line."""
    parts = line.split(" ", 4)
    if len(parts) < 5 or not parts[4].strip() or parts[4] != parts[4].lstrip():
        return None
    time, level, service, latency, _ = parts
    try:
        datetime.datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ")
        milliseconds = int(latency.removesuffix("ms"))
    except ValueError:
        return None
    good = latency.endswith("ms") and level in ("DEBUG", "INFO", "WARN", "ERROR") and service.isalpha() and service.islower()
    return (level, service, milliseconds) if good else None


class Told:
    """What the services tell after an execution."""

    def __init__(self, server):
        self.s3, self.dynamodb, self.cloudwatch = (server.client(name) for name in ("s3", "dynamodb", "cloudwatch"))

    def document(self, key):
        return json.loads(self.s3.get_object(Bucket=RESULTS, Key=key)["Body"].read())

    def report(self):
        return self.document(f"reports/{DAY}/report.json")

    def items(self):
        pages = self.dynamodb.get_paginator("scan").paginate(TableName="logs-summaries")
        return [item for page in pages for item in page["Items"]]

    def metric(self, name, statistic, **dimensions):
        """One statistic over everything put so far, by GetMetricData."""
        now = datetime.datetime.now(datetime.timezone.utc)
        named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
        metric = {"Namespace": "logs-workflow", "MetricName": name, "Dimensions": named}
        found = self.cloudwatch.get_metric_data(
            StartTime=now - datetime.timedelta(hours=2), EndTime=now + datetime.timedelta(hours=1),
            MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}])
        values = found["MetricDataResults"][0]["Values"]
        return max(values) if statistic == "Maximum" else sum(values)

    def sums(self, raw):
        """Everything that the workflow counts, by name."""
        return {
            "Files": self.metric("Files", "Sum"),
            "MalformedLines": self.metric("MalformedLines", "Sum"),
            **{level: self.metric("Lines", "Sum", Level=level) for level in raw.levels},
            **{service: self.metric("Latency", "Sum", Service=service) for service in raw.latencies},
            **{f"{service} lines": self.metric("Latency", "SampleCount", Service=service) for service in raw.latencies},
            **{f"{service} most": self.metric("Latency", "Maximum", Service=service) for service in raw.latencies},
        }


def sums_of(raw):
    return {
        "Files": len(raw.files),
        "MalformedLines": raw.malformed,
        **raw.levels,
        **{service: sum(latencies) for service, latencies in raw.latencies.items()},
        **{f"{service} lines": len(latencies) for service, latencies in raw.latencies.items()},
        **{f"{service} most": max(latencies) for service, latencies in raw.latencies.items()},
    }


def example(world, seed):
    """The example as it is, or a copy that generates with another seed."""
    if seed == 1:
        return LOGS
    copy = shutil.copytree(LOGS, world.folder / "logs")
    template = copy / "template.yaml"
    text = template.read_text()
    assert '[python3, generate.py, "1"]' in text
    template.write_text(text.replace('[python3, generate.py, "1"]', f'[python3, generate.py, "{seed}"]'))
    return copy


def run(world, path, *words):
    """`passo run`, to its end; where Python lacks boto3, pip fetches it."""
    return world.run(path, *words, env=network(), timeout=600)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_report_metrics_table_and_results_say_what_the_raw_lines_say(world, seed):
    raw = Raw(world.folder / "raw", seed)
    assert len(raw.files) > 300 and raw.lines > 20_000 and raw.malformed > 100 and len(raw.too_large) == 1
    done = run(world, example(world, seed))
    assert done.result and done.result["status"] == "SUCCEEDED", done.stderr
    assert done.result["output"] | {"levels": dict(raw.levels)} == done.result["output"]
    server = world.serve(data=world.folder / ".passo/logs")
    told = Told(server)

    report = told.report()
    assert (report["files"], report["lines"], report["malformed"]) == (len(raw.files), raw.lines, raw.malformed)
    assert report["levels"] == dict(raw.levels)
    assert report["services"] == {name: raw.service(name) for name in raw.latencies}
    assert [(failed["key"], failed["error"]) for failed in report["failed"]] == [
        (key, "States.DataLimitExceeded") for key in raw.too_large]
    page = told.s3.get_object(Bucket=RESULTS, Key=f"reports/{DAY}/report.md")["Body"].read().decode()
    assert f"{len(raw.files)} files, {raw.lines} lines, {raw.malformed} of them malformed" in page
    assert all(f"`{key}`" in page for key in raw.too_large)

    assert told.sums(raw) == sums_of(raw)

    items = told.items()
    assert {item["object"]["S"]: (int(item["lines"]["N"]), int(item["malformed"]["N"])) for item in items} == {
        f"{INPUT}/{key}": (len(lines), sum(not parts_of(line) for line in lines)) for key, lines in raw.files.items()}
    assert len(items) == len(raw.files)

    manifests = [entry["Key"] for entry in told.s3.list_objects_v2(Bucket=RESULTS, Prefix=f"runs/{DAY}/")["Contents"]
                 if entry["Key"].endswith("/manifest.json")]
    assert len(manifests) == 1
    manifest = told.document(manifests[0])
    assert manifest["MapRunArn"] == report["mapRun"] and manifest["ResultFiles"]["PENDING"] == []
    records = {status: [record for file in manifest["ResultFiles"][status] for record in told.document(file["Key"])]
               for status in ("SUCCEEDED", "FAILED")}
    inputs = {status: sorted(json.loads(record["Input"])["key"] for record in found) for status, found in records.items()}
    assert inputs == {"SUCCEEDED": sorted(raw.files), "FAILED": sorted(raw.too_large)}
    counts = server.client("stepfunctions").describe_map_run(mapRunArn=report["mapRun"])["itemCounts"]
    assert (counts["succeeded"], counts["failed"], counts["total"]) == (len(raw.files), 1, len(raw.files) + 1)


def test_every_input_ends_as_written_beside_it_and_a_repeated_run_doubles_nothing(world):
    raw = Raw(world.folder / "raw", 1)
    for name, expected in EXPECTED.items():
        done = run(world, LOGS, "--input", f"@{LOGS / 'inputs' / name}")
        assert done.result and done.result["status"] == expected["status"], done.stderr
        output = done.result.get("output", {})
        assert output | expected.get("output", {}) == output
        assert done.result.get("error") == expected.get("error")
    server = world.serve(data=world.folder / ".passo/logs")
    told = Told(server)
    report = told.report()
    assert (report["files"], report["lines"], report["malformed"]) == (len(raw.files), raw.lines, raw.malformed)
    assert report["services"] == {name: raw.service(name) for name in raw.latencies}
    assert len(told.items()) == len(raw.files)
    assert told.sums(raw) == sums_of(raw)


def test_a_seed_that_cannot_be_made_is_told(world):
    copy = shutil.copytree(LOGS, world.folder / "logs")
    template = copy / "template.yaml"
    text = template.read_text()
    template.write_text(text.replace('generate.py, "1"]', 'generate.py, "one"]'))
    done = run(world, copy)
    assert done.returncode == 2
    assert "python3 generate.py one" in done.stderr and "invalid int value: 'one'" in done.stderr
    template.write_text(text.replace("Bucket: LogsBucket\n", "Bucket: NoBucket\n", 1))
    done = run(world, copy)
    assert done.returncode == 2
    assert "the template has no bucket 'NoBucket'" in done.stderr
