//! ECS's API: operations by name, the permissions they need, and AWS's ways to name things.

use super::Inner;
use super::task::cluster_arn;
use super::{clusters, definitions, run_task, tags, tasks};
use crate::wire::{Access, CallContext, ServiceError, ServiceRequest, ServiceResponse};
use serde_json::Value;
use std::sync::Arc;

/// One call.
pub(super) struct Call<'a> {
    pub inner: &'a Arc<Inner>,
    pub context: &'a CallContext,
    pub input: &'a Value,
}

impl Call<'_> {
    /// A member as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.input.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The name of the cluster that the input means.
    pub fn cluster(&self) -> String {
        cluster_name(self.text("cluster"))
    }

    /// A list of strings.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.input.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether `include` names something.
    pub fn includes(&self, what: &str) -> bool {
        self.list("include").iter().any(|included| included == what)
    }

    /// The account and region of the caller.
    pub fn place(&self) -> (String, String) {
        (self.context.account.clone(), self.context.region.clone())
    }
}

fn cluster_name(named: Option<&str>) -> String {
    named.map_or("default", |named| named.rsplit('/').next().unwrap_or(named)).to_owned()
}

/// The permissions a request needs.
pub(super) fn access(inner: &Inner, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
    let action = format!("ecs:{}", request.operation);
    let Ok(input) = request.json() else { return vec![Access::new(action, "*")] };
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let cluster = cluster_name(text("cluster"));
    let cluster_arn = cluster_arn(&context.account, &context.region, &cluster);
    let task_arn = |named: &str| match named.starts_with("arn:") {
        true => named.to_owned(),
        false => context.arn("ecs", &format!("task/{cluster}/{named}")),
    };
    match request.operation.as_str() {
        "RunTask" => run_task::access(inner, context, input, action, &cluster_arn),
        "StopTask" => {
            let task = task_arn(text("task").unwrap_or_default());
            vec![Access::new(action, task).with_condition("ecs:cluster", cluster_arn)]
        }
        "DescribeTasks" => {
            let named =
                input.get("tasks").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            named
                .map(|named| {
                    Access::new(action.clone(), task_arn(named)).with_condition("ecs:cluster", &cluster_arn)
                })
                .collect()
        }
        "DescribeClusters" | "DeleteCluster" => vec![Access::new(action, cluster_arn)],
        "RegisterTaskDefinition" => {
            let roles = ["taskRoleArn", "executionRoleArn"].into_iter().filter_map(text);
            let roles = roles.map(|role| Access::pass_role(role, "ecs-tasks.amazonaws.com"));
            std::iter::once(Access::new(action, "*")).chain(roles).collect()
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            vec![Access::new(action, text("resourceArn").unwrap_or("*"))]
        }
        _ => vec![Access::new(action, "*")],
    }
}

/// Answers a request.
pub(super) async fn handle(
    inner: &Arc<Inner>,
    context: &CallContext,
    request: ServiceRequest,
) -> Result<ServiceResponse, ServiceError> {
    let input = request.json()?;
    let call = Call { inner, context, input };
    let answer = match request.operation.as_str() {
        "CreateCluster" => clusters::create(&call).await,
        "DescribeClusters" => clusters::describe(&call),
        "ListClusters" => clusters::list(&call),
        "DeleteCluster" => clusters::delete(&call).await,
        "RegisterTaskDefinition" => definitions::register(&call).await,
        "DescribeTaskDefinition" => definitions::describe(&call),
        "ListTaskDefinitions" => definitions::list(&call),
        "ListTaskDefinitionFamilies" => definitions::list_families(&call),
        "DeregisterTaskDefinition" => definitions::deregister(&call).await,
        "RunTask" => run_task::run(&call).await,
        "DescribeTasks" => tasks::describe(&call),
        "ListTasks" => tasks::list(&call),
        "StopTask" => tasks::stop(&call).await,
        "TagResource" => tags::add(&call).await,
        "UntagResource" => tags::remove(&call).await,
        "ListTagsForResource" => tags::list(&call),
        other => Err(ServiceError::unsupported("ecs", other)),
    };
    answer.map(ServiceResponse::json)
}

/// A cluster that is not there.
pub(super) fn no_cluster() -> ServiceError {
    ServiceError::client("ClusterNotFoundException", "Cluster not found.")
}

/// ClientException.
pub(super) fn client(message: impl Into<String>) -> ServiceError {
    ServiceError::client("ClientException", message)
}

/// InvalidParameterException.
pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterException", message)
}

/// Cuts a sorted list into a page by `maxResults` and `nextToken`, the name of the last item shown.
pub(super) fn page(call: &Call<'_>, items: Vec<String>) -> (Vec<String>, Option<String>) {
    const PAGE_MAX: usize = 100;
    let asked = call.input.get("maxResults").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let limit = asked.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let start = call
        .text("nextToken")
        .and_then(|token| items.iter().position(|item| item == token))
        .map_or(0, |i| i + 1);
    let more = items.len() > start + limit;
    let shown: Vec<String> = items.into_iter().skip(start).take(limit).collect();
    let next = shown.last().filter(|_| more).cloned();
    (shown, next)
}
