//! The pattern language of EventBridge, which SNS filter policies share: exact values, prefix, suffix, anything-but,
//! numeric, exists, cidr, wildcard, equals-ignore-case and `$or`.
//!
//! A pattern is compiled once; matching never fails. Fields of arrays are looked at one by one: one fitting value is
//! enough. The depth of a pattern is bounded.

mod matcher;

use matcher::Matcher;
use serde_json::{Map, Value};

const DEPTH_MAX: usize = 32;
/// Alternatives of one field.
const MATCHERS_MAX: usize = 256;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct EventPattern {
    root: Fields,
}

#[derive(Debug, Clone, Default)]
struct Fields {
    fields: Vec<(String, Node)>,
    /// One of these must hold, if there are any.
    alternatives: Vec<Fields>,
}

#[derive(Debug, Clone)]
enum Node {
    Fields(Fields),
    Values(Vec<Matcher>),
}

impl EventPattern {
    /// Compiles a pattern; the error is the reason in a few words.
    pub fn parse(pattern: &Value) -> Result<Self, String> {
        let object = pattern.as_object().ok_or("Filter is not an object")?;
        if object.is_empty() {
            return Err("Empty objects are not allowed".to_owned());
        }
        Ok(Self { root: Fields::parse(object, 0)? })
    }

    /// Whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.root.matches(&[event])
    }
}

impl Fields {
    fn parse(object: &Map<String, Value>, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err("The pattern is nested too deeply".to_owned());
        }
        let mut parsed = Self::default();
        for (name, value) in object {
            match (name.as_str(), value) {
                ("$or", Value::Array(alternatives)) if alternatives.len() > 1 => {
                    for alternative in alternatives {
                        let alternative = alternative.as_object().ok_or("\"$or\" must hold objects")?;
                        parsed.alternatives.push(Self::parse(alternative, depth + 1)?);
                    }
                }
                (_, Value::Object(nested)) if nested.is_empty() => {
                    return Err("Empty objects are not allowed".to_owned());
                }
                (_, Value::Object(nested)) => {
                    parsed.fields.push((name.clone(), Node::Fields(Self::parse(nested, depth + 1)?)));
                }
                (_, Value::Array(values)) => parsed.fields.push((name.clone(), values_of(values)?)),
                _ => return Err(format!("\"{name}\" must be an object or an array")),
            }
        }
        Ok(parsed)
    }

    /// `places` are the values found where this object of the pattern stands.
    fn matches(&self, places: &[&Value]) -> bool {
        let fields = self.fields.iter().all(|(name, node)| {
            let found = below(places, name);
            match node {
                Node::Fields(fields) => fields.matches(&found),
                Node::Values(matchers) => matchers.iter().any(|matcher| matcher.matches(&found)),
            }
        });
        let is_one = |alternative: &Self| alternative.matches(places);
        fields && (self.alternatives.is_empty() || self.alternatives.iter().any(is_one))
    }
}

fn values_of(values: &[Value]) -> Result<Node, String> {
    if values.is_empty() {
        return Err("Empty arrays are not allowed".to_owned());
    }
    if values.len() > MATCHERS_MAX {
        return Err("Too many values".to_owned());
    }
    Ok(Node::Values(values.iter().map(Matcher::parse).collect::<Result<_, _>>()?))
}

fn below<'a>(places: &[&'a Value], name: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for place in places {
        match place {
            Value::Array(elements) => found.extend(elements.iter().filter_map(|element| element.get(name))),
            other => found.extend(other.get(name)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_match_as_the_manual_says() {
        let event = json!({"source": "aws.ec2", "n": 5.0, "ip": "10.0.0.7", "none": null, "flag": true, "empty": "",
            "detail": {"state": "running", "tags": ["a", "b"], "list": [{"k": 1}, {"k": 2}], "file": "dir/a.png"}});
        let cases = [
            (json!({"source": ["aws.ec2"]}), true),
            (json!({"source": ["aws.s3", "aws.ec2"]}), true),
            (json!({"source": ["aws.s3"]}), false),
            (json!({"detail": {"state": ["running"]}, "n": [5]}), true),
            (json!({"detail": {"tags": ["b"]}}), true),
            (json!({"detail": {"list": {"k": [2]}}}), true),
            (json!({"source": [{"prefix": "aws."}]}), true),
            (json!({"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}), true),
            (json!({"detail": {"file": [{"suffix": ".png"}]}}), true),
            (json!({"detail": {"file": [{"wildcard": "dir/*.png"}]}}), true),
            (json!({"source": [{"equals-ignore-case": "AWS.EC2"}]}), true),
            (json!({"source": [{"anything-but": "aws.s3"}]}), true),
            (json!({"source": [{"anything-but": ["aws.s3", "aws.ec2"]}]}), false),
            (json!({"source": [{"anything-but": {"prefix": "aws"}}]}), false),
            (json!({"detail": {"file": [{"anything-but": {"suffix": ".jpg"}}]}}), true),
            (json!({"n": [{"numeric": [">", 4, "<=", 5]}]}), true),
            (json!({"n": [{"numeric": ["=", 5]}]}), true),
            (json!({"n": [{"numeric": [">", 5]}]}), false),
            (json!({"missing": [{"exists": false}]}), true),
            (json!({"source": [{"exists": true}]}), true),
            (json!({"source": [{"exists": false}]}), false),
            (json!({"missing": [{"anything-but": "x"}]}), false),
            (json!({"ip": [{"cidr": "10.0.0.0/24"}]}), true),
            (json!({"ip": [{"cidr": "10.0.1.0/24"}]}), false),
            (json!({"none": [null], "flag": [true], "empty": [""]}), true),
            (json!({"$or": [{"source": ["x"]}, {"n": [5]}]}), true),
            (json!({"$or": [{"source": ["x"]}, {"n": [6]}]}), false),
        ];
        for (pattern, expected) in cases {
            let compiled = EventPattern::parse(&pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.matches(&event), expected, "{pattern}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        let cases = [
            json!("x"),
            json!({}),
            json!({"a": "b"}),
            json!({"a": []}),
            json!({"a": [{"numeric": [">"]}]}),
            json!({"a": [{"numeric": ["~", 1]}]}),
            json!({"a": [{"bogus": 1}]}),
            json!({"a": [{"exists": "yes"}]}),
            json!({"a": [{"cidr": "10.0.0.0/40"}]}),
            json!({"a": [["b"]]}),
        ];
        for pattern in cases {
            assert!(EventPattern::parse(&pattern).is_err(), "{pattern}");
        }
    }
}
