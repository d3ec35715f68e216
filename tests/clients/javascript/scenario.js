// The short scenario of tests/clients, with the AWS SDK for JavaScript. AWS_ENDPOINT_URL says where.
import assert from "node:assert/strict";
import {
  CreateActivityCommand, CreateStateMachineCommand, DeleteStateMachineCommand, DescribeExecutionCommand,
  ExecutionAlreadyExists, GetActivityTaskCommand, GetExecutionHistoryCommand, RedriveExecutionCommand, SFNClient,
  SendTaskFailureCommand, SendTaskSuccessCommand, StartExecutionCommand, StartSyncExecutionCommand, StateMachineDoesNotExist,
} from "@aws-sdk/client-sfn";

const roleArn = "arn:aws:iam::000000000000:role/any";
const client = new SFNClient({
  region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" }, maxAttempts: 1, disableHostPrefix: true,
});
const send = (Command, input) => client.send(new Command(input));

const ended = async (executionArn) => {
  const until = Date.now() + 30_000;
  while (Date.now() < until) {
    const found = await send(DescribeExecutionCommand, { executionArn });
    if (found.status !== "RUNNING") return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${executionArn} has not ended`);
};

const { activityArn } = await send(CreateActivityCommand, { name: "javascript" });
const definition = JSON.stringify({
  StartAt: "Ask",
  States: { Ask: { Type: "Task", Resource: activityArn, Next: "Answer" }, Answer: { Type: "Pass", End: true } },
});
const { stateMachineArn } = await send(CreateStateMachineCommand, { name: "javascript", definition, roleArn });
const first = await send(StartExecutionCommand, { stateMachineArn, name: "first", input: '{"n": 1}' });
assert(first.startDate instanceof Date);
await assert.rejects(send(StartExecutionCommand, { stateMachineArn, name: "first", input: "{}" }), ExecutionAlreadyExists);

let task = await send(GetActivityTaskCommand, { activityArn });
assert.deepEqual(JSON.parse(task.input), { n: 1 });
await send(SendTaskFailureCommand, { taskToken: task.taskToken, error: "NotYet" });
assert.equal((await ended(first.executionArn)).error, "NotYet");
await send(RedriveExecutionCommand, { executionArn: first.executionArn });
task = await send(GetActivityTaskCommand, { activityArn });
await send(SendTaskSuccessCommand, { taskToken: task.taskToken, output: '{"n": 2}' });
const done = await ended(first.executionArn);
assert.deepEqual([done.status, JSON.parse(done.output), done.redriveCount], ["SUCCEEDED", { n: 2 }, 1]);
const { events } = await send(GetExecutionHistoryCommand, { executionArn: first.executionArn });
assert.equal(events.at(-1).type, "ExecutionSucceeded");

const pass = JSON.stringify({ StartAt: "Only", States: { Only: { Type: "Pass", End: true } } });
const express = await send(CreateStateMachineCommand, { name: "javascript-express", definition: pass, roleArn, type: "EXPRESS" });
const sync = await send(StartSyncExecutionCommand, { stateMachineArn: express.stateMachineArn, input: "[1]" });
assert.deepEqual([sync.status, JSON.parse(sync.output)], ["SUCCEEDED", [1]]);
await send(DeleteStateMachineCommand, { stateMachineArn: express.stateMachineArn });
const missing = { stateMachineArn: "arn:aws:states:us-east-1:000000000000:stateMachine:missing" };
await assert.rejects(send(StartExecutionCommand, missing), StateMachineDoesNotExist);
console.log("the scenario passed");
