//! The `Condition` element: operators, set quantifiers, `IfExists`, and the keys of a request.

use super::pattern::Pattern;
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The condition keys of a request. Names are matched without regard to case, as IAM does.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    values: BTreeMap<String, Vec<String>>,
}

impl Keys {
    /// The values of a key.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.values.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// Sets a key to one value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Sets a key to several values.
    pub fn set_all(&mut self, key: &str, values: Vec<String>) {
        self.values.insert(key.to_ascii_lowercase(), values);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    /// The key's values, any of them, as with keys of one value.
    Plain,
    ForAllValues,
    ForAnyValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Text,
    TextIgnoringCase,
    Like,
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// One line of a `Condition` element: an operator, a key, and the values any of which will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    quantifier: Quantifier,
    comparison: Comparison,
    is_negated: bool,
    if_exists: bool,
    key: String,
    values: Vec<Pattern>,
}

impl Condition {
    /// Reads an operator such as `ForAnyValue:StringLikeIfExists`. `None` for one IAM does not know.
    pub fn new(operator: &str, key: &str, values: Vec<Pattern>) -> Option<Self> {
        let (quantifier, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => return None,
            None => (Quantifier::Plain, operator),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let (comparison, is_negated) = comparison(name)?;
        if comparison == Comparison::Null && if_exists {
            return None;
        }
        Some(Self { quantifier, comparison, is_negated, if_exists, key: key.to_owned(), values })
    }

    /// Whether the condition holds for a request.
    pub fn holds(&self, keys: &Keys) -> bool {
        let present = keys.get(&self.key).filter(|values| !values.is_empty());
        if self.comparison == Comparison::Null {
            let is_absent = present.is_none();
            return self.values.iter().any(|value| value.text().eq_ignore_ascii_case("true") == is_absent);
        }
        let Some(values) = present else {
            return match self.quantifier {
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => self.if_exists,
                Quantifier::Plain => self.if_exists || self.is_negated,
            };
        };
        let one_holds = |value: &String| {
            let matched = self.values.iter().any(|wanted| self.matches(wanted, value, keys));
            matched != self.is_negated
        };
        match (self.quantifier, self.is_negated) {
            (Quantifier::ForAllValues, _) | (Quantifier::Plain, true) => values.iter().all(one_holds),
            (Quantifier::ForAnyValue, _) | (Quantifier::Plain, false) => values.iter().any(one_holds),
        }
    }

    fn matches(&self, wanted: &Pattern, value: &str, keys: &Keys) -> bool {
        let text = || wanted.resolve(keys);
        match self.comparison {
            Comparison::Text | Comparison::Binary => text().is_some_and(|wanted| wanted == value),
            Comparison::TextIgnoringCase => text().is_some_and(|wanted| wanted.eq_ignore_ascii_case(value)),
            Comparison::Bool => wanted.text().eq_ignore_ascii_case(value),
            Comparison::Like => wanted.matches(value, keys),
            Comparison::Arn => wanted.matches_arn(value, keys),
            Comparison::Numeric(order) => {
                let numbers = (value.parse::<f64>().ok(), wanted.text().parse::<f64>().ok());
                let (Some(value), Some(wanted)) = numbers else { return false };
                value.partial_cmp(&wanted).is_some_and(|ordering| order.holds(ordering))
            }
            Comparison::Date(order) => {
                let (Some(value), Some(wanted)) = (date(value), date(wanted.text())) else { return false };
                order.holds(value.cmp(&wanted))
            }
            Comparison::Address => is_in_network(value, wanted.text()),
            Comparison::Null => false,
        }
    }
}

fn comparison(name: &str) -> Option<(Comparison, bool)> {
    Some(match name {
        "StringEquals" => (Comparison::Text, false),
        "StringNotEquals" => (Comparison::Text, true),
        "StringEqualsIgnoreCase" => (Comparison::TextIgnoringCase, false),
        "StringNotEqualsIgnoreCase" => (Comparison::TextIgnoringCase, true),
        "StringLike" => (Comparison::Like, false),
        "StringNotLike" => (Comparison::Like, true),
        "NumericEquals" => (Comparison::Numeric(Order::Equal), false),
        "NumericNotEquals" => (Comparison::Numeric(Order::Equal), true),
        "NumericLessThan" => (Comparison::Numeric(Order::Less), false),
        "NumericLessThanEquals" => (Comparison::Numeric(Order::LessOrEqual), false),
        "NumericGreaterThan" => (Comparison::Numeric(Order::Greater), false),
        "NumericGreaterThanEquals" => (Comparison::Numeric(Order::GreaterOrEqual), false),
        "DateEquals" => (Comparison::Date(Order::Equal), false),
        "DateNotEquals" => (Comparison::Date(Order::Equal), true),
        "DateLessThan" => (Comparison::Date(Order::Less), false),
        "DateLessThanEquals" => (Comparison::Date(Order::LessOrEqual), false),
        "DateGreaterThan" => (Comparison::Date(Order::Greater), false),
        "DateGreaterThanEquals" => (Comparison::Date(Order::GreaterOrEqual), false),
        "Bool" => (Comparison::Bool, false),
        "BinaryEquals" => (Comparison::Binary, false),
        "IpAddress" => (Comparison::Address, false),
        "NotIpAddress" => (Comparison::Address, true),
        "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
        "Null" => (Comparison::Null, false),
        _ => return None,
    })
}

/// ISO 8601 with or without a time, or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok())
}

fn is_in_network(address: &str, network: &str) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, ""));
    let (Ok(address), Ok(base)) = (address.parse::<IpAddr>(), base.parse::<IpAddr>()) else { return false };
    let (address, base, bits) = match (address.to_canonical(), base.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            (u128::from(address.to_bits()), u128::from(base.to_bits()), 32_u32)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => (address.to_bits(), base.to_bits(), 128),
        _ => return false,
    };
    let length = if length.is_empty() { bits } else { length.parse::<u32>().unwrap_or(u32::MAX) };
    if length > bits {
        return false;
    }
    let host_bits = bits - length;
    address.checked_shr(host_bits).unwrap_or(0) == base.checked_shr(host_bits).unwrap_or(0)
}
