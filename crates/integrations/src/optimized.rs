//! The optimized integrations: which there are, how each names errors, and how it shapes parameters and results.
//!
//! Source: "Integrating services with Step Functions" of the AWS developer guide and recorded histories.

use serde_json::{Map, Value, json};

use asl::program::Pattern;

use crate::failure::Dialect;

/// One optimized service.
#[derive(Debug)]
pub(crate) struct Optimized {
    /// Name in the resource, `dynamodb`.
    pub name: &'static str,
    /// Key of its model.
    pub model: &'static str,
    /// Its errors.
    pub dialect: Dialect,
    /// Actions and the patterns each supports.
    pub actions: &'static [(&'static str, &'static [Pattern])],
    /// Do results carry `SdkHttpMetadata` and `SdkResponseMetadata`?
    pub metadata: bool,
}

use Pattern::{RequestResponse as RR, Sync as S, Sync2 as S2, WaitForTaskToken as T};

macro_rules! dialect {
    ($prefix:literal, $generic:literal, $service:literal) => {
        Dialect::Optimized { prefix: $prefix, generic: $generic, service: $service }
    };
}

/// Every optimized service, by name.
pub(crate) static SERVICES: &[Optimized] = &[
    Optimized {
        name: "athena",
        model: "athena",
        dialect: dialect!("Athena", "AmazonAthenaException", "AmazonAthena"),
        actions: &[
            ("startQueryExecution", &[RR, S]),
            ("stopQueryExecution", &[RR]),
            ("getQueryExecution", &[RR]),
            ("getQueryResults", &[RR]),
        ],
        metadata: true,
    },
    Optimized {
        name: "batch",
        model: "batch",
        dialect: dialect!("Batch", "AWSBatchException", "AWSBatch"),
        actions: &[("submitJob", &[RR, S])],
        metadata: true,
    },
    Optimized {
        name: "bedrock",
        model: "bedrockruntime",
        dialect: dialect!("Bedrock", "AmazonBedrockException", "AmazonBedrock"),
        actions: &[("invokeModel", &[RR, T])],
        metadata: false,
    },
    Optimized {
        name: "codebuild",
        model: "codebuild",
        dialect: dialect!("CodeBuild", "AWSCodeBuildException", "AWSCodeBuild"),
        actions: &[
            ("startBuild", &[RR, S]),
            ("startBuildBatch", &[RR, S]),
            ("retryBuildBatch", &[RR, S]),
            ("stopBuild", &[RR]),
            ("stopBuildBatch", &[RR]),
            ("deleteBuildBatch", &[RR]),
            ("batchDeleteBuilds", &[RR]),
            ("batchGetReports", &[RR]),
        ],
        metadata: true,
    },
    Optimized {
        name: "databrew",
        model: "databrew",
        dialect: dialect!("DataBrew", "AWSGlueDataBrewException", "AWSGlueDataBrew"),
        actions: &[("startJobRun", &[RR, S])],
        metadata: true,
    },
    Optimized {
        name: "dynamodb",
        model: "dynamodb",
        dialect: dialect!("DynamoDB", "AmazonDynamoDBException", "AmazonDynamoDBv2"),
        actions: &[("getItem", &[RR]), ("putItem", &[RR]), ("updateItem", &[RR]), ("deleteItem", &[RR])],
        metadata: true,
    },
    Optimized {
        name: "ecs",
        model: "ecs",
        dialect: dialect!("ECS", "AmazonECSException", "AmazonECS"),
        actions: &[("runTask", &[RR, S, T])],
        metadata: true,
    },
    Optimized {
        name: "events",
        model: "eventbridge",
        dialect: dialect!("EventBridge", "AmazonEventBridgeException", "AmazonEventBridge"),
        actions: &[("putEvents", &[RR, T])],
        metadata: false,
    },
    Optimized {
        name: "glue",
        model: "glue",
        dialect: dialect!("Glue", "AWSGlueException", "AWSGlue"),
        actions: &[("startJobRun", &[RR, S])],
        metadata: true,
    },
    Optimized {
        name: "lambda",
        model: "lambda",
        dialect: dialect!("Lambda", "AWSLambdaException", "AWSLambda"),
        actions: &[("invoke", &[RR, T])],
        metadata: true,
    },
    Optimized {
        name: "mediaconvert",
        model: "mediaconvert",
        dialect: dialect!("MediaConvert", "AWSMediaConvertException", "AWSMediaConvert"),
        actions: &[("createJob", &[RR, S])],
        metadata: true,
    },
    Optimized {
        name: "sagemaker",
        model: "sagemaker",
        dialect: dialect!("SageMaker", "AmazonSageMakerException", "AmazonSageMaker"),
        actions: &[
            ("createTrainingJob", &[RR, S]),
            ("createTransformJob", &[RR, S]),
            ("createProcessingJob", &[RR, S]),
            ("createLabelingJob", &[RR, S]),
            ("createHyperParameterTuningJob", &[RR, S]),
            ("createEndpoint", &[RR]),
            ("createEndpointConfig", &[RR]),
            ("createModel", &[RR]),
            ("updateEndpoint", &[RR]),
        ],
        metadata: true,
    },
    Optimized {
        name: "sns",
        model: "sns",
        dialect: dialect!("SNS", "AmazonSNSException", "AmazonSNS"),
        actions: &[("publish", &[RR, T])],
        metadata: true,
    },
    Optimized {
        name: "sqs",
        model: "sqs",
        dialect: dialect!("SQS", "AmazonSQSException", "AmazonSQS"),
        actions: &[("sendMessage", &[RR, T])],
        metadata: true,
    },
    Optimized {
        name: "states",
        model: "sfn",
        dialect: dialect!("StepFunctions", "AWSStepFunctionsException", "AWSStepFunctions"),
        actions: &[("startExecution", &[RR, S, S2, T])],
        metadata: true,
    },
];

/// The optimized service of this name.
pub(crate) fn find(service: &str) -> Option<&'static Optimized> {
    SERVICES.iter().find(|candidate| candidate.name == service)
}

/// Who starts the tasks of `ecs:runTask.sync`, as AWS marks them.
pub(crate) const STARTED_BY: &str = "AWS Step Functions";

/// What a call knows of the execution it is made for.
pub(crate) struct Caller<'a> {
    pub execution_arn: &'a str,
    pub state_machine_arn: &'a str,
}

/// The service's own way with parameters, before they become native. `arguments` is an object.
pub(crate) fn shape_arguments(
    service: &str,
    arguments: &mut Map<String, Value>,
    pattern: Pattern,
    caller: &Caller<'_>,
) {
    match service {
        "lambda" => {
            let payload = arguments.get("Payload").filter(|payload| !payload.is_null()).cloned();
            arguments.insert("Payload".into(), payload.unwrap_or_else(|| json!({})).to_string().into());
        }
        "ecs" if pattern != Pattern::RequestResponse => {
            arguments.entry("StartedBy").or_insert_with(|| STARTED_BY.into());
        }
        "states" => {
            let input = arguments.get("Input").filter(|input| !input.is_null()).cloned();
            arguments.insert("Input".into(), input.unwrap_or_else(|| json!({})).to_string().into());
        }
        "events" => {
            for entry in arguments.get_mut("Entries").and_then(Value::as_array_mut).into_iter().flatten() {
                append_resources(entry, caller);
            }
        }
        _ => {}
    }
}

/// EventBridge entries carry the state machine and the execution in `Resources` (recorded: `events:putEvents`).
fn append_resources(entry: &mut Value, caller: &Caller<'_>) {
    let Some(entry) = entry.as_object_mut() else { return };
    let resources = entry.entry("Resources").or_insert_with(|| json!([]));
    if let Some(resources) = resources.as_array_mut() {
        resources.push(caller.state_machine_arn.into());
        resources.push(caller.execution_arn.into());
    }
}
