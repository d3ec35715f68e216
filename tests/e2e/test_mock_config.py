"""The mock configuration file of Step Functions Local: `passo serve --mock-config FILE`, and `ARN#TestCase` at a start.

The first machine is the example of AWS's guide: a Lambda function that is retried, and a queue.
"""

import json

import botocore.exceptions
import pytest

from deadline import eventually
from passo import ACCOUNT, REGION

ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/myQueue"

GREETING = {"StatusCode": 200, "Payload": {"StatusCode": 200, "body": "Hello from Lambda!"}}
SENT = {"MD5OfMessageBody": "3bcb6e8e-7h85-4375-b0bc-1a59812c6e51", "MessageId": "3bcb6e8e-8b51-4375-b0bc-1a59812c6e51"}

EXAMPLE = {
    "StateMachines": {"LambdaSQSIntegration": {"TestCases": {
        "HappyPath": {"LambdaState": "MockedLambdaSuccess", "SQSState": "MockedSQSSuccess"},
        "RetryPath": {"LambdaState": "MockedLambdaRetry", "SQSState": "MockedSQSSuccess"},
        "HybridPath": {"LambdaState": "MockedLambdaSuccess"},
    }}},
    "MockedResponses": {
        "MockedLambdaSuccess": {"0": {"Return": GREETING}},
        "MockedSQSSuccess": {"0": {"Return": SENT}},
        "MockedLambdaRetry": {
            "0": {"Throw": {"Error": "Lambda.ResourceNotReadyException", "Cause": "Lambda resource is not ready."}},
            "1-2": {"Throw": {"Error": "Lambda.TimeoutException", "Cause": "Lambda timed out."}},
            "3": {"Return": GREETING},
        },
    },
}

EXAMPLE_MACHINE = {"StartAt": "LambdaState", "States": {
    "LambdaState": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Next": "SQSState",
        "Parameters": {"FunctionName": "HelloWorldFunction", "Payload.$": "$"},
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 1}]},
    "SQSState": {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True,
        "Parameters": {"QueueUrl": QUEUE, "MessageBody.$": "$"}},
}}


def task(resource, parameters, **more):
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, **(more or {"End": True})}


def alone(state):
    return {"StartAt": "Call", "States": {"Call": state}}


def machine(server, name, definition, kind="STANDARD"):
    return server.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=ROLE, type=kind)["stateMachineArn"]


def configured(world, configuration, name="MockConfigFile.json"):
    file = world.folder / name
    file.write_text(json.dumps(configuration, indent=2))
    return file


def started(server, arn, **more):
    return server.client("stepfunctions").start_execution(stateMachineArn=arn, **more)["executionArn"]


def types(server, execution):
    return [event["type"] for event in server.history(execution)]


def refused(call, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**parameters)
    return error.value.response["Error"]


def test_the_example_of_the_guide_takes_its_three_paths(world):
    # The variable is what Step Functions Local reads.
    server = world.serve(env={"SFN_MOCK_CONFIG": configured(world, EXAMPLE)})
    arn = machine(server, "LambdaSQSIntegration", EXAMPLE_MACHINE)
    happy = started(server, f"{arn}#HappyPath", name="happy", input=json.dumps({"name": "Ana"}))
    described = server.ended(happy)
    assert (described["status"], json.loads(described["output"])) == ("SUCCEEDED", SENT)
    assert described["stateMachineArn"] == arn and happy == arn.replace(":stateMachine:", ":execution:") + ":happy"
    retried = started(server, f"{arn}#RetryPath")
    described = server.ended(retried)
    assert (described["status"], json.loads(described["output"])) == ("SUCCEEDED", SENT)
    failed = [event["taskFailedEventDetails"] for event in server.history(retried) if event["type"] == "TaskFailed"]
    assert [event["error"] for event in failed] == ["Lambda.ResourceNotReadyException"] + 2 * ["Lambda.TimeoutException"]
    assert failed[2]["cause"] == "Lambda timed out."
    # The state without a mock calls the real queue.
    sqs = server.client("sqs")
    queue = sqs.create_queue(QueueName="myQueue")["QueueUrl"]
    described = server.ended(started(server, f"{arn}#HybridPath"))
    assert described["status"] == "SUCCEEDED", described
    message = sqs.receive_message(QueueUrl=queue)["Messages"][0]
    assert json.loads(message["Body"]) == GREETING
    assert json.loads(described["output"])["MessageId"] == message["MessageId"]
    # All are executions of the machine, and without a test case the function is called, which is not there.
    listed = server.client("stepfunctions").list_executions(stateMachineArn=arn)["executions"]
    assert len(listed) == 3
    plain = machine(server, "Plain", alone(task("arn:aws:states:::lambda:invoke", {"FunctionName": "HelloWorldFunction"})))
    assert server.ended(started(server, plain))["status"] == "FAILED"


def test_an_unknown_test_case_is_refused_and_without_a_file_the_sign_means_nothing(world):
    server = world.serve("--mock-config", str(configured(world, EXAMPLE)))
    arn = machine(server, "LambdaSQSIntegration", EXAMPLE_MACHINE)
    start = server.client("stepfunctions").start_execution
    error = refused(start, stateMachineArn=f"{arn}#SadPath")
    assert error["Code"] == "InvalidArn" and "SadPath" in error["Message"] and "HappyPath, HybridPath, RetryPath" in error["Message"]
    assert refused(start, stateMachineArn=f"{arn}x#HappyPath")["Code"] == "StateMachineDoesNotExist"
    # A name is taken also by an execution in another test case.
    assert started(server, f"{arn}#HappyPath", name="one").endswith(":one")
    assert refused(start, stateMachineArn=f"{arn}#RetryPath", name="one")["Code"] == "ExecutionAlreadyExists"
    bare = world.serve(data=world.folder / "bare")
    arn = machine(bare, "LambdaSQSIntegration", EXAMPLE_MACHINE)
    error = refused(bare.client("stepfunctions").start_execution, stateMachineArn=f"{arn}#HappyPath")
    assert error["Code"] in ("InvalidArn", "StateMachineDoesNotExist")


def test_a_wrong_file_is_named_line_by_line(world):
    file = world.folder / "wrong.json"
    file.write_text('{\n  "StateMachines": { "A": { "TestCases": { "One": { "S": 1 } } } },\n  "Responses": {}\n}\n')
    done = world.passo("serve", "--ephemeral", "--listen", "127.0.0.1:0", "--mock-config", file)
    assert done.returncode == 2
    assert f"{file}:2:58: the state 'S' must be given the name of a mocked response" in done.stderr
    assert f"{file}:3:3: unknown member 'Responses'" in done.stderr
    done = world.passo("serve", "--ephemeral", "--listen", "127.0.0.1:0", "--mock-config", world.folder / "missing.json")
    assert done.returncode == 2 and "missing.json" in done.stderr


FAMILIES = {
    "lambda": (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:none", {}, [
        "LambdaFunctionScheduled", "LambdaFunctionStarted", "LambdaFunctionSucceeded"]),
    "optimized": ("arn:aws:states:::sns:publish", {"TopicArn": "none", "Message": "m"}, [
        "TaskScheduled", "TaskStarted", "TaskSucceeded"]),
    "sdk": ("arn:aws:states:::aws-sdk:comprehend:detectSentiment", {"LanguageCode": "en", "Text": "t"}, [
        "TaskScheduled", "TaskStarted", "TaskSucceeded"]),
    "job": ("arn:aws:states:::glue:startJobRun.sync", {"JobName": "none"}, [
        "TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded"]),
    "callback": ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", {"QueueUrl": QUEUE, "MessageBody.$": "$$.Task.Token"}, [
        "TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded"]),
}


def test_tasks_of_every_family_are_answered_from_the_file(world):
    answer = {"Mocked": [1, "two", None]}
    configuration = {
        "StateMachines": {name: {"TestCases": {"Good": {"Call": "Answer"}, "Bad": {"Call": "Error"}}} for name in [*FAMILIES, "activity"]},
        "MockedResponses": {"Answer": {"0": {"Return": answer}}, "Error": {"0": {"Throw": {"Error": "Own.Error", "Cause": "c"}}}},
    }
    server = world.serve("--mock-config", str(configured(world, configuration)))
    for name, (resource, parameters, events) in FAMILIES.items():
        arn = machine(server, name, alone(task(resource, parameters)))
        execution = started(server, f"{arn}#Good")
        described = server.ended(execution)
        assert (described["status"], json.loads(described.get("output", "null"))) == ("SUCCEEDED", answer), (name, described)
        assert types(server, execution)[2:-2] == events, name
        described = server.ended(started(server, f"{arn}#Bad"))
        assert (described["status"], described["error"], described["cause"]) == ("FAILED", "Own.Error", "c"), name
    # Step Functions Local cannot mock activities, either, and says so.
    activity = server.client("stepfunctions").create_activity(name="a")["activityArn"]
    arn = machine(server, "activity", alone({"Type": "Task", "Resource": activity, "End": True}))
    described = server.ended(started(server, f"{arn}#Good"))
    assert described["error"] == "States.Runtime"
    assert "Activity state cannot be mocked." in described["cause"]


def test_calls_of_a_state_share_one_sequence_in_retries_iterations_and_branches(world):
    retry = [{"ErrorEquals": ["Boom"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    call = task("arn:aws:states:::sns:publish", {"TopicArn": "t", "Message": "m"}, End=True, Retry=retry)
    within = alone(call)
    loop = {"StartAt": "Map", "States": {"Map": {
        "Type": "Map", "MaxConcurrency": 1, "End": True, "ItemProcessor": within}}}
    distributed = json.loads(json.dumps(loop))
    distributed["States"]["Map"]["ItemProcessor"]["ProcessorConfig"] = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    parallel = {"StartAt": "All", "States": {"All": {"Type": "Parallel", "End": True, "Branches": [
        alone(call), {"StartAt": "Other", "States": {"Other": {**call}}}]}}}
    sequence = {"0": {"Throw": {"Error": "Boom", "Cause": "first"}}, **{str(n): {"Return": f"idx{n}"} for n in (1, 2)}}
    configuration = {
        "StateMachines": {
            "loop": {"TestCases": {"Case": {"Call": "Sequence"}, "Short": {"Call": "One"}}},
            "distributed": {"TestCases": {"Case": {"Call": "Sequence"}}},
            "parallel": {"TestCases": {"Case": {"Call": "Sequence", "Other": "Two"}}},
        },
        "MockedResponses": {"Sequence": sequence, "One": {"0": {"Return": 1}}, "Two": {"0-1": {"Return": "other"}}},
    }
    server = world.serve("--mock-config", str(configured(world, configuration)))
    arn = machine(server, "loop", loop)
    cases = started(server, f"{arn}#Case", input="[1, 2]"), started(server, f"{arn}#Short", input="[1, 2]")
    # A child of a Map Run is an execution of its own, with a sequence of its own.
    children = started(server, f"{machine(server, 'distributed', distributed)}#Case", input="[1, 2]")
    branches = started(server, f"{machine(server, 'parallel', parallel)}#Case")
    assert json.loads(server.ended(cases[0])["output"]) == ["idx1", "idx2"]
    described = server.ended(cases[1])
    assert described["error"] == "States.Runtime" and "no response for call 1 of the state Call" in described["cause"]
    assert json.loads(server.ended(children)["output"]) == ["idx1", "idx1"]
    assert json.loads(server.ended(branches)["output"]) == ["idx1", "other"]


def test_express_executions_have_test_cases_too(world):
    configuration = {
        "StateMachines": {"express": {"TestCases": {"Case": {"Call": "Answer"}}}},
        "MockedResponses": {"Answer": {"0": {"Return": "mocked"}}},
    }
    server = world.serve("--mock-config", str(configured(world, configuration)))
    arn = machine(server, "express", alone(task("arn:aws:states:::sns:publish", {"TopicArn": "t", "Message": "m"})), "EXPRESS")
    client = server.client("stepfunctions", inject_host_prefix=False)
    ended = client.start_sync_execution(stateMachineArn=f"{arn}#Case")
    assert (ended["status"], ended["output"], ended["stateMachineArn"]) == ("SUCCEEDED", '"mocked"', arn)
    assert client.start_execution(stateMachineArn=f"{arn}#Case")["executionArn"]


def test_a_test_case_goes_on_where_it_was_after_a_restart(world):
    """A mocked call, a wait that only the world ends, and the same state again."""
    states = {
        "Call": task("arn:aws:states:::sns:publish", {"TopicArn": "t", "Message": "m"}, ResultPath="$.last", Next="Done"),
        "Done": {"Type": "Choice", "Choices": [{"Variable": "$.last", "StringEquals": "second", "Next": "End"}], "Default": "Hold"},
        "Hold": task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", {"QueueUrl": "QUEUE", "MessageBody.$": "$$.Task.Token"},
                     ResultPath=None, Next="Call"),
        "End": {"Type": "Succeed"},
    }
    configuration = {
        "StateMachines": {"held": {"TestCases": {"Case": {"Call": "Twice"}}}},
        "MockedResponses": {"Twice": {"0": {"Return": "first"}, "1": {"Return": "second"}}},
    }
    file = configured(world, configuration)
    server = world.serve("--mock-config", str(file))
    queue = server.client("sqs").create_queue(QueueName="tokens")["QueueUrl"]
    definition = json.loads(json.dumps({"StartAt": "Call", "States": states}).replace("QUEUE", queue))
    execution = started(server, f"{machine(server, 'held', definition)}#Case")

    def token():
        found = server.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages")
        return found and found[0]["Body"]

    held = eventually(token, 60)
    server.kill()
    server.start()
    server.client("stepfunctions").send_task_success(taskToken=held, output="{}")
    described = server.ended(execution)
    assert (described["status"], json.loads(described["output"])["last"]) == ("SUCCEEDED", "second"), described
    # A file that was changed is read at the next start with a test case; nothing needs to be started again.
    configuration["MockedResponses"]["Twice"]["0"] = {"Return": "second"}
    configured(world, configuration)
    described = server.ended(started(server, f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:held#Case"))
    assert json.loads(described["output"])["last"] == "second"
