//! Counts what an evaluation builds, and ends it before it builds too much.
//!
//! The engine bounds each string and array, but not how many there are, nor what `$replace` builds
//! before its size is checked. The meter sees every value as it comes to be. It ends the evaluation by
//! unwinding with [`OverLimit`] (no panic hook runs), which `evaluate` turns into an error.

use std::panic::resume_unwind;

use jlens_core::ast::{BinaryOp, Node, NodeKind};
use jlens_core::audit::{CaptureLimits, Outcome, Tracer, ValueRef};
use serde_json::Value;

use super::Limits;
use super::analysis::Analysis;

/// The payload of the unwinding that ends an evaluation.
pub(super) struct OverLimit;

/// What an item of an array costs, about.
const ITEM_BYTES: usize = 48;
/// What any value costs.
const VALUE_BYTES: usize = 96;

pub(super) struct Meter<'a> {
    analysis: &'a Analysis,
    string_bytes_max: usize,
    left: usize,
    /// The longest string seen: what a context or a chain may give to `$replace`.
    longest: usize,
    /// The lengths of the last arguments given to `$replace`, by place.
    replace: [usize; 3],
}

impl<'a> Meter<'a> {
    pub(super) fn new(analysis: &'a Analysis, limits: &Limits) -> Meter<'a> {
        let string_bytes_max = limits.string_bytes_max;
        Meter { analysis, string_bytes_max, left: limits.built_bytes_max, longest: 0, replace: [0; 3] }
    }

    fn charge(&mut self, bytes: usize) {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => resume_unwind(Box::new(OverLimit)),
        }
    }

    /// The bytes of a string or the items of an array.
    fn size(&self, value: ValueRef<'_>) -> usize {
        let limits = CaptureLimits {
            max_items: 0,
            max_string: self.string_bytes_max,
            max_depth: 1,
            ..CaptureLimits::default()
        };
        match value.capture(&limits) {
            Some(Value::String(text)) => text.len(),
            // The rest that was left out is told as "… 12 more".
            Some(Value::Array(items)) => {
                let more = items.first().and_then(Value::as_str);
                more.and_then(|more| more.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
            }
            Some(Value::Object(object)) => {
                let more = object.values().next().and_then(Value::as_str);
                more.and_then(|more| more.split(' ').nth(1)?.parse().ok()).unwrap_or(1)
            }
            _ => 0,
        }
    }

    fn built(&mut self, value: ValueRef<'_>) {
        let bytes = match value.type_name() {
            "string" => {
                let length = self.size(value);
                self.longest = self.longest.max(length);
                VALUE_BYTES + length
            }
            "array" | "object" => VALUE_BYTES + self.size(value) * ITEM_BYTES,
            "function" => VALUE_BYTES * 4,
            _ => VALUE_BYTES / 4,
        };
        self.charge(bytes);
    }

    /// Before the last argument of `$replace` is passed on, foresees the longest result.
    fn replace_argument(&mut self, index: usize, count: usize, value: ValueRef<'_>) {
        let length = if value.type_name() == "string" { self.size(value) } else { 0 };
        self.longest = self.longest.max(length);
        if index < 3 {
            self.replace[index] = length;
        }
        if index + 1 < count {
            return;
        }
        // With fewer arguments the subject comes from the context or a chain.
        let (subject, pattern, replacement) = match count {
            0..=2 => (self.longest, self.replace[0], self.replace[1]),
            _ => (self.replace[0].max(self.longest), self.replace[1], self.replace[2].max(length)),
        };
        let result = (subject / pattern.max(1) + 1).saturating_mul(replacement);
        if result > self.left {
            resume_unwind(Box::new(OverLimit));
        }
    }
}

impl Tracer for Meter<'_> {
    fn exit(&mut self, node: &Node, outcome: Outcome<'_>) {
        let Outcome::Value(value) = outcome else {
            return;
        };
        if let Some(argument) = self.analysis.replace_arguments.get(&node.id) {
            self.replace_argument(argument.index, argument.count, value);
        }
        match &node.kind {
            NodeKind::Binary { op: BinaryOp::Concat | BinaryOp::Range, .. }
            | NodeKind::Array { .. }
            | NodeKind::Object { .. }
            | NodeKind::Function { .. }
            | NodeKind::Partial { .. }
            | NodeKind::Apply { .. }
            | NodeKind::Transform(_)
            | NodeKind::Lambda(_)
            | NodeKind::Sort { .. }
            | NodeKind::Descendant
            | NodeKind::Wildcard
            | NodeKind::Path { .. } => self.built(value),
            NodeKind::Binary { .. }
            | NodeKind::Negate { .. }
            | NodeKind::Name { .. }
            | NodeKind::Variable { .. }
            | NodeKind::String { .. }
            | NodeKind::Number { .. }
            | NodeKind::Bool { .. }
            | NodeKind::Null
            | NodeKind::Regex { .. }
            | NodeKind::Parent { .. }
            | NodeKind::Condition { .. }
            | NodeKind::Fallback { .. }
            | NodeKind::Block { .. }
            | NodeKind::Bind { .. }
            | NodeKind::Placeholder
            | NodeKind::Error { .. } => {}
        }
    }
}
