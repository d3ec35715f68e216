//! `AWS::Serverless::StateMachine`: the state machine, its role, version, alias and events.

use serde_json::{Map, Value, json};

use super::policies::role;
use super::{Expansion, copy, s3_location};
use crate::document::Document;
use crate::error::TemplateError;
use crate::stack::Keeping;
use crate::template::Resource;

const FIELDS: [(&str, &str); 6] = [
    ("Name", "StateMachineName"),
    ("Type", "StateMachineType"),
    ("Logging", "LoggingConfiguration"),
    ("Tracing", "TracingConfiguration"),
    ("DefinitionSubstitutions", "DefinitionSubstitutions"),
    ("Tags", "Tags"),
];

impl Expansion<'_> {
    pub(super) fn state_machine(&mut self, id: &str, resource: Resource) -> Result<(), TemplateError> {
        self.refuse_fields(id, &resource, &["DeploymentPreference"]);
        let source = &resource.properties;
        let mut properties = Map::new();
        copy(source, &mut properties, &FIELDS);
        self.definition(&mut properties, &resource)?;
        let role_arn = match source.get("Role") {
            Some(role) => role.clone(),
            None => {
                let role = role(self, id, &resource, "states.amazonaws.com", Vec::new());
                self.derive(&resource, &format!("{id}Role"), "AWS::IAM::Role", role);
                json!({ "Fn::GetAtt": [format!("{id}Role"), "Arn"] })
            }
        };
        properties.insert("RoleArn".into(), role_arn);
        let target = match source.get("AutoPublishAlias").map(|alias| self.known_text(alias)) {
            Some(Some(alias)) => self.published_machine(id, &resource, &alias),
            Some(None) => {
                let what = "AutoPublishAlias must be known before anything is made".to_string();
                return Err(self.invalid(&resource, "AutoPublishAlias", what));
            }
            None => json!({ "Ref": id }),
        };
        self.state_machine_events(id, &resource, &target);
        self.derive(&resource, id, "AWS::StepFunctions::StateMachine", Value::Object(properties));
        Ok(())
    }

    /// A version for each revision, kept when the next one comes, and the alias that points at the newest.
    fn published_machine(&mut self, id: &str, resource: &Resource, alias: &str) -> Value {
        let (version_id, alias_id) = (format!("{id}Version"), format!("{id}Alias{alias}"));
        let version = json!({ "StateMachineArn": { "Ref": id },
                              "StateMachineRevisionId": { "Fn::GetAtt": [id, "StateMachineRevisionId"] } });
        self.derive(resource, &version_id, "AWS::StepFunctions::StateMachineVersion", version);
        if let Some(version) = self.made.get_mut(&version_id) {
            version.keeping = Keeping { when_replaced: true, ..version.keeping };
        }
        let routing = json!([{ "StateMachineVersionArn": { "Ref": version_id }, "Weight": 100 }]);
        let properties = json!({ "Name": alias, "RoutingConfiguration": routing });
        self.derive(resource, &alias_id, "AWS::StepFunctions::StateMachineAlias", properties);
        json!({ "Ref": alias_id })
    }

    /// `Definition` as an object, or the text of the file that `DefinitionUri` names.
    fn definition(
        &mut self,
        properties: &mut Map<String, Value>,
        resource: &Resource,
    ) -> Result<(), TemplateError> {
        let source = &resource.properties;
        match (&source["Definition"], &source["DefinitionUri"]) {
            (Value::Object(object), Value::Null) => {
                properties.insert("Definition".into(), Value::Object(object.clone()));
            }
            (Value::Null, Value::String(uri)) if s3_location(uri).is_some() => {
                let location = s3_location(uri).unwrap_or_default();
                properties.insert("DefinitionS3Location".into(), location);
            }
            (Value::Null, Value::String(path)) => {
                let Some(folder) = self.folder else {
                    let what = format!(
                        "'DefinitionUri' is not a valid S3 Uri of the form \"s3://bucket/key\": {path}"
                    );
                    return Err(self.invalid(resource, "DefinitionUri", what));
                };
                let text = std::fs::read_to_string(folder.join(path))
                    .map_err(|error| self.invalid(resource, "DefinitionUri", format!("{path}: {error}")))?;
                properties.insert("DefinitionString".into(), definition_text(path, text)?.into());
            }
            (Value::Null, Value::Object(location)) => {
                properties.insert("DefinitionS3Location".into(), Value::Object(location.clone()));
            }
            _ => {
                let what = "a state machine needs one of Definition and DefinitionUri".to_string();
                return Err(self.invalid(resource, "DefinitionUri", what));
            }
        }
        Ok(())
    }
}

/// ASL files may be YAML; the API takes JSON.
pub fn definition_text(path: &str, text: String) -> Result<String, TemplateError> {
    if path.ends_with(".yaml") || path.ends_with(".yml") {
        return Ok(Document::parse(path, &text)?.value.to_string());
    }
    Ok(text)
}
