use std::collections::BTreeMap;

use jlens_core::Options;
use serde_json::json;

use super::*;
use crate::entropy::{Entropy, SeededEntropy};

fn evaluate_within(text: &str, limits: &Limits) -> Result<Option<Value>, String> {
    let input = Payload::from_value(
        json!({"a": {"b": [1, {"c": 2}]}, "list": [5], "empty": [], "n": null, "text": "T",
            "exact": {"id": 12_345_678_901_234_567_u64, "price": 1.0, "half": 0.5}}),
    );
    let context = json!({"Execution": {"Name": "run-1"}});
    let mut variables = BTreeMap::new();
    variables.insert("x".to_owned(), json!(7));
    variables.insert("sum".to_owned(), json!("mine"));
    let scope = JsonataScope {
        input: &input,
        result: None,
        error_output: None,
        context: &context,
        variables: &variables,
        now: Timestamp::from_epoch_millis(1_700_000_000_000),
    };
    let expression = Expression::compile(text).map_err(|error| error.to_string())?;
    let value = expression.evaluate(&scope, &mut SeededEntropy::new(3), limits);
    let value = value.map(|value| value.map(|value| value.into_owned())).map_err(|error| error.to_string());
    if *limits == Limits::default() {
        assert_eq!(value, by_copies(&expression, &scope), "{text}");
    }
    value
}

/// The same by the engine and with copies of all that is read, which the other ways must not differ from.
fn by_copies(expression: &Expression, scope: &JsonataScope<'_>) -> Result<Option<Value>, String> {
    let (compiled, limits) = (&expression.0, Limits::default());
    let seed = SeededEntropy::new(3).next_u64();
    let options = evaluate::options(scope, &limits, seed);
    let bindings = compiled.bindings(scope, &limits);
    let run =
        |engine: &jlens_core::Expression| compiled.run(engine, None, &bindings, &options, &limits, seed);
    let outcome = run(&compiled.engine).map(|value| value.map(error::with_whole_numbers));
    if let Some(name) = non_finite::name(&compiled.engine, &outcome, |part| run(part).ok().flatten()) {
        return Ok(Some(name.into()));
    }
    match outcome {
        Ok(None) if compiled.gives_function(scope, &options, &limits, seed) => {
            Err(EvaluationError::UnsupportedResult.to_string())
        }
        result => result.map_err(|error| error.to_string()),
    }
}

/// Expressions with their results; a case without a result is undefined or fails.
#[test]
fn expressions_give_what_aws_gives() {
    for line in include_str!("cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["expression"].as_str().unwrap();
        let result = evaluate_within(text, &Limits::default());
        match (case.get("result"), case.get("error").and_then(Value::as_str)) {
            (Some(expected), _) => assert_eq!(result, Ok(Some(expected.clone())), "{text}"),
            (None, None) => assert_eq!(result, Ok(None), "{text}"),
            (None, Some(expected)) => {
                let message = result.expect_err(text);
                assert!(message.contains(expected), "{text}: {message}");
            }
        }
    }
}

#[test]
fn references_tell_variables_and_members_of_states() {
    let expression = Expression::compile(
        "($y := $states.input.a; $map($z.q, function($v) { $v + $y + $x }) & $states.result)",
    )
    .unwrap();
    let references = expression.references();
    let names: Vec<&str> = references.variables.iter().map(|name| &**name).collect();
    assert_eq!(names, ["x", "z"]);
    let members: Vec<&str> = references.states.iter().map(|name| &**name).collect();
    assert_eq!(members, ["input", "result"]);
    assert!(!references.whole_states);
    assert!(Expression::compile("$string($states)").unwrap().references().whole_states);
    for text in ["$uuid() & $partition([1], 1) & $sum([1])", "$now()", "1"] {
        assert_eq!(Expression::compile(text).unwrap().references(), &References::default(), "{text}");
    }
}

#[test]
fn plain_paths_borrow_from_the_scope() {
    let input = Payload::parse(r#"{"a": {"b": "text"}}"#).unwrap();
    let scope = JsonataScope {
        input: &input,
        result: None,
        error_output: None,
        context: &Value::Null,
        variables: &crate::scope::NoVariables,
        now: Timestamp::default(),
    };
    let expression = Expression::compile("$states.input.a").unwrap();
    let value = expression.evaluate(&scope, &mut SeededEntropy::new(0), &Limits::default());
    let member = input.members().and_then(|members| members.get("a")).unwrap();
    assert!(
        matches!(value, Ok(Some(std::borrow::Cow::Borrowed(value))) if std::ptr::eq(value, member.value()))
    );
    assert!(expression.shared(&scope).is_some_and(|shared| shared.same(member)));
}

/// Runs the official suite where `PASSO_JSONATA_SUITE` names it: a JSON list of cases.
#[test]
fn the_official_suite_passes() {
    let Some(path) = std::env::var_os("PASSO_JSONATA_SUITE") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    // Case by case, because some hold lone surrogates, which no Rust string can.
    let cases: Vec<&serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| match serde_json::from_str(case.get()) {
            Ok(case) => run_case(&case).err(),
            Err(error) => Some(format!("{error}: {}", case.get())),
        })
        .collect();
    let passed = cases.len() - failed.len();
    assert!(failed.len() <= 3, "{passed} of {} passed; failed:\n{}", cases.len(), failed.join("\n"));
}

fn run_case(case: &Value) -> Result<(), String> {
    let limits = Limits { array_items_max: 10_000_000, built_bytes_max: 1 << 32, ..Limits::default() };
    let fail = |got: &dyn std::fmt::Debug| {
        Err(format!(
            "{}: {} gave {got:?}, not {:?}",
            case["id"],
            case["expr"],
            case.get("result").or(case.get("code"))
        ))
    };
    let mut bindings = functions::bindings_with_eval().clone();
    for (name, value) in case["bindings"].as_object().unwrap() {
        bindings = bindings.var(name.as_str(), value.clone());
    }
    let mut options =
        Options::new().seed(1).max_steps(limits.steps_max).max_array_length(limits.array_items_max);
    if let Some(depth) = case.get("depth").and_then(Value::as_u64) {
        options = options.max_depth(depth as usize);
    }
    let input = (case["has_data"] == true).then(|| &case["data"]);
    let compiled = match Expression::compile(case["expr"].as_str().unwrap()) {
        Ok(compiled) => compiled.0,
        Err(error) if case["kind"] != "result" => {
            return if case.get("code").is_none_or(|code| *code == error.code) {
                Ok(())
            } else {
                fail(&error)
            };
        }
        Err(error) => return fail(&error),
    };
    let result = compiled.run(&compiled.engine, input, &bindings, &options, &limits, 1);
    if let (Some(input), false) = (input, compiled.analysis.metered) {
        let read = compiled.read_document(input, &bindings, &options);
        if !alike(&read, &result) {
            return fail(&("read level by level", read));
        }
    }
    match (case["kind"].as_str().unwrap(), result) {
        ("undefined", Ok(None)) => Ok(()),
        ("result", Ok(Some(value))) if same(&value, &case["result"], case["unordered"] == true) => Ok(()),
        (_, Err(error)) if case["kind"] != "result" && case["kind"] != "undefined" => {
            match (&error, case.get("code").and_then(Value::as_str)) {
                (EvaluationError::Threw { code, .. }, Some(expected)) if code != expected => fail(&error),
                _ => Ok(()),
            }
        }
        (_, other) => fail(&other),
    }
}

type Outcome = Result<Option<Value>, EvaluationError>;

fn alike(left: &Outcome, right: &Outcome) -> bool {
    match (left, right) {
        (Ok(Some(left)), Ok(Some(right))) => same(left, right, false),
        _ => left == right,
    }
}

fn same(left: &Value, right: &Value, unordered: bool) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) if unordered => {
            left.len() == right.len()
                && left.iter().all(|item| right.iter().any(|other| same(item, other, false)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right, false))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other, false)))
        }
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}
