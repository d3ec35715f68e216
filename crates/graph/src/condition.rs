//! A Choice rule's condition as people write it: `$.total > 10 and not ($.kind is present)`.

use serde_json::Value;

/// Words of data-test expressions, after the type's name was taken away.
const COMPARISONS: [(&str, &str); 6] = [
    ("GreaterThanEquals", "≥"),
    ("LessThanEquals", "≤"),
    ("GreaterThan", ">"),
    ("LessThan", "<"),
    ("Equals", "=="),
    ("Matches", "matches"),
];
const TYPES: [&str; 4] = ["String", "Numeric", "Timestamp", "Boolean"];

/// The whole condition in one line; empty if the rule has none that we know.
pub fn shown(rule: &Value) -> String {
    if let Some(jsonata) = rule["Condition"].as_str() {
        let inside = jsonata.trim().strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}"));
        return inside.unwrap_or(jsonata).split_whitespace().collect::<Vec<_>>().join(" ");
    }
    for (field, word) in [("And", " and "), ("Or", " or ")] {
        if let Some(parts) = rule[field].as_array() {
            return parts.iter().map(nested).collect::<Vec<_>>().join(word);
        }
    }
    if rule["Not"].is_object() {
        return format!("not {}", nested(&rule["Not"]));
    }
    test(rule).unwrap_or_default()
}

fn nested(rule: &Value) -> String {
    let inner = shown(rule);
    if rule["And"].is_array() || rule["Or"].is_array() || rule["Not"].is_object() {
        format!("({inner})")
    } else {
        inner
    }
}

fn test(rule: &Value) -> Option<String> {
    let variable = rule["Variable"].as_str()?;
    let known = ["Variable", "Next", "Comment", "Assign", "Output"];
    let (field, operand) = rule.as_object()?.iter().find(|(field, _)| !known.contains(&field.as_str()))?;
    if let Some(property) = field.strip_prefix("Is") {
        let word = match property {
            "Null" => "null".to_owned(),
            "Present" => "present".to_owned(),
            other => format!("a {}", other.to_lowercase()),
        };
        let not = if operand == false { "not " } else { "" };
        return Some(format!("{variable} is {not}{word}"));
    }
    let comparison = TYPES.iter().find_map(|kind| field.strip_prefix(kind)).unwrap_or(field);
    let comparison = comparison.strip_suffix("Path").unwrap_or(comparison);
    let sign = COMPARISONS.iter().find(|(word, _)| *word == comparison).map_or(comparison, |(_, sign)| sign);
    let operand = match operand.as_str() {
        Some(path) if field.ends_with("Path") => path.to_owned(),
        _ => operand.to_string(),
    };
    Some(format!("{variable} {sign} {operand}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_read_like_sentences() {
        let cases = [
            (r#"{"Variable": "$.a", "StringEquals": "x"}"#, r#"$.a == "x""#),
            (r#"{"Variable": "$.a", "NumericGreaterThanEqualsPath": "$.b"}"#, "$.a ≥ $.b"),
            (r#"{"Variable": "$.a", "IsPresent": false}"#, "$.a is not present"),
            (r#"{"Variable": "$.a", "IsNumeric": true}"#, "$.a is a numeric"),
            (r#"{"Variable": "$.a", "StringMatches": "*.log"}"#, r#"$.a matches "*.log""#),
            (
                r#"{"And": [{"Variable": "$.a", "BooleanEquals": true}, {"Not": {"Variable": "$.b", "IsNull": true}}]}"#,
                "$.a == true and (not $.b is null)",
            ),
            (r#"{"Condition": "{% $states.input.n\n > 3 %}"}"#, "$states.input.n > 3"),
            ("{}", ""),
        ];
        for (rule, expected) in cases {
            let rule: Value = serde_json::from_str(rule).expect("json");
            assert_eq!(shown(&rule), expected);
        }
    }
}
