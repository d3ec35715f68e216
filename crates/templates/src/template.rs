//! A template read, its SAM parts expanded, its parameters and conditions settled: ready to be planned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::check;
use crate::document::Document;
use crate::error::TemplateError;
use crate::intrinsics::{Scope, mentioned};
use crate::resources;
use crate::sam;

/// How a template is deployed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stack name.
    pub stack: String,
    /// Account of the target.
    pub account: String,
    /// Region of the target.
    pub region: String,
    /// Values of parameters; others take their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Leave out what is not supported instead of refusing the template.
    pub skip_unsupported: bool,
}

/// A template that was read and checked.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) outputs: Map<String, Value>,
    pub(crate) scope: Scope,
    pub(crate) folder: PathBuf,
    pub(crate) document: Document,
    /// Findings that do not stop the deployment.
    pub warnings: Vec<String>,
}

/// One resource as written (functions not yet evaluated).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub kind: String,
    pub properties: Value,
    pub depends_on: BTreeSet<String>,
    /// JSON pointer of the member of the template that it comes from.
    pub pointer: String,
}

impl Template {
    /// Reads a template file; everything that can be told before a call is told here.
    pub fn read(path: &Path, options: &Options) -> Result<Template, TemplateError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            TemplateError::File(crate::Place { file: file.clone(), line: 0, column: 0 }, error.to_string())
        })?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        Template::parse(&file, &text, &folder, options)
    }

    /// Parses a template's text; `folder` is where its relative paths start.
    pub fn parse(
        file: &str,
        text: &str,
        folder: &Path,
        options: &Options,
    ) -> Result<Template, TemplateError> {
        let document = Document::parse(file, text)?;
        let invalid = |pointer: &str, what: String| TemplateError::Invalid(document.place(pointer), what);
        if !document.value["Resources"].is_object() {
            return Err(invalid("", "a template needs a 'Resources' section".into()));
        }
        let mut scope = Scope { mappings: document.value["Mappings"].clone(), ..Scope::default() };
        pseudo_parameters(&mut scope, options);
        parameters(&mut scope, &document, options)?;
        conditions(&mut scope, &document)?;
        let mut warnings = Vec::new();
        let written = written_resources(&document, &scope)?;
        let expanded = sam::expand(written, &document, folder)?;
        let resources = supported(expanded, &document, options, &mut warnings)?;
        check::references(resources.iter(), &document, &scope)?;
        check::files(resources.iter(), &document, folder)?;
        let outputs = document.value["Outputs"].as_object().cloned().unwrap_or_default();
        Ok(Template { resources, outputs, scope, folder: folder.to_path_buf(), document, warnings })
    }

    /// The template's `Metadata`, as written.
    pub fn metadata(&self) -> &Value {
        &self.document.value["Metadata"]
    }

    /// Definitions of the template's state machines with the files they come from, before substitution.
    pub fn definitions(&self) -> Vec<(PathBuf, &str)> {
        let machines = self.resources.values().filter(|r| r.kind == "AWS::StepFunctions::StateMachine");
        machines
            .filter_map(|machine| {
                let written = &self.document.value.pointer(&machine.pointer)?["Properties"];
                let file = written["DefinitionUri"].as_str().map(|path| self.folder.join(path));
                let file = file.unwrap_or_else(|| PathBuf::from(&self.document.file));
                Some((file, machine.properties["DefinitionString"].as_str()?))
            })
            .collect()
    }

    /// Logical ids in an order in which each comes after what it needs.
    pub(crate) fn order(&self) -> Result<Vec<String>, TemplateError> {
        let mut done: Vec<String> = Vec::new();
        let mut waiting: Vec<(&String, BTreeSet<String>)> = self
            .resources
            .iter()
            .map(|(id, resource)| {
                let mut needs = resource.depends_on.clone();
                mentioned(&resource.properties, &mut needs);
                needs.retain(|need| need != id && self.resources.contains_key(need));
                (id, needs)
            })
            .collect();
        while !waiting.is_empty() {
            let (ready, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, needs)| needs.iter().all(|need| done.contains(need)));
            if ready.is_empty() {
                let ids: Vec<&str> = rest.iter().map(|(id, _)| id.as_str()).collect();
                let place = self.document.place(&self.resources[rest[0].0].pointer);
                let what = format!("Circular dependency between resources: [{}]", ids.join(", "));
                return Err(TemplateError::Invalid(place, what));
            }
            done.extend(ready.into_iter().map(|(id, _)| id.clone()));
            waiting = rest;
        }
        Ok(done)
    }
}

fn pseudo_parameters(scope: &mut Scope, options: &Options) {
    let arn =
        format!("arn:aws:cloudformation:{}:{}:stack/{}", options.region, options.account, options.stack);
    let pairs = [
        ("AWS::AccountId", options.account.clone()),
        ("AWS::Partition", "aws".into()),
        ("AWS::Region", options.region.clone()),
        ("AWS::StackName", options.stack.clone()),
        ("AWS::StackId", format!("{arn}/passo")),
        ("AWS::URLSuffix", "amazonaws.com".into()),
    ];
    scope.values.extend(pairs.map(|(name, value)| (name.to_string(), Value::from(value))));
    scope.values.insert("AWS::NotificationARNs".into(), Value::Array(Vec::new()));
}

fn parameters(scope: &mut Scope, document: &Document, options: &Options) -> Result<(), TemplateError> {
    let declared = document.value["Parameters"].as_object().cloned().unwrap_or_default();
    if let Some(unknown) = options.parameters.keys().find(|name| !declared.contains_key(*name)) {
        let what = format!("the template has no parameter '{unknown}'");
        return Err(TemplateError::Invalid(document.place("/Parameters"), what));
    }
    for (name, declaration) in &declared {
        let place = || document.place(&format!("/Parameters/{name}"));
        let given = options.parameters.get(name).map(|value| Value::from(value.as_str()));
        let Some(value) = given.or_else(|| declaration.get("Default").cloned()) else {
            let what =
                format!("the parameter '{name}' has no default: give it with --parameter {name}=VALUE");
            return Err(TemplateError::Invalid(place(), what));
        };
        let text = crate::intrinsics::text(&value);
        let allowed = declaration["AllowedValues"].as_array();
        if allowed.is_some_and(|allowed| !allowed.iter().any(|v| crate::intrinsics::text(v) == text)) {
            let what = format!("'{text}' is not an allowed value of the parameter '{name}'");
            return Err(TemplateError::Invalid(place(), what));
        }
        let kind = declaration["Type"].as_str().unwrap_or("String");
        let list = kind == "CommaDelimitedList" || kind.starts_with("List<");
        let value = if list { text.split(',').map(|item| Value::from(item.trim())).collect() } else { value };
        scope.values.insert(name.clone(), value);
    }
    Ok(())
}

/// Conditions may refer to each other in any order.
fn conditions(scope: &mut Scope, document: &Document) -> Result<(), TemplateError> {
    let mut waiting: Vec<(String, Value)> =
        document.value["Conditions"].as_object().cloned().unwrap_or_default().into_iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut problem = String::new();
        waiting.retain(|(name, expression)| match scope.resolve(expression) {
            Ok(Value::Bool(truth)) => {
                scope.conditions.insert(name.clone(), truth);
                false
            }
            Ok(_) => {
                problem = format!("the condition '{name}' is not true or false");
                true
            }
            Err(error) => {
                problem = error;
                true
            }
        });
        if waiting.len() == before {
            let place = document.place(&format!("/Conditions/{}", waiting[0].0));
            return Err(TemplateError::Invalid(place, problem));
        }
    }
    Ok(())
}

fn written_resources(
    document: &Document,
    scope: &Scope,
) -> Result<BTreeMap<String, Resource>, TemplateError> {
    let mut resources = BTreeMap::new();
    for (id, written) in document.value["Resources"].as_object().into_iter().flatten() {
        let pointer = format!("/Resources/{id}");
        let Some(kind) = written["Type"].as_str() else {
            return Err(TemplateError::Invalid(
                document.place(&pointer),
                format!("the resource '{id}' has no Type"),
            ));
        };
        if let Some(condition) = written["Condition"].as_str() {
            match scope.conditions.get(condition) {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    let what = format!("the condition '{condition}' is not defined");
                    return Err(TemplateError::Invalid(
                        document.place(&format!("{pointer}/Condition")),
                        what,
                    ));
                }
            }
        }
        let depends_on = match &written["DependsOn"] {
            Value::String(one) => BTreeSet::from([one.clone()]),
            Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            _ => BTreeSet::new(),
        };
        let properties = match &written["Properties"] {
            Value::Null => Value::Object(Map::new()),
            properties => properties.clone(),
        };
        resources.insert(id.clone(), Resource { kind: kind.to_string(), properties, depends_on, pointer });
    }
    Ok(resources)
}

fn supported(
    resources: BTreeMap<String, Resource>,
    document: &Document,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, Resource>, TemplateError> {
    let mut kept = BTreeMap::new();
    let mut refused = Vec::new();
    for (id, resource) in resources {
        let place = document.place(&format!("{}/Type", resource.pointer));
        match resources::support(&resource.kind) {
            resources::Support::Run => {
                kept.insert(id, resource);
            }
            resources::Support::Recorded => {
                warnings.push(format!(
                    "{place}: {id} ({}) is recorded only: nothing here acts on it",
                    resource.kind
                ));
                kept.insert(id, resource);
            }
            resources::Support::Refused if options.skip_unsupported => {
                warnings.push(format!("{place}: {id} ({}) is left out: not supported", resource.kind));
            }
            resources::Support::Refused => refused.push((place, id, resource.kind)),
        }
    }
    if refused.is_empty() { Ok(kept) } else { Err(TemplateError::Unsupported(refused)) }
}
