//! What a schedule calls: one of the templated targets, or any action by `arn:aws:scheduler:::aws-sdk:SERVICE:ACTION`.
//!
//! ECS, Kinesis, Firehose, CodeBuild, CodePipeline, SageMaker and Inspector have templates on AWS and none here; they are
//! refused by name. Where their action exists, the universal target does the same.

use super::validation;
use crate::sdk_call::SdkCall;
use crate::wire::ServiceError;
use serde_json::{Value, json};

/// The kinds of target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    StateMachine,
    Function,
    Queue,
    Topic,
    EventBus,
    Universal { service: String, action: String },
}

const UNIVERSAL: &str = "arn:aws:scheduler:::aws-sdk:";
/// Templated on AWS, absent here.
const ABSENT: [&str; 8] =
    ["codebuild", "codepipeline", "ecs", "firehose", "inspector", "kinesis", "sagemaker", "batch"];
/// Actions that begin so only read, and AWS refuses them as targets.
const READING: [&str; 23] = [
    "get",
    "describe",
    "list",
    "poll",
    "receive",
    "search",
    "scan",
    "query",
    "select",
    "read",
    "lookup",
    "discover",
    "validate",
    "batchGet",
    "batchDescribe",
    "batchRead",
    "transactGet",
    "adminGet",
    "adminList",
    "testMigration",
    "retrieve",
    "testConnection",
    "translateDocument",
];

impl Kind {
    /// Reads the target's ARN.
    pub(super) fn of(arn: &str) -> Result<Self, ServiceError> {
        if let Some(call) = arn.strip_prefix(UNIVERSAL) {
            return universal(arn, call);
        }
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let &["arn", _, service, _, _, resource] = parts.as_slice() else {
            return Err(validation("Provided Arn is not in correct format."));
        };
        match service {
            "states" if resource.starts_with("stateMachine:") => Ok(Self::StateMachine),
            "lambda" if resource.starts_with("function:") => Ok(Self::Function),
            "sqs" if !resource.is_empty() => Ok(Self::Queue),
            "sns" if !resource.is_empty() => Ok(Self::Topic),
            "events" if resource.starts_with("event-bus/") => Ok(Self::EventBus),
            service if ABSENT.contains(&service) => {
                let message =
                    format!("Targets of the service \"{service}\" are not implemented by this server.");
                Err(ServiceError::new(501, "UnsupportedOperationException", message))
            }
            _ => Err(validation("Provided Arn is not in correct format.")),
        }
    }

    /// Whether the input must be JSON.
    fn takes_json(&self) -> bool {
        !matches!(self, Self::Queue | Self::Topic)
    }
}

fn universal(arn: &str, call: &str) -> Result<Kind, ServiceError> {
    let Some((service, action)) = call.split_once(':').filter(|(service, action)| {
        !service.is_empty() && action.starts_with(|first: char| first.is_ascii_lowercase())
    }) else {
        return Err(validation("Provided Arn is not in correct format."));
    };
    let reads = READING.iter().any(|prefix| action.starts_with(prefix));
    if reads {
        return Err(validation(format!("{arn} is not a supported target: the action only reads.")));
    }
    Ok(Kind::Universal { service: service.to_owned(), action: action.to_owned() })
}

/// Checks a target as far as it can be without calling anybody; the call of a universal one is answered for more checks.
pub(super) fn check(target: &Value) -> Result<Option<SdkCall>, ServiceError> {
    let text = |member: &str| target.get(member).and_then(Value::as_str);
    let kind = Kind::of(text("Arn").unwrap_or(""))?;
    let parameters = ["EventBridgeParameters", "SqsParameters"];
    let unused = ["EcsParameters", "KinesisParameters", "SageMakerPipelineParameters"];
    let allowed = match kind {
        Kind::EventBus => "EventBridgeParameters",
        Kind::Queue => "SqsParameters",
        _ => "",
    };
    let strange =
        parameters.iter().chain(&unused).find(|member| **member != allowed && target.get(**member).is_some());
    if let Some(member) = strange {
        return Err(validation(format!(
            "{member} is not supported for the target {}.",
            text("Arn").unwrap_or("")
        )));
    }
    if kind == Kind::EventBus && target.get("EventBridgeParameters").is_none() {
        return Err(validation("EventBridgeParameters must be specified for an event bus as target."));
    }
    let input = match text("Input") {
        Some(input) if kind.takes_json() => Some(
            serde_json::from_str::<Value>(input)
                .map_err(|_| validation("Input must be a well-formed JSON."))?,
        ),
        Some(_) | None => None,
    };
    Ok(match kind {
        Kind::Universal { service, action } => {
            Some(SdkCall { service, action, parameters: input.unwrap_or_else(|| json!({})) })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_known_by_their_arns() {
        let universal = |service: &str, action: &str| Kind::Universal {
            service: service.to_owned(),
            action: action.to_owned(),
        };
        let cases = [
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:m", Ok(Kind::StateMachine)),
            ("arn:aws:states:eu-west-1:123456789012:stateMachine:m:live", Ok(Kind::StateMachine)),
            ("arn:aws:lambda:eu-west-1:123456789012:function:f", Ok(Kind::Function)),
            ("arn:aws:events:eu-west-1:123456789012:event-bus/default", Ok(Kind::EventBus)),
            ("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Ok(universal("sqs", "sendMessage"))),
            ("arn:aws:scheduler:::aws-sdk:sqs:getQueueUrl", Err("ValidationException")),
            ("arn:aws:scheduler:::aws-sdk:sqs", Err("ValidationException")),
            ("arn:aws:scheduler:::aws-sdk:sqs:SendMessage", Err("ValidationException")),
            ("arn:aws:states:eu-west-1:123456789012:activity:m", Err("ValidationException")),
            ("arn:aws:kinesis:eu-west-1:123456789012:stream/s", Err("UnsupportedOperationException")),
            ("nothing", Err("ValidationException")),
        ];
        for (arn, expected) in cases {
            let found = Kind::of(arn);
            assert_eq!(
                found.as_ref().map_err(ServiceError::short_code),
                expected.as_ref().map_err(|code| *code),
                "{arn}"
            );
        }
    }

    #[test]
    fn input_and_parameters_must_fit_the_target() {
        let function = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        let bus = "arn:aws:events:eu-west-1:123456789012:event-bus/default";
        let queue = "arn:aws:sqs:eu-west-1:123456789012:q";
        let good = [
            json!({"Arn": function, "Input": "{\"at\": \"<aws.scheduler.scheduled-time>\"}"}),
            json!({"Arn": queue, "Input": "no json", "SqsParameters": {"MessageGroupId": "g"}}),
            json!({"Arn": bus, "EventBridgeParameters": {"Source": "s", "DetailType": "d"}}),
        ];
        let bad = [
            json!({"Arn": function, "Input": "no json"}),
            json!({"Arn": function, "SqsParameters": {}}),
            json!({"Arn": bus}),
        ];
        for target in good {
            assert_eq!(check(&target), Ok(None), "{target}");
        }
        for target in bad {
            assert!(check(&target).is_err(), "{target}");
        }
        let universal =
            json!({"Arn": "arn:aws:scheduler:::aws-sdk:sqs:purgeQueue", "Input": "{\"QueueUrl\": \"u\"}"});
        assert_eq!(check(&universal).unwrap().unwrap().parameters, json!({"QueueUrl": "u"}));
    }
}
