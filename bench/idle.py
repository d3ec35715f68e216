"""What waits costs nothing: activity polls and callbacks, in memory and in CPU of the server while nothing happens.

Starts a server of its own (PASSO_BIN) on a new data directory; opens the polls, waits, closes them; starts executions that wait for
a task token, waits. Memory is what the resident set grew by; CPU is what the process used in a window, as a share of one core.
Prints one line a measurement; exits 1 if one is above what it may be.
"""

import argparse
import concurrent.futures
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlparse

from map_run import ROLE, Server

CPU_MAX, POLL_MAX, CALLBACK_MAX = 0.02, 40_000, 2_000
TICKS = os.sysconf("SC_CLK_TCK")


def cpu(server):
    """Seconds of CPU that the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def idle(server, seconds):
    """The share of a core that the server uses in the next seconds."""
    used, began = cpu(server), time.monotonic()
    time.sleep(seconds)
    return (cpu(server) - used) / (time.monotonic() - began)


def settle(server):
    """Waits until the server is done with what it was given: a second in which it uses next to nothing."""
    end = time.monotonic() + 120
    while idle(server, 1) > CPU_MAX and time.monotonic() < end:
        pass


def poll(endpoint, activity):
    """A connection of its own with a GetActivityTask on it, as an SDK holds it."""
    address = urlparse(endpoint)
    body = json.dumps({"activityArn": activity, "workerName": "idle"}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/x-amz-json-1.0\r\n"
        "X-Amz-Target: AWSStepFunctions.GetActivityTask\r\nX-Amz-Date: 20260101T000000Z\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/states/aws4_request, "
        f"SignedHeaders=host, Signature=00\r\nContent-Length: {len(body)}\r\n\r\n")
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    connection.sendall(head.encode() + body)
    return connection


def polls(server, count, window):
    activity = server.client("stepfunctions").create_activity(name="idle")["activityArn"]
    # What the first connections leave behind is the server's, not theirs.
    for connection in [poll(server.endpoint, activity) for _ in range(50)]:
        connection.close()
    settle(server)
    before = server.memory("VmRSS")
    waiting = [poll(server.endpoint, activity) for _ in range(count)]
    settle(server)
    each = (server.memory("VmRSS") - before) / count
    used = idle(server, window)
    for connection in waiting:
        connection.setblocking(False)
        try:
            raise SystemExit(f"a poll was answered: {connection.recv(300)}")
        except BlockingIOError:
            connection.close()
    print(f"{count} waiting polls: {each / 1000:.1f} KB each, {used:.2%} of a core", flush=True)
    return each <= POLL_MAX and used <= CPU_MAX


def callbacks(server, count, window):
    states, queues = server.client("stepfunctions"), server.client("sqs")
    queue = queues.create_queue(QueueName="idle")["QueueUrl"]
    wait = {
        "Type": "Task", "End": True, "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token", "order.$": "$.order"}}}
    definition = json.dumps({"StartAt": "Wait", "States": {"Wait": wait}})
    machine = states.create_state_machine(name="idle", roleArn=ROLE, definition=definition)["stateMachineArn"]

    def start(n):
        states.start_execution(stateMachineArn=machine, name=f"e{n}", input=json.dumps({"order": f"order-{n}"}))

    def sent():
        attributes = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        # What the first leave behind (caches of the database, arenas of the allocator) is the server's, not theirs.
        warm = min(2_000, count)
        list(pool.map(start, range(warm)))
        settle(server)
        before, began = server.memory("VmRSS"), time.monotonic()
        list(pool.map(start, range(warm, warm + count)))
    end = time.monotonic() + 300
    while sent() < warm + count and time.monotonic() < end:
        time.sleep(0.5)
    seconds = time.monotonic() - began
    settle(server)
    each = (server.memory("VmRSS") - before) / count
    used = idle(server, window)
    print(f"{count} waiting callbacks: {each / 1000:.2f} KB each, {used:.2%} of a core (started in {seconds:.0f} s)", flush=True)
    time.sleep(30)
    parked, used = (server.memory("VmRSS") - before) / count, idle(server, window)
    print(f"{'the same later':>{len(str(count)) + 18}}: {parked / 1000:.2f} KB each, {used:.2%} of a core", flush=True)
    return parked <= CALLBACK_MAX and used <= CPU_MAX and sent() == warm + count


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--polls", type=int, default=1_000)
    words.add_argument("--callbacks", type=int, default=10_000)
    words.add_argument("--window", type=int, default=20, help="seconds in which CPU is measured; a poll lasts 60")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            within = polls(server, given.polls, given.window)
            within &= callbacks(server, given.callbacks, given.window)
            print(f"the server: {server.memory('VmRSS') >> 20} MiB, at most {server.memory('VmHWM') >> 20} MiB", flush=True)
        finally:
            server.stop()
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
