//! Tasks as processes: their life, their end, and what a second server on the same data makes of them.

use crate::wire::{CallContext, Principal, ServiceError, ServiceRequest};
use crate::{EcsMode, Enforce, Services, ServicesConfig};
use serde_json::{Value, json};
use std::path::Path;

struct Server {
    services: Services,
    context: CallContext,
}

impl Server {
    async fn open(directory: &Path) -> Self {
        let mut config = ServicesConfig::new(directory);
        (config.enforce, config.ecs) = (Enforce::Off, EcsMode::Process);
        let services = Services::open(config).unwrap();
        let context = CallContext::of(Principal::Root { account: "000000000000".into() }, "us-east-1");
        let server = Self { services, context };
        server.call("CreateCluster", json!({"clusterName": "c"})).await.unwrap();
        server
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value, ServiceError> {
        let answer =
            self.services.call(&self.context, "ecs", ServiceRequest::json_call(operation, &input)).await?;
        Ok(serde_json::from_slice(&answer.body_bytes()).unwrap())
    }

    async fn run(&self, script: &str, extra: Value) -> Result<String, ServiceError> {
        let container =
            json!({"name": "w", "image": "busybox", "command": ["sh", "-c", script], "stopTimeout": 2});
        let definition = json!({
            "family": "f", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
            "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [container],
        });
        let registered = self.call("RegisterTaskDefinition", definition).await?;
        let mut input = json!({
            "cluster": "c", "launchType": "FARGATE",
            "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        });
        for (name, value) in extra.as_object().into_iter().flatten() {
            input[name.as_str()] = value.clone();
        }
        let answer = self.call("RunTask", input).await?;
        Ok(answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned())
    }

    /// Waits until a task is in this status, woken by its changes.
    async fn until(&self, task: &str, status: &str) -> Value {
        let mut changes = self.services.compute().ecs.subscribe(task).unwrap();
        loop {
            let described =
                self.call("DescribeTasks", json!({"cluster": "c", "tasks": [task]})).await.unwrap();
            if described["tasks"][0]["lastStatus"] == status {
                return described["tasks"][0].clone();
            }
            changes.changed().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_task_runs_to_its_exit_code_with_its_overrides_and_its_logs() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::open(directory.path()).await;
    let overrides = json!({"overrides": {"containerOverrides": [{"name": "w", "environment": [{"name": "A", "value": "b"}]}]}});
    let task = server.run("echo got $A; echo gone >&2; exit 3", overrides).await.unwrap();
    let task = server.until(&task, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], 3);
    assert_eq!(task["stopCode"], "EssentialContainerExited");
    assert_eq!(task["stoppedReason"], "Essential container in task exited");
    assert!(
        task["attributes"].as_array().unwrap().contains(&json!({"name": "passo.mode", "value": "process"}))
    );
    let request = ServiceRequest::json_call("FilterLogEvents", &json!({"logGroupName": "/ecs/f"}));
    let answer = server.services.call(&server.context, "logs", request).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body_bytes()).unwrap();
    let lines: Vec<&str> =
        answer["events"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap()).collect();
    assert_eq!(lines, ["got b", "gone"]);
    let left = std::fs::read_dir(directory.path().join("processes")).unwrap();
    let left: Vec<_> = left.filter(|entry| entry.as_ref().unwrap().file_name() != ".lock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_stopped_task_ends_by_sigterm_or_after_its_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::open(directory.path()).await;
    for (script, code) in [
        ("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done", 5),
        ("trap '' TERM; echo up; sleep 60", 137),
    ] {
        let task = server.run(script, json!({})).await.unwrap();
        server.until(&task, "RUNNING").await;
        // The shell says when it has set its trap.
        let log = directory
            .path()
            .join("processes")
            .join(format!("ecs-{}-0.log", task.rsplit('/').next().unwrap()));
        while std::fs::read_to_string(&log).unwrap_or_default().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let stopped =
            server.call("StopTask", json!({"cluster": "c", "task": task, "reason": "enough"})).await.unwrap();
        assert_eq!(stopped["task"]["desiredStatus"], "STOPPED");
        let task = server.until(&task, "STOPPED").await;
        assert_eq!((&task["stopCode"], &task["stoppedReason"]), (&json!("UserInitiated"), &json!("enough")));
        assert_eq!(task["containers"][0]["exitCode"], code);
    }
}

#[tokio::test]
async fn the_same_client_token_or_invocation_id_runs_one_task() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::open(directory.path()).await;
    let first = server.run("exit 0", json!({"clientToken": "t", "taskDefinition": "f"})).await.unwrap();
    assert_eq!(
        server.run("exit 0", json!({"clientToken": "t", "taskDefinition": "f"})).await.unwrap(),
        first
    );
    let conflict = server
        .run("exit 0", json!({"clientToken": "t", "taskDefinition": "f", "count": 2}))
        .await
        .unwrap_err();
    assert_eq!(conflict.short_code(), "ConflictException");
    server.context.invocation_id = Some("i".to_owned());
    let second = server.run("exit 0", json!({})).await.unwrap();
    assert_eq!(server.run("exit 0", json!({})).await.unwrap(), second);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_task_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::open(directory.path()).await;
    let overrides =
        json!({"overrides": {"containerOverrides": [{"name": "w", "command": ["no-such-program"]}]}});
    let task = server.run("", overrides).await.unwrap();
    let task = server.until(&task, "STOPPED").await;
    assert_eq!(task["stopCode"], "TaskFailedToStart");
    assert!(
        task["stoppedReason"].as_str().unwrap().contains("no-such-program is not on this machine's PATH")
    );
}

#[tokio::test]
async fn refusals_have_the_words_of_aws() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::open(directory.path()).await;
    for (extra, code, message) in [
        (json!({"cluster": "d"}), "ClusterNotFoundException", "Cluster not found."),
        (json!({"taskDefinition": "g"}), "ClientException", "TaskDefinition not found."),
        (
            json!({"networkConfiguration": null}),
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ),
        (json!({"count": 11}), "InvalidParameterException", "count should be between 1 and 10."),
    ] {
        let error = server.run("exit 0", extra).await.unwrap_err();
        assert_eq!((error.short_code(), error.message.as_str()), (code, message));
    }
}
