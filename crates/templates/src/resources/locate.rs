//! Is a resource there already? Asked before one is made, so that nothing of somebody else is taken for the stack's, and
//! after a deployment that died, for what it was making.

use serde_json::Value;

use super::{Context, Made, catalog, cloudwatch, data, ecs, events, forgive_missing, iam, lambda, logs, s3};
use super::{scheduler, sns, sqs, states};
use crate::client::CallResult;
use crate::stack::StackResource;

/// The resource with the name that these properties give it. Types without such a name are not found: publishing a
/// version or putting a policy again does no harm.
pub(crate) async fn locate(
    context: &Context<'_>,
    kind: &str,
    properties: &Value,
) -> CallResult<Option<StackResource>> {
    let found = match find(context, kind, properties).await {
        Ok(found) => found,
        Err(error) => forgive_missing(error).map(|()| None)?,
    };
    Ok(found.map(|made| StackResource {
        kind: kind.to_string(),
        properties: properties.clone(),
        reference: made.reference,
        attributes: made.attributes,
        generation: context.generation,
        ..StackResource::default()
    }))
}

async fn find(context: &Context<'_>, kind: &str, properties: &Value) -> CallResult<Option<Made>> {
    let name = match catalog::of(kind).and_then(|entry| entry.name) {
        Some((field, length_max)) => context.name(properties, field, length_max),
        None => String::new(),
    };
    let found = match kind {
        "AWS::CloudWatch::Alarm" => return cloudwatch::locate_alarm(context, &name).await,
        "AWS::DynamoDB::Table" => data::locate_table(context, &name).await,
        "AWS::ECS::Cluster" => return ecs::locate_cluster(context, &name).await,
        "AWS::ECS::TaskDefinition" => ecs::locate_task_definition(context, properties).await,
        "AWS::Events::Connection" => events::locate_connection(context, &name).await,
        "AWS::Events::EventBus" => events::locate_bus(context, &name).await,
        "AWS::Events::Rule" => events::locate_rule(context, properties).await,
        "AWS::IAM::ManagedPolicy" => iam::locate_managed_policy(context, properties, &name).await,
        "AWS::IAM::Policy" => {
            let name = context.name(properties, "PolicyName", 128);
            return iam::locate_policy(context, properties, &name).await;
        }
        "AWS::IAM::Role" => iam::locate_role(context, &name).await,
        "AWS::Lambda::Alias" => lambda::locate_alias(context, properties).await,
        "AWS::Lambda::EventSourceMapping" => return lambda::locate_mapping(context, properties).await,
        "AWS::Lambda::Function" => lambda::locate_function(context, &name).await,
        "AWS::Lambda::Permission" => return lambda::locate_permission(context, properties).await,
        "AWS::Logs::LogGroup" => return logs::locate_group(context, &name).await,
        "AWS::S3::Bucket" => s3::locate_bucket(context, &s3::name(context, properties)).await,
        "AWS::SNS::Subscription" => return sns::locate_subscription(context, properties).await,
        "AWS::SNS::Topic" => sns::locate_topic(context, &name).await,
        "AWS::SQS::Queue" => sqs::locate_queue(context, &name).await,
        "AWS::Scheduler::Schedule" => scheduler::locate_schedule(context, properties, &name).await,
        "AWS::Scheduler::ScheduleGroup" => scheduler::locate_group(context, &name).await,
        "AWS::StepFunctions::Activity" => states::locate_activity(context, &name).await,
        "AWS::StepFunctions::StateMachine" => states::locate_state_machine(context, &name).await,
        "AWS::StepFunctions::StateMachineAlias" => states::locate_alias(context, properties).await,
        _ => return Ok(None),
    };
    found.map(Some)
}
