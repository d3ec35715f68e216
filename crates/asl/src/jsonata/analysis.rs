//! What the syntax tree tells before evaluation.
//!
//! It finds the names used, the expressions that only name something, and those that could build much from
//! little, which are then metered.

use std::collections::{BTreeMap, BTreeSet};

use jlens_core::ast::{Ast, BinaryOp, Node, NodeId, NodeKind, Stage, TransformDef};
use jlens_core::stack;

use super::plain_path::PlainPath;

/// The built-in functions whose result can be much larger than their arguments.
const AMPLIFIERS: [&str; 7] = ["append", "formatNumber", "join", "pad", "replace", "spread", "zip"];

#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// Every variable or function named anywhere, without `$`.
    pub(super) names: BTreeSet<String>,
    /// Whether evaluation must be metered.
    pub(super) metered: bool,
    /// The arguments of calls that are looked at before they are made, by their nodes.
    pub(super) guarded_arguments: BTreeMap<NodeId, GuardedArgument>,
    /// Whether `$replace` is used otherwise than by calling it.
    pub(super) replace_as_value: bool,
    /// The operands of ranges, by their nodes: whether it is the last.
    pub(super) range_operands: BTreeMap<NodeId, bool>,
    /// Where arithmetic is done whose result `$string` is given at once.
    pub(super) stringified: BTreeSet<usize>,
    /// Set if it only names something.
    pub(super) plain_path: Option<PlainPath>,
}

/// A built-in function that could take too long or build too much before its result is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarded {
    /// Panics on a picture of tens of thousands of digits.
    FormatNumber,
    /// With a regular expression, takes time by the square of the subject's length.
    MatchOrSplit,
    /// The same, and its result is checked only when it is built.
    Replace,
}

impl Guarded {
    fn by_name(name: &str) -> Option<Guarded> {
        match name {
            "formatNumber" => Some(Guarded::FormatNumber),
            "match" | "split" => Some(Guarded::MatchOrSplit),
            "replace" => Some(Guarded::Replace),
            _ => None,
        }
    }
}

/// An argument of a call of such a function.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardedArgument {
    pub(super) function: Guarded,
    pub(super) index: usize,
    pub(super) count: usize,
}

impl Analysis {
    pub(super) fn of(ast: &Ast) -> Analysis {
        let mut analysis = Analysis { plain_path: PlainPath::of(&ast.root), ..Analysis::default() };
        analysis.visit(&ast.root, false);
        analysis
    }

    /// `repeated`: the node is evaluated once for each item of something.
    fn visit(&mut self, node: &Node, repeated: bool) {
        stack::grow(|| self.visit_children(node, repeated));
    }

    fn visit_children(&mut self, node: &Node, repeated: bool) {
        match &node.kind {
            NodeKind::Path { steps, .. } => {
                for (index, step) in steps.iter().enumerate() {
                    self.visit(step, repeated || index > 0);
                }
            }
            NodeKind::Binary { op, lhs, rhs } => {
                if *op == BinaryOp::Range {
                    self.metered = true;
                    self.range_operands.extend([(lhs.id, false), (rhs.id, true)]);
                }
                self.metered |= *op == BinaryOp::Concat && repeated;
                self.visit(lhs, repeated);
                self.visit(rhs, repeated);
            }
            NodeKind::Fallback { lhs, rhs, .. } | NodeKind::Apply { lhs, rhs } => {
                self.visit(lhs, repeated);
                self.visit(rhs, repeated);
            }
            NodeKind::Negate { expr } => self.visit(expr, repeated),
            NodeKind::Array { items } => {
                self.metered |= repeated;
                self.visit_all(items, repeated);
            }
            NodeKind::Object { pairs } => {
                self.metered |= repeated;
                self.visit_pairs(pairs, repeated);
            }
            NodeKind::Variable { name } => {
                self.names.insert(name.clone());
                self.metered |= AMPLIFIERS.contains(&name.as_str());
                self.replace_as_value |= name == "replace";
            }
            NodeKind::Condition { condition, then, otherwise } => {
                self.visit(condition, repeated);
                self.visit(then, repeated);
                otherwise.iter().for_each(|node| self.visit(node, repeated));
            }
            NodeKind::Block { exprs, .. } => self.visit_all(exprs, repeated),
            NodeKind::Bind { rhs, .. } => {
                self.metered = true;
                self.visit(rhs, repeated);
            }
            NodeKind::Function { procedure, args } => self.visit_call(procedure, args, repeated),
            NodeKind::Partial { procedure, args } => {
                self.metered = true;
                self.visit(procedure, repeated);
                self.visit_all(args, repeated);
            }
            NodeKind::Lambda(definition) => {
                self.metered |= !definition.thunk;
                self.visit(&definition.body, true);
            }
            NodeKind::Transform(definition) => self.visit_transform(definition),
            NodeKind::Sort { terms } => terms.iter().for_each(|term| self.visit(&term.expr, true)),
            NodeKind::Name { .. }
            | NodeKind::String { .. }
            | NodeKind::Number { .. }
            | NodeKind::Bool { .. }
            | NodeKind::Null
            | NodeKind::Regex { .. }
            | NodeKind::Wildcard
            | NodeKind::Descendant
            | NodeKind::Parent { .. }
            | NodeKind::Placeholder
            | NodeKind::Error { .. } => {}
        }
        self.visit_attributes(node);
    }

    fn visit_all(&mut self, nodes: &[Node], repeated: bool) {
        nodes.iter().for_each(|node| self.visit(node, repeated));
    }

    fn visit_transform(&mut self, definition: &TransformDef) {
        self.metered = true;
        self.visit(&definition.pattern, true);
        self.visit(&definition.update, true);
        definition.delete.iter().for_each(|node| self.visit(node, true));
    }

    fn visit_attributes(&mut self, node: &Node) {
        if let NodeKind::Apply { lhs, rhs } = &node.kind
            && matches!(&rhs.kind, NodeKind::Variable { name } if name == "string")
        {
            self.note_stringified(lhs);
        }
        for stage in node.attrs.stages.iter().chain(&node.attrs.predicate) {
            if let Stage::Filter { expr, .. } = stage {
                self.visit(expr, true);
            }
        }
        if let Some(group) = &node.attrs.group {
            self.visit_pairs(&group.pairs, true);
        }
    }

    fn visit_pairs(&mut self, pairs: &[(Node, Node)], repeated: bool) {
        for (key, value) in pairs {
            self.visit(key, repeated);
            self.visit(value, repeated);
        }
    }

    fn note_stringified(&mut self, argument: &Node) {
        match &argument.kind {
            NodeKind::Binary { .. } => {
                self.stringified.insert(argument.position);
            }
            NodeKind::Block { exprs, .. } => exprs.last().iter().for_each(|last| self.note_stringified(last)),
            _ => {}
        }
    }

    fn visit_call(&mut self, procedure: &Node, args: &[Node], repeated: bool) {
        self.metered |= repeated;
        let name = match &procedure.kind {
            NodeKind::Variable { name } => name.as_str(),
            _ => "",
        };
        if let Some(function) = Guarded::by_name(name) {
            self.metered = true;
            let count = args.len();
            for (index, node) in args.iter().enumerate() {
                self.guarded_arguments.insert(node.id, GuardedArgument { function, index, count });
            }
        }
        if let ("string", Some(argument)) = (name, args.first()) {
            self.note_stringified(argument);
        }
        if name == "replace" {
            self.names.insert(name.to_owned());
        } else {
            self.visit(procedure, repeated);
        }
        args.iter().for_each(|node| self.visit(node, repeated));
    }
}
