//! The walk: machine → scopes → states. What a single field may hold is in the neighbouring files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};
use crate::json::{Kind, Member, Node};
use crate::payload::Payload;
use crate::program::{
    DataFlow, Pattern, Program, QueryLanguage, Resource, ResourceKind, State, StateId, StateKind,
    StateMachineType, Template, Transition, Workflow, WorkflowId,
};

use super::CompileOptions;
use super::fields::{Bounds, Fields, Findings, SECONDS_MAX, Site};
use super::graph::Graph;
use super::layout::{Numbers, ScopeLayout, StateLayout};
use super::variables::Assignment;

/// Everything collected on the way.
pub(super) struct Compiler<'a> {
    pub(super) options: &'a CompileOptions<'a>,
    pub(super) findings: Findings,
    /// Findings about transitions; AWS lists them after those about the schema.
    pub(super) graph_findings: Findings,
    /// The graphs of the scopes being compiled, innermost last.
    pub(super) graphs: Vec<Graph>,
    pub(super) machine_language: QueryLanguage,
    /// TestState: there is only one state, and what its transitions name is made up.
    pub(super) lone: bool,
    pub(super) labels: HashSet<String>,
    /// Variables that the state being compiled reads.
    pub(super) references: BTreeSet<String>,
    pub(super) assignments: Vec<Assignment>,
    /// Scopes whose outer variables cannot be seen (distributed Maps).
    pub(super) sealed: HashSet<WorkflowId>,
    /// The state and the scope around a scope.
    pub(super) parents: HashMap<WorkflowId, (StateId, WorkflowId)>,
    state_names: HashSet<String>,
    states: Vec<Option<State>>,
    pub(super) workflows: Vec<Option<Workflow>>,
}

/// What holds for every state of a scope.
#[derive(Clone)]
pub(super) struct Scope<'n> {
    pub(super) workflow: WorkflowId,
    pub(super) names: HashMap<&'n str, StateId>,
    pub(super) machine_type: StateMachineType,
    /// Of the scope in the program: `/Fan/Branches/0`.
    pub(super) path: Arc<str>,
}

/// A state being compiled.
pub(super) struct Here<'n, 's> {
    pub(super) scope: &'s Scope<'n>,
    pub(super) id: StateId,
    pub(super) fields: Fields<'n>,
    pub(super) language: QueryLanguage,
    pub(super) path: Arc<str>,
}

const TYPES: &str = "[Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]";

impl<'a> Compiler<'a> {
    pub(super) fn new(options: &'a CompileOptions<'a>) -> Compiler<'a> {
        let findings = || Findings::new(options.limits.diagnostics_max);
        Compiler {
            options,
            findings: findings(),
            graph_findings: findings(),
            graphs: Vec::new(),
            machine_language: QueryLanguage::JsonPath,
            lone: false,
            labels: HashSet::new(),
            references: BTreeSet::new(),
            assignments: Vec::new(),
            sealed: HashSet::new(),
            parents: HashMap::new(),
            state_names: HashSet::new(),
            states: Vec::new(),
            workflows: Vec::new(),
        }
    }

    /// A whole machine.
    pub(super) fn machine(mut self, node: &Node) -> (Option<Program>, Vec<Diagnostic>) {
        let Some(fields) = self.findings.fields(node, Site::root()) else {
            return (None, self.findings.diagnostics);
        };
        const KNOWN: [&str; 6] =
            ["Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"];
        self.findings.required(&fields, &["States", "StartAt"]);
        self.findings.known(&fields, &KNOWN);
        self.findings.string(&fields, "Comment");
        self.findings.choice(&fields, "Version", &["1.0"]);
        self.machine_language = self.language(&fields).unwrap_or(QueryLanguage::JsonPath);
        let timeout_seconds = self.findings.integer(&fields, "TimeoutSeconds", Bounds::new(0, SECONDS_MAX));

        let mut numbers = Numbers { nesting_max: self.options.limits.nesting_max, ..Numbers::default() };
        let layout = numbers.scope(fields.object, 0);
        self.reserve(&numbers);
        let scope = Scope {
            workflow: layout.workflow,
            names: layout.names.clone(),
            machine_type: self.options.machine_type,
            path: "".into(),
        };
        self.scope(&fields, &layout, scope, None);
        self.finish(timeout_seconds.filter(|seconds| *seconds > 0))
    }

    /// One state alone, for TestState.
    pub(super) fn lone_state(mut self, node: &Node, name: &str) -> (Option<Program>, Vec<Diagnostic>) {
        self.lone = true;
        let member = Member { key: name.to_owned(), key_span: node.span.clone(), value: node.clone() };
        let mut numbers = Numbers { nesting_max: self.options.limits.nesting_max, ..Numbers::default() };
        let layout = numbers.lone(&member);
        self.reserve(&numbers);
        let scope = Scope {
            workflow: layout.workflow,
            names: layout.names.clone(),
            machine_type: self.options.machine_type,
            path: "".into(),
        };
        self.graphs.push(Graph::default());
        let state = &layout.states[0];
        let compiled = self.state(state, &scope, Site::root());
        self.states[0] = compiled;
        self.workflows[0] = Some(Workflow { path: "".into(), start_at: state.id, parent: None });
        self.finish(None)
    }

    fn reserve(&mut self, numbers: &Numbers) {
        self.states.resize_with(numbers.states as usize, || None);
        self.workflows.resize_with(numbers.workflows as usize, || None);
    }

    /// The program, if nothing is missing from it, and all findings in AWS's order.
    fn finish(mut self, timeout_seconds: Option<u64>) -> (Option<Program>, Vec<Diagnostic>) {
        self.check_assignments();
        let mut findings = self.findings;
        for diagnostic in self.graph_findings.diagnostics {
            findings.push(diagnostic);
        }
        let states: Option<Vec<State>> = self.states.into_iter().collect();
        let workflows: Option<Vec<Workflow>> = self.workflows.into_iter().collect();
        let program = states.zip(workflows).filter(|(_, workflows)| !workflows.is_empty()).map(
            |(states, workflows)| {
                let by_path = states.iter().map(|state| (state.path.clone(), state.id)).collect();
                Program { timeout_seconds, query_language: self.machine_language, states, workflows, by_path }
            },
        );
        (program, findings.diagnostics)
    }

    /// The fields of a scope: `StartAt` and `States`.
    pub(super) fn scope(
        &mut self,
        fields: &Fields<'_>,
        layout: &ScopeLayout<'_>,
        scope: Scope<'_>,
        parent: Option<(StateId, WorkflowId)>,
    ) {
        if let Some(parent) = parent {
            self.parents.insert(layout.workflow, parent);
        }
        self.graphs.push(Graph::default());
        let states_site = fields.site.field("States");
        // Without states there is nothing it could miss.
        let start_at = self.findings.string(fields, "StartAt").filter(|_| !layout.states.is_empty());
        if let Some(states) = self.findings.object(fields, "States") {
            if states.object.members.is_empty() {
                self.findings.schema("Value cannot be empty", &states_site, &states.span);
            }
            for member in states.object.duplicates() {
                self.duplicate_state(member, &states_site.field(&member.key));
            }
        }
        for state in &layout.states {
            let site = states_site.field(&state.member.key);
            let before = self.findings.errors();
            let compiled = self.state(state, &scope, site);
            if compiled.is_none() && self.findings.errors() > before {
                // Too broken to tell whether it ends the scope.
                self.graph().terminal = true;
            }
            self.states[state.id.0 as usize] = compiled;
        }
        let start_span = fields.object.get("StartAt").map_or(0..0, |node| node.span.clone());
        let start = start_at
            .and_then(|name| self.target(name, &scope, None, &fields.site.field("StartAt"), &start_span));
        let graph = self.graphs.pop().unwrap_or_default();
        graph.check(start, layout, &states_site, &mut self.graph_findings);
        self.workflows[layout.workflow.0 as usize] = start.map(|start_at| Workflow {
            path: scope.path.clone(),
            start_at,
            parent: parent.map(|(state, _)| state),
        });
    }

    pub(super) fn graph(&mut self) -> &mut Graph {
        if self.graphs.is_empty() {
            self.graphs.push(Graph::default());
        }
        let last = self.graphs.len() - 1;
        &mut self.graphs[last]
    }

    fn duplicate_state(&mut self, member: &Member, site: &Site) {
        let message = format!("Duplicate State name: {}", member.key);
        self.findings.error(Code::DuplicateStateName, message, site, &member.key_span);
    }

    fn state_name(&mut self, member: &Member, site: &Site) {
        let max = self.options.limits.state_name_chars_max;
        let chars = member.key.chars().count();
        if chars == 0 || chars > max {
            let message = format!("State name '{}' must have between 1 and {max} characters", member.key);
            self.findings.error(Code::InvalidStateName, message, site, &member.key_span);
        }
        if member.key.chars().any(char::is_control) {
            let message =
                format!("State name '{}' must not contain control characters", member.key.escape_default());
            self.findings.error(Code::InvalidStateName, message, site, &member.key_span);
        }
        if !self.state_names.insert(member.key.clone()) {
            self.duplicate_state(member, site);
        }
    }

    /// `QueryLanguage`, if it is there. AWS reads whatever is not exactly `JSONPath` as JSONata.
    fn language(&mut self, fields: &Fields<'_>) -> Option<QueryLanguage> {
        let node = fields.object.get("QueryLanguage")?;
        self.findings.choice(fields, "QueryLanguage", &["JSONPath", "JSONata"]);
        Some(if node.as_str() == Some("JSONPath") { QueryLanguage::JsonPath } else { QueryLanguage::Jsonata })
    }

    fn state(&mut self, layout: &StateLayout<'_>, scope: &Scope<'_>, site: Site) -> Option<State> {
        self.state_name(layout.member, &site);
        let fields = self.findings.fields(&layout.member.value, site)?;
        let language = self.language(&fields);
        if language == Some(QueryLanguage::JsonPath) && self.machine_language == QueryLanguage::Jsonata {
            const MESSAGE: &str =
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine";
            self.findings.schema(MESSAGE, &fields.site, &fields.span);
        }
        if !self.findings.required(&fields, &["Type"]) {
            return None;
        }
        let state_type = self.state_type(&fields)?;
        let here = Here {
            scope,
            id: layout.id,
            language: language.unwrap_or(self.machine_language),
            path: format!("{}/{}", scope.path, segment(&layout.member.key)).into(),
            fields,
        };
        self.state_fields(&here, state_type);
        self.findings.string(&here.fields, "Comment");
        let outer_references = std::mem::take(&mut self.references);
        let kind = self.kind(&here, state_type, &layout.inner);
        let flow = self.data_flow(&here, state_type);
        let next = self.next(&here, state_type);
        let references = std::mem::replace(&mut self.references, outer_references);
        let (kind, mut flow) = (kind?, flow.unwrap_or_default());
        if let StateKind::Task(task) = &kind {
            add_implied(&mut flow, &task.resource);
        }
        Some(State {
            id: here.id,
            path: here.path.clone(),
            name: layout.member.key.as_str().into(),
            workflow: scope.workflow,
            query_language: here.language,
            variables: references.into_iter().map(Arc::from).collect(),
            flow,
            next: next?,
            kind,
        })
    }

    fn state_type<'n>(&mut self, fields: &Fields<'n>) -> Option<&'n str> {
        let name = self.findings.string(fields, "Type")?;
        if super::matrix::is_type(name) {
            return Some(name);
        }
        let span = &fields.object.get("Type")?.span;
        let message = format!("The field 'Type' should have one of these values: {TYPES}");
        self.findings.schema(message, &fields.site.field("Type"), span);
        None
    }

    /// `Next` or `End`, for the types that have them.
    fn next(&mut self, here: &Here<'_, '_>, state_type: &str) -> Option<Transition> {
        match state_type {
            "Succeed" | "Fail" => {
                self.graph().terminal = true;
                return Some(Transition::End);
            }
            "Choice" => return Some(Transition::End),
            _ => {}
        }
        let fields = &here.fields;
        let end = self.findings.boolean(fields, "End");
        let ends = fields.object.get("End").is_some_and(|node| node.kind != Kind::Bool(false));
        let next = self.transition(here, fields, "Next");
        match (fields.object.has("Next"), ends) {
            (true, false) => next.map(Transition::Next),
            (false, true) => {
                self.graph().terminal = true;
                end.map(|_| Transition::End)
            }
            (true, true) => {
                self.findings.at_most_one(fields, &["Next", "End"]);
                self.graph().terminal = true;
                next.map(Transition::Next)
            }
            (false, false) => {
                const MESSAGE: &str = "This object should have only one of the following fields: [Next, End]";
                self.findings.schema(MESSAGE, &fields.site, &fields.span);
                self.graph().terminal = true;
                None
            }
        }
    }

    /// The target named by a field of the state, of a rule or of a catcher.
    pub(super) fn transition(
        &mut self,
        here: &Here<'_, '_>,
        fields: &Fields<'_>,
        name: &str,
    ) -> Option<StateId> {
        let target = self.findings.string(fields, name)?;
        let span = fields.object.get(name)?.span.clone();
        self.target(target, here.scope, Some(here.id), &fields.site.field(name), &span)
    }

    fn target(
        &mut self,
        name: &str,
        scope: &Scope<'_>,
        from: Option<StateId>,
        site: &Site,
        span: &std::ops::Range<usize>,
    ) -> Option<StateId> {
        let found = scope.names.get(name).copied();
        if found.is_none() && self.lone && scope.workflow == WorkflowId(0) {
            return Some(self.placeholder(name));
        }
        match (found, from) {
            (Some(to), Some(from)) => self.graph().edges.push((from, to)),
            (Some(_), None) => {}
            (None, _) => {
                // AWS writes 'Next' whatever the field is called.
                let message = format!("Missing 'Next' target: {name}");
                self.graph_findings.error(Code::MissingTransitionTarget, message, site, span);
            }
        }
        found
    }

    /// A state that a lone state leads to: nothing but a name to stop at.
    fn placeholder(&mut self, name: &str) -> StateId {
        let path: Arc<str> = format!("/{}", segment(name)).into();
        let known = self.states.iter().flatten().find(|state| state.path == path);
        if let Some(state) = known {
            return state.id;
        }
        let id = StateId(u32::try_from(self.states.len()).unwrap_or(u32::MAX));
        self.states.push(Some(State {
            id,
            path,
            name: name.into(),
            workflow: WorkflowId(0),
            query_language: self.machine_language,
            variables: Vec::new(),
            flow: DataFlow::default(),
            next: Transition::End,
            kind: StateKind::Succeed,
        }));
        id
    }

    /// What a type does.
    fn kind(
        &mut self,
        here: &Here<'_, '_>,
        state_type: &str,
        inner: &[ScopeLayout<'_>],
    ) -> Option<StateKind> {
        match state_type {
            "Task" => self.task(here).map(|task| StateKind::Task(Box::new(task))),
            "Parallel" => self.parallel(here, inner).map(StateKind::Parallel),
            "Map" => self.map(here, inner).map(|map| StateKind::Map(Box::new(map))),
            "Pass" => Some(StateKind::Pass(self.pass(here))),
            "Wait" => self.wait(here).map(StateKind::Wait),
            "Choice" => self.choice_state(here).map(StateKind::Choice),
            "Succeed" => Some(StateKind::Succeed),
            _ => self.fail(here).map(StateKind::Fail),
        }
    }
}

/// A name as a part of a path, escaped as in a JSON pointer: names may hold slashes, paths must be unique.
fn segment(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Parameters that AWS adds and shows in TaskScheduled: tasks that are waited for carry who started them.
fn add_implied(flow: &mut DataFlow, resource: &Resource) {
    let ResourceKind::Service { service, pattern, .. } = &resource.kind else { return };
    if &**service != "ecs" || *pattern == Pattern::RequestResponse {
        return;
    }
    let name: Arc<str> = "StartedBy".into();
    let started_by = || serde_json::Value::from("AWS Step Functions");
    match flow.arguments.as_mut() {
        Some(Template::Object(members)) if !members.iter().any(|(known, _)| *known == name) => {
            members.push((name, Template::Literal(Payload::from_value(started_by()))));
        }
        Some(Template::Literal(literal)) => {
            let mut value = literal.value().clone();
            if let Some(members) = value.as_object_mut() {
                members.entry(&*name).or_insert_with(started_by);
                *literal = Payload::from_value(value);
            }
        }
        Some(Template::Object(_) | Template::Array(_) | Template::Path { .. } | Template::Jsonata { .. })
        | None => {}
    }
}
