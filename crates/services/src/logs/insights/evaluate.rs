//! Expressions over a row. Nothing fails: what cannot be computed is missing, and a missing condition is false.

use std::rc::Rc;

use super::discover::Event;
use super::query::{Expression, Operator};
use super::value::Datum;

/// An event with what commands added, or a row of `stats`.
#[derive(Clone, Default)]
pub(super) struct Row {
    pub event: Option<Rc<Event>>,
    /// The last of a name counts.
    pub added: Vec<(Rc<str>, Option<Datum>)>,
}

impl Row {
    pub fn field(&self, name: &str) -> Option<Datum> {
        match self.added.iter().rev().find(|(known, _)| &**known == name) {
            Some((_, value)) => value.clone(),
            None => self.event.as_ref()?.field(name),
        }
    }

    /// The value of an expression; `aggregates` are those of a `stats` command.
    pub fn value(&self, expression: &Expression, aggregates: &[Option<Datum>]) -> Option<Datum> {
        let of = |expression: &Expression| self.value(expression, aggregates);
        match expression {
            Expression::Field(name) => self.field(name),
            Expression::Number(number) => Some(Datum::Number(*number)),
            Expression::Text(text) => Some(Datum::Text(text.clone())),
            Expression::Truth(truth) => Some(Datum::Truth(*truth)),
            Expression::Aggregate(index) => aggregates.get(*index).cloned().flatten(),
            Expression::Call(function, arguments) => {
                let values: Vec<Option<Datum>> = arguments.iter().map(of).collect();
                function.apply(&values)
            }
            Expression::Bin(time, period) => {
                let at = of(time)?.number()? as i64;
                Some(Datum::Time(at.checked_sub(at.rem_euclid(*period))?))
            }
            Expression::Not(inner) => Some(Datum::Truth(!self.holds(inner))),
            Expression::Negative(inner) => Some(Datum::Number(-of(inner)?.number()?)),
            Expression::Like(text, pattern) => {
                Some(Datum::Truth(of(text).is_some_and(|text| pattern.is_match(&text.shown()))))
            }
            Expression::In(one, list) => {
                let one = of(one)?;
                Some(Datum::Truth(list.iter().filter_map(of).any(|other| one.order(&other).is_eq())))
            }
            Expression::Binary(operator, left, right) => self.binary(*operator, left, right, aggregates),
        }
    }

    /// Whether a condition is true.
    pub fn holds(&self, condition: &Expression) -> bool {
        self.value(condition, &[]).is_some_and(|value| value.truth())
    }

    fn binary(
        &self,
        operator: Operator,
        left: &Expression,
        right: &Expression,
        aggregates: &[Option<Datum>],
    ) -> Option<Datum> {
        let truth = |truth: bool| Some(Datum::Truth(truth));
        match operator {
            Operator::And => return truth(self.holds(left) && self.holds(right)),
            Operator::Or => return truth(self.holds(left) || self.holds(right)),
            _ => {}
        }
        let (left, right) = (self.value(left, aggregates), self.value(right, aggregates));
        let (Some(left), Some(right)) = (left, right) else {
            // What is not there differs from everything.
            return (operator == Operator::NotEqual).then_some(Datum::Truth(true));
        };
        let order = || left.order(&right);
        let compute = |apply: fn(f64, f64) -> f64| {
            let result = apply(left.number()?, right.number()?);
            result.is_finite().then_some(Datum::Number(result))
        };
        match operator {
            Operator::And | Operator::Or => None,
            Operator::Equal => truth(order().is_eq()),
            Operator::NotEqual => truth(order().is_ne()),
            Operator::Less => truth(order().is_lt()),
            Operator::LessOrEqual => truth(order().is_le()),
            Operator::Greater => truth(order().is_gt()),
            Operator::GreaterOrEqual => truth(order().is_ge()),
            Operator::Plus => compute(|one, other| one + other),
            Operator::Minus => compute(|one, other| one - other),
            Operator::Times => compute(|one, other| one * other),
            Operator::Divided => compute(|one, other| one / other),
            Operator::Remainder => compute(|one, other| one % other),
            Operator::Power => compute(f64::powf),
        }
    }
}
