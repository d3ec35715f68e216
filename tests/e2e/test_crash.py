"""`kill -9` is an ordinary way to stop: what was acknowledged is kept, what ran goes on, and nothing happens twice."""

import email
import json
import os
import random
import shutil
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from deadline import eventually
from history import executions_lines
from passo import ACCOUNT, ORDER, REGION

ROUNDS = int(os.environ.get("PASSO_CRASHES", "10"))
ENDS = {"1-rule-1.json": "FULFILLED", "2-default.json": "STORED"}
FAILPOINTS = [
    # Where the process dies, at which passage, and under which load.
    ("admit.before", 1, "orders"), ("admit.before", 2, "orders"),
    ("commit.before", 1, "orders"), ("commit.before", 3, "orders"), ("commit.before", 6, "orders"),
    ("commit.after", 1, "orders"), ("commit.after", 3, "orders"), ("commit.after", 6, "orders"),
    ("answer.before", 1, "orders"), ("answer.after", 1, "orders"),
    ("task.run.before", 1, "orders"), ("task.run.before", 4, "orders"),
    ("task.run.after", 1, "orders"), ("task.run.after", 3, "orders"), ("task.run.after", 5, "orders"),
    ("task.observe.before", 1, "orders"), ("task.observe.after", 1, "orders"), ("task.observe.after", 2, "orders"),
    ("task.cancel.before", 1, "cancelled"), ("task.cancel.after", 1, "cancelled"),
    ("activity.hand_out.before", 1, "activity"), ("activity.hand_out.after", 1, "activity"),
    ("observer.before", 2, "orders"), ("observer.after", 2, "orders"), ("cursor.after", 2, "orders"),
]


def patient_orders(folder):
    """The example, whose first state has more than five seconds: time goes on while the server is down, and the machine
    that runs the tests may be slow."""
    copy = folder / "order"
    shutil.copytree(ORDER, copy)
    definition = copy / "workflow.asl.json"
    text = definition.read_text()
    assert text.count('"TimeoutSeconds": 5,') == 1
    definition.write_text(text.replace('"TimeoutSeconds": 5,', '"TimeoutSeconds": 120,'))
    return copy


class Orders:
    """Orders placed at a server that may die at any moment; each is known by its id."""

    def __init__(self, server):
        self.server, self.machine, self.placed = server, server.deploy(patient_orders(server.world.folder)), {}
        self.acknowledged = set()

    def place(self, name):
        """Places an order; that there was no answer is remembered, too."""
        order = f"{len(self.placed) + 1:04d}"
        self.placed[order] = name
        self.ask(order)

    def ask(self, order):
        text = json.loads((ORDER / "inputs" / self.placed[order]).read_text()) | {"orderId": order}
        try:
            self.server.client("stepfunctions").start_execution(
                stateMachineArn=self.machine, name=f"order-{order}", input=json.dumps(text))
        except (BotoCoreError, OSError):
            return
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "Throttling" not in str(error):
                raise
            return
        self.acknowledged.add(order)

    def arn(self, order):
        name = self.machine.split(":")[-2]
        return f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{name}:order-{order}"

    def settle(self):
        """Asks again for what was not acknowledged, as a client would, and checks that every order ended well."""
        for order in sorted(set(self.placed) - self.acknowledged):
            self.ask(order)
        for order, name in self.placed.items():
            described = self.server.ended(self.arn(order))
            assert described["status"] == "SUCCEEDED", f"order {order}: {described.get('error')}: {described.get('cause')}"
            assert json.loads(described["output"])["status"] == ENDS[name], described

    def check_effects(self):
        """Each order's effects happened once."""
        stored = [order for order, name in self.placed.items() if name == "2-default.json"]
        fulfilled = [order for order, name in self.placed.items() if name == "1-rule-1.json"]
        self.check_messages(stored)
        self.check_tasks(fulfilled)
        self.check_logs()

    def check_messages(self, stored):
        sqs = self.server.client("sqs")
        queue = sqs.get_queue_url(QueueName="order-orders")["QueueUrl"]
        seen = []

        def all_seen():
            answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600)
            seen.extend(json.loads(json.loads(m["Body"])["Message"])["orderId"] for m in answer.get("Messages", []))
            return not answer.get("Messages") and len(seen) >= len(stored)

        eventually(all_seen, what="a message for each stored order")
        assert sorted(seen) == sorted(stored)
        mails = eventually(lambda: self.mails() if len(self.mails()) >= len(stored) else None, what="a mail for each stored order") if stored else []
        assert sorted(mails) == sorted(f"Order {order} stored" for order in stored)

    def mails(self):
        files = (self.server.data / "outbox").glob("*.eml")
        return [email.message_from_bytes(file.read_bytes())["Subject"] for file in files]

    def check_tasks(self, fulfilled):
        ecs = self.server.client("ecs")
        arns = [arn for page in ecs.get_paginator("list_tasks").paginate(cluster="order-cluster", desiredStatus="STOPPED")
                for arn in page["taskArns"]]
        started = []
        for start in range(0, len(arns), 100):
            for task in ecs.describe_tasks(cluster="order-cluster", tasks=arns[start:start + 100])["tasks"]:
                values = {pair["name"]: pair["value"] for pair in task["overrides"]["containerOverrides"][0]["environment"]}
                started.append((json.loads(values["ORDER"])["orderId"], values["PART"]))
        assert sorted(started) == sorted((order, part) for order in fulfilled for part in ("stock", "invoice", "label"))

    def check_logs(self):
        logs = self.server.client("logs")
        for order in self.placed:
            wanted = [event["id"] for event in self.server.history(self.arn(order))]

            def lines():
                pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/vendedlogs/states/order-workflow")
                found = executions_lines(pages)
                found = [int(line["id"]) for line in found if line["execution_arn"] == self.arn(order)]
                return found if len(found) >= len(wanted) else None

            assert sorted(eventually(lines, what=f"log lines of {order}")) == wanted


def alive(server):
    return server.process.poll() is None


def test_killed_at_random_moments_every_order_ends_as_it_would_have(world):
    seed = int(os.environ.get("PASSO_SEED", random.randrange(10**6)))
    print(f"PASSO_SEED={seed}")
    chance = random.Random(seed)
    server = world.serve("--iam", "on")
    orders = Orders(server)
    for _ in range(ROUNDS):
        for name in ENDS:
            orders.place(name)
        # The moment is what is tested; there is nothing to wait for.
        time.sleep(chance.choice([0.05, 0.3, 1, 3]) * chance.random())
        server.kill()
        server.start()
        # Time limits go on while the server is down, so an order is killed once and not for ever.
        orders.settle()
    orders.check_effects()
    assert server.stop() == 0
    eventually(lambda: server.children() == {}, what="the end of every child process")


@pytest.mark.parametrize("point, passage, load", FAILPOINTS, ids=[f"{p}-{n}" for p, n, _ in FAILPOINTS])
def test_killed_at_a_named_point_everything_ends_as_it_would_have(world, point, passage, load):
    server = world.serve("--iam", "on")
    orders = Orders(server)
    activity = make_activity(server) if load == "activity" else None
    assert server.stop() == 0
    try:
        server.start(env={"PASSO_FAILPOINT": f"{point}:{passage}"})
    except AssertionError:
        # Some points are passed by a server that only starts; then it died there.
        assert not alive(server)
    {"orders": under_orders, "cancelled": under_a_stop, "activity": under_an_activity}[load](server, orders, activity)


def dies(server):
    return eventually(lambda: not alive(server), what="the death at the failpoint")


def under_orders(server, orders, _):
    if alive(server):
        for name in ENDS:
            orders.place(name)
        dies(server)
    server.start()
    for name in ENDS:
        orders.place(name)
    orders.settle()
    orders.check_effects()
    assert server.stop() == 0
    eventually(lambda: server.children() == {}, what="the end of every child process")


def running_tasks(server):
    return server.client("ecs").list_tasks(cluster="order-cluster", desiredStatus="RUNNING")["taskArns"]


def stop(server, execution):
    """Stops an execution; says whether that was acknowledged."""
    try:
        server.client("stepfunctions").stop_execution(executionArn=execution, error="Stopped", cause="by the test")
    except (BotoCoreError, OSError):
        return False
    return True


def under_a_stop(server, orders, _):
    execution = server.execute(orders.machine, "1-rule-1.json")
    eventually(lambda: len(running_tasks(server)) == 3, what="three running tasks")
    stop(server, execution)
    dies(server)
    server.start()
    stop(server, execution)
    assert server.ended(execution)["status"] == "ABORTED"
    eventually(lambda: running_tasks(server) == [], what="the end of the tasks")
    assert server.stop() == 0
    eventually(lambda: server.children() == {}, what="the end of every child process")


def test_an_acknowledged_stop_leaves_nothing_running(world):
    server = world.serve("--iam", "on")
    machine = server.deploy()
    execution = server.execute(machine, "1-rule-1.json")
    eventually(lambda: len(running_tasks(server)) == 3, what="three running tasks")
    assert stop(server, execution)
    server.kill()
    server.start()
    assert server.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "ABORTED"
    eventually(lambda: running_tasks(server) == [], what="the end of the tasks")
    assert server.stop() == 0
    eventually(lambda: server.children() == {}, what="the end of every child process")


def test_no_function_survives_its_server_and_tasks_are_found_again(world):
    """Functions end with the server. Tasks go on, as on ECS, and the next server knows them."""
    server = world.serve("--iam", "on")
    machine = server.deploy()
    execution = server.execute(machine, "1-rule-1.json")
    eventually(lambda: len(running_tasks(server)) == 3, what="three running tasks")
    before = set(running_tasks(server))
    server.kill()
    eventually(lambda: not functions_of(server), seconds=60, what="the end of every function")
    server.start()
    assert server.ended(execution)["status"] == "SUCCEEDED"
    tasks = server.client("ecs").list_tasks(cluster="order-cluster", desiredStatus="STOPPED")["taskArns"]
    assert set(tasks) == before
    assert server.stop() == 0
    eventually(lambda: server.children() == {}, seconds=60, what="the end of every child process")


def functions_of(server):
    return [process for process, command in server.children().items() if "bootstrap" in command]


def make_activity(server):
    states = server.client("stepfunctions")
    activity = states.create_activity(name="pack")["activityArn"]
    definition = {"StartAt": "Pack", "States": {"Pack": {"Type": "Task", "Resource": activity, "End": True}}}
    role = server.client("iam").list_roles()["Roles"]
    role = next(found["Arn"] for found in role if "WorkflowRole" in found["Arn"])
    return activity, states.create_state_machine(name="packing", definition=json.dumps(definition), roleArn=role)["stateMachineArn"]


def under_an_activity(server, _, made):
    activity, machine = made
    execution = server.client("stepfunctions").start_execution(stateMachineArn=machine, name="one", input="{}")["executionArn"]

    def work():
        """One worker: asks, and answers what it was handed."""
        try:
            states = server.client("stepfunctions", read_timeout=70)
            task = states.get_activity_task(activityArn=activity, workerName="w")
            if task.get("taskToken"):
                states.send_task_success(taskToken=task["taskToken"], output='{"packed": true}')
            return True
        except (BotoCoreError, OSError):
            return False

    work()
    dies(server)
    server.start()
    # A task handed out without the worker having it is lost to AWS's own rules: only a timeout or heartbeat ends it.
    if server.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "RUNNING":
        history = [event["type"] for event in server.history(execution)]
        if "ActivityStarted" in history:
            assert stop(server, execution)
            assert server.ended(execution)["status"] == "ABORTED"
            return
        assert work()
    assert server.ended(execution)["status"] == "SUCCEEDED"


def test_an_acknowledged_start_is_never_lost(world):
    """Starts are answered while the server is killed; every answered one is there afterwards."""
    import threading
    server = world.serve()
    states = server.client("stepfunctions")
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "done", "End": True}}}
    role = f"arn:aws:iam::{ACCOUNT}:role/any"
    machine = states.create_state_machine(name="quick", definition=json.dumps(definition), roleArn=role)["stateMachineArn"]
    acknowledged = []

    def start(worker):
        client = server.client("stepfunctions")
        try:
            for number in range(10_000):
                acknowledged.append(client.start_execution(stateMachineArn=machine, name=f"{worker}-{number}")["executionArn"])
        except (BotoCoreError, OSError):
            pass  # The server is gone.

    workers = [threading.Thread(target=start, args=[worker]) for worker in range(4)]
    for worker in workers:
        worker.start()
    eventually(lambda: len(acknowledged) > 50, what="fifty answers")
    server.kill()
    for worker in workers:
        worker.join(30)
    server.start()
    for execution in acknowledged:
        assert server.ended(execution)["output"] == '"done"'


def test_an_unknown_failpoint_is_refused(world):
    done = world.passo("serve", "--listen", "127.0.0.1:0", "--data", world.folder / "data", env={"PASSO_FAILPOINT": "nowhere"})
    assert done.returncode == 2 and "nowhere" in done.stderr and "commit.before" in done.stderr
