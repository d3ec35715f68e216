use serde_json::json;

use super::*;
use crate::entropy::SeededEntropy;
use crate::payload::Payload;

fn evaluate(text: &str, input: &Value) -> Result<Value, String> {
    let context = json!({"Execution": {"Name": "run-1"}, "StateMachine": {"Id": "arn:x", "Name": "a-b"}});
    let mut variables = std::collections::BTreeMap::new();
    variables.insert("template".to_owned(), json!("It's {}!"));
    variables.insert("n".to_owned(), json!({"one": 1}));
    let input = &Payload::from_value(input.clone());
    let scope = Scope { input, context: &context, variables: &variables };
    let expression = PathOrIntrinsic::parse(text).map_err(|error| error.to_string())?;
    let value = expression.evaluate(&scope, &mut SeededEntropy::new(1)).map_err(|error| error.to_string())?;
    Ok(value.into_owned())
}

/// Inputs, invocations and results; many as recorded from AWS.
#[test]
fn functions_give_what_aws_gives() {
    let cases = include_str!("cases.jsonl");
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["expression"].as_str().unwrap();
        let result = evaluate(text, &case["input"]);
        match case.get("result") {
            Some(expected) => assert_eq!(result.as_ref(), Ok(expected), "{text}"),
            None => {
                let message = result.expect_err(text);
                let expected = case["error"].as_str().unwrap();
                assert!(message.contains(expected), "{text}: {message}");
            }
        }
    }
}

#[test]
fn chance_comes_from_the_seed_or_from_the_caller() {
    assert_eq!(evaluate("States.MathRandom(0, 10, 42)", &json!(null)), Ok(json!(0)));
    let drawn = evaluate("States.MathRandom(-5.5, 5)", &json!(null)).unwrap().as_i64().unwrap();
    assert!((-5..5).contains(&drawn));
    let uuid = evaluate("States.UUID()", &json!(null)).unwrap();
    assert_eq!(uuid, evaluate("States.UUID()", &json!(null)).unwrap());
    assert_eq!(uuid.as_str().unwrap().len(), 36);
}

#[test]
fn references_are_the_variables_in_order_of_name() {
    let names = |text: &str| -> Vec<String> {
        PathOrIntrinsic::parse(text).unwrap().references().into_iter().map(str::to_owned).collect()
    };
    assert_eq!(names("States.MathAdd(States.MathAdd($y, $x), $y.z)"), ["x", "y"]);
    assert_eq!(names("$answer"), ["answer"]);
    assert_eq!(names("$résumé_1['a'].b"), ["résumé_1"]);
    assert_eq!(names("States.Format('$no {}', $$.Execution.Id)"), [""; 0]);
    assert_eq!(names("$.a"), [""; 0]);
}

#[test]
fn nesting_ends_at_ten() {
    let nested = |depth: usize| format!("{}1{}", "States.Array(".repeat(depth), ")".repeat(depth));
    assert!(Intrinsic::parse(&nested(NESTING_MAX)).is_ok());
    assert!(Intrinsic::parse(&nested(NESTING_MAX + 1)).is_err());
}

#[test]
fn a_missing_argument_names_function_path_and_input() {
    assert_eq!(
        evaluate("States.Array(1, States.JsonToString($.x))", &json!({"a": 1})),
        Err("The function 'States.JsonToString($.x)' had the following error: The JsonPath argument for the field \
             '$.x' could not be found in the input '{\"a\":1}'"
            .into())
    );
}

#[test]
fn many_copies_of_a_large_input_are_refused() {
    let input = json!("x".repeat(100_000));
    let arguments = vec!["$"; 10_000].join(", ");
    for text in [
        format!("States.Array({arguments})"),
        format!("States.Format('{}', {arguments})", "{}".repeat(10_000)),
    ] {
        assert!(evaluate(&text, &input).unwrap_err().ends_with("The result is too large"));
    }
}
