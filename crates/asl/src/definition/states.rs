//! The state types but Map and Choice.

use crate::program::{Dynamic, Fail, Parallel, Pass, QueryLanguage, StateMachineType, Task, Template, Wait};
use crate::resource::{Pattern, Resource, ResourceKind};
use crate::timestamp::Timestamp;

use super::compiler::{Compiler, Here, Scope};
use super::fields::{Bounds, SECONDS_MAX};
use super::layout::ScopeLayout;
use super::matrix::{JSONATA_ONLY, JSONPATH_ONLY, has_field};
use super::templates::Available;

impl Compiler<'_> {
    /// Refuses fields that the type or the language does not have; AWS's location is the state.
    pub(super) fn state_fields(&mut self, here: &Here<'_, '_>, state_type: &str) {
        let fields = &here.fields;
        for member in &fields.object.members {
            let name = member.key.as_str();
            if !has_field(state_type, name) {
                self.findings.schema(
                    format!("Field '{name}' is not supported"),
                    &fields.site,
                    &member.key_span,
                );
            } else {
                self.language_field(here.language, fields, name, &JSONPATH_ONLY, &JSONATA_ONLY);
            }
        }
        self.findings.duplicates(fields);
    }

    /// `Resource` and what surrounds the call.
    pub(super) fn task(&mut self, here: &Here<'_, '_>) -> Option<Task> {
        let fields = &here.fields;
        self.findings.required(fields, &["Resource"]);
        let resource = self.resource(here);
        let timeout_seconds = self.seconds(here, "TimeoutSeconds", "TimeoutSecondsPath");
        let heartbeat_seconds = self.seconds(here, "HeartbeatSeconds", "HeartbeatSecondsPath");
        if let (Some(Dynamic::Literal(timeout)), Some(Dynamic::Literal(heartbeat))) =
            (&timeout_seconds, &heartbeat_seconds)
            && heartbeat >= timeout
            && let Some(node) = fields.object.get("HeartbeatSeconds")
        {
            const MESSAGE: &str = "HeartbeatSeconds interval MUST be smaller than the TimeoutSeconds value";
            self.findings.schema(MESSAGE, &fields.site.field("HeartbeatSeconds"), &node.span);
        }
        let credentials = self.credentials(here, resource.as_ref());
        let retry = self.retriers(fields);
        let catch = self.catchers(here)?;
        Some(Task { resource: resource?, timeout_seconds, heartbeat_seconds, credentials, retry, catch })
    }

    fn seconds(
        &mut self,
        here: &Here<'_, '_>,
        name: &'static str,
        path: &'static str,
    ) -> Option<Dynamic<u64>> {
        self.dynamic_integer(here, &here.fields, [name, path], Bounds::new(1, SECONDS_MAX), name)
    }

    fn resource(&mut self, here: &Here<'_, '_>) -> Option<Resource> {
        let fields = &here.fields;
        let text = self.findings.string(fields, "Resource")?;
        let span = fields.object.get("Resource")?.span.clone();
        let site = fields.site.field("Resource");
        if !text.starts_with("arn:") {
            self.findings.schema("Value is not a valid resource ARN", &site, &span);
            return None;
        }
        let Some(resource) = Resource::parse(text) else {
            self.findings.schema(crate::resource::Problem::unknown_resource(text).message, &site, &span);
            return None;
        };
        if here.scope.machine_type == StateMachineType::Express
            && let Some(message) = refused_by_express(&resource)
        {
            self.findings.schema(message, &site, &span);
        }
        let container = if here.language == QueryLanguage::Jsonata { "Arguments" } else { "Parameters" };
        let arguments = fields.object.get(container);
        let problems = self.options.catalog.check(&resource, arguments.map(|node| node.to_value()).as_ref());
        for problem in problems {
            let (site, span) = match &problem.field {
                None => (fields.site.clone(), fields.span.clone()),
                Some(field) => {
                    let top = field.split('/').next().unwrap_or(field);
                    let span = fields.object.get(top).map_or(fields.span.clone(), |node| node.span.clone());
                    (fields.site.field(field), span)
                }
            };
            self.findings.error(problem.code, problem.message, &site, &span);
        }
        Some(resource)
    }

    fn credentials(&mut self, here: &Here<'_, '_>, resource: Option<&Resource>) -> Option<Template> {
        let node = here.fields.object.get("Credentials")?;
        let site = here.fields.site.field("Credentials");
        if resource.is_some_and(|resource| resource.kind == ResourceKind::Activity) {
            self.findings.schema(
                "The field 'Credentials' is not supported for activities",
                &site,
                &node.span,
            );
        }
        if let Some(credentials) = node.as_object()
            && !credentials.has("RoleArn")
            && !credentials.has("RoleArn.$")
        {
            self.findings.schema("The field 'RoleArn' is required but was missing", &site, &node.span);
        }
        if node.as_object().is_none() && here.language == QueryLanguage::JsonPath {
            self.findings.schema("Expected value of type Object", &site, &node.span);
        }
        Some(self.template(here.language, node, &site, "Credentials", Available::INPUT))
    }

    pub(super) fn parallel(&mut self, here: &Here<'_, '_>, inner: &[ScopeLayout<'_>]) -> Option<Parallel> {
        let fields = &here.fields;
        self.findings.required(fields, &["Branches"]);
        let branches = self.findings.filled_array(fields, "Branches").unwrap_or_default();
        let site = fields.site.field("Branches");
        self.check_nesting(
            fields,
            inner.len() < branches.iter().filter(|node| node.as_object().is_some()).count(),
        );
        let mut layouts = inner.iter();
        for (index, node) in branches.iter().enumerate() {
            let Some(branch) = self.findings.fields(node, site.index(index)) else { continue };
            let Some(layout) = layouts.next() else { break };
            self.findings.required(&branch, &["States", "StartAt"]);
            self.findings.known(&branch, &["Comment", "StartAt", "States"]);
            self.findings.string(&branch, "Comment");
            let scope = Scope {
                workflow: layout.workflow,
                names: layout.names.clone(),
                machine_type: here.scope.machine_type,
                path: format!("{}/Branches/{index}", here.path).into(),
            };
            self.scope(&branch, layout, scope, Some((here.id, here.scope.workflow)));
        }
        let retry = self.retriers(fields);
        let catch = self.catchers(here)?;
        Some(Parallel { branches: inner.iter().map(|layout| layout.workflow).collect(), retry, catch })
    }

    /// Reports scopes that the layout left out for being too deep.
    pub(super) fn check_nesting(&mut self, fields: &super::fields::Fields<'_>, left_out: bool) {
        if left_out {
            let message =
                format!("States are nested more than {} levels deep", self.options.limits.nesting_max);
            self.findings.error(
                crate::diagnostic::Code::TooDeeplyNested,
                message,
                &fields.site,
                &fields.span,
            );
        }
    }

    pub(super) fn pass(&mut self, here: &Here<'_, '_>) -> Pass {
        let node = here.fields.object.get("Result").filter(|_| here.language == QueryLanguage::JsonPath);
        if let Some(node) = node {
            self.static_result(node, &here.fields.site.field("Result"));
        }
        Pass { result: node.map(|node| crate::payload::Payload::from_value(node.to_value())) }
    }

    pub(super) fn wait(&mut self, here: &Here<'_, '_>) -> Option<Wait> {
        let fields = &here.fields;
        self.findings.exactly_one(fields, &["SecondsPath", "Seconds", "TimestampPath", "Timestamp"]);
        let seconds = ["Seconds", "SecondsPath"];
        let seconds =
            self.dynamic_integer_alone(here, fields, seconds, Bounds::new(0, SECONDS_MAX), "Seconds");
        let timestamp = self.dynamic_text(here, "Timestamp", Some("TimestampPath"));
        if let Some(Dynamic::Literal(text)) = &timestamp
            && Timestamp::parse(text).is_err()
            && let Some(node) = fields.object.get("Timestamp")
        {
            let site = fields.site.field("Timestamp");
            self.findings.schema("String does not match RFC3339 timestamp", &site, &node.span);
        }
        seconds.map(Wait::Seconds).or(timestamp.map(Wait::Timestamp))
    }

    pub(super) fn fail(&mut self, here: &Here<'_, '_>) -> Option<Fail> {
        self.findings.at_most_one(&here.fields, &["Error", "ErrorPath"]);
        self.findings.at_most_one(&here.fields, &["Cause", "CausePath"]);
        let error = self.dynamic_text(here, "Error", Some("ErrorPath"));
        let cause = self.dynamic_text(here, "Cause", Some("CausePath"));
        Some(Fail { error, cause })
    }
}

/// What an Express machine cannot call. The blank at the end is AWS's.
fn refused_by_express(resource: &Resource) -> Option<String> {
    let refused = |pattern: &str| {
        Some(format!("Express state machine does not support '{pattern}' service integration "))
    };
    match &resource.kind {
        ResourceKind::Activity => Some("Express state machine does not support Activity ARN".to_owned()),
        ResourceKind::Service { pattern, .. } => match pattern {
            Pattern::RequestResponse => None,
            Pattern::Sync | Pattern::Sync2 => refused(".sync"),
            Pattern::WaitForTaskToken => refused(".waitForTaskToken"),
        },
        ResourceKind::Lambda => None,
    }
}
