//! Transitions of one scope: every state must be reachable, and one must end it.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::program::StateId;

use super::fields::{Findings, Site};
use super::layout::ScopeLayout;

/// What was seen of a scope's transitions.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) edges: Vec<(StateId, StateId)>,
    /// Whether some state ends the scope, or is too broken to tell.
    pub(super) terminal: bool,
}

impl Graph {
    /// AWS says nothing about reachability where no state ends.
    pub(super) fn check(
        &self,
        start: Option<StateId>,
        layout: &ScopeLayout<'_>,
        states_site: &Site,
        findings: &mut Findings,
    ) {
        if layout.states.is_empty() {
            return;
        }
        if !self.terminal {
            let span = layout.states[0].member.key_span.clone();
            findings.push(Diagnostic {
                severity: Severity::Error,
                code: Code::MissingEndState,
                message: "Workflow has no terminal state".into(),
                location: None,
                span,
            });
            return;
        }
        let Some(start) = start else { return };
        let reached = self.reached(start);
        for state in layout.states.iter().filter(|state| !reached.contains(&state.id)) {
            let name = &state.member.key;
            let message = format!("State \"{name}\" is not reachable.");
            findings.error(
                Code::MissingTransitionTarget,
                message,
                &states_site.field(name),
                &state.member.key_span,
            );
        }
    }

    fn reached(&self, start: StateId) -> HashSet<StateId> {
        let mut targets: HashMap<StateId, Vec<StateId>> = HashMap::new();
        for (from, to) in &self.edges {
            targets.entry(*from).or_default().push(*to);
        }
        let mut reached = HashSet::from([start]);
        let mut pending = vec![start];
        while let Some(from) = pending.pop() {
            for to in targets.get(&from).into_iter().flatten() {
                if reached.insert(*to) {
                    pending.push(*to);
                }
            }
        }
        reached
    }
}
