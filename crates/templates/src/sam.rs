//! SAM's resource types → CloudFormation's: functions, state machines, simple tables, with `Globals`, policies and aliases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::document::Document;
use crate::error::TemplateError;
use crate::template::Resource;

type Resources = BTreeMap<String, Resource>;

/// Expands every `AWS::Serverless::*` resource that is known; others are left for the support check to refuse.
pub(crate) fn expand(
    written: Resources,
    document: &Document,
    folder: &Path,
) -> Result<Resources, TemplateError> {
    let mut resources = Resources::new();
    for (id, mut resource) in written {
        match resource.kind.as_str() {
            "AWS::Serverless::Function" => {
                merge_globals(&mut resource.properties, &document.value["Globals"]["Function"]);
                function(&mut resources, &id, resource, document)?;
            }
            "AWS::Serverless::StateMachine" => {
                merge_globals(&mut resource.properties, &document.value["Globals"]["StateMachine"]);
                state_machine(&mut resources, &id, resource, document, folder)?;
            }
            "AWS::Serverless::SimpleTable" => {
                resources.insert(id, simple_table(resource));
            }
            _ => {
                resources.insert(id, resource);
            }
        }
    }
    Ok(resources)
}

/// Properties win over globals; maps merge, lists of globals come first.
fn merge_globals(properties: &mut Value, globals: &Value) {
    match (properties, globals) {
        (Value::Object(own), Value::Object(global)) => {
            for (name, value) in global {
                match own.get_mut(name) {
                    Some(mine) => merge_globals(mine, value),
                    None => {
                        own.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(own), Value::Array(global)) => {
            let mut all = global.clone();
            all.append(own);
            *own = all;
        }
        _ => {}
    }
}

fn refuse(document: &Document, resource: &Resource, field: &str, what: String) -> TemplateError {
    TemplateError::Invalid(document.place(&format!("{}/Properties/{field}", resource.pointer)), what)
}

/// Fields that are refused by name, since leaving them out would change what the stack does.
fn refuse_fields(document: &Document, resource: &Resource, fields: &[&str]) -> Result<(), TemplateError> {
    match fields.iter().find(|field| resource.properties.get(**field).is_some()) {
        Some(field) => Err(refuse(
            document,
            resource,
            field,
            format!("{} of {} is not supported yet", field, resource.kind),
        )),
        None => Ok(()),
    }
}

fn derived(parent: &Resource, kind: &str, properties: Value) -> Resource {
    Resource {
        kind: kind.to_string(),
        properties,
        depends_on: parent.depends_on.clone(),
        pointer: parent.pointer.clone(),
    }
}

const FUNCTION_FIELDS: [&str; 16] = [
    "FunctionName",
    "Runtime",
    "Handler",
    "Timeout",
    "MemorySize",
    "Environment",
    "Description",
    "Layers",
    "Architectures",
    "EphemeralStorage",
    "PackageType",
    "Tags",
    "VpcConfig",
    "LoggingConfig",
    "ReservedConcurrentExecutions",
    "KmsKeyArn",
];

fn function(
    resources: &mut Resources,
    id: &str,
    resource: Resource,
    document: &Document,
) -> Result<(), TemplateError> {
    refuse_fields(document, &resource, &["Events", "ImageUri", "FunctionUrlConfig", "EventInvokeConfig"])?;
    let source = &resource.properties;
    let mut properties = Map::new();
    for field in FUNCTION_FIELDS {
        if let Some(value) = source.get(field) {
            properties.insert(field.into(), value.clone());
        }
    }
    let code = match (&source["InlineCode"], &source["CodeUri"]) {
        (Value::String(text), _) => json!({ "ZipFile": text }),
        (_, Value::String(path)) => json!({ "Passo::Folder": path }),
        (_, Value::Null) => json!({ "Passo::Folder": "." }),
        (_, uri) => {
            json!({ "S3Bucket": uri["Bucket"], "S3Key": uri["Key"], "S3ObjectVersion": uri["Version"] })
        }
    };
    properties.insert("Code".into(), code);
    if let Some(mode) = source.get("Tracing") {
        properties.insert("TracingConfig".into(), json!({ "Mode": mode }));
    }
    let role = match source.get("Role") {
        Some(role) => role.clone(),
        None => {
            let managed = json!(["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]);
            let role = role(source, "lambda.amazonaws.com", managed, id);
            resources.insert(format!("{id}Role"), derived(&resource, "AWS::IAM::Role", role));
            json!({ "Fn::GetAtt": [format!("{id}Role"), "Arn"] })
        }
    };
    properties.insert("Role".into(), role);
    if let Some(name) = source.get("AutoPublishAlias") {
        let version = json!({ "FunctionName": { "Ref": id } });
        resources.insert(format!("{id}Version"), derived(&resource, "AWS::Lambda::Version", version));
        let alias = json!({ "Name": name, "FunctionName": { "Ref": id },
                            "FunctionVersion": { "Fn::GetAtt": [format!("{id}Version"), "Version"] } });
        resources.insert(format!("{id}Alias"), derived(&resource, "AWS::Lambda::Alias", alias));
    }
    resources.insert(id.to_string(), derived(&resource, "AWS::Lambda::Function", Value::Object(properties)));
    Ok(())
}

/// The role that SAM makes when none is given: managed policies by ARN or name, inline statements as they stand.
fn role(source: &Value, principal: &str, managed: Value, id: &str) -> Value {
    let mut arns: Vec<Value> = managed.as_array().cloned().unwrap_or_default();
    let mut inline = Vec::new();
    let listed = match source.get("Policies") {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    for (index, policy) in listed.into_iter().enumerate() {
        match policy {
            Value::String(arn) if arn.starts_with("arn:") => arns.push(arn.into()),
            Value::String(name) => arns.push(format!("arn:aws:iam::aws:policy/{name}").into()),
            policy if policy.get("Statement").is_some() => inline
                .push(json!({ "PolicyName": format!("{id}RolePolicy{index}"), "PolicyDocument": policy })),
            policy => match policy_template(&policy) {
                Some(statements) => inline.push(json!({ "PolicyName": format!("{id}RolePolicy{index}"),
                    "PolicyDocument": { "Version": "2012-10-17", "Statement": statements } })),
                None => arns.push(policy),
            },
        }
    }
    json!({
        "AssumeRolePolicyDocument": { "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "Service": [principal] }, "Action": ["sts:AssumeRole"] }] },
        "ManagedPolicyArns": arns,
        "Policies": inline,
    })
}

/// SAM policy templates that workflows use most; the resource is the parameter they take.
fn policy_template(policy: &Value) -> Option<Value> {
    let (name, parameters) = policy.as_object()?.iter().next()?;
    let arn = |service: &str, resource: &str, parameter: &str| {
        json!({ "Fn::Sub": [format!("arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}"),
                            { "name": parameters[parameter] }] })
    };
    let allow = |actions: &[&str], resource: Value| json!([{ "Effect": "Allow", "Action": actions, "Resource": resource }]);
    let table = || arn("dynamodb", "table/${name}", "TableName");
    let read = [
        "dynamodb:GetItem",
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:DescribeTable",
    ];
    let write = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"];
    Some(match name.as_str() {
        "LambdaInvokePolicy" => {
            allow(&["lambda:InvokeFunction"], arn("lambda", "function:${name}*", "FunctionName"))
        }
        "DynamoDBReadPolicy" => allow(&read, table()),
        "DynamoDBWritePolicy" => allow(&write, table()),
        "DynamoDBCrudPolicy" => {
            let all: Vec<&str> = read.iter().chain(&write).copied().chain(["dynamodb:DeleteItem"]).collect();
            allow(&all, table())
        }
        "SNSPublishMessagePolicy" => allow(&["sns:Publish"], arn("sns", "${name}", "TopicName")),
        "SQSSendMessagePolicy" => allow(&["sqs:SendMessage*"], arn("sqs", "${name}", "QueueName")),
        "SQSPollerPolicy" => allow(
            &[
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ChangeMessageVisibility",
            ],
            arn("sqs", "${name}", "QueueName"),
        ),
        "StepFunctionsExecutionPolicy" => {
            allow(&["states:StartExecution"], arn("states", "stateMachine:${name}", "StateMachineName"))
        }
        "CloudWatchPutMetricPolicy" => allow(&["cloudwatch:PutMetricData"], "*".into()),
        _ => return None,
    })
}

fn state_machine(
    resources: &mut Resources,
    id: &str,
    resource: Resource,
    document: &Document,
    folder: &Path,
) -> Result<(), TemplateError> {
    refuse_fields(document, &resource, &["Events", "DeploymentPreference"])?;
    let source = &resource.properties;
    let mut properties = Map::new();
    let renamed = [
        ("Name", "StateMachineName"),
        ("Type", "StateMachineType"),
        ("Logging", "LoggingConfiguration"),
        ("Tracing", "TracingConfiguration"),
        ("DefinitionSubstitutions", "DefinitionSubstitutions"),
        ("Tags", "Tags"),
    ];
    for (from, to) in renamed {
        if let Some(value) = source.get(from) {
            properties.insert(to.into(), value.clone());
        }
    }
    definition(&mut properties, &resource, document, folder)?;
    let role = match source.get("Role") {
        Some(role) => role.clone(),
        None => {
            let role = role(source, "states.amazonaws.com", json!([]), id);
            resources.insert(format!("{id}Role"), derived(&resource, "AWS::IAM::Role", role));
            json!({ "Fn::GetAtt": [format!("{id}Role"), "Arn"] })
        }
    };
    properties.insert("RoleArn".into(), role);
    if let Some(name) = source.get("AutoPublishAlias") {
        let version = json!({ "StateMachineArn": { "Ref": id },
                              "StateMachineRevisionId": { "Fn::GetAtt": [id, "StateMachineRevisionId"] } });
        resources.insert(
            format!("{id}Version"),
            derived(&resource, "AWS::StepFunctions::StateMachineVersion", version),
        );
        let routing = json!([{ "StateMachineVersionArn": { "Ref": format!("{id}Version") }, "Weight": 100 }]);
        let alias = json!({ "Name": name, "RoutingConfiguration": routing });
        resources.insert(
            format!("{id}Alias{}", name.as_str().unwrap_or_default()),
            derived(&resource, "AWS::StepFunctions::StateMachineAlias", alias),
        );
    }
    resources.insert(
        id.to_string(),
        derived(&resource, "AWS::StepFunctions::StateMachine", Value::Object(properties)),
    );
    Ok(())
}

/// `Definition` as an object, or the text of the file that `DefinitionUri` names.
fn definition(
    properties: &mut Map<String, Value>,
    resource: &Resource,
    document: &Document,
    folder: &Path,
) -> Result<(), TemplateError> {
    let source = &resource.properties;
    match (&source["Definition"], &source["DefinitionUri"]) {
        (Value::Object(object), Value::Null) => {
            properties.insert("Definition".into(), Value::Object(object.clone()));
        }
        (Value::Null, Value::String(path)) => {
            let text = std::fs::read_to_string(folder.join(path))
                .map_err(|error| refuse(document, resource, "DefinitionUri", format!("{path}: {error}")))?;
            properties.insert("DefinitionString".into(), definition_text(path, text)?.into());
        }
        (Value::Null, Value::Object(location)) => {
            properties.insert("DefinitionS3Location".into(), Value::Object(location.clone()));
        }
        _ => {
            let what = "a state machine needs one of Definition and DefinitionUri".to_string();
            return Err(refuse(document, resource, "DefinitionUri", what));
        }
    }
    Ok(())
}

/// ASL files may be YAML; the API takes JSON.
pub fn definition_text(path: &str, text: String) -> Result<String, TemplateError> {
    if path.ends_with(".yaml") || path.ends_with(".yml") {
        return Ok(Document::parse(path, &text)?.value.to_string());
    }
    Ok(text)
}

fn simple_table(resource: Resource) -> Resource {
    let source = &resource.properties;
    let key = source.get("PrimaryKey").cloned().unwrap_or_else(|| json!({ "Name": "id", "Type": "String" }));
    let kind = match key["Type"].as_str() {
        Some("Number") => "N",
        Some("Binary") => "B",
        _ => "S",
    };
    let mut properties = json!({
        "AttributeDefinitions": [{ "AttributeName": key["Name"], "AttributeType": kind }],
        "KeySchema": [{ "AttributeName": key["Name"], "KeyType": "HASH" }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    if let Some(name) = source.get("TableName") {
        properties["TableName"] = name.clone();
    }
    let depends_on: BTreeSet<String> = resource.depends_on.clone();
    Resource { kind: "AWS::DynamoDB::Table".into(), properties, depends_on, pointer: resource.pointer }
}
