//! `Trial`: one state tried on its own, outside any execution (TestState).
//!
//! Invariant: a trial is worked out by the very code that executions run on; it only notes what that code passes on the way.
//! It does not know what carries out tasks, nor the API's shapes.

mod items;

use std::sync::Arc;
use std::time::Duration;

use asl::entropy::SeededEntropy;
use asl::payload::Payload;
use asl::program::{Program, QueryLanguage, State, StateKind};
use asl::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::context::Moment;
use crate::effect::{Effect, ScheduleTask};
use crate::event::{Event, EventKind};
use crate::execution::Execution;
use crate::frame::Frame;
use crate::ids::{FrameId, TimerKind};
use crate::start::{Failure, Start};
use crate::states::wait;
use crate::step::NoPreconditions;
use crate::turn::{Turn, state_type};

/// The name that AWS shows in the context of every state under test.
const STATE_NAME: &str = "StateName";

/// What a state is tried with.
#[derive(Clone, Debug)]
pub struct TrialStart {
    /// The execution that is pretended.
    pub start: Arc<Start>,
    /// Path of the state.
    pub state: Arc<str>,
    /// Variables that it sees.
    pub variables: Vec<(Arc<str>, Payload)>,
    /// A context object instead of the pretended execution's.
    pub context: Option<Value>,
    /// How often the state was tried before.
    pub retry_count: u32,
    /// What an ItemReader is to have read.
    pub items_read: Option<Payload>,
    /// Whether an error from below the state is a task's: only then `States.TaskFailed` stands for it.
    pub by_task: bool,
    /// Now.
    pub at: Timestamp,
    /// Seed of all chance.
    pub entropy: u64,
}

/// What the data became on its way; a part that was not reached or has no expression is absent.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// After `InputPath`.
    pub after_input_path: Option<Payload>,
    /// After `Parameters` or `Arguments`.
    pub after_arguments: Option<Payload>,
    /// After `ItemsPath` or `Items`.
    pub after_items_path: Option<Payload>,
    /// After `ItemsPointer`, in what an ItemReader read.
    pub after_items_pointer: Option<Payload>,
    /// After `ItemSelector`: the inputs of all iterations.
    pub after_item_selector: Option<Payload>,
    /// After `ItemBatcher`: the inputs of all children.
    pub after_item_batcher: Option<Payload>,
    /// After `ResultSelector`.
    pub after_result_selector: Option<Payload>,
    /// After `ResultPath`.
    pub after_result_path: Option<Payload>,
    /// What was assigned.
    pub assigned: Vec<(Arc<str>, Payload)>,
    /// `MaxConcurrency`.
    pub max_concurrency: Option<u64>,
    /// `ToleratedFailureCount`.
    pub tolerated_failure_count: Option<u64>,
    /// `ToleratedFailurePercentage`.
    pub tolerated_failure_percentage: Option<f64>,
    /// The retrier that named the error.
    pub retry_index: Option<usize>,
    /// How long it would wait, before jitter.
    pub retry_delay: Option<Duration>,
    /// The catcher that took the error.
    pub catch_index: Option<usize>,
    /// The error it took.
    pub caught: Option<Failure>,
}

/// How far a trial has come.
#[derive(Clone, Debug)]
pub enum Tried {
    /// A task is to be done: [`Trial::succeed`] or [`Trial::fail`] go on.
    Task(Box<ScheduleTask>),
    /// A Wait is to be waited for: [`Trial::wait_over`] goes on.
    Waiting(Timestamp),
    /// Branches, iterations or a Map Run would begin.
    Below,
    /// The state was left.
    Passed {
        /// Its output.
        output: Payload,
        /// Name of the next state.
        next: Option<Arc<str>>,
    },
    /// It would be tried again.
    Retriable(Failure),
    /// It failed for good.
    Failed(Failure),
}

/// The side of a trial that a turn writes to.
#[derive(Debug)]
pub(crate) struct Notes {
    pub inspection: Inspection,
    context: Option<Value>,
    retry_count: u32,
    items: Option<Payload>,
    /// Whether the state belongs to a Map's processor: its item is then the input.
    in_map: bool,
    pub by_task: bool,
}

/// One state tried.
pub struct Trial<'p> {
    program: &'p Program,
    state: &'p State,
    execution: Execution,
    notes: Option<Notes>,
    entropy: SeededEntropy,
}

impl<'p> Trial<'p> {
    /// A trial of a state of this program; `None` when there is no such state.
    pub fn begin(program: &'p Program, trial: TrialStart) -> Option<(Trial<'p>, Tried)> {
        let state = program.find(&trial.state)?;
        let notes = Notes {
            inspection: Inspection::default(),
            context: trial.context,
            retry_count: trial.retry_count,
            items: trial.items_read,
            in_map: in_map(program, state),
            by_task: trial.by_task,
        };
        let entropy = SeededEntropy::new(trial.entropy);
        let mut this = Trial { program, state, execution: Execution::new(), notes: Some(notes), entropy };
        let (start, variables) = (trial.start, trial.variables);
        let tried = this.turn(trial.at, |turn| enter(turn, state, start, variables, trial.retry_count));
        Some((this, tried))
    }

    /// The work gave this result.
    pub fn succeed(&mut self, at: Timestamp, result: Payload) -> Tried {
        self.turn(at, |turn| {
            let site = turn.site(FrameId::ROOT);
            let passed = turn.finish(site, result);
            turn.settle(site, passed);
        })
    }

    /// The work failed.
    pub fn fail(&mut self, at: Timestamp, failure: Failure) -> Tried {
        let below = matches!(self.state.kind, StateKind::Parallel(_) | StateKind::Map(_));
        self.turn(at, |turn| match below {
            true => turn.fail_below(FrameId::ROOT, failure),
            false => turn.fail(FrameId::ROOT, failure, None),
        })
    }

    /// The delay of a Wait is over.
    pub fn wait_over(&mut self, at: Timestamp) -> Tried {
        self.turn(at, |turn| {
            let site = turn.site(FrameId::ROOT);
            let passed = wait::over(turn, site);
            turn.settle(site, passed);
        })
    }

    /// The state under test.
    pub fn state(&self) -> &'p State {
        self.state
    }

    /// What was noted so far.
    pub fn inspection(&self) -> Inspection {
        self.notes.as_ref().map(|notes| notes.inspection.clone()).unwrap_or_default()
    }

    fn turn(&mut self, at: Timestamp, act: impl FnOnce(&mut Turn<'_>)) -> Tried {
        let mut turn = Turn {
            program: self.program,
            execution: &mut self.execution,
            at,
            entropy: self.entropy.clone(),
            events: Vec::new(),
            effects: Vec::new(),
            context: None,
            preconditions: &NoPreconditions,
            trial: self.notes.take(),
        };
        act(&mut turn);
        let Turn { events, effects, trial, entropy, .. } = turn;
        (self.notes, self.entropy) = (trial, entropy);
        tried(self.program, &events, effects)
    }
}

fn enter(
    turn: &mut Turn<'_>,
    state: &State,
    start: Arc<Start>,
    variables: Vec<(Arc<str>, Payload)>,
    retry_count: u32,
) {
    let input = start.input.clone();
    let kind = EventKind::ExecutionStarted { start, deadline: None, first: Arc::clone(&state.path) };
    turn.emit(FrameId::ROOT, kind);
    if let Some(frame) = turn.execution.frame_mut(FrameId::ROOT) {
        frame.variables.extend(variables);
    }
    if matches!(state.kind, StateKind::Fail(_)) && state.query_language == QueryLanguage::JsonPath {
        turn.note(|inspection| inspection.after_input_path = Some(input.clone()));
    }
    let kind = EventKind::StateEntered {
        state: Arc::clone(&state.path),
        name: Arc::clone(&state.name),
        state_type: state_type(state),
        input,
    };
    turn.emit(FrameId::ROOT, kind);
    if let Some(visit) = turn.execution.frame_mut(FrameId::ROOT).and_then(Frame::visit_mut) {
        visit.retries = vec![retry_count; retriers(state)];
    }
    turn.begin(FrameId::ROOT);
    if turn.execution.is_open_and_visiting() {
        items::prepare(turn);
    }
}

fn tried(program: &Program, events: &[Event], effects: Vec<Effect>) -> Tried {
    for event in events {
        match &event.kind {
            EventKind::StateExited { output, next, .. } => {
                let next = next.as_deref().and_then(|next| program.find(next));
                return Tried::Passed {
                    output: output.clone(),
                    next: next.map(|next| Arc::clone(&next.name)),
                };
            }
            EventKind::RetryScheduled { failure, .. } => return Tried::Retriable(failure.clone()),
            EventKind::ExecutionFailed { failure } => return Tried::Failed(failure.clone()),
            _ => {}
        }
    }
    for effect in effects {
        match effect {
            Effect::ScheduleTask(task) => return Tried::Task(task),
            Effect::ArmTimer { timer, at } if timer.kind == TimerKind::Wait => return Tried::Waiting(at),
            _ => {}
        }
    }
    Tried::Below
}

fn retriers(state: &State) -> usize {
    match &state.kind {
        StateKind::Task(task) => task.retry.len(),
        StateKind::Parallel(parallel) => parallel.retry.len(),
        StateKind::Map(map) => map.retry.len(),
        StateKind::Pass(_)
        | StateKind::Wait(_)
        | StateKind::Choice(_)
        | StateKind::Succeed
        | StateKind::Fail(_) => 0,
    }
}

fn in_map(program: &Program, state: &State) -> bool {
    let mut workflow = program.workflow(state.workflow);
    while let Some(parent) = workflow.parent {
        let parent = program.state(parent);
        if matches!(parent.kind, StateKind::Map(_)) {
            return true;
        }
        workflow = program.workflow(parent.workflow);
    }
    false
}

impl Turn<'_> {
    /// Notes something for a trial; executions skip it.
    pub fn note(&mut self, note: impl FnOnce(&mut Inspection)) {
        if let Some(notes) = &mut self.trial {
            note(&mut notes.inspection);
        }
    }
}

impl Execution {
    fn is_open_and_visiting(&self) -> bool {
        self.finished.is_none() && self.frame(FrameId::ROOT).and_then(Frame::visit).is_some()
    }
}

impl Notes {
    /// The context object of a state under test (recorded: the state's name is not told, there is no RedriveCount, and a
    /// missing role is null).
    pub fn context(&self, mut context: Value, input: &Payload, moment: Moment) -> Value {
        if let Some(given) = &self.context {
            context = given.clone();
        } else {
            if let Some(execution) = context["Execution"].as_object_mut() {
                execution.shift_remove("RedriveCount");
                if execution.get("RoleArn").and_then(Value::as_str) == Some("") {
                    execution.insert("RoleArn".into(), Value::Null);
                }
            }
            context["State"]["Name"] = STATE_NAME.into();
            if context["State"].get("RetryCount").is_some() {
                context["State"]["RetryCount"] = self.retry_count.into();
            }
            if self.in_map {
                context["Map"] = json!({ "Item": { "Index": 0, "Value": input.value() } });
            }
        }
        let items = self.items.as_ref().or(self.inspection.after_items_path.as_ref());
        if let (Some(index), Some(Value::Array(items))) = (moment.item, items.map(Payload::value)) {
            let value = items.get(index as usize);
            context["Map"] = json!({ "Item": { "Index": index, "Value": value } });
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use asl::CompileOptions;

    use super::*;
    use crate::start::DefinitionHash;
    use asl::program::StateMachineType;

    fn program(state: &str) -> Program {
        asl::compile_state(state, STATE_NAME, &CompileOptions::default()).expect("a definition")
    }

    fn given(program: &Program, input: Value, retry_count: u32) -> TrialStart {
        let start = Start {
            machine_type: StateMachineType::Express,
            ..Start::of(
                "arn:aws:states:eu-west-1:000000000000:stateMachine:m",
                "e",
                DefinitionHash([0; 32]),
                Payload::from_value(input),
            )
        };
        TrialStart {
            start: Arc::new(start),
            state: Arc::clone(&program.states[0].path),
            variables: Vec::new(),
            context: None,
            retry_count,
            items_read: None,
            by_task: true,
            at: Timestamp::from_epoch_millis(0),
            entropy: 1,
        }
    }

    #[test]
    fn a_pass_tells_how_its_data_went() {
        let program = program(
            r#"{"Type":"Pass","InputPath":"$.a","Parameters":{"b.$":"$.x"},"ResultPath":"$.c","End":true}"#,
        );
        let begun = Trial::begin(&program, given(&program, json!({ "a": { "x": 1 } }), 0));
        let (trial, tried) = begun.expect("the state is there");
        let inspection = trial.inspection();
        assert_eq!(inspection.after_input_path.expect("noted").value(), &json!({ "x": 1 }));
        assert_eq!(inspection.after_arguments.expect("noted").value(), &json!({ "b": 1 }));
        let Tried::Passed { output, next: None } = tried else { panic!("it ends: {tried:?}") };
        assert_eq!(output.value(), &json!({ "a": { "x": 1 }, "c": { "b": 1 } }));
    }

    #[test]
    fn a_fault_names_no_event() {
        let program =
            program(r#"{"Type":"Pass","QueryLanguage":"JSONata","Output":"{% $nothing %}","End":true}"#);
        let begun = Trial::begin(&program, given(&program, json!({}), 0));
        let (_, tried) = begun.expect("the state is there");
        let Tried::Failed(failure) = tried else { panic!("it fails: {tried:?}") };
        let cause = "The JSONata expression '$nothing' specified for the field 'Output' returned nothing (undefined).";
        assert_eq!(failure, Failure::new("States.QueryEvaluationError", cause.to_owned()));
    }

    #[test]
    fn a_retrier_backs_off_by_the_attempts_so_far_and_gives_way_to_the_catcher() {
        let program = program(
            r#"{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true,
                "Retry":[{"ErrorEquals":["E"],"IntervalSeconds":2,"MaxAttempts":2}],
                "Catch":[{"ErrorEquals":["States.ALL"],"Next":"After"}]}"#,
        );
        for (retry_count, delay) in [(0, Some(2)), (1, Some(4)), (2, None)] {
            let begun = Trial::begin(&program, given(&program, json!({}), retry_count));
            let (mut trial, tried) = begun.expect("the state is there");
            assert!(matches!(tried, Tried::Task(_)), "a task is to be done: {tried:?}");
            let tried = trial.fail(Timestamp::from_epoch_millis(0), Failure::named("E"));
            let inspection = trial.inspection();
            assert_eq!(inspection.retry_delay.map(|delay| delay.as_secs()), delay);
            match delay {
                Some(_) => assert!(matches!(tried, Tried::Retriable(_)), "{tried:?}"),
                None => {
                    assert_eq!(inspection.catch_index, Some(0));
                    let Tried::Passed { next: Some(next), .. } = tried else { panic!("caught: {tried:?}") };
                    assert_eq!(&*next, "After");
                }
            }
        }
    }

    const PROCESSOR: &str = r#""ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},
        "StartAt":"Item","States":{"Item":{"Type":"Fail"}}},"End":true}"#;

    #[test]
    fn a_map_tells_its_items_pointed_at_selected_and_batched() {
        let program = program(&format!(
            r#"{{"Type":"Map","ItemReader":{{"Resource":"arn:aws:states:::s3:getObject","Parameters":{{"Bucket":"b","Key":"k"}},
                "ReaderConfig":{{"InputType":"JSON","ItemsPointer":"/a/0"}}}},"ItemSelector":{{"v.$":"$$.Map.Item.Value"}},
                "ItemBatcher":{{"MaxItemsPerBatch":2,"BatchInput":{{"n.$":"$.n"}}}},{PROCESSOR}"#
        ));
        let read = Some(Payload::from_value(json!({ "a": [[1, 2, 3]] })));
        let start = TrialStart { items_read: read, ..given(&program, json!({ "n": 7 }), 0) };
        let (trial, tried) = Trial::begin(&program, start).expect("the state is there");
        assert!(matches!(tried, Tried::Below), "{tried:?}");
        let inspection = trial.inspection();
        assert_eq!(inspection.after_items_pointer.expect("noted").value(), &json!([1, 2, 3]));
        let selected = json!([{ "v": 1 }, { "v": 2 }, { "v": 3 }]);
        assert_eq!(inspection.after_item_selector.expect("noted").value(), &selected);
        let batches = json!([
            { "BatchInput": { "n": 7 }, "Items": [{ "v": 1 }, { "v": 2 }] },
            { "BatchInput": { "n": 7 }, "Items": [{ "v": 3 }] },
        ]);
        assert_eq!(inspection.after_item_batcher.expect("noted").value(), &batches);
    }

    #[test]
    fn items_without_a_reader_s_data_are_those_of_the_input_and_a_pointer_to_no_array_fails() {
        let program = program(&format!(
            r#"{{"Type":"Map","ItemsPath":"$.orders","ItemReader":{{"Resource":"arn:aws:states:::s3:getObject",
                "Parameters":{{"Bucket":"b","Key":"k"}},"ReaderConfig":{{"InputType":"JSON","ItemsPointer":"/a"}}}},{PROCESSOR}"#
        ));
        let start = given(&program, json!({ "orders": [1, 2] }), 0);
        let (trial, _) = Trial::begin(&program, start.clone()).expect("the state is there");
        assert_eq!(trial.inspection().after_items_path.expect("noted").value(), &json!([1, 2]));
        let read = Some(Payload::from_value(json!({ "a": 1 })));
        let (_, tried) =
            Trial::begin(&program, TrialStart { items_read: read, ..start }).expect("the state is there");
        let Tried::Failed(failure) = tried else { panic!("it fails: {tried:?}") };
        assert_eq!(failure.error.as_deref(), Some("States.ItemReaderFailed"));
    }

    #[test]
    fn task_failed_stands_for_errors_of_tasks_only() {
        let program = program(&format!(
            r#"{{"Type":"Map","Catch":[{{"ErrorEquals":["States.TaskFailed"],"Next":"After"}}],{PROCESSOR}"#
        ));
        for by_task in [true, false] {
            let start = TrialStart { by_task, ..given(&program, json!([1]), 0) };
            let (mut trial, _) = Trial::begin(&program, start).expect("the state is there");
            let tried = trial.fail(Timestamp::from_epoch_millis(0), Failure::named("E"));
            assert_eq!(matches!(tried, Tried::Passed { .. }), by_task, "{tried:?}");
        }
    }
}
