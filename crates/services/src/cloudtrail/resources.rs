//! The resources of a record: ARNs, and what CloudTrail calls their types.

use serde_json::{Value, json};

/// Resources of one record.
const RESOURCES_MAX: usize = 20;

/// Service and kind in an ARN, and the type.
const TYPES: [(&str, &str, &str); 23] = [
    ("cloudformation", "stack", "AWS::CloudFormation::Stack"),
    ("cloudwatch", "alarm", "AWS::CloudWatch::Alarm"),
    ("dynamodb", "table", "AWS::DynamoDB::Table"),
    ("ecs", "cluster", "AWS::ECS::Cluster"),
    ("ecs", "task-definition", "AWS::ECS::TaskDefinition"),
    ("events", "connection", "AWS::Events::Connection"),
    ("events", "event-bus", "AWS::Events::EventBus"),
    ("events", "rule", "AWS::Events::Rule"),
    ("iam", "policy", "AWS::IAM::Policy"),
    ("iam", "role", "AWS::IAM::Role"),
    ("iam", "user", "AWS::IAM::User"),
    ("lambda", "function", "AWS::Lambda::Function"),
    ("logs", "log-group", "AWS::Logs::LogGroup"),
    ("s3", "", "AWS::S3::Bucket"),
    ("scheduler", "schedule", "AWS::Scheduler::Schedule"),
    ("scheduler", "schedule-group", "AWS::Scheduler::ScheduleGroup"),
    ("secretsmanager", "secret", "AWS::SecretsManager::Secret"),
    ("sns", "", "AWS::SNS::Topic"),
    ("sqs", "", "AWS::SQS::Queue"),
    ("states", "activity", "AWS::StepFunctions::Activity"),
    ("states", "execution", "AWS::StepFunctions::Execution"),
    ("states", "express", "AWS::StepFunctions::Execution"),
    ("states", "stateMachine", "AWS::StepFunctions::StateMachine"),
];

/// Adds the ARNs that an answer names: those of what it made.
pub(super) fn add_made(arns: &mut Vec<String>, answer: &Value) {
    let Value::Object(members) = answer else { return };
    for (name, value) in members {
        match value {
            Value::String(text) if text.starts_with("arn:") && name.to_ascii_lowercase().ends_with("arn") => {
                add(arns, text);
            }
            // `CreateRole` answers with a `Role`; deeper ones are only referred to.
            Value::Object(inner) => {
                if let Some(arn) = ["Arn", "arn"].iter().find_map(|name| inner.get(*name)?.as_str()) {
                    add(arns, arn);
                }
            }
            _ => {}
        }
    }
}

/// Adds an ARN, unless it stands for many or is there already.
pub(super) fn add(arns: &mut Vec<String>, arn: &str) {
    let is_one = arn.starts_with("arn:") && !arn.ends_with('*');
    if is_one && arns.len() < RESOURCES_MAX && !arns.iter().any(|known| known == arn) {
        arns.push(arn.to_owned());
    }
}

/// `Resources` of an answer to LookupEvents.
pub(super) fn listed(arns: &[String]) -> Value {
    arns.iter().map(|arn| json!({ "ResourceType": kind(arn), "ResourceName": arn })).collect()
}

/// The type of what an ARN names.
pub(super) fn kind(arn: &str) -> String {
    let mut parts = arn.splitn(6, ':').skip(2);
    let service = parts.next().unwrap_or_default();
    let resource = parts.nth(2).unwrap_or_default();
    let first = resource.split([':', '/']).next().unwrap_or_default();
    let known = TYPES.iter().find(|(of, kind, _)| *of == service && (*kind == first || kind.is_empty()));
    known.map_or_else(|| format!("AWS::{service}::{first}"), |(_, _, kind)| (*kind).to_owned())
}

/// Whether a name that somebody looks for is that of an ARN: the whole, or its last part.
pub(super) fn is_named(arn: &str, name: &str) -> bool {
    arn == name || arn.rsplit([':', '/']).next() == Some(name)
}
