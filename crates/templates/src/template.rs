//! A template read, its SAM parts expanded, its parameters and conditions settled: ready to be planned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::check;
use crate::deploy::imported;
use crate::document::Document;
use crate::error::{TemplateError, Unsupported};
use crate::intrinsics::{Scope, mentioned};
use crate::parameters;
use crate::resources::Place;
use crate::resources::catalog::{self, Support};
use crate::sam;
use crate::stack::{Keeping, Parameter, stack_id};

/// How a template is deployed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stack name.
    pub stack: String,
    /// Account and region of the target.
    pub place: Place,
    /// Values of parameters; others take the values of the last deployment, else their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Values that were given to the last deployment.
    pub given_before: BTreeMap<String, String>,
    /// Values of the exports of other stacks.
    pub exports: BTreeMap<String, String>,
    /// Leave out what is not supported instead of refusing the template.
    pub skip_unsupported: bool,
    /// `AWS::StackId`, if it is given already; else it follows from account, region and name.
    pub stack_id: String,
    /// The template came alone: nothing lies beside it, and paths in it are refused.
    pub is_alone: bool,
    /// A deployment that fails is left as it is (`DisableRollback`).
    pub keeps_failed: bool,
}

impl Options {
    fn stack_id(&self) -> String {
        match self.stack_id.as_str() {
            "" => stack_id(&self.place.region, &self.place.account, &self.stack),
            given => given.to_string(),
        }
    }
}

/// A template that was read and checked.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) outputs: BTreeMap<String, Value>,
    pub(crate) scope: Scope,
    pub(crate) folder: PathBuf,
    pub(crate) document: Document,
    pub(crate) place: Place,
    pub(crate) parameters: BTreeMap<String, Parameter>,
    pub(crate) is_alone: bool,
    pub(crate) keeps_failed: bool,
    stack_id: String,
    /// Findings that do not stop the deployment.
    pub warnings: Vec<String>,
}

/// One resource as written (functions not yet evaluated).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resource {
    pub kind: String,
    pub properties: Value,
    pub depends_on: BTreeSet<String>,
    /// JSON pointer of the member of the template that it comes from.
    pub pointer: String,
    pub keeping: Keeping,
}

impl Template {
    /// Reads a template file; everything that can be told before a call is told here.
    pub fn read(path: &Path, options: &Options) -> Result<Template, TemplateError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            TemplateError::File(
                crate::FilePlace { file: file.clone(), line: 0, column: 0 },
                error.to_string(),
            )
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
        if document.value["Resources"].as_object().is_none_or(Map::is_empty) {
            return Err(invalid("/Resources", "At least one Resources member must be defined.".into()));
        }
        check::sections(&document)?;
        let exports = options.exports.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let mut scope = Scope {
            mappings: document.value["Mappings"].clone(),
            exports: exports.collect(),
            ..Scope::default()
        };
        let mut warnings = Vec::new();
        pseudo_parameters(&mut scope, options);
        let parameters = parameters::settle(&document, options, &mut warnings)?;
        scope.values.extend(parameters::values(&parameters, &document));
        conditions(&mut scope, &document)?;
        let mut findings = Findings { refused: Vec::new(), warnings };
        let written = written_resources(&document, &scope)?;
        let folder_of_sam = (!options.is_alone).then_some(folder);
        let (expanded, parts) = sam::expand(written, &document, folder_of_sam, &scope, &mut findings)?;
        let resources = supported(expanded, &document, &mut findings);
        let warnings = findings.settle(options.skip_unsupported)?;
        let mut outputs = written_outputs(&document, &scope)?;
        outputs.values_mut().for_each(|output| sam::name_parts(output, &parts));
        check::references(&resources, &outputs, &document, &scope)?;
        check::files(resources.iter(), &document, folder_of_sam)?;
        let template = Template {
            resources,
            outputs,
            scope,
            folder: folder.to_path_buf(),
            document,
            place: options.place.clone(),
            parameters,
            is_alone: options.is_alone,
            keeps_failed: options.keeps_failed,
            stack_id: options.stack_id(),
            warnings,
        };
        template.order()?;
        Ok(template)
    }

    /// `AWS::StackId`.
    pub(crate) fn stack_id(&self) -> String {
        self.stack_id.clone()
    }

    /// Exports of other stacks that resources and outputs use.
    pub(crate) fn imports(&self, scope: &Scope) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.resources.values().for_each(|resource| imported(&resource.properties, scope, &mut found));
        self.outputs.values().for_each(|output| imported(&output["Value"], scope, &mut found));
        found
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

    /// The parameters with their values.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// Logical ids in an order in which each comes after what it needs.
    pub(crate) fn order(&self) -> Result<Vec<String>, TemplateError> {
        let mut done: Vec<String> = Vec::new();
        let mut waiting: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
        for (id, resource) in &self.resources {
            let mut needs = resource.depends_on.clone();
            let mentions = mentioned(&resource.properties, &self.scope.conditions);
            needs.extend(mentions.into_iter().map(|mention| mention.name));
            needs.retain(|need| need != id && self.resources.contains_key(need));
            waiting.insert(id, needs);
        }
        while !waiting.is_empty() {
            let is_ready = |needs: &BTreeSet<String>| needs.iter().all(|need| done.contains(need));
            let ready: Vec<&String> =
                waiting.iter().filter(|(_, needs)| is_ready(needs)).map(|(id, _)| *id).collect();
            if ready.is_empty() {
                return Err(self.circular(&waiting));
            }
            for id in ready {
                waiting.remove(id);
                done.push(id.clone());
            }
        }
        Ok(done)
    }

    /// Names the members of one circle, in the order in which they need each other.
    fn circular(&self, waiting: &BTreeMap<&String, BTreeSet<String>>) -> TemplateError {
        let mut path: Vec<&String> = waiting.keys().copied().take(1).collect();
        let circle = loop {
            let next =
                path.last().and_then(|id| waiting.get(*id)?.iter().find(|need| waiting.contains_key(need)));
            let Some(next) = next else { break path.as_slice() };
            match path.iter().position(|id| *id == next) {
                Some(start) => break &path[start..],
                None => path.push(next),
            }
        };
        let ids: Vec<&str> = circle.iter().map(|id| id.as_str()).collect();
        let place = ids.first().map(|id| self.document.place(&self.resources[*id].pointer));
        let what = format!("Circular dependency between resources: [{}]", ids.join(", "));
        TemplateError::Invalid(place.unwrap_or_default(), what)
    }
}

/// What was found while reading: refused parts, and warnings.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub refused: Vec<Unsupported>,
    pub warnings: Vec<String>,
}

impl Findings {
    /// The warnings; with `skip`, what is refused is left out and becomes one.
    fn settle(mut self, skip: bool) -> Result<Vec<String>, TemplateError> {
        if !skip && !self.refused.is_empty() {
            return Err(TemplateError::Unsupported(self.refused));
        }
        self.warnings.extend(self.refused.iter().map(|refused| format!("{refused}: left out")));
        Ok(self.warnings)
    }
}

fn pseudo_parameters(scope: &mut Scope, options: &Options) {
    let Place { account, region } = &options.place;
    let is_china = region.starts_with("cn-");
    let pairs = [
        ("AWS::AccountId", account.clone()),
        ("AWS::Partition", if is_china { "aws-cn".into() } else { "aws".into() }),
        ("AWS::Region", region.clone()),
        ("AWS::StackName", options.stack.clone()),
        ("AWS::StackId", options.stack_id()),
        ("AWS::URLSuffix", if is_china { "amazonaws.com.cn".into() } else { "amazonaws.com".into() }),
    ];
    scope.values.extend(pairs.map(|(name, value)| (name.to_string(), Value::from(value))));
    scope.values.insert("AWS::NotificationARNs".into(), Value::Array(Vec::new()));
}

/// Conditions may refer to each other in any order.
fn conditions(scope: &mut Scope, document: &Document) -> Result<(), TemplateError> {
    let mut waiting: Vec<(String, Value)> =
        document.value["Conditions"].as_object().cloned().unwrap_or_default().into_iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut problem = None;
        waiting.retain(|(name, expression)| match scope.resolve(expression) {
            Ok(Value::Bool(truth)) => {
                scope.conditions.insert(name.clone(), truth);
                false
            }
            Ok(_) => {
                problem.get_or_insert((name.clone(), format!("the condition '{name}' is not true or false")));
                true
            }
            Err(fault) => {
                problem.get_or_insert((
                    format!("{name}{}", fault.path),
                    format!("the condition '{name}': {}", fault.what),
                ));
                true
            }
        });
        if let Some((path, problem)) = problem.filter(|_| waiting.len() == before) {
            return Err(TemplateError::Invalid(document.place(&format!("/Conditions/{path}")), problem));
        }
    }
    Ok(())
}

/// Does the condition that a resource or an output names hold?
fn holds(written: &Value, pointer: &str, document: &Document, scope: &Scope) -> Result<bool, TemplateError> {
    let Some(condition) = written["Condition"].as_str() else { return Ok(true) };
    scope.conditions.get(condition).copied().ok_or_else(|| {
        let place = document.place(&format!("{pointer}/Condition"));
        TemplateError::Invalid(place, format!("the condition '{condition}' is not defined"))
    })
}

fn written_outputs(document: &Document, scope: &Scope) -> Result<BTreeMap<String, Value>, TemplateError> {
    let mut outputs = BTreeMap::new();
    for (name, written) in document.value["Outputs"].as_object().into_iter().flatten() {
        let pointer = format!("/Outputs/{name}");
        if written.get("Value").is_none() {
            let what = format!("the output '{name}' has no Value");
            return Err(TemplateError::Invalid(document.place(&pointer), what));
        }
        if holds(written, &pointer, document, scope)? {
            outputs.insert(name.clone(), written.clone());
        }
    }
    Ok(outputs)
}

fn written_resources(
    document: &Document,
    scope: &Scope,
) -> Result<BTreeMap<String, Resource>, TemplateError> {
    let mut resources = BTreeMap::new();
    for (id, written) in document.value["Resources"].as_object().into_iter().flatten() {
        let pointer = format!("/Resources/{id}");
        let invalid = |below: &str, what: String| {
            Err(TemplateError::Invalid(document.place(&format!("{pointer}{below}")), what))
        };
        if !id.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return invalid("", format!("Resource name {id} is non alphanumeric."));
        }
        let Some(kind) = written["Type"].as_str() else {
            return invalid("", format!("the resource '{id}' has no Type"));
        };
        if !holds(written, &pointer, document, scope)? {
            continue;
        }
        let depends_on = match &written["DependsOn"] {
            Value::Null => BTreeSet::new(),
            Value::String(one) => BTreeSet::from([one.clone()]),
            Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            _ => return invalid("/DependsOn", "DependsOn takes logical ids".into()),
        };
        let properties = match &written["Properties"] {
            Value::Null => Value::Object(Map::new()),
            Value::Object(properties) => Value::Object(properties.clone()),
            _ => return invalid("/Properties", format!("the Properties of '{id}' are not a map")),
        };
        let keeping = check::keeping(written, &pointer, document)?;
        let kind = kind.to_string();
        resources.insert(id.clone(), Resource { kind, properties, depends_on, pointer, keeping });
    }
    Ok(resources)
}

/// Sorts out what is not made here: whole resources, and properties with an effect that is not here.
fn supported(
    resources: BTreeMap<String, Resource>,
    document: &Document,
    findings: &mut Findings,
) -> BTreeMap<String, Resource> {
    let mut kept = BTreeMap::new();
    for (id, mut resource) in resources {
        let place = document.place(&format!("{}/Type", resource.pointer));
        match catalog::support(&resource.kind) {
            Support::Run => {}
            Support::Recorded(reason) => {
                findings
                    .warnings
                    .push(format!("{place}: {id} ({}) is recorded only: {reason}", resource.kind));
            }
            Support::Refused(reason) => {
                let what = format!("resource {id} has type {}", resource.kind);
                findings.refused.push(Unsupported { place, what, reason: reason.into() });
                continue;
            }
        }
        for property in catalog::of(&resource.kind).map_or(&[] as &[&str], |entry| entry.refused) {
            if resource
                .properties
                .as_object_mut()
                .and_then(|members| members.shift_remove(*property))
                .is_some()
            {
                let place = document.place(&format!("{}/Properties/{property}", resource.pointer));
                let what = format!("resource {id} ({}) has {property}", resource.kind);
                findings.refused.push(Unsupported { place, what, reason: String::new() });
            }
        }
        for (property, reason) in catalog::of(&resource.kind).map_or(&[] as &[_], |entry| entry.recorded) {
            if resource.properties.get(*property).is_some() {
                let place = document.place(&format!("{}/Properties/{property}", resource.pointer));
                findings.warnings.push(format!("{place}: {property} of {id} is recorded only: {reason}"));
            }
        }
        kept.insert(id, resource);
    }
    kept
}
