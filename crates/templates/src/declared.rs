//! What a template declares, before any value is given: parameters, description, types, and which capabilities a caller
//! must acknowledge. It makes nothing of it; [`crate::Template`] does.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::check;
use crate::document::Document;
use crate::error::TemplateError;
use crate::intrinsics::text;
use crate::template::Template;

/// What a template declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// `Description`.
    pub description: String,
    /// `AWSTemplateFormatVersion`.
    pub version: String,
    /// The parameters in the order in which they are written.
    pub parameters: Vec<DeclaredParameter>,
    /// Types of the resources, each once.
    pub resource_types: Vec<String>,
    /// Macros, such as `AWS::Serverless-2016-10-31`.
    pub transforms: Vec<String>,
    /// `Metadata`, as JSON text; empty without.
    pub metadata: String,
    /// The capability that IAM resources ask for, if there are any.
    pub capability: Option<&'static str>,
    /// The types that ask for it.
    pub capable_types: Vec<String>,
}

/// A declared parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredParameter {
    /// Its name.
    pub name: String,
    /// `String`, `Number`, ….
    pub kind: String,
    /// The value that holds where none is given.
    pub default: Option<String>,
    /// Its value is never shown.
    pub no_echo: bool,
    /// Its description.
    pub description: String,
    /// The values it may have; empty for any.
    pub allowed: Vec<String>,
}

/// Reads what a template's text declares.
pub fn declared(template: &str) -> Result<Declared, TemplateError> {
    let document = Document::parse("template", template)?;
    if !document.value.is_object() {
        let what = "Template format error: unsupported structure.".to_string();
        return Err(TemplateError::Invalid(document.place(""), what));
    }
    check::sections(&document)?;
    let value = &document.value;
    let resources = value["Resources"].as_object().into_iter().flatten();
    let kinds: Vec<(&str, &Value)> = resources
        .map(|(_, resource)| (resource["Type"].as_str().unwrap_or_default(), &resource["Properties"]))
        .collect();
    if kinds.is_empty() {
        let what = "At least one Resources member must be defined.".to_string();
        return Err(TemplateError::Invalid(document.place("/Resources"), what));
    }
    let (capability, capable_types) = capability(kinds.iter().copied());
    let types: BTreeSet<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    let transforms = match &value["Transform"] {
        Value::Array(many) => many.iter().map(text).collect(),
        Value::Null => Vec::new(),
        one => vec![text(one)],
    };
    let shown = |member: &str| value.get(member).map(text).unwrap_or_default();
    Ok(Declared {
        description: shown("Description"),
        version: shown("AWSTemplateFormatVersion"),
        parameters: value["Parameters"].as_object().into_iter().flatten().map(parameter).collect(),
        resource_types: types.into_iter().map(str::to_string).collect(),
        transforms,
        metadata: shown("Metadata"),
        capability,
        capable_types,
    })
}

fn parameter((name, declaration): (&String, &Value)) -> DeclaredParameter {
    DeclaredParameter {
        name: name.clone(),
        kind: declaration["Type"].as_str().unwrap_or("String").to_string(),
        default: declaration.get("Default").map(text),
        no_echo: declaration.get("NoEcho").map(text).is_some_and(|text| text.eq_ignore_ascii_case("true")),
        description: declaration["Description"].as_str().unwrap_or_default().to_string(),
        allowed: declaration["AllowedValues"].as_array().into_iter().flatten().map(text).collect(),
    }
}

/// Types that change permissions, with the property that makes the stronger capability necessary.
const CAPABLE: [(&str, &str); 8] = [
    ("AWS::IAM::AccessKey", ""),
    ("AWS::IAM::Group", "GroupName"),
    ("AWS::IAM::InstanceProfile", "InstanceProfileName"),
    ("AWS::IAM::ManagedPolicy", "ManagedPolicyName"),
    ("AWS::IAM::Policy", ""),
    ("AWS::IAM::Role", "RoleName"),
    ("AWS::IAM::User", "UserName"),
    ("AWS::IAM::UserToGroupAddition", ""),
];
/// SAM's types for which roles are made unless one is given.
const ROLE_MAKERS: [&str; 2] = ["AWS::Serverless::Function", "AWS::Serverless::StateMachine"];

fn capability<'a>(
    resources: impl Iterator<Item = (&'a str, &'a Value)>,
) -> (Option<&'static str>, Vec<String>) {
    let (mut capability, mut types) = (None, BTreeSet::new());
    for (kind, properties) in resources {
        if ROLE_MAKERS.contains(&kind) && properties.get("Role").is_none() {
            types.insert("AWS::IAM::Role");
            capability = capability.or(Some("CAPABILITY_IAM"));
        }
        let Some((kind, name)) = CAPABLE.iter().find(|(capable, _)| *capable == kind) else { continue };
        types.insert(kind);
        let is_named = !name.is_empty() && properties.get(name).is_some();
        capability =
            if is_named { Some("CAPABILITY_NAMED_IAM") } else { capability.or(Some("CAPABILITY_IAM")) };
    }
    (capability, types.into_iter().map(str::to_string).collect())
}

impl Template {
    /// The capability that its resources, with those that SAM makes, ask for.
    pub fn capability(&self) -> Option<&'static str> {
        capability(self.resources.values().map(|resource| (resource.kind.as_str(), &resource.properties))).0
    }
}
