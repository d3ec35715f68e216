//! A task and its containers: what is stored, and the shape DescribeTasks gives it.

use super::choice::Mode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The steps of a task's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    Provisioning,
    Pending,
    Running,
    Deprovisioning,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// One task as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub arn: String,
    pub id: String,
    pub account: String,
    pub region: String,
    pub cluster: String,
    pub definition_arn: String,
    /// The definition as it was when the task was run.
    pub definition: Value,
    pub overrides: Value,
    pub launch_type: String,
    pub group: String,
    pub started_by: Option<String>,
    pub tags: Vec<Value>,
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub task_role: Option<String>,
    pub execution_role: Option<String>,
    pub containers: Vec<Container>,
    pub status: Status,
    pub stop_requested: bool,
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    pub mode: Option<Mode>,
    pub mode_reason: Option<String>,
    pub created_ms: i64,
    pub started_ms: Option<i64>,
    pub stopping_ms: Option<i64>,
    /// Id of the invocation that started it, by which a caller that lost the answer finds it again.
    #[serde(default)]
    pub invocation_id: Option<String>,
    pub execution_stopped_ms: Option<i64>,
    pub stopped_ms: Option<i64>,
    pub version: u64,
}

/// One container of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Container {
    pub name: String,
    pub arn: String,
    pub image: String,
    pub essential: bool,
    pub runtime_id: Option<String>,
    pub status: Status,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

impl Task {
    /// What a container's process record or label is called.
    pub fn token(&self, index: usize) -> String {
        format!("ecs-{}-{index}", self.id)
    }

    /// The shape of DescribeTasks; tags only when asked for.
    pub fn shape(&self, with_tags: bool) -> Value {
        let desired =
            if self.stop_requested || self.status >= Status::Deprovisioning { "STOPPED" } else { "RUNNING" };
        let mut attributes = vec![json!({"name": "ecs.cpu-architecture", "value": "x86_64"})];
        if let (Some(mode), Some(reason)) = (self.mode, &self.mode_reason) {
            attributes.push(json!({"name": "passo.mode", "value": mode.name()}));
            attributes.push(json!({"name": "passo.mode-reason", "value": reason}));
        }
        if let Some(id) = &self.invocation_id {
            attributes.push(json!({"name": "passo.invocation-id", "value": id}));
        }
        let mut shape = Map::new();
        let mut set = |name: &str, value: Value| {
            shape.insert(name.to_owned(), value);
        };
        set("attachments", json!([]));
        set("attributes", attributes.into());
        set("availabilityZone", format!("{}a", self.region).into());
        set("clusterArn", cluster_arn(&self.account, &self.region, &self.cluster).into());
        if self.status > Status::Provisioning {
            set("connectivity", "CONNECTED".into());
            set("connectivityAt", seconds(self.created_ms));
        }
        set("containers", self.containers.iter().map(|container| container.shape(&self.arn)).collect());
        set("cpu", json!(self.cpu.clone().unwrap_or_else(|| "0".to_owned())));
        set("createdAt", seconds(self.created_ms));
        set("desiredStatus", desired.into());
        set("enableExecuteCommand", false.into());
        set("group", self.group.clone().into());
        set("healthStatus", "UNKNOWN".into());
        set("inferenceAccelerators", json!([]));
        set("lastStatus", self.status.name().into());
        set("launchType", self.launch_type.clone().into());
        set("memory", json!(self.memory.clone().unwrap_or_else(|| "0".to_owned())));
        set("overrides", self.overrides.clone());
        if self.launch_type == "FARGATE" {
            set("platformFamily", "Linux".into());
            set("platformVersion", "1.4.0".into());
            set("ephemeralStorage", json!({"sizeInGiB": 20}));
        }
        for (name, time) in [
            ("startedAt", self.started_ms),
            ("stoppingAt", self.stopping_ms),
            ("executionStoppedAt", self.execution_stopped_ms),
            ("stoppedAt", self.stopped_ms),
        ] {
            time.into_iter().for_each(|time| set(name, seconds(time)));
        }
        for (name, text) in [
            ("startedBy", &self.started_by),
            ("stopCode", &self.stop_code),
            ("stoppedReason", &self.stopped_reason),
        ] {
            text.iter().for_each(|text| set(name, text.clone().into()));
        }
        set("tags", if with_tags { self.tags.clone().into() } else { json!([]) });
        set("taskArn", self.arn.clone().into());
        set("taskDefinitionArn", self.definition_arn.clone().into());
        set("version", self.version.into());
        Value::Object(shape)
    }
}

impl Container {
    fn shape(&self, task_arn: &str) -> Value {
        let mut shape = json!({
            "containerArn": self.arn,
            "taskArn": task_arn,
            "name": self.name,
            "image": self.image,
            "lastStatus": self.status.name(),
            "networkBindings": [],
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
            "cpu": "0",
        });
        if let Some(runtime_id) = &self.runtime_id {
            shape["runtimeId"] = runtime_id.clone().into();
        }
        if let Some(exit_code) = self.exit_code {
            shape["exitCode"] = exit_code.into();
        }
        if let Some(reason) = &self.reason {
            shape["reason"] = reason.clone().into();
        }
        shape
    }
}

/// A time as AWS's JSON has it: seconds with a fraction.
#[allow(clippy::cast_precision_loss)]
pub(super) fn seconds(milliseconds: i64) -> Value {
    json!(milliseconds as f64 / 1000.0)
}

pub(super) fn cluster_arn(account: &str, region: &str, name: &str) -> String {
    format!("arn:aws:ecs:{region}:{account}:cluster/{name}")
}
