//! One alternative in a pattern's list of values.

use serde_json::Value;
use std::net::IpAddr;

#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Exact(Value),
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    IgnoreCase(String),
    Wildcard(String),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
    Cidr(IpAddr, u8),
    AnythingBut(Vec<Matcher>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Matcher {
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let object = match value {
            Value::Object(object) => object,
            Value::Array(_) => {
                return Err("Match value must be String, number, true, false, or null".to_owned());
            }
            exact => return Ok(Self::Exact(exact.clone())),
        };
        let Some((name, operand)) = object.iter().next().filter(|_| object.len() == 1) else {
            return Err("Only one key allowed in match expression".to_owned());
        };
        let ignoring = || operand.get("equals-ignore-case").and_then(Value::as_str).map(str::to_lowercase);
        let text = || match operand.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("{name} match pattern must be a string")),
        };
        Ok(match name.as_str() {
            "prefix" => match ignoring() {
                Some(lower) => Self::PrefixIgnoreCase(lower),
                None => Self::Prefix(text()?),
            },
            "suffix" => match ignoring() {
                Some(lower) => Self::SuffixIgnoreCase(lower),
                None => Self::Suffix(text()?),
            },
            "equals-ignore-case" => Self::IgnoreCase(text()?.to_lowercase()),
            "wildcard" => Self::Wildcard(text()?),
            "exists" => {
                Self::Exists(operand.as_bool().ok_or("exists match pattern must be either true or false.")?)
            }
            "numeric" => Self::Numeric(comparisons(operand)?),
            "cidr" => {
                let (address, bits) = cidr(&text()?).ok_or("Malformed CIDR")?;
                Self::Cidr(address, bits)
            }
            "anything-but" => Self::AnythingBut(excluded(operand)?),
            other => return Err(format!("Unrecognized match type {other}")),
        })
    }

    /// `found` are the values at the field; an array counts by its elements.
    pub(super) fn matches(&self, found: &[&Value]) -> bool {
        if let Self::Exists(wanted) = self {
            return found.is_empty() != *wanted;
        }
        found.iter().any(|value| match value {
            Value::Array(elements) => elements.iter().any(|element| self.fits(element)),
            value => self.fits(value),
        })
    }

    fn fits(&self, value: &Value) -> bool {
        let text = value.as_str();
        let lower = || text.map(str::to_lowercase).unwrap_or_default();
        match self {
            Self::Exact(exact) => match (exact.as_f64(), value.as_f64()) {
                (Some(left), Some(right)) => left == right,
                _ => exact == value,
            },
            Self::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::PrefixIgnoreCase(prefix) => text.is_some() && lower().starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix.as_str())),
            Self::SuffixIgnoreCase(suffix) => text.is_some() && lower().ends_with(suffix.as_str()),
            Self::IgnoreCase(other) => text.is_some() && lower() == *other,
            Self::Wildcard(pattern) => text.is_some_and(|text| wildcard(pattern, text)),
            Self::Numeric(comparisons) => number(value).is_some_and(|number| holds(comparisons, number)),
            Self::Cidr(network, bits) => {
                let address = text.and_then(|text| text.parse().ok());
                address.is_some_and(|address| contains(*network, *bits, address))
            }
            Self::AnythingBut(excluded) => !excluded.iter().any(|matcher| matcher.fits(value)),
            Self::Exists(wanted) => *wanted,
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn holds(comparisons: &[(Comparison, f64)], number: f64) -> bool {
    comparisons.iter().all(|(comparison, bound)| match comparison {
        Comparison::Equal => number == *bound,
        Comparison::Less => number < *bound,
        Comparison::LessOrEqual => number <= *bound,
        Comparison::Greater => number > *bound,
        Comparison::GreaterOrEqual => number >= *bound,
    })
}

fn comparisons(operand: &Value) -> Result<Vec<(Comparison, f64)>, String> {
    let list = operand.as_array().ok_or("Value of numeric must be an array.")?;
    if !matches!(list.len(), 2 | 4) {
        return Err("Invalid member in numeric match".to_owned());
    }
    list.chunks(2)
        .map(|pair| {
            let comparison = match pair[0].as_str() {
                Some("=") => Comparison::Equal,
                Some("<") => Comparison::Less,
                Some("<=") => Comparison::LessOrEqual,
                Some(">") => Comparison::Greater,
                Some(">=") => Comparison::GreaterOrEqual,
                _ => return Err("Unrecognized numeric range operator".to_owned()),
            };
            Ok((comparison, pair[1].as_f64().ok_or("Value of numeric operator must be numeric")?))
        })
        .collect()
}

fn excluded(operand: &Value) -> Result<Vec<Matcher>, String> {
    match operand {
        Value::Array(values) if !values.is_empty() => values.iter().map(Matcher::parse).collect(),
        Value::Array(_) => Err("Empty arrays are not allowed".to_owned()),
        Value::Object(object) => {
            // {"prefix": ["a", "b"]} excludes each of them.
            let Some((name, Value::Array(values))) = object.iter().next() else {
                return Ok(vec![Matcher::parse(operand)?]);
            };
            let one = |value: &Value| Matcher::parse(&serde_json::json!({name.as_str(): value}));
            values.iter().map(one).collect()
        }
        value => Ok(vec![Matcher::parse(value)?]),
    }
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let same =
        |left: u128, right: u128, width: u32| bits == 0 || (left ^ right) >> (width - u32::from(bits)) == 0;
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => same(network.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

/// `*` stands for any run of characters.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
