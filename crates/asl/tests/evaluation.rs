//! What a compiled definition evaluates to, through the whole way from its text.

use std::collections::BTreeMap;
use std::sync::Arc;

use asl::entropy::SeededEntropy;
use asl::payload::Payload;
use asl::program::{Program, StateKind, Transition, Wait};
use asl::template::{TemplateError, View, assign, evaluate, select};
use asl::timestamp::Timestamp;
use asl::{CompileOptions, choice, compile, compile_state, dynamic, variable_references};
use serde_json::{Value, json};

fn program(states: Value) -> Program {
    let start = states.as_object().and_then(|states| states.keys().next().cloned()).unwrap();
    let text = json!({"StartAt": start, "States": states}).to_string();
    compile(&text, &CompileOptions::default()).unwrap()
}

/// One Pass state with the fields given, evaluated over input, context and variables.
struct World {
    input: Payload,
    context: Value,
    variables: BTreeMap<String, Value>,
}

impl World {
    fn new(input: Value) -> World {
        let variables = BTreeMap::from([("v".to_owned(), json!({"n": 7}))]);
        World { input: input.into(), context: json!({"Execution": {"Id": "arn:x"}}), variables }
    }

    fn view(&self) -> View<'_> {
        View::new(&self.input, &self.context, &self.variables, Timestamp::from_epoch_millis(0))
    }

    fn parameters(&self, template: Value) -> Result<Payload, TemplateError> {
        let program = program(json!({"P": {"Type": "Pass", "Parameters": template, "End": true}}));
        let template = program.states[0].flow.arguments.as_ref().unwrap();
        evaluate(template, &self.view(), &mut SeededEntropy::new(1))
    }

    fn output(&self, template: Value) -> Result<Payload, TemplateError> {
        let state = json!({"Type": "Pass", "QueryLanguage": "JSONata", "Output": template, "End": true});
        let program = program(json!({"P": state}));
        let template = program.states[0].flow.output.as_ref().unwrap();
        evaluate(template, &self.view(), &mut SeededEntropy::new(1))
    }

    fn matches(&self, rule: Value) -> Result<bool, TemplateError> {
        let mut rule = rule;
        rule["Next"] = "S".into();
        let program = program(json!({
            "C": {"Type": "Choice", "Choices": [rule], "Default": "S"}, "S": {"Type": "Succeed"}
        }));
        let StateKind::Choice(state) = &program.states[0].kind else { panic!("a Choice") };
        choice::matches(&state.rules[0].condition, &self.view(), &mut SeededEntropy::new(1))
    }

    fn wait(&self, state: Value) -> Result<String, TemplateError> {
        let mut state = state;
        state["Type"] = "Wait".into();
        state["End"] = true.into();
        let program = program(json!({"W": state}));
        let StateKind::Wait(wait) = &program.states[0].kind else { panic!("a Wait") };
        let entropy = &mut SeededEntropy::new(1);
        match wait {
            Wait::Seconds(seconds) => {
                dynamic::wait_seconds(seconds, &self.view(), entropy).map(|s| s.to_string())
            }
            Wait::Timestamp(at) => {
                dynamic::wait_timestamp(at, &self.view(), entropy).map(|at| at.to_string())
            }
        }
    }
}

#[test]
fn payload_templates_mix_literals_paths_and_functions() {
    let world = World::new(json!({"a": {"b": [1, 2]}, "s": "x"}));
    let payload = world.parameters(json!({
        "literal": {"x": [1, null]}, "path.$": "$.a.b[1]", "list.$": "$.a.b[*]", "whole.$": "$", "id.$": "$$.Execution.Id",
        "variable.$": "$v.n", "nested": [{"deep.$": "States.Format('{}-{}', $.s, $v.n)"}, 5]
    }));
    assert_eq!(
        payload.unwrap().value(),
        &json!({"literal": {"x": [1, null]}, "path": 2, "list": [1, 2], "whole": {"a": {"b": [1, 2]}, "s": "x"},
            "id": "arn:x", "variable": 7, "nested": [{"deep": "x-7"}, 5]})
    );
}

#[test]
fn a_literal_template_is_shared_and_a_whole_input_too() {
    let program = program(json!({
        "P": {"Type": "Pass", "Parameters": {"a": [1]}, "Next": "Q"},
        "Q": {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $states.input %}", "End": true}
    }));
    let world = World::new(json!({"big": true}));
    let entropy = &mut SeededEntropy::new(1);
    let literal = program.states[0].flow.arguments.as_ref().unwrap();
    let first = evaluate(literal, &world.view(), entropy).unwrap();
    assert!(first.same(&evaluate(literal, &world.view(), entropy).unwrap()));
    let output = program.states[1].flow.output.as_ref().unwrap();
    assert!(evaluate(output, &world.view(), entropy).unwrap().same(&world.input));
}

#[test]
fn a_template_copies_so_much_and_no_more() {
    let world = World::new(json!({"text": "x".repeat(200_000)}));
    let copies = |count: usize| -> Value {
        (0..count)
            .map(|index| (format!("k{index}.$"), json!("$.text")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    assert_eq!(world.parameters(copies(100)).unwrap().value().as_object().unwrap().len(), 100);
    assert_eq!(world.parameters(copies(200)).unwrap_err().error, "States.DataLimitExceeded");
    let copies: Vec<Value> = (0..200).map(|_| json!("{% $states.input.text & '' %}")).collect();
    assert_eq!(world.output(copies.into()).unwrap_err().error, "States.DataLimitExceeded");
}

#[test]
fn nothing_becomes_deeper_than_a_payload_may_be() {
    let deepest = (0..119).fold(json!([]), |inner, _| json!([inner]));
    let world = World::new(deepest.clone());
    assert_eq!(world.parameters(json!({"x.$": "$[0]"})).unwrap().value()["x"], deepest[0]);
    assert_eq!(world.parameters(json!({"x.$": "$"})).unwrap_err().error, "States.DataLimitExceeded");
    assert_eq!(
        world.parameters(json!({"x.$": "States.Array($[0])"})).unwrap_err().error,
        "States.DataLimitExceeded"
    );
    assert_eq!(world.output(json!("{% [[$states.input]] %}")).unwrap_err().error, "States.DataLimitExceeded");
    let path = asl::jsonpath::JsonPath::parse(&format!("$.a{}", ".a".repeat(118))).unwrap();
    assert!(path.put(&Payload::empty_object(), &Payload::from_value(json!([]))).is_ok());
    assert!(path.put(&Payload::empty_object(), &Payload::from_value(json!([[]]))).is_err());
}

#[test]
fn only_what_is_passed_on_whole_keeps_the_text_it_came_with() {
    let raw = Payload::parse("{ \"a\": 2.50 }").unwrap();
    let variables = BTreeMap::from([("raw".to_owned(), raw.clone())]);
    let view = View::new(&raw, &Value::Null, &variables, Timestamp::default());
    let text = |expression: &str| {
        let template = asl::intrinsic::PathOrIntrinsic::parse(expression).unwrap();
        template.shared(&view.scope()).map(|payload| payload.text().to_owned())
    };
    assert_eq!(text("$").as_deref(), Some("{ \"a\": 2.50 }"));
    assert_eq!(text("$raw").as_deref(), Some("{\"a\":2.5}"));
    assert_eq!(text("$raw.a").as_deref(), Some("2.5"));
    assert_eq!(text("$raw.b"), None);
}

#[test]
fn a_missing_path_names_field_and_input() {
    let error = World::new(json!({"a": 1})).parameters(json!({"value.$": "$.x"})).unwrap_err();
    assert_eq!(error.error, "States.Runtime");
    assert_eq!(
        error.cause,
        "The JSONPath '$.x' specified for the field 'value.$' could not be found in the input '{\"a\":1}'"
    );
}

#[test]
fn a_failed_expression_names_itself_its_field_and_its_place() {
    let world = World::new(json!({"a": 1}));
    let error = world.output(json!({"list": ["x", "{% $states.input.nope %}"]})).unwrap_err();
    assert_eq!(error.error, "States.QueryEvaluationError");
    assert_eq!(error.location.as_deref(), Some("Output/list[1]"));
    assert_eq!(
        error.cause,
        "The JSONata expression '$states.input.nope' specified for the field 'Output/list[1]' returned nothing (undefined)."
    );
    let error = world.output(json!("{% $nofunction() %}")).unwrap_err();
    assert_eq!(
        error.cause,
        "The JSONata expression '$nofunction()' specified for the field 'Output' threw an error during evaluation. \
         T1006: Attempted to invoke a non-function"
    );
}

#[test]
fn assign_gives_each_variable_its_own_payload() {
    let program = program(json!({
        "P": {"Type": "Pass", "Assign": {"a.$": "$.x", "b": {"c": 1}}, "Next": "Q"},
        "Q": {"Type": "Pass", "Assign": {"d": 1, "e": [2]}, "End": true}
    }));
    let world = World::new(json!({"x": [1]}));
    let names = |index: usize| {
        let template = program.states[index].flow.assign.as_ref().unwrap();
        let assigned = assign(template, &world.view(), &mut SeededEntropy::new(1)).unwrap();
        assigned.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["a=[1]", "b={\"c\":1}"]);
    assert_eq!(names(1), ["d=1", "e=[2]"]);
}

#[test]
fn selectors_share_what_they_take_whole() {
    let program =
        program(json!({"P": {"Type": "Pass", "InputPath": "$.a", "OutputPath": null, "End": true}}));
    let world = World::new(json!({"a": {"b": 1}}));
    let entropy = &mut SeededEntropy::new(1);
    let flow = &program.states[0].flow;
    let input = select(&flow.input_path, "InputPath", &world.input, &world.view(), entropy).unwrap();
    assert_eq!(input.value(), &json!({"b": 1}));
    let output = select(&flow.output_path, "OutputPath", &input, &world.view(), entropy).unwrap();
    assert_eq!(output.text(), "{}");
    let error =
        select(&flow.input_path, "InputPath", &Payload::empty_object(), &world.view(), entropy).unwrap_err();
    assert_eq!(error.cause, "Invalid path '$.a' : No results for path: $['a']");
}

/// operator, its operand, `$.x`, whether it holds
const TESTS: [(&str, &str, &str, bool); 42] = [
    ("IsNull", "true", "null", true),
    ("IsNull", "false", "0", true),
    ("IsPresent", "true", "null", true),
    ("IsNumeric", "true", "1.5", true),
    ("IsNumeric", "true", "\"1\"", false),
    ("IsString", "true", "\"\"", true),
    ("IsBoolean", "true", "\"true\"", false),
    ("IsTimestamp", "true", "\"2026-11-22T00:00:00Z\"", true),
    ("IsTimestamp", "true", "\"2026-11-22t00:00:00z\"", false),
    ("IsTimestamp", "false", "5", true),
    ("StringEquals", "\"a\"", "\"a\"", true),
    ("StringEquals", "\"1\"", "1", false),
    ("StringLessThan", "\"b\"", "\"a\"", true),
    ("StringLessThan", "\"B\"", "\"a\"", false),
    // A letter beyond the basic plane is a surrogate pair to Java, thus less than U+FB01.
    ("StringLessThan", "\"\u{fb01}\"", "\"\u{10400}\"", true),
    ("StringLessThanEquals", "\"a\"", "\"a\"", true),
    ("StringGreaterThan", "\"a\"", "\"aa\"", true),
    ("StringGreaterThanEquals", "\"b\"", "\"a\"", false),
    ("StringMatches", "\"log-*.txt\"", "\"log-7.txt\"", true),
    ("StringMatches", "\"log-*.txt\"", "\"log-7.csv\"", false),
    ("StringMatches", "\"*\"", "\"\"", true),
    ("StringMatches", "\"a*b*c\"", "\"abbc\"", true),
    ("StringMatches", "\"a*a\"", "\"a\"", false),
    ("StringMatches", "\"a\\\\*b\"", "\"a*b\"", true),
    ("StringMatches", "\"a\\\\*b\"", "\"axb\"", false),
    ("StringMatches", "\"1\"", "1", false),
    ("NumericEquals", "1", "1.0", true),
    ("NumericEquals", "1", "\"1\"", false),
    ("NumericEquals", "9007199254740993", "9007199254740992", false),
    ("NumericLessThan", "2", "1.5", true),
    ("NumericLessThanEquals", "2", "2", true),
    ("NumericGreaterThan", "2", "2", false),
    ("NumericGreaterThanEquals", "-1", "0", true),
    ("BooleanEquals", "true", "true", true),
    ("BooleanEquals", "false", "null", false),
    ("TimestampEquals", "\"2026-01-01T00:00:00Z\"", "\"2026-01-01T01:00:00+01:00\"", true),
    ("TimestampLessThan", "\"2026-01-01T00:00:00Z\"", "\"2025-12-31T23:59:59Z\"", true),
    ("TimestampLessThanEquals", "\"2026-01-01T00:00:00Z\"", "\"2026-01-01T00:00:00Z\"", true),
    ("TimestampGreaterThan", "\"2026-01-01T00:00:00Z\"", "\"2026-01-01T00:00:00.001Z\"", true),
    ("TimestampGreaterThanEquals", "\"2026-01-01T00:00:00Z\"", "\"2025-01-01T00:00:00Z\"", false),
    ("TimestampEquals", "\"2026-01-01T00:00:00Z\"", "\"tomorrow\"", false),
    ("TimestampEquals", "\"2026-01-01T00:00:00Z\"", "1767225600", false),
];

#[test]
fn operators_compare_without_conversion() {
    for (operator, operand, value, expected) in TESTS {
        let operand: Value = serde_json::from_str(operand).unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        let world = World::new(json!({"x": value, "y": operand}));
        let plain = json!({"Variable": "$.x", operator: operand});
        assert_eq!(world.matches(plain), Ok(expected), "{operator} {operand} {value}");
        if !operator.starts_with("Is") && operator != "StringMatches" {
            let by_path = json!({"Variable": "$.x", format!("{operator}Path"): "$.y"});
            assert_eq!(world.matches(by_path), Ok(expected), "{operator}Path {operand} {value}");
        }
    }
}

#[test]
fn tests_combine_and_look_no_further_than_needed() {
    let world = World::new(json!({"x": 1}));
    let one = json!({"Variable": "$.x", "NumericEquals": 1});
    let two = json!({"Variable": "$v.n", "NumericEquals": 2});
    let missing = json!({"Variable": "$.y", "NumericEquals": 2});
    assert_eq!(world.matches(json!({"And": [one, two, missing]})), Ok(false));
    assert_eq!(world.matches(json!({"Or": [two, one, missing]})), Ok(true));
    assert_eq!(world.matches(json!({"Not": two})), Ok(true));
    assert_eq!(world.matches(json!({"Variable": "$.y", "IsPresent": false})), Ok(true));
    let error = world.matches(json!({"Or": [two, missing]})).unwrap_err();
    assert_eq!(error.error, "States.Runtime");
    assert_eq!(
        error.cause,
        "Invalid path '$.y': The choice state's condition path references an invalid value."
    );
}

#[test]
fn waits_are_resolved_or_refused_in_their_own_words() {
    let world = World::new(
        json!({"s": 5, "half": 1.5, "minus": -1, "text": "soon", "at": "2026-11-22T04:05:06.789Z"}),
    );
    let cause = |state: Value| world.wait(state).unwrap_err().cause;
    assert_eq!(world.wait(json!({"SecondsPath": "$.s"})), Ok("5".into()));
    assert_eq!(world.wait(json!({"TimestampPath": "$.at"})), Ok("2026-11-22T04:05:06Z".into()));
    assert_eq!(
        world.wait(json!({"QueryLanguage": "JSONata", "Seconds": "{% $states.input.s * 2 %}"})),
        Ok("10".into())
    );
    assert_eq!(
        cause(json!({"SecondsPath": "$.none"})),
        "The SecondsPath parameter does not reference an input value: $.none"
    );
    assert_eq!(
        cause(json!({"SecondsPath": "$.half"})),
        "The SecondsPath parameter cannot be parsed as a long value: $.half == 1.5"
    );
    assert_eq!(
        cause(json!({"SecondsPath": "$.minus"})),
        "The SecondsPath parameter references a negative value: $.minus == -1"
    );
    assert_eq!(
        cause(json!({"TimestampPath": "$.text"})),
        "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: \
         $.text == soon"
    );
    assert_eq!(
        cause(json!({"QueryLanguage": "JSONata", "Timestamp": "{% 'soon' %}"})),
        "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: soon"
    );
    assert_eq!(
        cause(json!({"QueryLanguage": "JSONata", "Seconds": "{% 'soon' %}"})),
        "The JSONata expression ''soon'' specified for the field 'Seconds' returned an unexpected result type. Expected \
         'integer', but was 'string' for value: \"soon\""
    );
}

#[test]
fn states_are_numbered_in_document_order_and_found_by_path() {
    let inner = |name: &str| json!({"StartAt": name, "States": {name: {"Type": "Pass", "End": true}}});
    let program = program(json!({
        "Fan": {"Type": "Parallel", "Branches": [inner("A"), inner("B")], "Next": "Each"},
        "Each": {"Type": "Map", "Iterator": inner("C"), "Next": "Done"},
        "Done": {"Type": "Succeed"}
    }));
    let paths: Vec<&str> = program.states.iter().map(|state| &*state.path).collect();
    assert_eq!(
        paths,
        ["/Fan", "/Fan/Branches/0/A", "/Fan/Branches/1/B", "/Each", "/Each/ItemProcessor/C", "/Done"]
    );
    for (index, state) in program.states.iter().enumerate() {
        assert_eq!(state.id.0 as usize, index);
        assert_eq!(program.find(&state.path).map(|found| found.id), Some(state.id));
    }
    assert_eq!(program.states[0].next, Transition::Next(program.states[3].id));
    let StateKind::Parallel(parallel) = &program.states[0].kind else { panic!("a Parallel") };
    let branch = program.workflow(parallel.branches[1]);
    assert_eq!(
        (&*branch.path, branch.start_at, branch.parent),
        ("/Fan/Branches/1", program.states[2].id, Some(program.states[0].id))
    );
    assert_eq!(program.states[2].workflow, parallel.branches[1]);
}

#[test]
fn a_slash_in_a_name_does_not_make_two_states_one() {
    let program = program(json!({
        "P": {"Type": "Parallel", "Branches": [{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}], "Next": "P/Branches/0/A"},
        "P/Branches/0/A": {"Type": "Pass", "Next": "~"},
        "~": {"Type": "Succeed"}
    }));
    let paths: Vec<&str> = program.states.iter().map(|state| &*state.path).collect();
    assert_eq!(paths, ["/P", "/P/Branches/0/A", "/P~1Branches~10~1A", "/~0"]);
    assert_eq!(program.by_path.len(), 4);
}

#[test]
fn a_lone_state_may_name_states_that_are_not_there() {
    let text = json!({"Type": "Choice", "Default": "No", "Choices": [{"Variable": "$.a", "IsNull": true, "Next": "Yes"}]});
    let program = compile_state(&text.to_string(), "Ask", &CompileOptions::default()).unwrap();
    let names: Vec<&str> = program.states.iter().map(|state| &*state.name).collect();
    assert_eq!(names, ["Ask", "Yes", "No"]);
    assert_eq!(program.root().start_at, program.states[0].id);
    let broken = compile_state("{\"Type\": \"Pass\"}", "P", &CompileOptions::default()).unwrap_err();
    assert_eq!(broken.len(), 1);
}

#[test]
fn variables_read_are_listed_by_state() {
    let program = program(json!({
        "A": {"Type": "Pass", "Parameters": {"x.$": "States.Format('{}{}', $b, $a)", "literal": "$c"}, "Next": "M"},
        "M": {"Type": "Map", "ItemsPath": "$list", "Next": "J",
            "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "InputPath": "$inner.x", "End": true}}}},
        "J": {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% ($local := 1; $local + $outer + $count([1])) %}", "Next": "N"},
        "N": {"Type": "Pass", "End": true}
    }));
    let expected: BTreeMap<String, Vec<String>> =
        serde_json::from_value(json!({"A": ["a", "b"], "I": ["inner"], "J": ["outer"], "M": ["list"]}))
            .unwrap();
    assert_eq!(variable_references(&program), expected);
}

#[test]
fn expressions_see_result_and_error_output() {
    let program = program(json!({
        "T": {"Type": "Task", "QueryLanguage": "JSONata", "Resource": "arn:aws:states:::sns:publish",
            "Output": "{% $states.result.x %}", "End": true,
            "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "F"}]},
        "F": {"Type": "Fail"}
    }));
    let world = World::new(json!({}));
    let entropy = &mut SeededEntropy::new(1);
    let result = Payload::from_value(json!({"x": 5}));
    let output = program.states[0].flow.output.as_ref().unwrap();
    assert_eq!(evaluate(output, &world.view().with_result(&result), entropy).unwrap().text(), "5");
    let StateKind::Task(task) = &program.states[0].kind else { panic!("a Task") };
    let failed = Payload::from_value(json!({"Error": "E"}));
    let output = task.catch[0].output.as_ref().unwrap();
    assert_eq!(evaluate(output, &world.view().with_error_output(&failed), entropy).unwrap().text(), "\"E\"");
    let names: Vec<&Arc<str>> = task.catch[0].error_equals.iter().collect();
    assert_eq!(names.len(), 1);
}
