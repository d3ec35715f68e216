"""Adds up what a Map Run exported and writes the report of the day, as JSON for programs and Markdown for people."""

import json
from collections import Counter

import boto3

s3 = boto3.client("s3")
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")


def handler(event, context):
    bucket, day = event["bucket"], event["day"]
    manifest = read(bucket, event["manifest"])
    report = summed(day, manifest["MapRunArn"], records(bucket, manifest, "SUCCEEDED"), records(bucket, manifest, "FAILED"))
    places = {}
    for name, kind, text in (
        ("report.json", "application/json", json.dumps(report, indent=2) + "\n"),
        ("report.md", "text/markdown; charset=utf-8", markdown(report)),
    ):
        places[name] = f"reports/{day}/{name}"
        s3.put_object(Bucket=bucket, Key=places[name], Body=text.encode(), ContentType=kind)
    print(f"{day}: {report['files']} files, {report['lines']} lines, {len(report['failed'])} failed")
    totals = {name: report[name] for name in ("day", "files", "lines", "malformed", "levels")}
    return {**totals, "failed": [failure["key"] for failure in report["failed"]], "bucket": bucket, "reports": places}


def read(bucket, key):
    return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def records(bucket, manifest, status):
    """The exported records of the children with this status, one result file at a time."""
    for file in manifest["ResultFiles"].get(status, []):
        yield from read(bucket, file["Key"])


def summed(day, map_run, succeeded, failed):
    files, lines, malformed, levels, services = 0, 0, 0, Counter(), {}
    for record in succeeded:
        summary = json.loads(record["Output"])
        files += 1
        lines += summary["lines"]
        malformed += summary["malformed"]
        levels.update(summary["levels"])
        for name, found in summary["services"].items():
            merge(services.setdefault(name, {"lines": 0, "sumMs": 0, "histogram": Counter()}), found)
    return {
        "day": day,
        "mapRun": map_run,
        "files": files,
        "lines": lines,
        "malformed": malformed,
        "levels": {level: levels[level] for level in LEVELS},
        "services": {name: told(services[name]) for name in sorted(services)},
        "failed": sorted(map(failure, failed), key=lambda failure: failure["key"]),
    }


def merge(service, found):
    """Histograms with the same bounds are added, bound by bound."""
    service["lines"] += found["lines"]
    service["sumMs"] += found["sumMs"]
    service["minMs"] = min(service.get("minMs", found["minMs"]), found["minMs"])
    service["maxMs"] = max(service.get("maxMs", found["maxMs"]), found["maxMs"])
    service["histogram"].update(found["histogram"])


def told(service):
    bounds = sorted(service["histogram"], key=lambda bound: float("inf") if bound == "more" else int(bound))
    histogram = {bound: service["histogram"][bound] for bound in bounds}
    percentiles = {f"p{part}Ms": percentile(histogram, part, service) for part in (50, 90, 99)}
    mean = round(service["sumMs"] / service["lines"], 1)
    return {"lines": service["lines"], "meanMs": mean, "minMs": service["minMs"], "maxMs": service["maxMs"],
            **percentiles, "sumMs": service["sumMs"], "histogram": histogram}


def percentile(histogram, part, service):
    """The bound below which so many percent lie: what a histogram can tell, rounded up to its bounds."""
    seen = 0
    for bound, count in histogram.items():
        seen += count
        if seen * 100 >= part * service["lines"]:
            return service["maxMs"] if bound == "more" else min(int(bound), service["maxMs"])


def failure(record):
    """A child that failed, by the object that it was to read."""
    return {"key": json.loads(record["Input"])["key"], "error": record.get("Error"), "cause": record.get("Cause"),
            "execution": record["ExecutionArn"]}


def markdown(report):
    rows = [
        f"# Logs of {report['day']}",
        "",
        f"{report['files']} files, {report['lines']} lines, {report['malformed']} of them malformed.",
        "",
        "| level | lines |",
        "| --- | ---: |",
        *(f"| {level} | {count} |" for level, count in report["levels"].items()),
        "",
        "| service | lines | mean | p50 | p90 | p99 | max |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(f"| {name} | {of['lines']} | {of['meanMs']} ms | ≤ {of['p50Ms']} ms | ≤ {of['p90Ms']} ms | ≤ {of['p99Ms']} ms "
          f"| {of['maxMs']} ms |" for name, of in report["services"].items()),
        "",
    ]
    if report["failed"]:
        rows += ["Not read:", "", *(f"- `{failed['key']}`: {failed['error']}" for failed in report["failed"]), ""]
    return "\n".join(rows)
