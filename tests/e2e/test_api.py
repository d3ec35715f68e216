"""Every action of Step Functions through boto3 and the AWS CLI: its successes, and each error that its model names.

Raw answers are held against the model: no member that it does not know, none of another type, none that is required and
missing. What cannot be reached is listed by name, with its reason.
"""

import concurrent.futures
import contextlib
import io
import json

import awscli.clidriver
import botocore.session
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from deadline import eventually
from passo import ACCOUNT, REGION, World

MODEL = botocore.session.get_session().get_service_model("stepfunctions")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
PASS = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})
FAIL = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Fail", "Error": "Broken"}}})
WAIT = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Wait", "Seconds": 86400, "End": True}}})
MAP = json.dumps({"StartAt": "Map", "States": {"Map": {
    "Type": "Map", "Label": "All", "End": True, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Only",
        "States": {"Only": {"Type": "Wait", "Seconds": 86400, "End": True}}}}}})
PLACE = f"arn:aws:states:{REGION}:{ACCOUNT}"
BAD_ARN = "not-an-arn"
TAGS = [{"key": f"k{n}", "value": "v"} for n in range(60)]
KMS = {"KmsAccessDeniedException", "KmsInvalidStateException", "KmsThrottlingException"}
UNREACHABLE = {
    **{(action, error): "keys of KMS are kept and shown, and not used" for action in MODEL.operation_names
       for error in KMS},
    **{(action, "StateMachineDeleting"): "a deletion ends what runs and is over in milliseconds" for action in MODEL.operation_names},
    **{(f"SendTask{kind}", "TaskDoesNotExist"): "an unknown token is InvalidToken, one that is over is TaskTimedOut (recorded)"
       for kind in ("Failure", "Heartbeat", "Success")},
    ("CreateStateMachine", "StateMachineTypeNotSupported"): "what a type cannot do is in the definition: InvalidDefinition (recorded)",
    ("CreateStateMachineAlias", "InvalidArn"): "what is no version is a ValidationException (recorded)",
    ("CreateStateMachineAlias", "InvalidName"): "the model's pattern refuses it first, with a ValidationException",
    ("CreateStateMachine", "InvalidTracingConfiguration"): "the model leaves nothing to be wrong in it",
    ("UpdateStateMachine", "InvalidTracingConfiguration"): "the model leaves nothing to be wrong in it",
    ("CreateStateMachine", "ConflictException"): "a race",
    ("CreateStateMachineAlias", "ConflictException"): "a race; the same name with another routing is a conflict, below",
    ("UpdateStateMachine", "ConflictException"): "a race",
    ("UpdateStateMachineAlias", "ConflictException"): "a race",
    ("DeleteStateMachineAlias", "ConflictException"): "a race",
}


def strict(value, shape, path="$"):
    """Differences between a raw answer and its shape."""
    kinds = {"string": str, "boolean": bool, "integer": int, "long": int, "list": list, "map": dict, "structure": dict,
             "timestamp": (int, float), "double": (int, float), "float": (int, float)}
    if not isinstance(value, kinds[shape.type_name]) or (shape.type_name in ("integer", "long") and isinstance(value, bool)):
        return [f"{path}: {value!r} is not a {shape.type_name}"]
    if shape.type_name == "structure":
        wrong = [f"{path}: {name} is not in the model" for name in value if name not in shape.members]
        wrong += [f"{path}: {name} is missing" for name in shape.required_members if name not in value]
        return wrong + [found for name, inner in value.items() if name in shape.members
                        for found in strict(inner, shape.members[name], f"{path}.{name}")]
    if shape.type_name == "list":
        return [found for index, inner in enumerate(value) for found in strict(inner, shape.member, f"{path}[{index}]")]
    if shape.type_name == "map":
        return [found for name, inner in value.items() for found in strict(inner, shape.value, f"{path}.{name}")]
    if shape.type_name == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        return [f"{path}: {value!r} is not one of {shape.enum}"]
    return []


def watch(client):
    """Every answer of this client is held against the model."""
    client.seen = set()

    def look(response_dict, operation_model, **_):
        if response_dict["status_code"] == 200:
            body = json.loads(response_dict["body"] or b"{}")
            shape = operation_model.output_shape
            assert not (wrong := strict(body, shape) if shape else list(body)), f"{operation_model.name}: {wrong}"
            client.seen.add(operation_model.name)

    client.meta.events.register("before-parse.stepfunctions", look)
    return client


class Stage:
    """A server with one of each thing."""

    def __init__(self, server):
        self.server = server
        self.client = states = watch(server.client("stepfunctions", parameter_validation=False, inject_host_prefix=False))
        create = states.create_state_machine
        self.machine = create(name="machine", definition=PASS, roleArn=ROLE)["stateMachineArn"]
        self.first = states.publish_state_machine_version(stateMachineArn=self.machine)["stateMachineVersionArn"]
        states.update_state_machine(stateMachineArn=self.machine, definition=FAIL)
        self.second = states.publish_state_machine_version(stateMachineArn=self.machine)["stateMachineVersionArn"]
        self.alias = states.create_state_machine_alias(name="live", routingConfiguration=self.routing(self.first))["stateMachineAliasArn"]
        self.express = create(name="express", definition=PASS, roleArn=ROLE, type="EXPRESS")["stateMachineArn"]
        self.waiting = create(name="waiting", definition=WAIT, roleArn=ROLE)["stateMachineArn"]
        self.mapping = create(name="mapping", definition=MAP, roleArn=ROLE)["stateMachineArn"]
        self.activity = states.create_activity(name="activity")["activityArn"]
        self.failed = states.start_execution(stateMachineArn=self.machine, name="failed")["executionArn"]
        self.open = states.start_execution(stateMachineArn=self.waiting, name="open", input="{}")["executionArn"]
        self.mapped = states.start_execution(stateMachineArn=self.mapping, input="[1, 2]")["executionArn"]
        server.ended(self.failed)
        self.map_run = eventually(
            lambda: states.list_map_runs(executionArn=self.mapped)["mapRuns"], what="a Map Run")[0]["mapRunArn"]
        self.late_token = self.timed_out_token()

    @staticmethod
    def routing(version):
        return [{"stateMachineVersionArn": version, "weight": 100}]

    def task_token(self, name, seconds=None):
        """A token of a waiting activity task, and its execution."""
        state = {"Type": "Task", "Resource": self.activity, "End": True} | ({"TimeoutSeconds": seconds} if seconds else {})
        definition = json.dumps({"StartAt": "Only", "States": {"Only": state}})
        machine = self.client.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
        execution = self.client.start_execution(stateMachineArn=machine)["executionArn"]
        return self.client.get_activity_task(activityArn=self.activity)["taskToken"], execution

    def timed_out_token(self):
        token, execution = self.task_token("late", 1)
        self.server.ended(execution)
        return token


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("api"))
    yield Stage(world.serve("--iam", "off"))
    world.close()


# Action, error, and the parameters that bring it about on the stage.
ERRORS = [
    ("CreateActivity", "ActivityAlreadyExists", lambda s: {"name": "activity", "encryptionConfiguration": {
        "type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "alias/other"}}),
    ("CreateActivity", "InvalidName", lambda s: {"name": "no spaces"}),
    ("CreateActivity", "TooManyTags", lambda s: {"name": "tagged", "tags": TAGS}),
    ("CreateActivity", "InvalidEncryptionConfiguration", lambda s: {"name": "sealed", "encryptionConfiguration": {
        "type": "CUSTOMER_MANAGED_KMS_KEY"}}),
    ("CreateStateMachine", "InvalidArn", lambda s: {"name": "a", "definition": PASS, "roleArn": BAD_ARN}),
    ("CreateStateMachine", "InvalidDefinition", lambda s: {"name": "a", "definition": "{}", "roleArn": ROLE}),
    ("CreateStateMachine", "InvalidName", lambda s: {"name": "no spaces", "definition": PASS, "roleArn": ROLE}),
    ("CreateStateMachine", "InvalidLoggingConfiguration", lambda s: {
        "name": "a", "definition": PASS, "roleArn": ROLE, "loggingConfiguration": {"level": "ALL"}}),
    ("CreateStateMachine", "StateMachineAlreadyExists", lambda s: {"name": "machine", "definition": WAIT, "roleArn": ROLE}),
    ("CreateStateMachine", "TooManyTags", lambda s: {"name": "a", "definition": PASS, "roleArn": ROLE, "tags": TAGS}),
    ("CreateStateMachine", "ValidationException", lambda s: {"name": "a", "definition": PASS, "roleArn": ROLE, "type": "FAST"}),
    ("CreateStateMachine", "InvalidEncryptionConfiguration", lambda s: {
        "name": "sealed", "definition": PASS, "roleArn": ROLE, "encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY"}}),
    ("CreateStateMachineAlias", "ValidationException", lambda s: {"name": "a", "routingConfiguration": [
        {"stateMachineVersionArn": s.first, "weight": 40}]}),
    ("CreateStateMachineAlias", "ResourceNotFound", lambda s: {"name": "a", "routingConfiguration": s.routing(s.machine + ":99")}),
    ("DeleteActivity", "InvalidArn", lambda s: {"activityArn": BAD_ARN}),
    ("DeleteStateMachine", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("DeleteStateMachine", "ValidationException", lambda s: {"stateMachineArn": s.mapping + "/All"}),
    ("DeleteStateMachineAlias", "ValidationException", lambda s: {"stateMachineAliasArn": ""}),
    ("DeleteStateMachineAlias", "InvalidArn", lambda s: {"stateMachineAliasArn": BAD_ARN}),
    ("DeleteStateMachineAlias", "ResourceNotFound", lambda s: {"stateMachineAliasArn": s.machine + ":nothing"}),
    ("DeleteStateMachineVersion", "ValidationException", lambda s: {"stateMachineVersionArn": ""}),
    ("DeleteStateMachineVersion", "InvalidArn", lambda s: {"stateMachineVersionArn": BAD_ARN}),
    ("DeleteStateMachineVersion", "ConflictException", lambda s: {"stateMachineVersionArn": s.first}),
    ("DescribeActivity", "ActivityDoesNotExist", lambda s: {"activityArn": f"{PLACE}:activity:nothing"}),
    ("DescribeActivity", "InvalidArn", lambda s: {"activityArn": BAD_ARN}),
    ("DescribeExecution", "ExecutionDoesNotExist", lambda s: {"executionArn": f"{PLACE}:execution:machine:nothing"}),
    ("DescribeExecution", "InvalidArn", lambda s: {"executionArn": BAD_ARN}),
    ("DescribeMapRun", "ResourceNotFound", lambda s: {"mapRunArn": f"{PLACE}:mapRun:mapping/All:nothing"}),
    ("DescribeMapRun", "InvalidArn", lambda s: {"mapRunArn": BAD_ARN}),
    ("DescribeStateMachine", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("DescribeStateMachine", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing"}),
    ("DescribeStateMachineAlias", "ValidationException", lambda s: {"stateMachineAliasArn": ""}),
    ("DescribeStateMachineAlias", "InvalidArn", lambda s: {"stateMachineAliasArn": BAD_ARN}),
    ("DescribeStateMachineAlias", "ResourceNotFound", lambda s: {"stateMachineAliasArn": s.machine + ":nothing"}),
    ("DescribeStateMachineForExecution", "ExecutionDoesNotExist", lambda s: {"executionArn": f"{PLACE}:execution:machine:nothing"}),
    ("DescribeStateMachineForExecution", "InvalidArn", lambda s: {"executionArn": BAD_ARN}),
    ("GetActivityTask", "ActivityDoesNotExist", lambda s: {"activityArn": f"{PLACE}:activity:nothing"}),
    ("GetActivityTask", "InvalidArn", lambda s: {"activityArn": BAD_ARN}),
    ("GetExecutionHistory", "ExecutionDoesNotExist", lambda s: {"executionArn": f"{PLACE}:execution:machine:nothing"}),
    ("GetExecutionHistory", "InvalidArn", lambda s: {"executionArn": BAD_ARN}),
    ("GetExecutionHistory", "InvalidToken", lambda s: {"executionArn": s.failed, "nextToken": "nothing"}),
    ("ListActivities", "InvalidToken", lambda s: {"nextToken": "nothing"}),
    ("ListExecutions", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("ListExecutions", "InvalidToken", lambda s: {"stateMachineArn": s.machine, "nextToken": "nothing"}),
    ("ListExecutions", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing"}),
    ("ListExecutions", "StateMachineTypeNotSupported", lambda s: {"stateMachineArn": s.express}),
    ("ListExecutions", "ValidationException", lambda s: {"stateMachineArn": s.machine, "mapRunArn": s.map_run}),
    ("ListExecutions", "ResourceNotFound", lambda s: {"mapRunArn": f"{PLACE}:mapRun:mapping/All:nothing"}),
    ("ListMapRuns", "ExecutionDoesNotExist", lambda s: {"executionArn": f"{PLACE}:execution:machine:nothing"}),
    ("ListMapRuns", "InvalidArn", lambda s: {"executionArn": BAD_ARN}),
    ("ListMapRuns", "InvalidToken", lambda s: {"executionArn": s.mapped, "nextToken": "nothing"}),
    ("ListStateMachineAliases", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("ListStateMachineAliases", "InvalidToken", lambda s: {"stateMachineArn": s.machine, "nextToken": "nothing"}),
    ("ListStateMachineAliases", "ResourceNotFound", lambda s: {"stateMachineArn": s.machine + ":99"}),
    ("ListStateMachineAliases", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing"}),
    ("ListStateMachineVersions", "ValidationException", lambda s: {"stateMachineArn": ""}),
    ("ListStateMachineVersions", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("ListStateMachineVersions", "InvalidToken", lambda s: {"stateMachineArn": s.machine, "nextToken": "nothing"}),
    ("ListStateMachines", "InvalidToken", lambda s: {"nextToken": "nothing"}),
    ("ListTagsForResource", "InvalidArn", lambda s: {"resourceArn": BAD_ARN}),
    ("ListTagsForResource", "ResourceNotFound", lambda s: {"resourceArn": f"{PLACE}:stateMachine:nothing"}),
    ("PublishStateMachineVersion", "ValidationException", lambda s: {"stateMachineArn": s.machine, "description": "x" * 300}),
    ("PublishStateMachineVersion", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing"}),
    ("PublishStateMachineVersion", "ConflictException", lambda s: {"stateMachineArn": s.machine, "revisionId": "another"}),
    ("PublishStateMachineVersion", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("RedriveExecution", "ExecutionDoesNotExist", lambda s: {"executionArn": f"{PLACE}:execution:machine:nothing"}),
    ("RedriveExecution", "ExecutionNotRedrivable", lambda s: {"executionArn": s.open}),
    ("RedriveExecution", "InvalidArn", lambda s: {"executionArn": BAD_ARN}),
    ("RedriveExecution", "ValidationException", lambda s: {"executionArn": s.failed, "clientToken": ""}),
    ("SendTaskFailure", "InvalidToken", lambda s: {"taskToken": "nothing"}),
    ("SendTaskFailure", "TaskTimedOut", lambda s: {"taskToken": s.late_token}),
    ("SendTaskHeartbeat", "InvalidToken", lambda s: {"taskToken": "nothing"}),
    ("SendTaskHeartbeat", "TaskTimedOut", lambda s: {"taskToken": s.late_token}),
    ("SendTaskSuccess", "InvalidOutput", lambda s: {"taskToken": s.late_token, "output": "{"}),
    ("SendTaskSuccess", "InvalidToken", lambda s: {"taskToken": "nothing", "output": "{}"}),
    ("SendTaskSuccess", "TaskTimedOut", lambda s: {"taskToken": s.late_token, "output": "{}"}),
    ("StartExecution", "ExecutionAlreadyExists", lambda s: {"stateMachineArn": s.waiting, "name": "open", "input": "[]"}),
    ("StartExecution", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("StartExecution", "InvalidExecutionInput", lambda s: {"stateMachineArn": s.machine, "input": "{"}),
    ("StartExecution", "InvalidName", lambda s: {"stateMachineArn": s.machine, "name": "no spaces"}),
    ("StartExecution", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing"}),
    ("StartExecution", "ValidationException", lambda s: {"stateMachineArn": s.machine, "name": ""}),
    ("StartSyncExecution", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN}),
    ("StartSyncExecution", "InvalidExecutionInput", lambda s: {"stateMachineArn": s.express, "input": "{"}),
    ("StartSyncExecution", "InvalidName", lambda s: {"stateMachineArn": s.express, "name": "no spaces"}),
    ("StartSyncExecution", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing"}),
    ("StartSyncExecution", "StateMachineTypeNotSupported", lambda s: {"stateMachineArn": s.machine}),
    ("StopExecution", "ExecutionDoesNotExist", lambda s: {"executionArn": f"{PLACE}:execution:machine:nothing"}),
    ("StopExecution", "InvalidArn", lambda s: {"executionArn": BAD_ARN}),
    ("StopExecution", "ValidationException", lambda s: {"executionArn": s.open, "error": "x" * 300}),
    ("TagResource", "InvalidArn", lambda s: {"resourceArn": BAD_ARN, "tags": []}),
    ("TagResource", "ResourceNotFound", lambda s: {"resourceArn": f"{PLACE}:stateMachine:nothing", "tags": []}),
    ("TagResource", "TooManyTags", lambda s: {"resourceArn": s.machine, "tags": TAGS}),
    ("TestState", "InvalidArn", lambda s: {"definition": '{"Type": "Pass", "End": true}', "roleArn": BAD_ARN}),
    ("TestState", "InvalidDefinition", lambda s: {"definition": "{}", "roleArn": ROLE}),
    ("TestState", "InvalidExecutionInput", lambda s: {"definition": '{"Type": "Pass", "End": true}', "roleArn": ROLE, "input": "{"}),
    ("TestState", "ValidationException", lambda s: {"definition": '{"Type": "Pass", "End": true}', "inspectionLevel": "MUCH"}),
    ("UntagResource", "InvalidArn", lambda s: {"resourceArn": BAD_ARN, "tagKeys": []}),
    ("UntagResource", "ResourceNotFound", lambda s: {"resourceArn": f"{PLACE}:stateMachine:nothing", "tagKeys": []}),
    ("UpdateMapRun", "ResourceNotFound", lambda s: {"mapRunArn": f"{PLACE}:mapRun:mapping/All:nothing", "maxConcurrency": 1}),
    ("UpdateMapRun", "InvalidArn", lambda s: {"mapRunArn": BAD_ARN, "maxConcurrency": 1}),
    ("UpdateMapRun", "ValidationException", lambda s: {"mapRunArn": s.map_run, "maxConcurrency": -1}),
    ("UpdateStateMachine", "InvalidArn", lambda s: {"stateMachineArn": BAD_ARN, "definition": PASS}),
    ("UpdateStateMachine", "InvalidDefinition", lambda s: {"stateMachineArn": s.waiting, "definition": "{}"}),
    ("UpdateStateMachine", "InvalidLoggingConfiguration", lambda s: {
        "stateMachineArn": s.waiting, "loggingConfiguration": {"level": "ALL"}}),
    ("UpdateStateMachine", "MissingRequiredParameter", lambda s: {"stateMachineArn": s.waiting}),
    ("UpdateStateMachine", "StateMachineDoesNotExist", lambda s: {"stateMachineArn": f"{PLACE}:stateMachine:nothing", "definition": PASS}),
    ("UpdateStateMachine", "ValidationException", lambda s: {"stateMachineArn": s.waiting, "definition": ""}),
    ("UpdateStateMachine", "InvalidEncryptionConfiguration", lambda s: {
        "stateMachineArn": s.waiting, "definition": WAIT, "encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY"}}),
    ("UpdateStateMachineAlias", "ValidationException", lambda s: {"stateMachineAliasArn": s.alias, "routingConfiguration": [
        {"stateMachineVersionArn": s.first, "weight": 40}]}),
    ("UpdateStateMachineAlias", "InvalidArn", lambda s: {"stateMachineAliasArn": BAD_ARN, "description": "d"}),
    ("UpdateStateMachineAlias", "ResourceNotFound", lambda s: {"stateMachineAliasArn": s.machine + ":nothing", "description": "d"}),
    ("ValidateStateMachineDefinition", "ValidationException", lambda s: {"definition": PASS, "severity": "LOUD"}),
]


@pytest.mark.xdist_group("api")
@pytest.mark.parametrize("action, error, parameters", ERRORS, ids=[f"{action}-{error}" for action, error, _ in ERRORS])
def test_a_modelled_error_is_answered(stage, action, error, parameters):
    refused(stage, action, error, parameters)


def refused(stage, action, error, parameters):
    method = next(name for name, found in stage.client.meta.method_to_api_mapping.items() if found == action)
    with pytest.raises(ClientError) as raised:
        getattr(stage.client, method)(**parameters(stage))
    answer = raised.value.response
    assert answer["Error"]["Code"] == error, answer["Error"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400 and answer["ResponseMetadata"]["RequestId"]


def code_of(call, **parameters):
    """The error's code, or nothing."""
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]
    except BotoCoreError:
        return None


LIMITS = """[limits]
state_machines = 2
activities = 1
open_executions = 1
activity_workers = 1
versions = 1
aliases = 1
"""


class Narrow:
    """A server whose quotas are all used up."""

    def __init__(self, world):
        file = world.folder / "passo.toml"
        file.write_text(LIMITS)
        self.server = world.serve("--iam", "off", "--config", str(file))
        self.client = states = watch(self.server.client("stepfunctions", parameter_validation=False))
        self.spare = states.create_state_machine(name="spare", definition=FAIL, roleArn=ROLE)["stateMachineArn"]
        self.full = states.create_state_machine(name="full", definition=WAIT, roleArn=ROLE, publish=True)["stateMachineArn"]
        self.version = self.full + ":1"
        states.create_state_machine_alias(name="live", routingConfiguration=Stage.routing(self.version))
        states.update_state_machine(stateMachineArn=self.full, roleArn=ROLE + "2")
        self.activity = states.create_activity(name="activity")["activityArn"]
        self.failed = states.start_execution(stateMachineArn=self.spare)["executionArn"]
        self.server.ended(self.failed)
        # The count falls a moment after the end can be described.
        self.open = eventually(self.start, what="room for an execution")

    def start(self):
        try:
            return self.client.start_execution(stateMachineArn=self.full)["executionArn"]
        except self.client.exceptions.ExecutionLimitExceeded:
            return None


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("narrow"))
    yield Narrow(world)
    world.close()


LIMITED = [
    ("CreateActivity", "ActivityLimitExceeded", lambda s: {"name": "another"}),
    ("CreateStateMachine", "StateMachineLimitExceeded", lambda s: {"name": "another", "definition": PASS, "roleArn": ROLE}),
    ("CreateStateMachineAlias", "ServiceQuotaExceededException", lambda s: {
        "name": "another", "routingConfiguration": Stage.routing(s.version)}),
    ("PublishStateMachineVersion", "ServiceQuotaExceededException", lambda s: {"stateMachineArn": s.full}),
    ("RedriveExecution", "ExecutionLimitExceeded", lambda s: {"executionArn": s.failed}),
    ("StartExecution", "ExecutionLimitExceeded", lambda s: {"stateMachineArn": s.spare}),
    ("UpdateStateMachine", "ServiceQuotaExceededException", lambda s: {
        "stateMachineArn": s.full, "definition": PASS, "publish": True}),
]


@pytest.mark.xdist_group("api")
@pytest.mark.parametrize("action, error, parameters", LIMITED, ids=[f"{action}-{error}" for action, error, _ in LIMITED])
def test_what_is_used_up_is_answered(narrow, action, error, parameters):
    refused(narrow, action, error, parameters)


@pytest.mark.xdist_group("api")
def test_what_was_used_up_is_free_again_and_what_is_there_is_found_again(narrow):
    states = narrow.client
    # The same again is no second one.
    states.create_activity(name="activity")
    states.create_state_machine(name="spare", definition=FAIL, roleArn=ROLE)
    # Also the next process counts what runs.
    narrow.server.kill()
    narrow.server.start()
    refused_again = lambda: code_of(states.start_execution, stateMachineArn=narrow.spare) == "ExecutionLimitExceeded"  # noqa: E731
    eventually(refused_again, what="the count of what runs")
    states.stop_execution(executionArn=narrow.open)
    narrow.server.ended(states.start_execution(stateMachineArn=narrow.spare)["executionArn"])


def test_of_two_workers_one_is_too_many(world):
    narrow = Narrow(world)

    def poll():
        return code_of(narrow.client.get_activity_task, activityArn=narrow.activity)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        polls = [pool.submit(poll) for _ in range(2)]
        done, waiting = concurrent.futures.wait(polls, timeout=60, return_when=concurrent.futures.FIRST_COMPLETED)
        assert [poll.result() for poll in done] == ["ActivityWorkerLimitExceeded"]
        narrow.server.kill()


def test_every_modelled_error_is_either_tried_or_named_as_unreachable():
    modelled = {(name, error.name) for name in MODEL.operation_names for error in MODEL.operation_model(name).error_shapes}
    tried = {(action, error) for action, error, _ in [*ERRORS, *LIMITED]} | {("GetActivityTask", "ActivityWorkerLimitExceeded")}
    assert modelled == tried | (set(UNREACHABLE) & modelled)


def cli(stage, *words):
    """The AWS CLI in this process; its parsed output."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = awscli.clidriver.create_clidriver().main([
            "--endpoint-url", stage.server.endpoint, "--region", REGION, "--output", "json",
            "stepfunctions", *map(str, words)])
    assert code == 0, (words, errors.getvalue())
    return json.loads(output.getvalue() or "{}")


def words_of(parameters):
    """Parameters as the CLI takes them."""
    words = []
    for name, value in parameters.items():
        # The CLI's own `--output` says how answers are shown.
        name = "taskOutput" if name == "output" else name
        option = "--" + "".join("-" + letter.lower() if letter.isupper() else letter for letter in name)
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            words += [option, value if isinstance(value, str) else json.dumps(value)]
    return words


class Callers:
    """Calls an action through boto3 or the AWS CLI; whoever is asked, the answer has the same members."""

    def __init__(self, stage, kind):
        self.stage, self.kind, self.called = stage, kind, set()

    def __call__(self, action, **parameters):
        self.called.add(action)
        method = next(name for name, found in self.stage.client.meta.method_to_api_mapping.items() if found == action)
        if self.kind == "boto3":
            answer = getattr(self.stage.client, method)(**parameters)
            answer.pop("ResponseMetadata")
            return answer
        return cli(self.stage, method.replace("_", "-"), *words_of(parameters))


@pytest.mark.xdist_group("api")
@pytest.mark.parametrize("kind", ["boto3", "cli"])
def test_every_action_succeeds(stage, kind, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    # "sync-127.0.0.1" is no host.
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    call = Callers(stage, kind)
    machine = call("CreateStateMachine", name=f"m-{kind}", definition=PASS, roleArn=ROLE, tags=[{"key": "a", "value": "b"}])["stateMachineArn"]
    assert machine in [item["stateMachineArn"] for item in call("ListStateMachines")["stateMachines"]]
    assert call("DescribeStateMachine", stateMachineArn=machine)["definition"] == PASS
    revised = call("UpdateStateMachine", stateMachineArn=machine, definition=FAIL, publish=True, versionDescription="first")
    assert revised["stateMachineVersionArn"] == machine + ":1"
    call("UpdateStateMachine", stateMachineArn=machine, definition=PASS)
    assert call("PublishStateMachineVersion", stateMachineArn=machine)["stateMachineVersionArn"] == machine + ":2"
    assert len(call("ListStateMachineVersions", stateMachineArn=machine)["stateMachineVersions"]) == 2
    alias = call("CreateStateMachineAlias", name="live", routingConfiguration=stage.routing(machine + ":1"))["stateMachineAliasArn"]
    call("UpdateStateMachineAlias", stateMachineAliasArn=alias, routingConfiguration=stage.routing(machine + ":2"))
    described = call("DescribeStateMachineAlias", stateMachineAliasArn=alias)
    assert described["routingConfiguration"] == stage.routing(machine + ":2")
    assert len(call("ListStateMachineAliases", stateMachineArn=machine)["stateMachineAliases"]) == 1
    call("TagResource", resourceArn=machine, tags=[{"key": "c", "value": "d"}])
    call("UntagResource", resourceArn=machine, tagKeys=["a"])
    assert call("ListTagsForResource", resourceArn=machine)["tags"] == [{"key": "c", "value": "d"}]
    assert call("ValidateStateMachineDefinition", definition=PASS) == {"result": "OK", "diagnostics": [], "truncated": False}
    tested = call("TestState", definition='{"Type": "Pass", "End": true}', roleArn=ROLE, input='{"a": 1}')
    assert (tested["status"], json.loads(tested["output"])) == ("SUCCEEDED", {"a": 1})
    executions(call, stage, kind, machine, alias)
    tasks(call, stage, kind)
    map_runs(call, stage)
    call("DeleteStateMachineAlias", stateMachineAliasArn=alias)
    call("DeleteStateMachineVersion", stateMachineVersionArn=machine + ":1")
    call("DeleteStateMachine", stateMachineArn=machine)
    assert call.called == set(MODEL.operation_names)


def executions(call, stage, kind, machine, alias):
    failing = call("StartExecution", stateMachineArn=machine + ":1", name=f"failing-{kind}", input="{}")["executionArn"]
    assert stage.server.ended(failing)["status"] == "FAILED"
    call("RedriveExecution", executionArn=failing)
    assert stage.server.ended(failing)["redriveCount"] == 1
    through_alias = call("StartExecution", stateMachineArn=alias)["executionArn"]
    assert stage.server.ended(through_alias)["status"] == "SUCCEEDED"
    assert call("DescribeExecution", executionArn=through_alias)["stateMachineAliasArn"] == alias
    assert call("DescribeStateMachineForExecution", executionArn=through_alias)["definition"] == PASS
    types = [event["type"] for event in call("GetExecutionHistory", executionArn=through_alias)["events"]]
    assert types == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    assert len(call("ListExecutions", stateMachineArn=machine)["executions"]) == 2
    waiting = call("StartExecution", stateMachineArn=stage.waiting, name=f"stopped-{kind}")["executionArn"]
    call("StopExecution", executionArn=waiting, error="Enough", cause="said so")
    assert stage.server.ended(waiting)["error"] == "Enough"
    synchronous = call("StartSyncExecution", stateMachineArn=stage.express, input="[1]")
    assert (synchronous["status"], json.loads(synchronous["output"])) == ("SUCCEEDED", [1])


def tasks(call, stage, kind):
    activity = call("CreateActivity", name=f"a-{kind}")["activityArn"]
    assert activity in [item["activityArn"] for item in call("ListActivities")["activities"]]
    assert call("DescribeActivity", activityArn=activity)["name"] == f"a-{kind}"
    definition = json.dumps({"StartAt": "Only", "States": {"Only": {"Type": "Task", "Resource": activity, "End": True}}})
    machine = stage.client.create_state_machine(name=f"t-{kind}", definition=definition, roleArn=ROLE)["stateMachineArn"]
    for end in ("Success", "Failure"):
        execution = stage.client.start_execution(stateMachineArn=machine, input="[1]")["executionArn"]
        task = call("GetActivityTask", activityArn=activity, workerName="worker")
        assert task["input"] == "[1]"
        call("SendTaskHeartbeat", taskToken=task["taskToken"])
        if end == "Success":
            call("SendTaskSuccess", taskToken=task["taskToken"], output="[2]")
            assert stage.server.ended(execution)["output"] == "[2]"
        else:
            call("SendTaskFailure", taskToken=task["taskToken"], error="Broken", cause="on purpose")
            assert stage.server.ended(execution)["error"] == "Broken"
    call("DeleteActivity", activityArn=activity)


def map_runs(call, stage):
    run = call("ListMapRuns", executionArn=stage.mapped)["mapRuns"][0]["mapRunArn"]
    call("UpdateMapRun", mapRunArn=run, maxConcurrency=7)
    assert call("DescribeMapRun", mapRunArn=run)["maxConcurrency"] == 7
    eventually(lambda: len(call("ListExecutions", mapRunArn=run)["executions"]) == 2, what="two children")


def test_an_execution_that_timed_out_tells_error_and_cause_in_its_history_alone(stage):
    definition = json.dumps({"TimeoutSeconds": 1, "StartAt": "Only", "States": {
        "Only": {"Type": "Wait", "Seconds": 600, "End": True}}})
    machine = stage.client.create_state_machine(name="slow", definition=definition, roleArn=ROLE)["stateMachineArn"]
    execution = stage.client.start_execution(stateMachineArn=machine)["executionArn"]
    stage.server.ended(execution)
    told = stage.client.describe_execution(executionArn=execution)
    assert told["status"] == "TIMED_OUT"
    assert not {"error", "cause"} & told.keys()
    last = stage.client.get_execution_history(executionArn=execution)["events"][-1]
    assert last["executionTimedOutEventDetails"] == {"error": "States.Timeout"}
