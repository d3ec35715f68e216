//! What a field of a row holds.

use std::cmp::Ordering;

/// A value; a field that is not there is `None` around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum {
    Text(String),
    Number(f64),
    /// Milliseconds of the epoch, shown as a date.
    Time(i64),
    Truth(bool),
}

impl Datum {
    /// As a result shows it.
    pub fn shown(&self) -> String {
        match self {
            Datum::Text(text) => text.clone(),
            Datum::Number(number) => shown_number(*number),
            Datum::Time(millis) => {
                let at = jiff::Timestamp::from_millisecond(*millis).unwrap_or_default();
                at.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
            }
            Datum::Truth(truth) => u8::from(*truth).to_string(),
        }
    }

    /// As a number, if it can be read as one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Datum::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Datum::Number(number) => Some(*number),
            Datum::Time(millis) => Some(*millis as f64),
            Datum::Truth(truth) => Some(f64::from(u8::from(*truth))),
        }
    }

    pub fn truth(&self) -> bool {
        match self {
            Datum::Truth(truth) => *truth,
            Datum::Number(number) => *number != 0.0,
            Datum::Text(text) => !text.is_empty() && text != "false" && text != "0",
            Datum::Time(_) => true,
        }
    }

    /// By number if both are numbers, else by text.
    pub fn order(&self, other: &Datum) -> Ordering {
        match (self.number(), other.number()) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => self.shown().cmp(&other.shown()),
        }
    }
}

/// Whole numbers without a point, others with at most four digits after it.
fn shown_number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        // Minus zero is zero.
        return format!("{:.0}", number + 0.0);
    }
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Missing values come first.
pub(super) fn order(one: Option<&Datum>, other: Option<&Datum>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.order(other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}
