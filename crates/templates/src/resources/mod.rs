//! One file a service: how its resource types are created, updated, found and deleted, and what `Ref` and `Fn::GetAtt`
//! give.

mod apigateway;
pub(crate) mod catalog;
mod cloudwatch;
mod data;
mod ecs;
mod events;
mod iam;
mod lambda;
mod locate;
mod logs;
mod s3;
mod s3_settings;
mod scheduler;
mod sns;
mod sqs;
mod states;
mod tags;

pub(crate) use locate::locate;

use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::client::{CallError, CallResult, Client};
use crate::stack::StackResource;

/// Account and region of the target.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Account of the credentials.
    pub account: String,
    /// Region of the calls.
    pub region: String,
}

/// Where and for what a resource is made.
pub(crate) struct Context<'a> {
    pub client: &'a dyn Client,
    /// Logical id.
    pub id: &'a str,
    /// Stack name.
    pub stack: &'a str,
    /// Folder of the template.
    pub folder: &'a Path,
    pub place: &'a Place,
    /// How often the resource was replaced.
    pub generation: u32,
}

impl Context<'_> {
    /// The given name, or one made from stack and logical id; stable, so that a repeated deployment finds it again, and
    /// another for each replacement.
    pub fn name(&self, properties: &Value, field: &str, length_max: usize) -> String {
        if let Some(name) = properties[field].as_str() {
            return name.to_string();
        }
        let seed = match self.generation {
            0 => format!("{}/{}", self.stack, self.id),
            generation => format!("{}/{}/{generation}", self.stack, self.id),
        };
        let digest = hex::encode(Sha256::digest(seed));
        let suffix = &digest[..8];
        let stem: String =
            format!("{}-{}", self.stack, self.id).chars().take(length_max.saturating_sub(9)).collect();
        format!("{stem}-{suffix}")
    }

    /// `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.place.region, self.place.account)
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

    /// The identity of a resource that was changed in place.
    pub fn same(current: &StackResource) -> Made {
        Made { reference: current.reference.clone(), attributes: current.attributes.clone() }
    }
}

/// Types of which one may be there already: log groups are made by whoever writes first, task definitions have revisions,
/// subscribing and putting a policy twice is the same as once.
pub(crate) fn is_shared(kind: &str) -> bool {
    let shared =
        ["AWS::ECS::TaskDefinition", "AWS::IAM::Policy", "AWS::Logs::LogGroup", "AWS::SNS::Subscription"];
    shared.contains(&kind)
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
        "AWS::ApiGateway::Account" => apigateway::put_account(context, properties).await,
        "AWS::ApiGateway::Deployment" => apigateway::create_deployment(context, properties).await,
        "AWS::ApiGateway::Method" => apigateway::put_method(context, properties).await,
        "AWS::ApiGateway::Resource" => apigateway::create_resource(context, properties).await,
        "AWS::ApiGateway::RestApi" => apigateway::create_api(context, properties).await,
        "AWS::ApiGateway::Stage" => apigateway::create_stage(context, properties).await,
        "AWS::CloudWatch::Alarm" => cloudwatch::put_alarm(context, properties).await,
        "AWS::DynamoDB::Table" => data::create_table(context, properties).await,
        "AWS::ECS::Cluster" => ecs::create_cluster(context, properties).await,
        "AWS::ECS::TaskDefinition" => ecs::register_task_definition(context, properties).await,
        "AWS::Events::Connection" => events::create_connection(context, properties).await,
        "AWS::Events::EventBus" => events::create_bus(context, properties).await,
        "AWS::Events::Rule" => events::put_rule(context, properties).await,
        "AWS::IAM::ManagedPolicy" => iam::create_managed_policy(context, properties).await,
        "AWS::IAM::Policy" => iam::put_policy(context, properties).await,
        "AWS::IAM::Role" => iam::create_role(context, properties).await,
        "AWS::Lambda::Alias" => lambda::create_alias(context, properties).await,
        "AWS::Lambda::EventSourceMapping" => lambda::create_mapping(context, properties).await,
        "AWS::Lambda::Function" => lambda::create_function(context, properties).await,
        "AWS::Lambda::Permission" => lambda::add_permission(context, properties).await,
        "AWS::Lambda::Version" => lambda::publish_version(context, properties).await,
        "AWS::Logs::LogGroup" => logs::create_group(context, properties).await,
        "AWS::Logs::LogStream" => logs::create_stream(context, properties).await,
        "AWS::Logs::ResourcePolicy" => logs::put_policy(context, properties).await,
        "AWS::S3::Bucket" => s3::create_bucket(context, properties).await,
        "AWS::S3::BucketPolicy" => s3::put_policy(context, properties).await,
        "AWS::SNS::Subscription" => sns::subscribe(context, properties).await,
        "AWS::SNS::Topic" => sns::create_topic(context, properties).await,
        "AWS::SNS::TopicPolicy" => sns::put_policy(context, properties).await,
        "AWS::SQS::Queue" => sqs::create_queue(context, properties).await,
        "AWS::SQS::QueuePolicy" => sqs::put_policy(context, properties).await,
        "AWS::Scheduler::Schedule" => scheduler::create_schedule(context, properties).await,
        "AWS::Scheduler::ScheduleGroup" => scheduler::create_group(context, properties).await,
        "AWS::StepFunctions::Activity" => states::create_activity(context, properties).await,
        "AWS::StepFunctions::StateMachine" => states::create_state_machine(context, properties).await,
        "AWS::StepFunctions::StateMachineAlias" => states::create_alias(context, properties).await,
        "AWS::StepFunctions::StateMachineVersion" => states::publish_version(context, properties).await,
        _ => Ok(Made::new(context.id, &[])),
    }
}

/// Brings an existing resource to new properties without changing which one it is.
pub(crate) async fn update(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    match current.kind.as_str() {
        "AWS::ApiGateway::Account" => apigateway::put_account(context, properties).await,
        "AWS::ApiGateway::Method" => apigateway::update_method(context, current, properties).await,
        "AWS::ApiGateway::RestApi" => apigateway::update_api(context, current, properties).await,
        "AWS::ApiGateway::Stage" => apigateway::update_stage(context, current, properties).await,
        "AWS::DynamoDB::Table" => data::update_table(context, current, properties).await,
        "AWS::Events::Connection" => events::update_connection(context, current, properties).await,
        "AWS::Events::Rule" => events::update_rule(context, current, properties).await,
        "AWS::IAM::ManagedPolicy" => iam::update_managed_policy(context, current, properties).await,
        "AWS::IAM::Policy" => iam::update_policy(context, current, properties).await,
        "AWS::IAM::Role" => iam::update_role(context, current, properties).await,
        "AWS::Lambda::Alias" => lambda::update_alias(context, current, properties).await,
        "AWS::Lambda::EventSourceMapping" => lambda::update_mapping(context, current, properties).await,
        "AWS::Lambda::Function" => lambda::update_function(context, current, properties).await,
        "AWS::Logs::LogGroup" => logs::update_group(context, current, properties).await,
        "AWS::S3::Bucket" => s3::update_bucket(context, current, properties).await,
        "AWS::SNS::Subscription" => sns::update_subscription(context, current, properties).await,
        "AWS::SNS::Topic" => sns::update_topic(context, current, properties).await,
        "AWS::SNS::TopicPolicy" => sns::update_policy(context, current, properties).await,
        "AWS::SQS::Queue" => sqs::update_queue(context, current, properties).await,
        "AWS::SQS::QueuePolicy" => sqs::update_policy(context, current, properties).await,
        "AWS::Scheduler::Schedule" => scheduler::update_schedule(context, current, properties).await,
        "AWS::StepFunctions::StateMachine" => {
            states::update_state_machine(context, current, properties).await
        }
        "AWS::StepFunctions::StateMachineAlias" => states::update_alias(context, current, properties).await,
        // Putting these again is how AWS updates them, too.
        "AWS::CloudWatch::Alarm" | "AWS::Logs::ResourcePolicy" | "AWS::S3::BucketPolicy" => {
            create(context, &current.kind, properties).await
        }
        "AWS::ECS::Cluster" => ecs::update_cluster(context, current, properties).await,
        "AWS::Events::EventBus" => events::update_bus(context, current, properties).await,
        "AWS::StepFunctions::Activity" => states::update_activity(context, current, properties).await,
        // What is left are tags that no client of these types can ask for here.
        _ => Ok(Made::same(current)),
    }
}

/// Deletes a resource; one that is gone already is deleted.
pub(crate) async fn delete(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let deleted = match resource.kind.as_str() {
        "AWS::ApiGateway::Deployment" => apigateway::delete_deployment(context, resource).await,
        "AWS::ApiGateway::Method" => apigateway::delete_method(context, resource).await,
        "AWS::ApiGateway::Resource" => apigateway::delete_resource(context, resource).await,
        "AWS::ApiGateway::RestApi" => apigateway::delete_api(context, resource).await,
        "AWS::ApiGateway::Stage" => apigateway::delete_stage(context, resource).await,
        "AWS::CloudWatch::Alarm" => cloudwatch::delete_alarm(context, resource).await,
        "AWS::DynamoDB::Table" => data::delete_table(context, resource).await,
        "AWS::ECS::Cluster" => ecs::delete_cluster(context, resource).await,
        "AWS::ECS::TaskDefinition" => ecs::deregister_task_definition(context, resource).await,
        "AWS::Events::Connection" => events::delete_connection(context, resource).await,
        "AWS::Events::EventBus" => events::delete_bus(context, resource).await,
        "AWS::Events::Rule" => events::delete_rule(context, resource).await,
        "AWS::IAM::ManagedPolicy" => iam::delete_managed_policy(context, resource).await,
        "AWS::IAM::Policy" => iam::delete_policy(context, resource).await,
        "AWS::IAM::Role" => iam::delete_role(context, resource).await,
        "AWS::Lambda::Alias" => lambda::delete_alias(context, resource).await,
        "AWS::Lambda::EventSourceMapping" => lambda::delete_mapping(context, resource).await,
        "AWS::Lambda::Function" => lambda::delete_function(context, resource).await,
        "AWS::Lambda::Permission" => lambda::remove_permission(context, resource).await,
        "AWS::Lambda::Version" => lambda::delete_version(context, resource).await,
        "AWS::Logs::LogGroup" => logs::delete_group(context, resource).await,
        "AWS::Logs::LogStream" => logs::delete_stream(context, resource).await,
        "AWS::Logs::ResourcePolicy" => logs::delete_policy(context, resource).await,
        "AWS::S3::Bucket" => s3::delete_bucket(context, resource).await,
        "AWS::S3::BucketPolicy" => s3::delete_policy(context, resource).await,
        "AWS::SNS::Subscription" => sns::unsubscribe(context, resource).await,
        "AWS::SNS::Topic" => sns::delete_topic(context, resource).await,
        "AWS::SNS::TopicPolicy" => sns::delete_policy(context, resource).await,
        "AWS::SQS::Queue" => sqs::delete_queue(context, resource).await,
        "AWS::SQS::QueuePolicy" => sqs::delete_policy(context, resource).await,
        "AWS::Scheduler::Schedule" => scheduler::delete_schedule(context, resource).await,
        "AWS::Scheduler::ScheduleGroup" => scheduler::delete_group(context, resource).await,
        "AWS::StepFunctions::Activity" => states::delete_activity(context, resource).await,
        "AWS::StepFunctions::StateMachine" => states::delete_state_machine(context, resource).await,
        "AWS::StepFunctions::StateMachineAlias" => states::delete_alias(context, resource).await,
        "AWS::StepFunctions::StateMachineVersion" => states::delete_version(context, resource).await,
        _ => Ok(()),
    };
    deleted.or_else(forgive_missing)
}

/// Goes on where the thing is gone.
fn forgive_missing_after(answer: CallResult<()>) -> CallResult<()> {
    answer.or_else(forgive_missing)
}

/// What is already gone need not be deleted.
fn forgive_missing(error: CallError) -> CallResult<()> {
    const GONE: [&str; 15] = [
        "NotFoundException",
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
        "NoSuchBucketPolicy",
        "ResourceNotFoundFault",
        "StateMachineAliasDoesNotExist",
    ];
    if GONE.contains(&error.code()) { Ok(()) } else { Err(error) }
}

/// Text of a property that holds a document, given as an object or as text.
fn document(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
