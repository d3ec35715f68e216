"""ECS tasks as real containers of Podman: the order's workers call DynamoDB from inside theirs."""

import json
import shutil

import pytest

import engine
from deadline import eventually
from history import span
from passo import ORDER

pytestmark = [
    pytest.mark.skipif(engine.missing() is not None, reason=str(engine.missing())),
    pytest.mark.xdist_group("containers"),
]


@pytest.fixture(scope="module")
def podman():
    podman = engine.Engine()
    try:
        podman.import_python()
        yield podman.start()
    finally:
        podman.stop()


@pytest.fixture
def server(world, podman):
    server = world.serve("--iam", "on", ecs="docker", env={"DOCKER_HOST": f"unix://{podman.socket}"})
    server.podman = podman
    return server


def containers(podman, *words):
    return json.loads(podman.podman("ps", "--all", "--format", "json", *words) or "[]") or []


def tasks(server, status):
    ecs = server.client("ecs")
    arns = ecs.list_tasks(cluster="order-cluster", desiredStatus=status)["taskArns"]
    return ecs.describe_tasks(cluster="order-cluster", tasks=arns)["tasks"] if arns else []


def test_the_order_runs_in_three_containers_that_overlap(server):
    machine = server.deploy(ecs="docker")
    execution = server.execute(machine, "1-rule-1.json")
    described = server.ended(execution, seconds=120)
    assert described["status"] == "SUCCEEDED", described
    assert set(json.loads(described["output"])["parts"]) == {"stock", "invoice", "label"}
    events = server.history(execution)
    spans = [span(events, worker) for worker in ("ReserveStock", "IssueInvoice", "PrintLabel")]
    wall = max(end for _, end in spans) - min(start for start, _ in spans)
    assert wall < 0.6 * sum(end - start for start, end in spans)
    stopped = tasks(server, "STOPPED")
    assert len(stopped) == 3
    for task in stopped:
        assert {"name": "passo.mode", "value": "container"} in task["attributes"]
        assert task["containers"][0]["exitCode"] == 0
    item = server.client("dynamodb").get_item(
        TableName="order-orders", Key={"pk": {"S": "ORDER#1001"}, "sk": {"S": "PART#stock"}})
    assert json.loads(item["Item"]["result"]["S"])["reserved"] == 5
    lines = [event["message"] for event in server.client("logs").filter_log_events(logGroupName="/ecs/order-worker")["events"]]
    assert sum("of 1001 done in" in line for line in lines) == 3


def test_a_container_that_exits_1_stops_its_siblings(server, world):
    project = world.folder / "order"
    shutil.copytree(ORDER, project)
    template = project / "template.yaml"
    long = "          Environment:\n            - Name: WORK_SECONDS\n              Value: '300'\n"
    template.write_text(template.read_text().replace("          Environment:\n", long, 1))
    machine = server.deploy(project, ecs="docker")
    execution = server.execute(machine, "5-task-exits-1.json")
    assert server.ended(execution, seconds=120)["error"] == "OrderNotFulfilled"
    codes = sorted(task["stopCode"] for task in eventually(
        lambda: len(tasks(server, "STOPPED")) == 3 and tasks(server, "STOPPED"), seconds=90, what="three stopped tasks"))
    assert codes == ["EssentialContainerExited", "UserInitiated", "UserInitiated"]
    # Python as a container's first process ignores SIGTERM, so the containers end when their stop timeout has passed.
    eventually(lambda: not [c for c in containers(server.podman) if c["State"] == "running"], seconds=90, what="the end of the containers")


def test_a_started_container_is_found_again_after_a_crash_and_not_started_twice(server):
    machine = server.deploy(ecs="docker")
    execution = server.execute(machine, "1-rule-1.json")
    before = []

    def three_run():
        before[:] = sorted(c["Id"] for c in containers(server.podman) if c["State"] == "running")
        return len(before) == 3

    eventually(three_run, seconds=180, what="three containers")
    server.kill()
    server.start()
    described = server.ended(execution, seconds=120)
    assert described["status"] == "SUCCEEDED", described
    stopped = tasks(server, "STOPPED")
    assert len(stopped) == 3
    known = sorted(container.get("runtimeId", "") for task in stopped for container in task["containers"])
    assert known == before


def test_a_stop_acknowledged_before_a_crash_leaves_no_container(server):
    machine = server.deploy(ecs="docker")
    execution = server.execute(machine, "1-rule-1.json")
    eventually(lambda: len([c for c in containers(server.podman) if c["State"] == "running"]) == 3, seconds=180, what="three containers")
    server.client("stepfunctions").stop_execution(executionArn=execution)
    server.kill()
    server.start()
    eventually(lambda: not [c for c in containers(server.podman) if c["State"] == "running"], what="the end of the containers")
    assert server.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "ABORTED"


def test_run_says_that_it_uses_containers_and_why(world, podman):
    done = world.run(ORDER, ecs="auto", env={"DOCKER_HOST": f"unix://{podman.socket}"}, timeout=180)
    assert done.returncode == 0, done.stderr
    assert str(podman.socket) in done.stderr
