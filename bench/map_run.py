"""A distributed Map over many items: how fast, in how much memory, with how large a journal.

Starts a server of its own (PASSO_BIN) on a new data directory for every case, so that each peak is that of one Map. Prints one
line a case; exits 1 if a case needs more memory or a larger journal than it may.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config

RSS_MAX, JOURNAL_MAX = 300 << 20, 1 << 20
ROLE = "arn:aws:iam::000000000000:role/map"


class Server:
    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        words = [os.environ["PASSO_BIN"], "serve", "--listen", "127.0.0.1:0", "--data", str(folder / "data")]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not (found := re.search(r" on (http://[\d.]+:\d+)\n", self.log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.endpoint = found.group(1)

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32))

    def memory(self, field):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", text).group(1)) << 10

    def journal(self):
        """Bytes of the Map Runs' journals, as they are now."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/data/passo.db?mode=ro", uri=True)) as store:
            return store.execute("SELECT coalesce(sum(length(turn)), 0) FROM map_run_journal").fetchone()[0]

    def size(self):
        return sum(file.stat().st_size for file in (self.folder / "data").glob("passo.db*"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def definition(case):
    reader = {
        "csv": {"Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
                "Parameters": {"Bucket": "input", "Key": "items.csv"}},
        "list": {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "input", "Prefix": "logs/"}},
    }[case.form]
    # One child of a hundred fails, of items as of batches: a batch is known by its first item.
    item, digits = ("$.Items[0]", f"*77{'0' * (len(str(case.batch)) - 1)}") if case.batch else ("$", "*77")
    bad = {"Variable": f"{item}.n" if case.form == "csv" else f"{item}.Key", "StringMatches": digits}
    states = {
        "Look": {"Type": "Choice", "Choices": [{**bad, "Next": "Bad"}], "Default": "Good"},
        "Good": {"Type": "Pass", "Result": {"ok": True}, "End": True} if case.batch else {"Type": "Pass", "End": True},
        "Bad": {"Type": "Fail", "Error": "Bad"}}
    each = {
        "Type": "Map", "End": True, "Label": "each", "ItemReader": reader, "ToleratedFailurePercentage": 5,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": case.kind}, "StartAt": "Look",
                          "States": states},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "results", "Prefix": "r"}},
    }
    if case.concurrency:
        each["MaxConcurrency"] = case.concurrency
    if case.batch:
        each["ItemBatcher"] = {"MaxItemsPerBatch": case.batch}
    return json.dumps({"StartAt": "Each", "States": {"Each": each}})


class Case:
    def __init__(self, form, items, kind, concurrency, batch=0):
        self.form, self.items, self.kind, self.concurrency, self.batch = form, items, kind, concurrency, batch

    def __str__(self):
        batch = f", batches of {self.batch}" if self.batch else ""
        return f"{self.items} from {self.form}, {self.kind}, {self.concurrency or 'no'} MaxConcurrency{batch}"

    def fill(self, server):
        s3 = server.client("s3")
        for bucket in ("input", "results"):
            s3.create_bucket(Bucket=bucket)
        if self.form == "csv":
            lines = "".join(f"{n},some text of line {n},{n * 7 % 1000}\n" for n in range(self.items))
            s3.put_object(Bucket="input", Key="items.csv", Body="n,text,value\n" + lines)
        else:
            for n in range(self.items):
                s3.put_object(Bucket="input", Key=f"logs/{n:06d}", Body=b"one line\n")

    def run(self, server):
        states = server.client("stepfunctions")
        machine = states.create_state_machine(name="m", roleArn=ROLE, definition=definition(self))["stateMachineArn"]
        before, began, journal = server.memory("VmRSS"), time.monotonic(), 0
        execution = states.start_execution(stateMachineArn=machine, name="e", input="{}")["executionArn"]
        while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            journal = max(journal, server.journal())
            time.sleep(0.1)
        seconds = time.monotonic() - began
        if found["status"] != "SUCCEEDED":
            raise SystemExit(f"{self}: {found.get('error')} {found.get('cause')}")
        [run] = states.list_map_runs(executionArn=execution)["mapRuns"]
        counts = states.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
        assert counts["succeeded"] + counts["failed"] == counts["total"] == self.items, counts
        assert counts["failed"] == self.items // 100, counts
        peak = server.memory("VmHWM")
        print(f"{str(self):60} {self.items / seconds:8.0f} items/s  {before >> 20:4} -> peak {peak >> 20:4} MiB  "
              f"journal {journal:8} B  store {server.size() >> 20:5} MiB  failed {counts['failed']}", flush=True)
        return peak <= RSS_MAX and journal <= JOURNAL_MAX


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--items", type=int, default=100_000, help="lines of the CSV object")
    words.add_argument("--objects", type=int, default=10_000, help="objects of the listing")
    words.add_argument("--only", default="", help="only cases whose line contains this")
    given = words.parse_args()
    cases = [Case("csv", given.items, kind, concurrency) for kind in ("STANDARD", "EXPRESS") for concurrency in (100, 0)]
    cases += [Case("csv", given.items, kind, 20, 100) for kind in ("STANDARD", "EXPRESS")]
    cases += [Case("list", given.objects, kind, 100) for kind in ("STANDARD", "EXPRESS")]
    cases += [Case("list", given.objects, kind, 20, 10) for kind in ("STANDARD", "EXPRESS")]
    within = True
    for case in (case for case in cases if given.only in str(case)):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder))
            case.fill(server)
            try:
                within &= case.run(server)
            finally:
                server.stop()
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
