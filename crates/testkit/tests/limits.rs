//! AWS's quotas, and bytes that no encoder wrote.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use asl::payload::Payload;
use asl::program::StateMachineType;
use asl::timestamp::Timestamp;
use engine::{EventKind, Execution, Failure, Finished, Input, InputKind, record};
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::{Interpreter, Mode, Script, start_of};

fn finished(definition: &Value, scripts: BTreeMap<String, VecDeque<Script>>) -> Option<Finished> {
    let definition = definition.to_string();
    let program = asl::compile_stored(&definition, StateMachineType::Standard).expect("a definition");
    let mut interpreter = Interpreter::new(
        &program,
        start_of(Payload::empty_object(), StateMachineType::Standard),
        scripts,
        Mode::Live,
    );
    interpreter.run(1_000).expect("the laws hold");
    interpreter.check_end().expect("the laws hold");
    interpreter.execution.finished().cloned()
}

#[test]
fn event_25000_is_the_execution_failed() {
    let definition = json!({ "StartAt": "A", "States": {
        "A": { "Type": "Pass", "Next": "B" },
        "B": { "Type": "Choice", "Choices": [{ "Variable": "$.never", "IsPresent": true, "Next": "End" }], "Default": "A" },
        "End": { "Type": "Succeed" } } });
    let program =
        asl::compile_stored(&definition.to_string(), StateMachineType::Standard).expect("a definition");
    let mut execution = Execution::new();
    let mut events = Vec::new();
    let start = start_of(Payload::empty_object(), StateMachineType::Standard);
    let mut kind = InputKind::Started(Arc::new(start));
    loop {
        let input = Input { at: Timestamp::from_epoch_millis(1), entropy: 1, kind };
        let step = engine::step(&program, &mut execution, input, 1_000);
        events.extend(step.events);
        if !step.more {
            break;
        }
        kind = InputKind::Resumed;
    }
    let last = events.last().expect("events");
    assert_eq!((events.len(), last.history_id), (25_000, Some(25_000)));
    let cause = "The execution reached the maximum number of history events (25000).";
    assert_eq!(last.kind, EventKind::ExecutionFailed { failure: Failure::runtime(cause) });
    assert_eq!(Execution::replay(&events), execution);
}

#[test]
fn a_result_above_256_kib_fails_a_pass_and_can_be_caught_in_a_task() {
    let large = "x".repeat(262_150);
    let pass =
        json!({ "StartAt": "Big", "States": { "Big": { "Type": "Pass", "Result": large, "End": true } } });
    let Some(Finished::Failed(failure)) = finished(&pass, BTreeMap::new()) else { panic!("not failed") };
    assert_eq!(failure.error(), "States.DataLimitExceeded");
    let cause = "The state/task 'Big' returned a result with a size exceeding the maximum number of bytes service limit.";
    assert_eq!(failure.cause.as_deref(), Some(cause));

    let task = json!({ "StartAt": "Big", "States": {
        "Big": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": { "FunctionName": "f" },
            "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Small" }], "End": true },
        "Small": { "Type": "Pass", "OutputPath": "$.Error", "End": true } } });
    let script = Script { end: Some(Ok(Payload::from_value(json!(large)))), ..Script::default() };
    let scripts = BTreeMap::from([("Big".to_owned(), VecDeque::from([script]))]);
    let output = Payload::from_value(json!("States.DataLimitExceeded"));
    assert_eq!(finished(&task, scripts), Some(Finished::Succeeded(output)));
}

#[test]
fn an_express_execution_times_out_after_five_minutes() {
    let definition =
        json!({ "StartAt": "Nap", "States": { "Nap": { "Type": "Wait", "Seconds": 400, "End": true } } });
    let program =
        asl::compile_stored(&definition.to_string(), StateMachineType::Express).expect("a definition");
    let start = start_of(Payload::empty_object(), StateMachineType::Express);
    let mut interpreter = Interpreter::new(&program, start, BTreeMap::new(), Mode::RestartAfterEveryEvent);
    interpreter.run(100).expect("the laws hold");
    let ended = interpreter.execution.ended_at().expect("an end").since(interpreter.execution.started_at());
    assert_eq!(ended.as_secs(), 300);
    assert_eq!(interpreter.execution.finished(), Some(&Finished::TimedOut(Failure::named("States.Timeout"))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_no_encoder_wrote_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let payloads = [Payload::null(), Payload::empty_object()];
        if let Ok(events) = record::decode(&bytes, &payloads) {
            prop_assert!(events.len() <= bytes.len());
        }
    }
}
