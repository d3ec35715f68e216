//! The shard alone: a synchronous state machine, driven by hand.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asl::program::{Program, StateMachineType};
use asl::timestamp::Timestamp;
use engine::{Effect, Failure, Ignored, InputKind, Start};
use runtime::shard::{Answer, Naming, Offer, Prepared, Released, Shard, ShardConfig, Ticket};
use runtime::{Compilers, Programs, Seeds, hash};
use store::{Batch, Definition, MemoryStore, Store};
use support::*;

struct Bench {
    store: MemoryStore,
    shard: Shard,
    now: Timestamp,
}

fn program(definition: &str) -> Arc<Program> {
    Arc::new(asl::compile(definition, &asl::CompileOptions::default()).expect("a good definition"))
}

fn start_of(name: &str, definition: &str) -> Arc<Start> {
    Arc::new(Start::of(
        "arn:aws:states:us-east-1:000000000000:stateMachine:m",
        name,
        hash(definition),
        json("{}"),
    ))
}

impl Bench {
    fn new(config: ShardConfig) -> Bench {
        let mut store = MemoryStore::new();
        let definition = |text: &str| Definition { scope: scope(), hash: hash(text), text: text.into() };
        let definitions = [PASS, TASK, WAIT].map(definition).into();
        store.append(&Batch { definitions, ..Batch::default() }).expect("an append");
        let shard = Bench::shard(&store, config);
        Bench { store, shard, now: Timestamp::from_epoch_millis(1_700_000_000_000) }
    }

    fn shard(store: &MemoryStore, config: ShardConfig) -> Shard {
        let compilers = Compilers::with_catalog(Arc::new(asl::resource::AnyResource));
        let programs = Arc::new(Programs::new(store.reader(), compilers));
        Shard::new(config, store.reader(), store.keys(), programs, Seeds::new(Some(1)), [])
    }

    fn start(&mut self, name: &str, definition: &str, ticket: u64) -> Arc<Start> {
        let start = start_of(name, definition);
        self.shard.offer(Offer::Start {
            start: Arc::clone(&start),
            program: program(definition),
            naming: Naming::Given,
            ticket: Some(Ticket(ticket)),
        });
        start
    }

    fn input(&mut self, start: &Start, kind: InputKind, ticket: u64) {
        let execution = Arc::clone(&start.execution_arn);
        self.shard.offer(Offer::Input { execution, kind, ticket: Some(Ticket(ticket)) });
    }

    fn take(&mut self) -> Option<Prepared> {
        self.shard.take_batch(self.now).expect("a readable store")
    }

    fn commit(&mut self, prepared: Prepared) -> Released {
        let committed = self.store.append(&prepared.batch).expect("an append");
        self.shard.committed(prepared.id, &committed)
    }

    /// Takes and commits all there is.
    fn run(&mut self) -> Vec<Released> {
        let mut released = Vec::new();
        while self.shard.is_ready(self.now) {
            let Some(prepared) = self.take() else { continue };
            released.push(self.commit(prepared));
        }
        released
    }
}

fn task_of(released: &Released) -> engine::TaskId {
    let effects = released.turns.iter().flat_map(|turn| &turn.effects);
    let mut task = effects.filter_map(|effect| match effect {
        Effect::ScheduleTask(task) => Some(task.task),
        _ => None,
    });
    task.next_back().expect("a task")
}

/// A stopwatch that shows ever more.
fn slow_stopwatch() -> Duration {
    static READINGS: AtomicU64 = AtomicU64::new(0);
    Duration::from_millis(100 * READINGS.fetch_add(1, Ordering::SeqCst))
}

fn stopped() -> Duration {
    Duration::ZERO
}

fn config() -> ShardConfig {
    ShardConfig { stopwatch: stopped, ..ShardConfig::default() }
}

#[test]
fn nothing_leaves_before_its_batch_is_acknowledged() {
    let mut bench = Bench::new(config());
    let start = bench.start("e", TASK, 1);
    let prepared = bench.take().expect("a turn");
    assert_eq!(prepared.batch.turns.len(), 1);
    assert!(bench.store.reader().execution(&start.execution_arn).unwrap().is_none());
    let released = bench.commit(prepared);
    assert_eq!(released.answers, [(Ticket(1), Answer::Started { start_date: bench.now })]);
    task_of(&released);
}

#[test]
fn a_shard_steps_ahead_and_batches_are_released_in_order() {
    let mut bench = Bench::new(config());
    let start = bench.start("e", TASK, 1);
    let first = bench.take().expect("a turn");
    // The shard knows of the task already, though nobody outside does.
    bench.input(&start, InputKind::StopRequested { failure: Failure::default() }, 2);
    let second = bench.take().expect("a turn ahead");
    assert_eq!(bench.shard.batches_in_commit(), 2);
    let released = bench.commit(first);
    assert_eq!(released.answers.len(), 1);
    let released = bench.commit(second);
    assert_eq!(released.answers, [(Ticket(2), Answer::Accepted { at: bench.now })]);
    assert!(bench.store.verify().unwrap().is_empty());
}

#[test]
fn after_a_failed_commit_the_journal_is_the_truth() {
    let mut bench = Bench::new(config());
    let kept = bench.start("kept", TASK, 1);
    let released = bench.run();
    let task = task_of(&released[0]);
    bench.start("lost", TASK, 2);
    bench.input(&kept, InputKind::TaskSucceeded { task, nonce: None, output: json("1") }, 3);
    bench.take().expect("a batch that never arrives");
    let (tickets, executions) = bench.shard.failed();
    assert_eq!(tickets, [Ticket(2), Ticket(3)]);
    assert_eq!(executions.len(), 2);
    assert_eq!((bench.shard.resident(), bench.shard.batches_in_commit()), (0, 0));
    for execution in executions {
        bench.shard.offer(Offer::Recover { execution, ticket: Some(Ticket(9)) });
    }
    let released = bench.run();
    let answers: Vec<_> =
        released.iter().flat_map(|it| it.answers.iter().map(|(_, answer)| answer.clone())).collect();
    assert!(
        answers.contains(&Answer::Unknown) && answers.contains(&Answer::Accepted { at: bench.now }),
        "{answers:?}"
    );
    assert_eq!(task_of(released.last().unwrap()), task, "the task is asked for again");
}

#[test]
fn stale_and_foreign_inputs_write_nothing() {
    let mut bench = Bench::new(config());
    let start = bench.start("e", TASK, 1);
    let task = task_of(&bench.run()[0]);
    let done = |output: &str| InputKind::TaskSucceeded { task, nonce: None, output: json(output) };
    bench.input(&start, done("1"), 2);
    bench.run();
    let events = |bench: &Bench| {
        let reader = bench.store.reader();
        let row = reader.execution(&start.execution_arn).unwrap().unwrap();
        reader.events(row.key).unwrap().len()
    };
    let before = events(&bench);
    let unknown = start_of("nobody", TASK);
    bench.input(&start, done("2"), 3);
    bench.input(&start, InputKind::TaskCancelled { task }, 4);
    bench.input(&unknown, done("3"), 5);
    let answers: Vec<_> = bench.run().into_iter().flat_map(|released| released.answers).collect();
    assert!(matches!(
        answers[0],
        (Ticket(3), Answer::Ignored(Ignored::ExecutionClosed | Ignored::TaskClosed))
    ));
    assert!(matches!(answers[1], (Ticket(4), Answer::Ignored(_))), "{answers:?}");
    assert_eq!(answers[2], (Ticket(5), Answer::Unknown));
    assert_eq!(events(&bench), before);
}

#[test]
fn results_come_before_timers() {
    let timed = TASK.replace("\"Type\": \"Task\"", "\"Type\": \"Task\", \"TimeoutSeconds\": 5");
    let mut bench = Bench::new(config());
    let definitions = vec![Definition { scope: scope(), hash: hash(&timed), text: timed.as_str().into() }];
    bench.store.append(&Batch { definitions, ..Batch::default() }).unwrap();
    let start = bench.start("e", &timed, 1);
    let task = task_of(&bench.run()[0]);
    bench.now = bench.now.plus(Duration::from_secs(5));
    bench.input(&start, InputKind::TaskSucceeded { task, nonce: None, output: json("1") }, 2);
    let answers: Vec<_> = bench.run().into_iter().flat_map(|released| released.answers).collect();
    assert_eq!(answers, [(Ticket(2), Answer::Accepted { at: bench.now })]);
    let row = bench.store.reader().execution(&start.execution_arn).unwrap().unwrap();
    assert_eq!(row.status, store::ExecutionStatus::Succeeded);
}

#[test]
fn a_slow_turn_waits_for_a_later_batch() {
    let mut config = config();
    config.stopwatch = slow_stopwatch;
    config.batch_time_max = Duration::from_secs(3_600);
    let mut bench = Bench::new(config);
    for (ticket, name) in ["a", "b", "c"].into_iter().enumerate() {
        bench.start(name, PASS, ticket as u64);
    }
    // Every turn is slow here: each leaves the batch of the one before.
    let sizes: Vec<usize> = bench.run().iter().map(|released| released.answers.len()).collect();
    assert_eq!(sizes, [1, 1, 1]);
}

#[test]
fn a_turn_out_of_budget_goes_on_after_the_others() {
    let spin = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}}}"#;
    // No state ends this machine, so it is compiled as a stored one would be.
    let program = asl::compile_stored(spin, StateMachineType::Standard);
    let program = program.expect("only what makes a program impossible is refused");
    let mut bench = Bench::new(ShardConfig { budget: 50, ..config() });
    let start = start_of("spin", spin);
    bench.shard.offer(Offer::Start {
        start,
        program: Arc::new(program),
        naming: Naming::Generated,
        ticket: None,
    });
    bench.start("other", PASS, 1);
    let prepared = bench.take().expect("turns");
    let sizes: Vec<usize> = prepared.batch.turns.iter().map(|turn| turn.events.len()).collect();
    assert!(sizes.len() > 2 && sizes[0] < 100 && sizes[1] == 4, "{sizes:?}");
}

#[test]
fn an_idle_execution_is_parked_and_woken_on_time() {
    let mut bench = Bench::new(config());
    let start = bench.start("e", WAIT, 1);
    bench.run();
    assert_eq!(bench.shard.resident(), 1);
    bench.now = bench.now.plus(Duration::from_secs(10));
    bench.run();
    assert_eq!(bench.shard.resident(), 0);
    let open = bench.store.reader().open(None, None, 10).unwrap();
    assert_eq!((open.len(), open[0].owes_tasks), (1, false));
    let due = bench.shard.next_due().expect("a wake-up");
    assert_eq!(open[0].due, Some(due));
    bench.now = due;
    bench.run();
    let row = bench.store.reader().execution(&start.execution_arn).unwrap().unwrap();
    assert_eq!((row.status, row.stop), (store::ExecutionStatus::Succeeded, Some(due)));
    assert_eq!(bench.shard.resident(), 0, "an ended execution needs no memory");
    assert!(bench.store.reader().open(None, None, 10).unwrap().is_empty());
    assert!(bench.store.verify().unwrap().is_empty());
}

#[test]
fn an_input_between_parking_and_its_commit_keeps_the_execution() {
    let mut bench = Bench::new(config());
    let start = bench.start("e", WAIT, 1);
    bench.run();
    bench.now = bench.now.plus(Duration::from_secs(10));
    let parking = bench.take().expect("parking");
    bench.input(&start, InputKind::StopRequested { failure: Failure::default() }, 2);
    let stop = bench.take().expect("the stop");
    bench.commit(parking);
    let released = bench.commit(stop);
    assert_eq!(released.answers, [(Ticket(2), Answer::Accepted { at: bench.now })]);
    assert!(bench.store.reader().open(None, None, 10).unwrap().is_empty());
}
