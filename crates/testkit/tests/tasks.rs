//! What comes back for a task: tokens, heartbeats, late and double answers, and tasks that may not be scheduled at all.

use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Program, StateMachineType};
use asl::timestamp::Timestamp;
use engine::{
    Effect, EventKind, Execution, Failure, Finished, Ignored, Input, InputKind, Outcome, Preconditions,
    ScheduleTask, Stage, Step, TaskId, TimerId, TimerKind, token,
};
use serde_json::{Value, json};
use testkit::start_of;

const ACTIVITY: &str = "arn:aws:states:us-east-1:000000000000:activity:pack";

fn program(task: Value) -> Program {
    let mut task = task;
    task["Type"] = json!("Task");
    task["End"] = json!(true);
    let definition = json!({ "StartAt": "Work", "States": { "Work": task } }).to_string();
    asl::compile_stored(&definition, StateMachineType::Standard)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn send(program: &Program, execution: &mut Execution, seconds: i64, kind: InputKind) -> Step {
    engine::step(
        program,
        execution,
        Input { at: Timestamp::from_epoch_millis(seconds * 1000), entropy: 9, kind },
        1000,
    )
}

fn begin(program: &Program) -> (Execution, Box<ScheduleTask>) {
    let mut execution = Execution::new();
    let start = start_of(Payload::empty_object(), StateMachineType::Standard);
    let step = send(program, &mut execution, 0, InputKind::Started(Arc::new(start)));
    let task = step.effects.into_iter().find_map(|effect| match effect {
        Effect::ScheduleTask(task) => Some(task),
        _ => None,
    });
    (execution, task.expect("a task"))
}

fn succeeded(task: TaskId, nonce: Option<u64>) -> InputKind {
    InputKind::TaskSucceeded { task, nonce, output: Payload::empty_object() }
}

#[test]
fn a_token_answers_for_its_task_and_a_wrong_nonce_for_none() {
    let program = program(json!({ "Resource": ACTIVITY }));
    let (mut execution, task) = begin(&program);
    let token = token::decode(task.token.as_deref().expect("a token")).expect("ours");
    assert_eq!(
        (token.task, &*token.execution_arn),
        (task.task, "arn:aws:states:us-east-1:000000000000:execution:Machine:run")
    );
    let wrong = send(&program, &mut execution, 1, succeeded(token.task, Some(token.nonce ^ 1)));
    assert_eq!(wrong.outcome, Outcome::Ignored(Ignored::TaskUnknown));
    let unknown = send(&program, &mut execution, 1, succeeded(TaskId(99), Some(token.nonce)));
    assert_eq!(unknown.outcome, Outcome::Ignored(Ignored::TaskUnknown));
    assert_eq!(
        send(&program, &mut execution, 1, succeeded(token.task, Some(token.nonce))).outcome,
        Outcome::Accepted
    );
    let twice = send(&program, &mut execution, 2, succeeded(token.task, Some(token.nonce)));
    assert_eq!(twice.outcome, Outcome::Ignored(Ignored::TaskClosed));
}

#[test]
fn a_heartbeat_moves_the_deadline_in_memory_and_recovery_starts_it_anew() {
    let program = program(json!({ "Resource": ACTIVITY, "HeartbeatSeconds": 10 }));
    let (mut execution, task) = begin(&program);
    let task = task.task;
    let timer = TimerId { seq: task.0, kind: TimerKind::Heartbeat };
    let at = |seconds: i64| Effect::ArmTimer { timer, at: Timestamp::from_epoch_millis(seconds * 1000) };
    let started = send(&program, &mut execution, 2, InputKind::TaskStarted { task, worker_name: None });
    assert_eq!(started.effects, [at(12)]);
    let beat = send(&program, &mut execution, 8, InputKind::TaskHeartbeat { task, nonce: None });
    assert_eq!((beat.events.len(), beat.effects), (0, vec![at(18)]));
    let early = send(&program, &mut execution, 12, InputKind::TimerElapsed { timer });
    assert_eq!((early.outcome, early.effects), (Outcome::Ignored(Ignored::Stale), vec![at(18)]));
    execution.recovered(Timestamp::from_epoch_millis(100_000));
    assert!(execution.outstanding().contains(&at(110)));
    let due = send(&program, &mut execution, 110, InputKind::TimerElapsed { timer });
    assert!(due.events.iter().any(|event| matches!(event.kind, EventKind::TaskTimedOut { .. })));
    assert_eq!(execution.finished(), Some(&Finished::Failed(Failure::named("States.Timeout"))));
}

#[test]
fn a_submitted_job_is_observed_after_a_crash_and_never_started_again() {
    let program = program(json!({ "Resource": "arn:aws:states:::ecs:runTask.sync",
        "Parameters": { "Cluster": "c", "TaskDefinition": "t" } }));
    let (mut execution, task) = begin(&program);
    let handle = Payload::from_value(json!({ "arn": "task/1" }));
    let submitted =
        InputKind::TaskSubmitted { task: task.task, handle: handle.clone(), output: Payload::null() };
    send(&program, &mut execution, 1, submitted);
    let [Effect::ObserveTask(observe)] = &execution.outstanding()[..] else {
        panic!("{:?}", execution.outstanding())
    };
    assert_eq!(observe.handle, handle);
    send(&program, &mut execution, 2, InputKind::StopRequested { failure: Failure::default() });
    let [Effect::CancelTask(cancel)] = &execution.outstanding()[..] else {
        panic!("{:?}", execution.outstanding())
    };
    assert_eq!(cancel.handle, Some(handle));
    send(&program, &mut execution, 3, InputKind::TaskCancelled { task: task.task });
    assert_eq!(execution.outstanding(), []);
}

#[test]
fn a_late_answer_after_the_end_is_told_so() {
    let program = program(json!({ "Resource": ACTIVITY }));
    let (mut execution, task) = begin(&program);
    send(&program, &mut execution, 1, InputKind::StopRequested { failure: Failure::default() });
    let failed = InputKind::TaskFailed {
        task: task.task,
        nonce: task.token.is_none().then_some(0),
        failure: Failure::default(),
        stage: Stage::Run,
    };
    assert_eq!(send(&program, &mut execution, 2, failed).outcome, Outcome::Ignored(Ignored::TaskClosed));
    let again = send(&program, &mut execution, 2, InputKind::StopRequested { failure: Failure::default() });
    assert_eq!(again.outcome, Outcome::Ignored(Ignored::ExecutionClosed));
}

struct NoSuchActivity;

impl Preconditions for NoSuchActivity {
    fn check(&self, task: &engine::PlannedTask<'_>) -> Result<(), String> {
        Err(format!("The activity {} does not exist.", task.resource.arn))
    }
}

/// Recorded: `2<0 TaskStateEntered; 3<2 ExecutionFailed`, without an ActivityScheduled, and uncatchable.
#[test]
fn a_task_that_may_not_be_scheduled_fails_the_execution_unscheduled() {
    let program = program(
        json!({ "Resource": ACTIVITY, "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Work" }] }),
    );
    let mut execution = Execution::new();
    let start = start_of(Payload::empty_object(), StateMachineType::Standard);
    let input =
        Input { at: Timestamp::from_epoch_millis(0), entropy: 9, kind: InputKind::Started(Arc::new(start)) };
    let step = engine::step_with(&program, &mut execution, input, 1000, &NoSuchActivity);
    let [_, _, failed] = &step.events[..] else { panic!("{:?}", step.events) };
    let cause = format!(
        "An error occurred while executing the state 'Work' (entered at the event id #2). The activity {ACTIVITY} does not exist."
    );
    assert_eq!(
        (failed.prev, &failed.kind),
        (2, &EventKind::ExecutionFailed { failure: Failure::runtime(cause) })
    );
}
