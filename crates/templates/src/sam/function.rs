//! `AWS::Serverless::Function`: the function, its role, version, alias and events.

use serde_json::{Map, Value, json};

use super::policies::role;
use super::{Expansion, copy, s3_location};
use crate::error::TemplateError;
use crate::stack::Keeping;
use crate::template::Resource;

const FIELDS: [(&str, &str); 17] = [
    ("FunctionName", "FunctionName"),
    ("Runtime", "Runtime"),
    ("Handler", "Handler"),
    ("Timeout", "Timeout"),
    ("MemorySize", "MemorySize"),
    ("Environment", "Environment"),
    ("Description", "Description"),
    ("Layers", "Layers"),
    ("Architectures", "Architectures"),
    ("EphemeralStorage", "EphemeralStorage"),
    ("PackageType", "PackageType"),
    ("Tags", "Tags"),
    ("VpcConfig", "VpcConfig"),
    ("LoggingConfig", "LoggingConfig"),
    ("ReservedConcurrentExecutions", "ReservedConcurrentExecutions"),
    ("KmsKeyArn", "KmsKeyArn"),
    ("FileSystemConfigs", "FileSystemConfigs"),
];
const REFUSED: [&str; 7] = [
    "DeadLetterQueue",
    "DeploymentPreference",
    "EventInvokeConfig",
    "FunctionUrlConfig",
    "ImageConfig",
    "ImageUri",
    "ProvisionedConcurrencyConfig",
];

impl Expansion<'_> {
    pub(super) fn function(&mut self, id: &str, resource: Resource) -> Result<(), TemplateError> {
        self.refuse_fields(id, &resource, &REFUSED);
        let source = &resource.properties;
        let mut properties = Map::new();
        copy(source, &mut properties, &FIELDS);
        properties.insert("Code".into(), code(source));
        if let Some(mode) = source.get("Tracing").filter(|mode| *mode != "Disabled") {
            properties.insert("TracingConfig".into(), json!({ "Mode": mode }));
        }
        let role_arn = match source.get("Role") {
            Some(role) => role.clone(),
            None => {
                let mut managed =
                    vec!["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole".into()];
                let events = source["Events"].as_object().into_iter().flatten();
                if events.into_iter().any(|(_, event)| event["Type"] == "SQS") {
                    managed
                        .push("arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole".into());
                }
                let role = role(self, id, &resource, "lambda.amazonaws.com", managed);
                self.derive(&resource, &format!("{id}Role"), "AWS::IAM::Role", role);
                json!({ "Fn::GetAtt": [format!("{id}Role"), "Arn"] })
            }
        };
        properties.insert("Role".into(), role_arn);
        let target = match source.get("AutoPublishAlias").map(|alias| self.known_text(alias)) {
            Some(Some(alias)) => self.published(id, &resource, &alias),
            Some(None) => {
                let what = "AutoPublishAlias must be known before anything is made".to_string();
                return Err(self.invalid(&resource, "AutoPublishAlias", what));
            }
            None => json!({ "Fn::GetAtt": [id, "Arn"] }),
        };
        self.function_events(id, &resource, &target);
        self.derive(&resource, id, "AWS::Lambda::Function", Value::Object(properties));
        Ok(())
    }

    /// A version for each change of the code, kept when the next one comes, and the alias that points at the newest.
    fn published(&mut self, id: &str, resource: &Resource, alias: &str) -> Value {
        let (version_id, alias_id) = (format!("{id}Version"), format!("{id}Alias{alias}"));
        let properties =
            json!({ "FunctionName": { "Ref": id }, "CodeSha256": { "Fn::GetAtt": [id, "CodeSha256"] } });
        self.derive(resource, &version_id, "AWS::Lambda::Version", properties);
        if let Some(version) = self.made.get_mut(&version_id) {
            version.keeping = Keeping { when_replaced: true, ..version.keeping };
        }
        let properties = json!({ "Name": alias, "FunctionName": { "Ref": id },
                                 "FunctionVersion": { "Fn::GetAtt": [version_id, "Version"] } });
        self.derive(resource, &alias_id, "AWS::Lambda::Alias", properties);
        self.parts.insert(format!("{id}.Version"), version_id);
        self.parts.insert(format!("{id}.Alias"), alias_id.clone());
        json!({ "Ref": alias_id })
    }
}

fn code(source: &Value) -> Value {
    match (&source["InlineCode"], &source["CodeUri"]) {
        (Value::Null, Value::String(path)) => match s3_location(path) {
            Some(location) => json!({ "S3Bucket": location["Bucket"], "S3Key": location["Key"] }),
            None => json!({ "Passo::Folder": path }),
        },
        (Value::Null, Value::Null) => json!({ "Passo::Folder": "." }),
        (Value::Null, uri) => {
            let mut code = json!({ "S3Bucket": uri["Bucket"], "S3Key": uri["Key"] });
            if let Some(version) = uri.get("Version") {
                code["S3ObjectVersion"] = version.clone();
            }
            code
        }
        (text, _) => json!({ "ZipFile": text }),
    }
}
