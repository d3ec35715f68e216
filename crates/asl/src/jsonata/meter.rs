//! Counts what an evaluation builds, and ends it before it builds too much.
//!
//! The engine bounds each string and array, but not how many there are, nor what some functions do
//! before their result is checked. The meter sees every value as it comes to be. It ends the evaluation by
//! unwinding with [`OverLimit`] (no panic hook runs), which `evaluate` turns into an error.

use std::panic::resume_unwind;

use jlens_core::ast::{BinaryOp, Node, NodeKind};
use jlens_core::audit::{CaptureLimits, Outcome, Tracer, ValueRef};
use serde_json::Value;

use super::Limits;
use super::analysis::{Analysis, Guarded, GuardedArgument};
use crate::json_syntax::DEPTH_MAX;

/// The payload of the unwinding that ends an evaluation.
pub(super) struct OverLimit;

/// What a value in an array or object costs, about.
const NODE_BYTES: usize = 48;
/// What an item costs that is only pointed to.
const ITEM_BYTES: usize = 16;
/// What any value costs that is built.
const VALUE_BYTES: usize = 96;
/// What an object costs beyond its fields: the engine makes each a hash table.
const OBJECT_BYTES: usize = 384;
/// `$spread` makes an object of every field before its result is seen, so expressions that name it may build a
/// part of what others may.
const SPREAD_SHARE: usize = 6;
/// The longest picture of `$formatNumber`.
const PICTURE_BYTES_MAX: usize = 10_000;
/// The longest text searched by a regular expression: all matches take time by its square, between which no clock is read.
const REGEX_SUBJECT_BYTES_MAX: usize = 256 << 10;
/// What a function costs, with the variables it keeps.
const FUNCTION_BYTES: usize = 384;

pub(super) struct Meter<'a> {
    analysis: &'a Analysis,
    string_bytes_max: usize,
    array_items_max: usize,
    left: usize,
    /// The longest string seen: what a context or a chain may give to a function.
    longest: usize,
    /// The lengths of the last arguments given to a guarded function, by place.
    lengths: [usize; 3],
    /// Whether a regular expression was given to one.
    regex_seen: bool,
    /// The left operand of the range being evaluated.
    range_start: f64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(analysis: &'a Analysis, limits: &Limits) -> Meter<'a> {
        Meter {
            analysis,
            string_bytes_max: limits.string_bytes_max,
            array_items_max: limits.array_items_max,
            left: match analysis.names.contains("spread") {
                true => limits.built_bytes_max / SPREAD_SHARE,
                false => limits.built_bytes_max,
            },
            longest: 0,
            lengths: [0; 3],
            regex_seen: false,
            range_start: 0.0,
        }
    }

    fn charge(&mut self, bytes: usize) {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => resume_unwind(Box::new(OverLimit)),
        }
    }

    fn string_length(&mut self, value: ValueRef<'_>) -> usize {
        let limits = CaptureLimits { max_string: self.string_bytes_max, ..CaptureLimits::default() };
        let length = value.capture(&limits).and_then(|text| text.as_str().map(str::len)).unwrap_or(0);
        self.longest = self.longest.max(length);
        length
    }

    /// The values in an array or object, counted as its JSON text would hold them: a value that
    /// appears twice counts twice. That is what comparing, mapping and writing cost, and a few lines
    /// can build values with 2^40 of them. Looks one level deeper at a time and stops when there are
    /// more than may be built.
    fn nodes(&self, value: ValueRef<'_>) -> usize {
        let most = self.left / NODE_BYTES + 1;
        let mut hidden = 1;
        for max_depth in 1..=DEPTH_MAX {
            let limits = CaptureLimits {
                max_items: most / hidden + 1,
                max_string: 1,
                max_depth,
                ..CaptureLimits::default()
            };
            let mut count = Count::default();
            count.add(&value.capture(&limits).unwrap_or(Value::Null));
            if count.hidden == 0 || count.nodes > most {
                return count.nodes;
            }
            hidden = count.hidden;
        }
        // No payload nests so deeply, so this value is of no use.
        usize::MAX
    }

    fn built(&mut self, node: &Node, value: ValueRef<'_>) {
        let bytes = match value.type_name() {
            "string" => VALUE_BYTES + self.string_length(value),
            "array" | "object" if matches!(node.kind, NodeKind::Path { .. }) => {
                let limits = CaptureLimits { max_items: 0, max_depth: 1, ..CaptureLimits::default() };
                let mut count = Count::default();
                count.add(&value.capture(&limits).unwrap_or(Value::Null));
                count.nodes * ITEM_BYTES
            }
            "array" | "object" => self.nodes(value).saturating_mul(NODE_BYTES).saturating_add(VALUE_BYTES),
            "function" => FUNCTION_BYTES,
            _ => 0,
        };
        let bytes = match node.kind {
            NodeKind::Object { .. } => bytes.saturating_add(OBJECT_BYTES),
            _ => bytes,
        };
        self.charge(bytes);
    }

    /// Before a range is built, foresees its length.
    fn range_operand(&mut self, last: bool, value: ValueRef<'_>) {
        let Some(bound) = value.to_json().and_then(|number| number.as_f64()) else {
            return;
        };
        if !last {
            self.range_start = bound;
        } else if bound - self.range_start >= self.array_items_max as f64 {
            resume_unwind(Box::new(OverLimit));
        }
    }

    /// Looks at the arguments of a function before it is called.
    fn guarded_argument(&mut self, argument: GuardedArgument, value: ValueRef<'_>) {
        let GuardedArgument { function, index, count } = argument;
        let kind = value.type_name();
        let length = if kind == "string" { self.string_length(value) } else { 0 };
        // Kept for the whole evaluation, since calls stand within each other's arguments.
        self.regex_seen |= kind == "function";
        if let Some(place) = self.lengths.get_mut(index) {
            *place = length;
        }
        if index + 1 < count {
            return;
        }
        match function {
            Guarded::FormatNumber => {
                if self.lengths[..2].iter().any(|length| *length > PICTURE_BYTES_MAX) {
                    resume_unwind(Box::new(OverLimit));
                }
            }
            Guarded::MatchOrSplit => self.guard_subject(),
            Guarded::Replace => {
                self.guard_subject();
                self.guard_replacement(count, length);
            }
        }
    }

    fn guard_subject(&mut self) {
        if self.regex_seen && self.longest > REGEX_SUBJECT_BYTES_MAX {
            resume_unwind(Box::new(OverLimit));
        }
    }

    /// Foresees the longest result of `$replace`.
    fn guard_replacement(&mut self, count: usize, last_length: usize) {
        // With fewer arguments the subject comes from the context or a chain.
        let (subject, pattern, replacement) = match count {
            0..=2 => (self.longest, self.lengths[0], self.lengths[1]),
            _ => (self.longest, self.lengths[1], self.lengths[2].max(last_length)),
        };
        let result = (subject / pattern.max(1) + 1).saturating_mul(replacement);
        if result > self.left {
            resume_unwind(Box::new(OverLimit));
        }
    }
}

/// Counts what a capture shows. It writes `… 12 more` for items left out, `12 more` for fields, and `…`
/// for what lies deeper.
#[derive(Default)]
struct Count {
    nodes: usize,
    hidden: usize,
}

impl Count {
    fn add(&mut self, captured: &Value) {
        match captured {
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(object) => object.values().for_each(|value| self.add(value)),
            Value::String(text) if text == "…" => self.hidden += 1,
            Value::String(text) => {
                let more = text.strip_suffix(" more").map(|more| more.trim_start_matches("… "));
                self.nodes += more.and_then(|more| more.parse().ok()).unwrap_or(0);
            }
            _ => {}
        }
        self.nodes += 1;
    }
}

impl Tracer for Meter<'_> {
    fn exit(&mut self, node: &Node, outcome: Outcome<'_>) {
        let Outcome::Value(value) = outcome else {
            return;
        };
        if let Some(argument) = self.analysis.guarded_arguments.get(&node.id) {
            self.guarded_argument(*argument, value);
        }
        if let Some(last) = self.analysis.range_operands.get(&node.id) {
            self.range_operand(*last, value);
        }
        match &node.kind {
            NodeKind::Binary { op: BinaryOp::Concat, .. }
            | NodeKind::Array { .. }
            | NodeKind::Object { .. }
            | NodeKind::Function { .. }
            | NodeKind::Partial { .. }
            | NodeKind::Apply { .. }
            | NodeKind::Transform(_)
            | NodeKind::Sort { .. }
            | NodeKind::Descendant
            | NodeKind::Wildcard
            | NodeKind::Path { .. } => self.built(node, value),
            // A tail call is a function too, but the next one takes its place.
            NodeKind::Lambda(definition) if !definition.thunk => self.built(node, value),
            NodeKind::Binary { .. }
            | NodeKind::Lambda(_)
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
