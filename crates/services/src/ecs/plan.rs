//! What a container of a task is to run: its definition with the overrides of RunTask applied.

use super::task::Task;
use serde_json::Value;
use std::time::Duration;

/// AWS's default between SIGTERM and SIGKILL.
const STOP_TIMEOUT_SECONDS: u64 = 30;

/// One container's command, variables, limits and log stream.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub name: String,
    pub image: String,
    /// Empty: the image's own.
    pub entry_point: Vec<String>,
    /// Empty: the image's own.
    pub command: Vec<String>,
    pub working_directory: Option<String>,
    pub variables: Vec<(String, String)>,
    pub memory_megabytes: Option<u64>,
    pub user: Option<String>,
    pub stop_timeout: Duration,
    pub log_group: String,
    pub log_stream: String,
    /// Whether the definition names the log group, so that it is written as the task's execution role.
    pub logs_are_configured: bool,
}

pub(super) fn plan(task: &Task, index: usize) -> Plan {
    let name = &task.containers[index].name;
    let definition = &task.definition["containerDefinitions"][index];
    let overrides = task.overrides["containerOverrides"].as_array().into_iter().flatten();
    let overridden =
        overrides.into_iter().find(|container| container["name"] == name.as_str()).unwrap_or(&Value::Null);
    let mut variables = pairs(&definition["environment"]);
    variables.extend(pairs(&overridden["environment"]));
    let command = strings(&overridden["command"]);
    let command = if command.is_empty() { strings(&definition["command"]) } else { command };
    let logging = &definition["logConfiguration"];
    let options = &logging["options"];
    let logs_are_configured = logging["logDriver"] == "awslogs" && options["awslogs-group"].is_string();
    let family = task.definition["family"].as_str().unwrap_or_default();
    let prefix = options["awslogs-stream-prefix"].as_str().unwrap_or("ecs");
    let memory = [&overridden["memory"], &definition["memory"]].into_iter().find_map(Value::as_u64);
    Plan {
        name: name.clone(),
        image: definition["image"].as_str().unwrap_or_default().to_owned(),
        entry_point: strings(&definition["entryPoint"]),
        command,
        working_directory: definition["workingDirectory"].as_str().map(str::to_owned),
        variables,
        memory_megabytes: memory.or_else(|| task.memory.as_deref()?.trim_end_matches(" GB").parse().ok()),
        user: definition["user"].as_str().map(str::to_owned),
        stop_timeout: Duration::from_secs(definition["stopTimeout"].as_u64().unwrap_or(STOP_TIMEOUT_SECONDS)),
        log_group: match logs_are_configured {
            true => options["awslogs-group"].as_str().unwrap_or_default().to_owned(),
            false => format!("/ecs/{family}"),
        },
        log_stream: format!("{prefix}/{name}/{}", task.id),
        logs_are_configured,
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| Some((item["name"].as_str()?.to_owned(), item["value"].as_str()?.to_owned())))
        .collect()
}
