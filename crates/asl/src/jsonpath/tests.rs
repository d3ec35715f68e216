use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::entropy::{Entropy, SeededEntropy};
use crate::payload::Payload;

/// Each line: a path, whether it is definite, and its result, its error, or why it is invalid. The
/// expectations follow Jayway JsonPath 3.0.
#[test]
fn paths_find_what_jayway_finds() {
    let document: Value = serde_json::from_str(include_str!("cases_document.json")).unwrap();
    for line in include_str!("cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["path"].as_str().unwrap();
        let path = match JsonPath::parse(text) {
            Ok(path) => path,
            Err(error) => {
                assert_eq!(case["invalid"], error.to_string(), "{text}");
                continue;
            }
        };
        assert_eq!(case["definite"], path.is_definite(), "{text}");
        match path.evaluate(&document) {
            Ok(found) => assert_eq!(case.get("result"), Some(&found.into_value()), "{text}"),
            Err(error) => assert_eq!(case["error"], error.to_string(), "{text}"),
        }
    }
}

/// Runs what Jayway answered where `PASSO_JAYWAY_GOLDEN` names it: a path, `D`, `I` or `?`, and the result or `!Exception: message`
/// on each line, the document first. Of a failure the exception counts, and the beginning of its message.
#[test]
fn recorded_answers_of_jayway_are_ours() {
    let Some(file) = std::env::var_os("PASSO_JAYWAY_GOLDEN") else {
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().filter_map(|line| {
        let (path, rest) = line.split_once('\t')?;
        Some((path, rest.split_once('\t')?))
    });
    let rows: Vec<_> = rows.collect();
    let document: Value = serde_json::from_str(rows[0].1.1).unwrap();
    let (mut failed, mut refused) = (Vec::new(), Vec::new());
    for (text, (definite, expected)) in &rows {
        let told = |error: &PathError| format!("!{}: {error}", error.exception());
        let (found, kind) = match JsonPath::parse(text) {
            Err(error) => (told(&error), "?"),
            Ok(path) => {
                refused.extend(path.restriction().map(|_| *text));
                let kind = if path.is_definite() { "D" } else { "I" };
                (
                    path.evaluate(&document)
                        .map_or_else(|error| told(&error), |found| found.into_value().to_string()),
                    kind,
                )
            }
        };
        let same = match expected.strip_prefix('!') {
            Some(message) => found.get(1..).is_some_and(|found| {
                let beginning: String = message.chars().take(60).collect();
                found.starts_with(&beginning)
            }),
            None => {
                serde_json::from_str::<Value>(expected).ok() == serde_json::from_str::<Value>(&found).ok()
            }
        };
        if !same || kind != *definite {
            failed.push(format!("{text}: {kind} {found}, not {definite} {expected}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}; refused at creation: {refused:?}\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
}

#[test]
fn reference_paths_are_single_names_and_indexes() {
    for text in ["$", "$.a", "$['a b'].c[0]", "$.a.['b']"] {
        assert!(JsonPath::parse(text).unwrap().is_reference_path(), "{text}");
    }
    for text in ["$.*", "$..a", "$['a','b']", "$.a[0,1]", "$.a[1:]", "$.a[?(@.b)]", "$.a[-1]", "$.a.length()"]
    {
        assert!(!JsonPath::parse(text).unwrap().is_reference_path(), "{text}");
    }
}

#[test]
fn what_aws_refuses_is_told_apart() {
    for (text, restriction) in [
        ("$.a[?(@.b == 1 && !(@.c in [1]))]", None),
        ("$.a.length()", Some(Restriction::Function)),
        ("$.a[?(@.b.length() > 1)]", Some(Restriction::Function)),
        ("$.a[?(@.b == 1 || @.c =~ /x/)]", Some(Restriction::RegularExpression)),
        ("$.a[?(@.b subsetof [1])]", Some(Restriction::SetOperator)),
    ] {
        assert_eq!(JsonPath::parse(text).unwrap().restriction(), restriction, "{text}");
    }
}

#[test]
fn any_text_is_a_path_or_an_error_and_any_path_ends() {
    let pieces = [
        "$", "@", ".", "..", "[", "]", "[*]", "*", "a", "b", "[?(", ")]", "(", ")", "'", "\"", "\\", ",",
        ":", "-1", "0", "1", " ", "==", "&&", "||", "!", "in", "é", "/", "=~", "null", "length()", "{", "}",
    ];
    let document = json!({"a": [{"b": 1}, [2, {"a": null}]], "b": {"a": "x"}});
    let mut entropy = SeededEntropy::new(5);
    for _ in 0..30_000 {
        let length = entropy.next_u64() % 12;
        let text: String =
            (0..length).map(|_| pieces[(entropy.next_u64() % pieces.len() as u64) as usize]).collect();
        if let Ok(path) = JsonPath::parse(&format!("${text}")) {
            let _ = path.evaluate(&document);
        }
    }
}

#[test]
fn paths_that_would_find_powers_are_stopped() {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({"a": deep, "b": "x".repeat(100)});
    }
    let wide = json!({"a": vec![json!({"x": 1}); 20_000]});
    let started = Instant::now();
    for (path, document) in [
        (format!("${}", "..*".repeat(12)), &deep),
        (format!("${}", ".a[0,0]".repeat(40)), &json!({"a": [{"a": [{"a": []}]}]})),
        ("$.a[?(@.x == $..x)]".to_owned(), &wide),
        (format!("$.a{}", "[?(@.b)]".repeat(199)), &deep),
        (format!("$..['a'][{}]", ["0"; 100_000].join(",")), &wide),
    ] {
        let _ = JsonPath::parse(&path).unwrap().evaluate(document);
    }
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(JsonPath::parse(&format!("${}", ".a".repeat(100_000))).is_err());
    assert!(JsonPath::parse(&format!("$[?({}@.a{})]", "(".repeat(100_000), ")".repeat(100_000))).is_err());
    assert!(JsonPath::parse(&format!("$[?({}@.a)]", "!".repeat(100_000))).is_err());
}

#[test]
fn a_result_path_creates_objects_and_refuses_what_is_no_object() {
    let set = |path: &str, document: Value| {
        let (document, value) = (Payload::from_value(document), Payload::from_value(json!(7)));
        JsonPath::parse(path).unwrap().put(&document, &value).map(|changed| changed.value().clone())
    };
    assert_eq!(set("$", json!({"a": 1})), Ok(json!(7)));
    assert_eq!(set("$.a.b", json!({})), Ok(json!({"a": {"b": 7}})));
    assert_eq!(set("$.a", json!({"a": {"b": 1}, "c": 2})), Ok(json!({"a": 7, "c": 2})));
    assert_eq!(set("$.a[1].b", json!({"a": [1, {}]})), Ok(json!({"a": [1, {"b": 7}]})));
    let failure = set("$.a.b", json!({"a": "text"})).unwrap_err();
    assert_eq!(failure.to_string(), "Unable to apply ReferencePath $.a.b to input {\"a\":\"text\"}");
    for (path, document) in
        [("$.a", json!([])), ("$[1]", json!([1])), ("$.a", json!(null)), ("$.*", json!({}))]
    {
        assert!(set(path, document).is_err(), "{path}");
    }
}
