//! The role that SAM makes when none is given, and SAM's policy templates.

use serde_json::{Map, Value, json};

use super::Expansion;
use crate::template::Resource;

/// Managed policies by ARN or name, inline statements as they stand, policy templates filled in.
pub(super) fn role(
    expansion: &mut Expansion<'_>,
    id: &str,
    resource: &Resource,
    principal: &str,
    managed: Vec<Value>,
) -> Value {
    let source = &resource.properties;
    let mut arns = managed;
    let mut inline = Vec::new();
    let listed = match source.get("Policies") {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    for (index, policy) in listed.into_iter().enumerate() {
        let mut put = |document: Value| {
            inline
                .push(json!({ "PolicyName": format!("{id}RolePolicy{index}"), "PolicyDocument": document }));
        };
        match &policy {
            Value::String(arn) if arn.starts_with("arn:") => arns.push(policy),
            Value::String(name) => arns.push(format!("arn:aws:iam::aws:policy/{name}").into()),
            Value::Object(members) if members.contains_key("Statement") => put(policy),
            Value::Object(members) if is_function(members) => arns.push(policy),
            _ => match policy_template(&policy) {
                Some(statements) => put(json!({ "Version": "2012-10-17", "Statement": statements })),
                None => {
                    let name = policy.as_object().and_then(|members| members.keys().next().cloned());
                    let what = format!("resource {id} has the policy template {}", name.unwrap_or_default());
                    let reason = "write its statements";
                    expansion.refuse(resource, &format!("Policies/{index}"), what, reason);
                }
            },
        }
    }
    let trust = source.get("AssumeRolePolicyDocument").cloned().unwrap_or_else(|| trust(principal));
    let mut role =
        json!({ "AssumeRolePolicyDocument": trust, "ManagedPolicyArns": arns, "Policies": inline });
    for (from, to) in [("RolePath", "Path"), ("PermissionsBoundary", "PermissionsBoundary")] {
        if let Some(value) = source.get(from) {
            role[to] = value.clone();
        }
    }
    role
}

pub(super) fn trust(principal: &str) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": [principal] }, "Action": ["sts:AssumeRole"] }] })
}

fn is_function(members: &Map<String, Value>) -> bool {
    members.keys().any(|name| name == "Ref" || name.starts_with("Fn::"))
}

/// A policy template: its parameter, the resources it is about (`*` where there is no parameter), and the actions.
/// `{}` stands for the parameter, `@` for region and account.
struct PolicyTemplate {
    name: &'static str,
    parameter: &'static str,
    resources: &'static [&'static str],
    actions: &'static [&'static str],
}

const fn template(
    name: &'static str,
    parameter: &'static str,
    resources: &'static [&'static str],
    actions: &'static [&'static str],
) -> PolicyTemplate {
    PolicyTemplate { name, parameter, resources, actions }
}

const TABLE: &[&str] = &["dynamodb:@:table/{}", "dynamodb:@:table/{}/index/*"];
const BUCKET: &[&str] = &["s3:::{}", "s3:::{}/*"];
const QUEUE: &[&str] = &["sqs:@:{}"];
const TOPIC: &[&str] = &["sns:@:{}"];

/// The templates that workflows use most.
const TEMPLATES: &[PolicyTemplate] = &[
    template("LambdaInvokePolicy", "FunctionName", &["lambda:@:function:{}*"], &["lambda:InvokeFunction"]),
    template(
        "StepFunctionsExecutionPolicy",
        "StateMachineName",
        &["states:@:stateMachine:{}"],
        &["states:StartExecution"],
    ),
    template(
        "DynamoDBReadPolicy",
        "TableName",
        TABLE,
        &[
            "dynamodb:GetItem",
            "dynamodb:Scan",
            "dynamodb:Query",
            "dynamodb:BatchGetItem",
            "dynamodb:DescribeTable",
        ],
    ),
    template(
        "DynamoDBWritePolicy",
        "TableName",
        TABLE,
        &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"],
    ),
    template(
        "DynamoDBCrudPolicy",
        "TableName",
        TABLE,
        &[
            "dynamodb:GetItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:Scan",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:BatchGetItem",
            "dynamodb:DescribeTable",
            "dynamodb:ConditionCheckItem",
        ],
    ),
    template(
        "S3ReadPolicy",
        "BucketName",
        BUCKET,
        &[
            "s3:GetObject",
            "s3:ListBucket",
            "s3:GetBucketLocation",
            "s3:GetObjectVersion",
            "s3:GetLifecycleConfiguration",
        ],
    ),
    template(
        "S3WritePolicy",
        "BucketName",
        BUCKET,
        &["s3:PutObject", "s3:PutObjectAcl", "s3:PutLifecycleConfiguration"],
    ),
    template(
        "S3CrudPolicy",
        "BucketName",
        BUCKET,
        &[
            "s3:GetObject",
            "s3:ListBucket",
            "s3:GetBucketLocation",
            "s3:GetObjectVersion",
            "s3:PutObject",
            "s3:PutObjectAcl",
            "s3:GetLifecycleConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:DeleteObject",
        ],
    ),
    template(
        "SQSPollerPolicy",
        "QueueName",
        QUEUE,
        &[
            "sqs:ChangeMessageVisibility",
            "sqs:ChangeMessageVisibilityBatch",
            "sqs:DeleteMessage",
            "sqs:DeleteMessageBatch",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        ],
    ),
    template("SQSSendMessagePolicy", "QueueName", QUEUE, &["sqs:SendMessage*"]),
    template("SNSPublishMessagePolicy", "TopicName", TOPIC, &["sns:Publish"]),
    template(
        "SNSCrudPolicy",
        "TopicName",
        TOPIC,
        &[
            "sns:ListSubscriptionsByTopic",
            "sns:CreateTopic",
            "sns:SetTopicAttributes",
            "sns:Subscribe",
            "sns:Publish",
        ],
    ),
    template("EventBridgePutEventsPolicy", "EventBusName", &["events:@:event-bus/{}"], &["events:PutEvents"]),
    template("CloudWatchPutMetricPolicy", "", &[], &["cloudwatch:PutMetricData"]),
    template("CloudWatchDescribeAlarmHistoryPolicy", "", &[], &["cloudwatch:DescribeAlarmHistory"]),
    template(
        "CloudWatchDashboardPolicy",
        "",
        &[],
        &[
            "cloudwatch:GetDashboard",
            "cloudwatch:ListDashboards",
            "cloudwatch:PutDashboard",
            "cloudwatch:ListMetrics",
        ],
    ),
    template(
        "FilterLogEventsPolicy",
        "LogGroupName",
        &["logs:@:log-group:{}:log-stream:*"],
        &["logs:FilterLogEvents"],
    ),
    template("EcsRunTaskPolicy", "TaskDefinition", &["ecs:@:task-definition/{}"], &["ecs:RunTask"]),
    template(
        "StepFunctionsCallbackPolicy",
        "StateMachineName",
        &["states:@:stateMachine:{}"],
        &["states:SendTaskSuccess", "states:SendTaskFailure"],
    ),
];

fn policy_template(policy: &Value) -> Option<Value> {
    let (name, parameters) = policy.as_object()?.iter().next()?;
    let template = TEMPLATES.iter().find(|template| template.name == name)?;
    let arn = |resource: &&str| {
        let text = resource.replace("{}", "${name}").replace('@', "${AWS::Region}:${AWS::AccountId}");
        json!({ "Fn::Sub": [format!("arn:${{AWS::Partition}}:{text}"), { "name": parameters[template.parameter] }] })
    };
    let resources: Value = match template.resources {
        [] => "*".into(),
        resources => resources.iter().map(arn).collect(),
    };
    Some(json!([{ "Effect": "Allow", "Action": template.actions, "Resource": resources }]))
}
