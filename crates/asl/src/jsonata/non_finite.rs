//! Numbers that JSON has no word for, where an expression is nothing but the arithmetic that gives one.
//!
//! AWS writes them as strings: `1/0` is `"Infinity"`. The engine fails where an infinity would come to be and gives null for
//! what is no number, so the names are found from the operands. Deeper inside a value the engine's failure stands.

use jlens_core::ast::{BinaryOp, Node, NodeKind};
use serde_json::Value;

use super::EvaluationError;

type Outcome = Result<Option<Value>, EvaluationError>;

/// The name of the number that the whole expression is, if it is none of JSON's. `evaluate` runs a part of it.
pub(super) fn name(
    engine: &jlens_core::Expression,
    outcome: &Outcome,
    evaluate: impl Fn(&jlens_core::Expression) -> Option<Value>,
) -> Option<&'static str> {
    match outcome {
        Ok(Some(Value::Null)) => may_be_nan(&engine.ast().root).then_some("NaN"),
        Err(EvaluationError::Threw { code, .. }) if code == "D1001" => {
            let (op, left, right) = arithmetic(&engine.ast().root)?;
            let operand = |node: &Node| {
                let text = engine.source().get(node.span.start..node.span.end)?;
                evaluate(&jlens_core::Expression::compile(text).ok()?)?.as_f64()
            };
            let (left, right) = (operand(left)?, operand(right)?);
            let result = match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Div => left / right,
                _ => return None,
            };
            match result {
                f64::INFINITY => Some("Infinity"),
                f64::NEG_INFINITY => Some("-Infinity"),
                _ => None,
            }
        }
        _ => None,
    }
}

fn arithmetic(root: &Node) -> Option<(BinaryOp, &Node, &Node)> {
    match &root.kind {
        NodeKind::Binary {
            op: op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod),
            lhs,
            rhs,
        } => Some((*op, lhs, rhs)),
        _ => None,
    }
}

/// Whether null can only stand for what is no number.
fn may_be_nan(root: &Node) -> bool {
    let is_parse_integer =
        |procedure: &Node| matches!(&procedure.kind, NodeKind::Variable { name } if name == "parseInteger");
    match &root.kind {
        NodeKind::Function { procedure, .. } => is_parse_integer(procedure),
        _ => arithmetic(root).is_some(),
    }
}
