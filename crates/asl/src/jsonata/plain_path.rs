//! Expressions that only name something: `$states.input.orders[0].id`. Most are, and they need no engine: what they name is
//! borrowed, or shared where it is a payload.
//!
//! Where JSONata would map over an array, or flatten one, this is left to the engine.

use jlens_core::ast::{Node, NodeKind, Stage};

use super::{JsonataScope, functions};
use crate::payload::Document;

/// A variable, and the way into it.
#[derive(Debug)]
pub(super) struct PlainPath {
    variable: String,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Name(String),
    /// Counted from the end if it is negative.
    Index(i64),
}

impl PlainPath {
    pub(super) fn of(root: &Node) -> Option<PlainPath> {
        let steps = match &root.kind {
            NodeKind::Variable { .. } => std::slice::from_ref(root),
            NodeKind::Path { steps, keep_singleton_array: false } => steps.as_slice(),
            _ => return None,
        };
        let (first, rest) = steps.split_first()?;
        let NodeKind::Variable { name: variable } = &first.kind else { return None };
        if variable.is_empty() || variable == "$" || (steps.len() > 1 && !has_nothing_else(root, false)) {
            return None;
        }
        let mut path = PlainPath { variable: variable.clone(), steps: Vec::new() };
        path.push_indexes(first)?;
        for step in rest {
            let NodeKind::Name { name } = &step.kind else { return None };
            path.steps.push(Step::Name(name.clone()));
            path.push_indexes(step)?;
        }
        Some(path)
    }

    /// The indexes that follow a step, if nothing else does.
    fn push_indexes(&mut self, step: &Node) -> Option<()> {
        if !has_nothing_else(step, true) {
            return None;
        }
        for stage in step.attrs.stages.iter().chain(&step.attrs.predicate) {
            let Stage::Filter { expr, .. } = stage else { return None };
            let NodeKind::Number { value } = expr.kind else { return None };
            // A conversion of floats saturates, beyond the length of any array.
            self.steps.push(Step::Index(value.floor() as i64));
        }
        Some(())
    }

    /// Whether it is a variable's own, not a member of `$states`.
    pub(super) fn is_of_variable(&self) -> bool {
        self.variable != "states"
    }

    /// What it names; `Some(None)` is undefined. `None` if the engine has to tell.
    pub(super) fn find<'a>(&self, scope: &JsonataScope<'a>) -> Option<Option<Document<'a>>> {
        let (mut document, steps) = if self.is_of_variable() {
            let document = scope.variables.document(&self.variable);
            if document.is_none() && functions::is_function(&self.variable) {
                return None;
            }
            (document, self.steps.as_slice())
        } else {
            let Some((Step::Name(member), rest)) = self.steps.split_first() else { return None };
            (scope.member(member), rest)
        };
        for step in steps {
            document = match (document, step) {
                (None, _) => return Some(None),
                (Some(document), Step::Name(name)) => match document.member(name) {
                    Some(member) => member,
                    None if document.value().is_array() => return None,
                    None => return Some(None),
                },
                (Some(document), Step::Index(index)) => item(document, *index)?,
            };
        }
        Some(document)
    }
}

/// The item of an array, or what is no array as the one item of itself.
fn item(document: Document<'_>, index: i64) -> Option<Option<Document<'_>>> {
    let items = match document {
        Document::Payload(payload) if payload.members_at_hand().is_some() => None,
        document => document.value().as_array(),
    };
    let length = items.map_or(1, Vec::len);
    let index = usize::try_from(index)
        .ok()
        .or_else(|| length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?));
    match (items, index) {
        (None, Some(0)) => Some(Some(document)),
        (Some(items), Some(index)) => match items.get(index) {
            Some(nested) if nested.is_array() => None,
            found => Some(found.map(Document::Value)),
        },
        _ => Some(None),
    }
}

fn has_nothing_else(node: &Node, may_be_indexed: bool) -> bool {
    let attributes = &node.attrs;
    !attributes.keep_array
        && !attributes.tuple
        && attributes.focus.is_none()
        && attributes.index.is_none()
        && attributes.group.is_none()
        && (may_be_indexed || (attributes.stages.is_empty() && attributes.predicate.is_empty()))
}
