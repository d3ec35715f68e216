//! Numbers all states of all scopes in document order before anything is compiled, so that transitions may
//! point forward and every scope knows its names.

use std::collections::HashMap;

use crate::json::{Member, Node, Object};
use crate::program::{StateId, WorkflowId};

/// A scope and what is in it.
pub(super) struct ScopeLayout<'n> {
    pub(super) workflow: WorkflowId,
    pub(super) states: Vec<StateLayout<'n>>,
    /// Name → id of the states of this scope.
    pub(super) names: HashMap<&'n str, StateId>,
}

/// A state and the scopes inside it.
pub(super) struct StateLayout<'n> {
    pub(super) id: StateId,
    pub(super) member: &'n Member,
    /// In the order in which `Branches` or `ItemProcessor` lists them.
    pub(super) inner: Vec<ScopeLayout<'n>>,
}

/// Hands out numbers.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) states: u32,
    pub(super) workflows: u32,
    /// Scopes deeper than this are left out; the compiler reports them.
    pub(super) nesting_max: usize,
}

impl Numbers {
    pub(super) fn scope<'n>(&mut self, scope: &'n Object, depth: usize) -> ScopeLayout<'n> {
        let mut layout =
            ScopeLayout { workflow: WorkflowId(self.workflows), states: Vec::new(), names: HashMap::new() };
        self.workflows += 1;
        let states = scope.get("States").and_then(Node::as_object);
        for member in states.into_iter().flat_map(Object::effective) {
            let state = self.state(member, depth);
            layout.names.insert(member.key.as_str(), state.id);
            layout.states.push(state);
        }
        layout
    }

    /// One state outside of any scope, as TestState gets it.
    pub(super) fn lone<'n>(&mut self, member: &'n Member) -> ScopeLayout<'n> {
        self.workflows = 1;
        let state = self.state(member, 0);
        let names = HashMap::from([(member.key.as_str(), state.id)]);
        ScopeLayout { workflow: WorkflowId(0), states: vec![state], names }
    }

    fn state<'n>(&mut self, member: &'n Member, depth: usize) -> StateLayout<'n> {
        let id = StateId(self.states);
        self.states += 1;
        let mut inner = Vec::new();
        if depth < self.nesting_max {
            inner =
                inner_scopes(&member.value).into_iter().map(|scope| self.scope(scope, depth + 1)).collect();
        }
        StateLayout { id, member, inner }
    }
}

/// The scopes written inside a state.
fn inner_scopes(state: &Node) -> Vec<&Object> {
    let Some(state) = state.as_object() else { return Vec::new() };
    match state.get("Type").and_then(Node::as_str) {
        Some("Parallel") => {
            let branches = state.get("Branches").and_then(Node::as_array).unwrap_or_default();
            branches.iter().filter_map(Node::as_object).collect()
        }
        Some("Map") => {
            let processor = state.get("ItemProcessor").or_else(|| state.get("Iterator"));
            processor.and_then(Node::as_object).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
