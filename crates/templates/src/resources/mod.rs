//! One file a service: how its resource types are created, updated and deleted, and what `Ref` and `Fn::GetAtt` give.

mod data;
mod ecs;
mod iam;
mod lambda;
mod messaging;
mod s3;
mod states;

use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::client::{CallError, CallResult, Client};
use crate::deploy::StackResource;

/// Where and for what a resource is made.
pub(crate) struct Context<'a> {
    pub client: &'a dyn Client,
    /// Logical id.
    pub id: &'a str,
    /// Stack name.
    pub stack: &'a str,
    /// Folder of the template.
    pub folder: &'a Path,
}

impl Context<'_> {
    /// The given name, or one made from stack and logical id; stable, so that a repeated deployment finds it again.
    pub fn name(&self, properties: &Value, field: &str, length_max: usize) -> String {
        if let Some(name) = properties[field].as_str() {
            return name.to_string();
        }
        let digest = hex::encode(Sha256::digest(format!("{}/{}", self.stack, self.id)));
        let suffix = &digest[..8];
        let stem: String =
            format!("{}-{}", self.stack, self.id).chars().take(length_max.saturating_sub(9)).collect();
        format!("{stem}-{suffix}")
    }
}

/// A resource that now exists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    pub reference: Value,
    pub attributes: Map<String, Value>,
}

impl Made {
    pub fn new(reference: impl Into<Value>, attributes: &[(&str, Value)]) -> Made {
        let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        Made { reference: reference.into(), attributes }
    }
}

/// What this build does with a resource type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Makes it.
    Run,
    /// Keeps it in the stack and says so.
    Recorded,
    /// Refuses it.
    Refused,
}

/// Types that change nothing about how a workflow runs here.
const RECORDED: [&str; 7] = [
    "AWS::CloudFormation::WaitConditionHandle",
    "AWS::CloudWatch::Dashboard",
    "AWS::Logs::ResourcePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::Serverless::Application::Metadata",
    "AWS::CDK::Metadata",
];

/// Types that are made.
const RUN: [&str; 21] = [
    "AWS::DynamoDB::Table",
    "AWS::ECS::Cluster",
    "AWS::ECS::TaskDefinition",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Logs::LogGroup",
    "AWS::Logs::LogStream",
    "AWS::S3::Bucket",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::StepFunctions::Activity",
    "AWS::StepFunctions::StateMachine",
    "AWS::StepFunctions::StateMachineAlias",
    "AWS::StepFunctions::StateMachineVersion",
];

/// Is this type made, recorded or refused?
pub(crate) fn support(kind: &str) -> Support {
    if RUN.contains(&kind) {
        Support::Run
    } else if RECORDED.contains(&kind) {
        Support::Recorded
    } else {
        Support::Refused
    }
}

/// Turns what lies beside the template into properties that can be compared (a folder of code into its hash, the
/// stack's region into that of a bucket).
pub(crate) fn prepare(kind: &str, properties: Value, folder: &Path, region: &str) -> Result<Value, String> {
    match kind {
        "AWS::S3::Bucket" => Ok(s3::prepare(properties, region)),
        "AWS::Lambda::Function" => lambda::prepare(properties, folder),
        _ => Ok(properties),
    }
}

pub(crate) async fn create(context: &Context<'_>, kind: &str, properties: &Value) -> CallResult<Made> {
    match kind {
        "AWS::DynamoDB::Table" => data::create_table(context, properties).await,
        "AWS::ECS::Cluster" => ecs::create_cluster(context, properties).await,
        "AWS::ECS::TaskDefinition" => ecs::register_task_definition(context, properties).await,
        "AWS::IAM::ManagedPolicy" => iam::create_managed_policy(context, properties).await,
        "AWS::IAM::Policy" => iam::put_policy(context, properties).await,
        "AWS::IAM::Role" => iam::create_role(context, properties).await,
        "AWS::Lambda::Alias" => lambda::put_alias(context, properties).await,
        "AWS::Lambda::Function" => lambda::create_function(context, properties).await,
        "AWS::Lambda::Permission" => lambda::add_permission(context, properties).await,
        "AWS::Lambda::Version" => lambda::publish_version(context, properties).await,
        "AWS::Logs::LogGroup" => data::create_log_group(context, properties).await,
        "AWS::Logs::LogStream" => data::create_log_stream(context, properties).await,
        "AWS::S3::Bucket" => s3::create_bucket(context, properties).await,
        "AWS::SNS::Subscription" => messaging::subscribe(context, properties).await,
        "AWS::SNS::Topic" => messaging::create_topic(context, properties).await,
        "AWS::SQS::Queue" => messaging::create_queue(context, properties).await,
        "AWS::SQS::QueuePolicy" => messaging::put_queue_policy(context, properties).await,
        "AWS::StepFunctions::Activity" => states::create_activity(context, properties).await,
        "AWS::StepFunctions::StateMachine" => states::create_state_machine(context, properties).await,
        "AWS::StepFunctions::StateMachineAlias" => states::put_alias(context, properties).await,
        "AWS::StepFunctions::StateMachineVersion" => states::publish_version(context, properties).await,
        _ => Ok(Made::new(context.id, &[])),
    }
}

/// Brings an existing resource to new properties; its identity may change (a new revision of a task definition).
pub(crate) async fn update(
    context: &Context<'_>,
    kind: &str,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    match kind {
        "AWS::Lambda::Function" => lambda::update_function(context, current, properties).await,
        "AWS::StepFunctions::StateMachine" => {
            states::update_state_machine(context, current, properties).await
        }
        "AWS::IAM::Role" => iam::update_role(context, current, properties).await,
        "AWS::SQS::Queue" => messaging::update_queue(context, current, properties).await,
        "AWS::S3::Bucket" => s3::update_bucket(context, current, properties).await,
        "AWS::SNS::Topic" => messaging::update_topic(context, current, properties).await,
        "AWS::Logs::LogGroup" => data::update_log_group(context, current, properties).await,
        // Creating these again is how AWS updates them, too.
        "AWS::ECS::Cluster"
        | "AWS::ECS::TaskDefinition"
        | "AWS::IAM::Policy"
        | "AWS::Lambda::Alias"
        | "AWS::Lambda::Version"
        | "AWS::SQS::QueuePolicy"
        | "AWS::StepFunctions::StateMachineAlias"
        | "AWS::StepFunctions::StateMachineVersion" => create(context, kind, properties).await,
        kind if support(kind) == Support::Recorded => create(context, kind, properties).await,
        _ => {
            delete(context, current).await?;
            create(context, kind, properties).await
        }
    }
}

pub(crate) async fn delete(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let deleted = match resource.kind.as_str() {
        "AWS::DynamoDB::Table" => data::delete_table(context, resource).await,
        "AWS::ECS::Cluster" => ecs::delete_cluster(context, resource).await,
        "AWS::ECS::TaskDefinition" => ecs::deregister_task_definition(context, resource).await,
        "AWS::IAM::ManagedPolicy" => iam::delete_managed_policy(context, resource).await,
        "AWS::IAM::Policy" => iam::delete_policy(context, resource).await,
        "AWS::IAM::Role" => iam::delete_role(context, resource).await,
        "AWS::Lambda::Alias" => lambda::delete_alias(context, resource).await,
        "AWS::Lambda::Function" => lambda::delete_function(context, resource).await,
        "AWS::Lambda::Permission" => lambda::remove_permission(context, resource).await,
        "AWS::Logs::LogGroup" => data::delete_log_group(context, resource).await,
        "AWS::Logs::LogStream" => data::delete_log_stream(context, resource).await,
        "AWS::S3::Bucket" => s3::delete_bucket(context, resource).await,
        "AWS::SNS::Subscription" => messaging::unsubscribe(context, resource).await,
        "AWS::SNS::Topic" => messaging::delete_topic(context, resource).await,
        "AWS::SQS::Queue" => messaging::delete_queue(context, resource).await,
        "AWS::StepFunctions::Activity" => states::delete_activity(context, resource).await,
        "AWS::StepFunctions::StateMachine" => states::delete_state_machine(context, resource).await,
        "AWS::StepFunctions::StateMachineAlias" => states::delete_alias(context, resource).await,
        "AWS::StepFunctions::StateMachineVersion" => states::delete_version(context, resource).await,
        // A function's versions go with it; a queue's policy goes with the queue.
        _ => Ok(()),
    };
    deleted.or_else(forgive_missing)
}

/// Deletes what a deployment that died in the middle may have left of a resource it was creating. Only types whose creation
/// is refused when the name is taken need it; the name is the stack's own, so nothing of anybody else goes.
pub(crate) async fn clear_left_over(context: &Context<'_>, kind: &str, properties: &Value) -> CallResult<()> {
    let name = match kind {
        "AWS::IAM::Role" => context.name(properties, "RoleName", 64),
        "AWS::DynamoDB::Table" => context.name(properties, "TableName", 255),
        "AWS::Lambda::Function" => context.name(properties, "FunctionName", 64),
        _ => return Ok(()),
    };
    let resource = StackResource {
        kind: kind.to_string(),
        properties: properties.clone(),
        reference: name.into(),
        attributes: Map::new(),
    };
    delete(context, &resource).await
}

/// What is already gone need not be deleted.
fn forgive_missing(error: CallError) -> CallResult<()> {
    const GONE: [&str; 11] = [
        "AWS.SimpleQueueService.NonExistentQueue",
        "ClusterNotFoundException",
        "NoSuchBucket",
        "NoSuchEntity",
        "NotFound",
        "QueueDoesNotExist",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
        "ActivityDoesNotExist",
        "ClientException",
    ];
    if GONE.contains(&error.code()) { Ok(()) } else { Err(error) }
}

/// Text of a property that holds a document, given as an object or as text.
fn document(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// `{"Key": …, "Value": …}` pairs as the older APIs take them.
fn tag_map(properties: &Value) -> Map<String, Value> {
    match &properties["Tags"] {
        Value::Array(tags) => tags
            .iter()
            .filter_map(|tag| Some((tag["Key"].as_str()?.to_string(), tag["Value"].clone())))
            .collect(),
        Value::Object(tags) => tags.clone(),
        _ => Map::new(),
    }
}
