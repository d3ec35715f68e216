//! What can be told of a template before anything is made: that its sections are known, its references lead somewhere and
//! its files are there.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::document::Document;
use crate::error::TemplateError;
use crate::intrinsics::{Mention, Scope, mentioned};
use crate::resources::catalog::{self, Support};
use crate::stack::Keeping;
use crate::template::Resource;

const SECTIONS: [&str; 11] = [
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Globals",
    "Hooks",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Transform",
];
const TRANSFORMS: [&str; 2] = ["AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"];

/// The template's sections, its version and its macros.
pub(crate) fn sections(document: &Document) -> Result<(), TemplateError> {
    let invalid = |pointer: &str, what: String| Err(TemplateError::Invalid(document.place(pointer), what));
    for section in document.value.as_object().into_iter().flatten().map(|(name, _)| name) {
        // Rules check parameters on AWS; nothing is made of them.
        if !SECTIONS.contains(&section.as_str()) && section != "Rules" {
            let what = format!("Invalid template property or properties [{section}]");
            return invalid(&format!("/{section}"), what);
        }
    }
    let transforms = match &document.value["Transform"] {
        Value::Array(many) => many.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let unknown = transforms.iter().find(|name| !TRANSFORMS.iter().any(|known| *name == known));
    match unknown {
        Some(name) => invalid("/Transform", format!("the transform {name} is not supported")),
        None => Ok(()),
    }
}

/// `DeletionPolicy` and `UpdateReplacePolicy`.
pub(crate) fn keeping(written: &Value, pointer: &str, document: &Document) -> Result<Keeping, TemplateError> {
    let keeps = |member: &str| match &written[member] {
        Value::Null => Ok(false),
        Value::String(policy) if policy == "Delete" => Ok(false),
        // A creation that fails takes back what it made in either case.
        Value::String(policy) if policy == "Retain" || policy == "RetainExceptOnCreate" => Ok(true),
        other => {
            let what = format!("{member} {other} is not supported: use Delete or Retain");
            Err(TemplateError::Invalid(document.place(&format!("{pointer}/{member}")), what))
        }
    };
    Ok(Keeping { when_removed: keeps("DeletionPolicy")?, when_replaced: keeps("UpdateReplacePolicy")? })
}

/// Every name that functions and DependsOn use must be a parameter or a resource of the template, and every attribute one
/// that the resource has.
pub(crate) fn references(
    resources: &BTreeMap<String, Resource>,
    outputs: &BTreeMap<String, Value>,
    document: &Document,
    scope: &Scope,
) -> Result<(), TemplateError> {
    let references = References { resources, document, scope };
    for (id, resource) in resources {
        for mention in mentioned(&resource.properties, &scope.conditions) {
            references.check(&mention, &format!("{}/Properties", resource.pointer), id)?;
        }
        let unknown: Vec<&str> = resource
            .depends_on
            .iter()
            .map(String::as_str)
            .filter(|name| !references.is_known(name))
            .collect();
        if !unknown.is_empty() {
            let place = document.place(&format!("{}/DependsOn", resource.pointer));
            return Err(TemplateError::Invalid(place, unresolved(&unknown.join(", "))));
        }
    }
    for (name, output) in outputs {
        for mention in mentioned(output, &scope.conditions) {
            references.check(&mention, &format!("/Outputs/{name}"), name)?;
        }
    }
    Ok(())
}

fn unresolved(names: &str) -> String {
    format!("Unresolved resource dependencies [{names}] in the Resources block of the template")
}

struct References<'a> {
    resources: &'a BTreeMap<String, Resource>,
    document: &'a Document,
    scope: &'a Scope,
}

impl References<'_> {
    /// A resource that is left out, by its condition or because it is not supported, is not unknown.
    fn is_known(&self, name: &str) -> bool {
        self.resources.contains_key(name)
            || self.scope.values.contains_key(name)
            || name == "AWS::NoValue"
            || !self.document.value["Resources"][name].is_null()
    }

    fn check(&self, mention: &Mention, pointer: &str, id: &str) -> Result<(), TemplateError> {
        let invalid = |what: String| {
            Err(TemplateError::Invalid(self.document.place(&format!("{pointer}{}", mention.path)), what))
        };
        let name = mention.name.as_str();
        if !self.is_known(name) {
            return invalid(unresolved(name));
        }
        let Some(resource) = self.resources.get(name) else {
            let is_left_out = !self.scope.values.contains_key(name) && name != "AWS::NoValue";
            let what = format!(
                "{id} needs {name}, which is left out (its condition is false, or it is not supported)"
            );
            return if is_left_out { invalid(what) } else { Ok(()) };
        };
        let (Some(attribute), Some(entry)) = (&mention.attribute, catalog::of(&resource.kind)) else {
            return Ok(());
        };
        let is_made = matches!(entry.support, Support::Run);
        if is_made && !attribute.is_empty() && !entry.attributes.contains(&attribute.as_str()) {
            let known = entry.attributes.join(", ");
            return invalid(format!(
                "the resource {name} ({}) has no attribute {attribute} (it has {known})",
                resource.kind
            ));
        }
        Ok(())
    }
}

/// Folders with code of functions must be there.
pub(crate) fn files<'r>(
    resources: impl Iterator<Item = (&'r String, &'r Resource)>,
    document: &Document,
    folder: Option<&Path>,
) -> Result<(), TemplateError> {
    for (id, resource) in resources {
        let Value::String(path) = &resource.properties["Code"]["Passo::Folder"] else { continue };
        let Some(folder) = folder else {
            let what =
                format!("{id}: 'CodeUri' is not a valid S3 Uri of the form \"s3://bucket/key\": {path}");
            return Err(TemplateError::Invalid(document.place(&resource.pointer), what));
        };
        if !folder.join(path).exists() {
            let what = format!("{id}: CodeUri: {path}: no such file or folder");
            let place = document.place(&format!("{}/Properties/CodeUri", resource.pointer));
            return Err(TemplateError::Invalid(place, what));
        }
    }
    Ok(())
}
