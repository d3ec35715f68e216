//! The AWS managed policies that templates commonly attach. Any other is unknown, by name.

use serde_json::json;

/// One managed policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ManagedPolicy {
    /// Below `arn:aws:iam::aws:policy`, with its path.
    name: &'static str,
    /// What it allows, on every resource.
    actions: &'static [&'static str],
}

const PREFIX: &str = "arn:aws:iam::aws:policy/";
const WRITE_LOGS: [&str; 3] = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];
const TRACE: &[&str] = &[
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:GetSamplingStatisticSummaries",
];

const fn on_all(name: &'static str, actions: &'static [&'static str]) -> ManagedPolicy {
    ManagedPolicy { name, actions }
}

const POLICIES: &[ManagedPolicy] = &[
    on_all("AdministratorAccess", &["*"]),
    on_all(
        "AWSLambda_FullAccess",
        &["lambda:*", "logs:DescribeLogGroups", "logs:FilterLogEvents", "iam:PassRole"],
    ),
    on_all("AWSLambda_ReadOnlyAccess", &["lambda:Get*", "lambda:List*", "logs:DescribeLogGroups"]),
    on_all("AWSLambdaExecute", &["logs:*", "s3:GetObject", "s3:PutObject"]),
    on_all(
        "AWSLambdaInvocation-DynamoDB",
        &[
            "lambda:InvokeFunction",
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
        ],
    ),
    on_all(
        "AWSStepFunctionsConsoleFullAccess",
        &["states:*", "iam:ListRoles", "iam:PassRole", "lambda:ListFunctions"],
    ),
    on_all("AWSStepFunctionsFullAccess", &["states:*"]),
    on_all("AWSStepFunctionsReadOnlyAccess", &["states:List*", "states:Describe*", "states:Get*"]),
    on_all("AWSXRayDaemonWriteAccess", TRACE),
    on_all("AWSXrayWriteOnlyAccess", TRACE),
    on_all("AmazonDynamoDBFullAccess", &["dynamodb:*", "cloudwatch:*", "kms:DescribeKey", "kms:ListAliases"]),
    on_all(
        "AmazonDynamoDBReadOnlyAccess",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:Describe*",
            "dynamodb:List*",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
            "dynamodb:PartiQLSelect",
        ],
    ),
    on_all("AmazonECS_FullAccess", &["ecs:*", "logs:*", "iam:PassRole"]),
    on_all("AmazonEventBridgeFullAccess", &["events:*", "scheduler:*", "schemas:*", "pipes:*"]),
    on_all("AmazonS3FullAccess", &["s3:*", "s3-object-lambda:*"]),
    on_all("AmazonS3ReadOnlyAccess", &["s3:Get*", "s3:List*", "s3:Describe*"]),
    on_all("AmazonSNSFullAccess", &["sns:*"]),
    on_all("AmazonSNSReadOnlyAccess", &["sns:GetTopicAttributes", "sns:List*"]),
    on_all("AmazonSQSFullAccess", &["sqs:*"]),
    on_all("AmazonSQSReadOnlyAccess", &["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueues"]),
    on_all("CloudWatchFullAccess", &["cloudwatch:*", "logs:*", "sns:*"]),
    on_all("CloudWatchFullAccessV2", &["cloudwatch:*", "logs:*", "sns:*"]),
    on_all("CloudWatchLogsFullAccess", &["logs:*"]),
    on_all(
        "CloudWatchLogsReadOnlyAccess",
        &["logs:Describe*", "logs:Get*", "logs:List*", "logs:FilterLogEvents"],
    ),
    on_all("CloudWatchReadOnlyAccess", &["cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*"]),
    on_all("service-role/AWSLambdaBasicExecutionRole", &WRITE_LOGS),
    on_all(
        "service-role/AWSLambdaDynamoDBExecutionRole",
        &[
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            WRITE_LOGS[0],
            WRITE_LOGS[1],
            WRITE_LOGS[2],
        ],
    ),
    on_all("service-role/AWSLambdaRole", &["lambda:InvokeFunction"]),
    on_all(
        "service-role/AWSLambdaSQSQueueExecutionRole",
        &[
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            WRITE_LOGS[0],
            WRITE_LOGS[1],
            WRITE_LOGS[2],
        ],
    ),
    on_all(
        "service-role/AWSLambdaVPCAccessExecutionRole",
        &[
            "ec2:CreateNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DeleteNetworkInterface",
            WRITE_LOGS[0],
            WRITE_LOGS[1],
            WRITE_LOGS[2],
        ],
    ),
    on_all(
        "service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:Describe*", "logs:PutLogEvents", "logs:Get*"],
    ),
    on_all(
        "service-role/AmazonEC2ContainerServiceEventsRole",
        &["ecs:RunTask", "ecs:TagResource", "iam:PassRole"],
    ),
    on_all(
        "service-role/AmazonECSTaskExecutionRolePolicy",
        &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
];

impl ManagedPolicy {
    /// Its name without the path.
    pub(super) fn name(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }

    /// Its path: `/` or `/service-role/`.
    pub(super) fn path(&self) -> &'static str {
        if self.name.starts_with("service-role/") { "/service-role/" } else { "/" }
    }

    /// Its ARN.
    pub(super) fn arn(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Its document.
    pub(super) fn document(&self) -> String {
        let statement = json!({ "Effect": "Allow", "Action": self.actions, "Resource": "*" });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    }
}

/// The managed policy with this ARN.
pub(super) fn find(arn: &str) -> Option<&'static ManagedPolicy> {
    let name = arn.strip_prefix(PREFIX)?;
    POLICIES.iter().find(|policy| policy.name == name)
}

/// All of them.
pub(super) fn all() -> &'static [ManagedPolicy] {
    POLICIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::policy::{Kind, Policy};

    #[test]
    fn every_managed_policy_is_a_valid_document() {
        for policy in all() {
            assert!(Policy::parse(&policy.document(), Kind::Identity).is_ok(), "{}", policy.name);
            assert_eq!(find(&policy.arn()), Some(policy));
        }
    }
}
