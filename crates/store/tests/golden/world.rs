//! A small world that drives real executions through the interpreter, so that a golden store holds every kind of event.
//!
//! Only for making a golden store; the tests that read it do not use it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use asl::CompileOptions;
use engine::map_run::{ChildStatus, Cursor, MapRun, MapRunEvent, MapRunEventKind, MapRunStatus, Thresholds};
use engine::{
    DefinitionHash, Effect, Execution, Failure, Input, InputKind, Limits, MapRunResult, Outcome, Payload,
    ScheduleTask, Stage, Start, StateMachineType, Status, TaskId, TimerId, Timestamp, step,
};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use store::{
    Batch, Definition, ExecutionKey, ExecutionStatus, MapRunItem, MapRunItemWrite, MapRunTurn, Scope,
    SqliteOptions, SqliteStore, Standing, Store, TurnRecord,
};

/// Tags of the kinds of events that format 1 began with.
pub const TAGS_OF_FORMAT_1: [u16; 35] = [
    1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 20, 21, 22, 23, 24, 25, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
    42, 43, 44, 50, 51, 52, 53,
];

/// Two bytes of UTF-8.
pub const FILLER: &str = "é";

const MACHINES: &str = include_str!("machines.json");

/// Runs every machine of `machines.json` in a new store.
pub fn fill(directory: &Path) {
    let mut store = SqliteStore::open(directory, &SqliteOptions::default()).expect("a store");
    let machines: serde_json::Map<String, serde_json::Value> = serde_json::from_str(MACHINES).expect("JSON");
    for (index, (name, definition)) in machines.into_iter().enumerate() {
        let text = definition.to_string();
        let program =
            asl::compile(&text, &CompileOptions::default()).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        let scope = Scope { account: "000000000000".into(), region: "eu-central-1".into() };
        let hash = DefinitionHash([index as u8; 32]);
        let definitions = vec![Definition { scope: scope.clone(), hash, text: text.into() }];
        store.append(&Batch { definitions, ..Batch::default() }).expect("a commit");
        let key = store.keys().draw(&scope).expect("a key");
        let mut world = World::new(&mut store, program, key);
        world.run(InputKind::Started(Arc::new(start(&name, hash))));
        if name.starts_with("Stopped") {
            world.run(InputKind::StopRequested {
                failure: Failure::new("Order.Cancelled", "by the customer"),
            });
        }
        if name.starts_with("Redriven") {
            world.run(InputKind::Redriven { client_token: None });
        }
    }
    fill_map_runs(&mut store);
}

/// Map Runs of the golden store: one with every kind of event, one with a checkpoint.
pub const MAP_RUNS: [&str; 2] = [
    "arn:aws:states:eu-central-1:000000000000:mapRun:Order/Each:every-kind",
    "arn:aws:states:eu-central-1:000000000000:mapRun:Order/Each:checkpoint",
];

/// Writes them. Unlike executions they are not driven: what matters here are bytes.
fn fill_map_runs(store: &mut SqliteStore) {
    for (index, arn) in MAP_RUNS.into_iter().enumerate() {
        let mut events = every_kind(arn);
        let items = (0..2).map(|child| MapRunItemWrite::Scheduled(row(arn, child))).collect();
        let mut map_runs = Vec::new();
        if index == 0 {
            let rest = events.split_off(4);
            map_runs.push(MapRunTurn { map_run_arn: arn.into(), events: events.into() });
            map_runs.push(MapRunTurn { map_run_arn: arn.into(), events: rest.into() });
        } else {
            let checkpoint = MapRun::replay(&events).checkpoint(at(20));
            map_runs.push(MapRunTurn { map_run_arn: arn.into(), events: Arc::from([checkpoint]) });
        }
        store.append(&Batch { map_runs, items, ..Batch::default() }).expect("a commit");
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_epoch_millis(1_790_000_000_000 + millis)
}

fn row(arn: &str, index: u64) -> MapRunItem {
    let ended = index == 0;
    MapRunItem {
        map_run_arn: arn.into(),
        index,
        execution_arn: format!("arn:aws:states:eu-central-1:000000000000:execution:Order/Each:{index}")
            .into(),
        status: if ended { ExecutionStatus::Failed } else { ExecutionStatus::Running },
        output: ended.then(|| json(r#"{"Error":"Rotten"}"#)),
        items: 3,
        input: Some(json(r#"{"Items":[1,2,3]}"#)),
        start: Some(at(1)),
        stop: ended.then(|| at(2)),
        redrive_count: 1,
    }
}

fn every_kind(arn: &str) -> Vec<MapRunEvent> {
    let thresholds = |max_concurrency| Thresholds {
        max_concurrency,
        tolerated_failure_count: Some(2),
        tolerated_failure_millionths: None,
    };
    let (version, position) = (Some("etag".into()), Some(json(r#"{"Offset":9,"Item":3}"#)));
    let cursor = |next_item| Cursor { next_item, position: position.clone(), version: version.clone() };
    let stopped = || Failure::new("States.ExceedToleratedFailureThreshold", "too many");
    let kinds = vec![
        MapRunEventKind::Began {
            map_run_arn: arn.into(),
            execution_arn: "arn:aws:states:eu-central-1:000000000000:execution:Order:golden".into(),
            task: TaskId(4),
            redrive: 0,
            express: true,
            thresholds: thresholds(40),
            reader: Some(json(r#"{"Action":"getObject"}"#)),
            writer: Some(json(r#"{"Arguments":{"Bucket":"b"}}"#)),
            items_total: None,
            items_per_child: 3,
        },
        MapRunEventKind::ChildScheduled { index: 0, items: 3, cursor: cursor(3) },
        MapRunEventKind::Updated { thresholds: thresholds(1) },
        MapRunEventKind::ChildEnded { index: 0, status: ChildStatus::TimedOut },
        MapRunEventKind::Stopping { status: MapRunStatus::Failed, failure: stopped() },
        MapRunEventKind::Ended { status: MapRunStatus::Failed, output: None, failure: stopped() },
        MapRunEventKind::Redriven { task: TaskId(9), redrive: 1 },
        MapRunEventKind::ChildRedriven { index: 0, items: 3, was: ChildStatus::TimedOut, redrives: 1 },
        MapRunEventKind::RedriveExhausted {},
        MapRunEventKind::ChildScheduled { index: 1, items: 3, cursor: cursor(6) },
        MapRunEventKind::ChildEnded { index: 0, status: ChildStatus::Failed },
        MapRunEventKind::ItemsExhausted {},
        MapRunEventKind::Collecting {},
    ];
    let events = kinds.into_iter().zip(1..);
    events.map(|(kind, seq)| MapRunEvent { seq, at: at(seq as i64), kind }).collect()
}

fn start(machine: &str, definition: DefinitionHash) -> Start {
    let arn = |family: &str, rest: &str| {
        format!("arn:aws:states:eu-central-1:000000000000:{family}:{machine}{rest}")
    };
    // One with a payload that is a row of its own.
    let filler = if machine == "Everything" { FILLER.repeat(2100) } else { FILLER.into() };
    let input = json(&format!(r#"{{"items":[1,2],"filler":"{filler}"}}"#));
    Start {
        execution_arn: arn("execution", ":golden").into(),
        name: "golden".into(),
        state_machine_arn: arn("stateMachine", "").into(),
        state_machine_name: machine.into(),
        version_arn: Some(arn("stateMachine", ":3").into()),
        alias_arn: Some(arn("stateMachine", ":live").into()),
        role_arn: "arn:aws:iam::000000000000:role/order".into(),
        definition,
        revision_id: Some("6b3b".into()),
        workflow: "".into(),
        input,
        machine_type: StateMachineType::Standard,
        trace_header: Some("Root=1-5759e988-bd862e3fe1be46a994272793".into()),
        map_run: None,
        region: "eu-central-1".into(),
        account: "000000000000".into(),
        test_case: None,
        synchronous: false,
        limits: Limits::default(),
    }
}

struct World<'a> {
    store: &'a mut SqliteStore,
    program: asl::program::Program,
    key: ExecutionKey,
    execution: Execution,
    inputs: VecDeque<InputKind>,
    timers: Vec<(Timestamp, TimerId)>,
    now: Timestamp,
    turns: u64,
}

impl<'a> World<'a> {
    fn new(store: &'a mut SqliteStore, program: asl::program::Program, key: ExecutionKey) -> World<'a> {
        let now = Timestamp::from_epoch_millis(1_790_000_000_000);
        let (inputs, timers) = (VecDeque::new(), Vec::new());
        World { store, program, key, execution: Execution::new(), inputs, timers, now, turns: 0 }
    }

    /// Until nothing happens any more, or the machine waits for a task that is never answered.
    fn run(&mut self, first: InputKind) {
        self.inputs.push_back(first);
        loop {
            if let Some(kind) = self.inputs.pop_front() {
                self.take(kind);
            } else if self.execution.status() == Status::Running && !self.timers.is_empty() {
                self.timers.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
                let Some((at, timer)) = self.timers.pop() else { return };
                self.now = self.now.max(at);
                self.take(InputKind::TimerElapsed { timer });
            } else {
                return;
            }
        }
    }

    fn take(&mut self, kind: InputKind) {
        self.turns += 1;
        self.now = Timestamp::from_epoch_millis(self.now.epoch_millis() + 7);
        let input = Input { at: self.now, entropy: self.turns, kind };
        let step = step(&self.program, &mut self.execution, input, 1000);
        if matches!(step.outcome, Outcome::Ignored(_)) || step.events.is_empty() {
            return;
        }
        let open = self.execution.status() == Status::Running || !self.execution.outstanding().is_empty();
        let standing = if open { Standing::Open } else { Standing::Settled };
        let turn = TurnRecord { execution: self.key, events: step.events.into(), standing };
        self.store.append(&Batch { turns: vec![turn], ..Batch::default() }).expect("a commit");
        step.effects.into_iter().for_each(|effect| self.answer(effect));
    }

    fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::ScheduleTask(task) => self.work(&task),
            Effect::ObserveTask(observed) => {
                self.inputs.push_back(succeeded(observed.task));
            }
            Effect::CancelTask(cancel) => {
                self.inputs.push_back(InputKind::TaskCancelled { task: cancel.task })
            }
            Effect::StopMapRun(stop) => self.inputs.push_back(InputKind::TaskCancelled { task: stop.task }),
            Effect::ArmTimer { timer, at } => {
                self.timers.retain(|(_, armed)| *armed != timer);
                self.timers.push((at, timer));
            }
            Effect::StartMapRun(map_run) => {
                let fails = map_run.state.contains("Fails") && map_run.redrive == 0;
                let failure = || Failure::new("States.ExceedToleratedFailureThreshold", "one of two");
                let result = if map_run.state.contains("Endless") {
                    return;
                } else if map_run.state.contains("Aborted") {
                    MapRunResult::Aborted
                } else if fails {
                    MapRunResult::Failed(failure())
                } else {
                    MapRunResult::Succeeded(json("[1,2]"))
                };
                self.inputs.push_back(InputKind::MapRunEnded { task: map_run.task, result });
            }
            Effect::Finished { .. } => {}
        }
    }

    fn work(&mut self, schedule: &ScheduleTask) {
        let task = schedule.task;
        let failure = || Failure::new("Order.OutOfStock", "none left");
        let name = &*schedule.name;
        if name.starts_with("Endless") {
            return;
        }
        if name.starts_with("Activity") {
            self.inputs.push_back(InputKind::TaskStarted { task, worker_name: Some("packer".into()) });
        }
        if name.starts_with("Job") {
            let (handle, output) = (json(r#"{"job":1}"#), json(r#"{"accepted":true}"#));
            self.inputs.push_back(InputKind::TaskSubmitted { task, handle, output });
        } else if name.starts_with("Broken") || (name.starts_with("Flaky") && schedule.attempt == 0) {
            let failed = InputKind::TaskFailed { task, nonce: None, failure: failure(), stage: Stage::Run };
            self.inputs.push_back(failed);
        } else {
            self.inputs.push_back(succeeded(task));
        }
    }
}

fn succeeded(task: engine::TaskId) -> InputKind {
    InputKind::TaskSucceeded { task, nonce: None, output: json(r#"{"ok":true}"#) }
}

fn json(text: &str) -> Payload {
    Payload::parse(text).expect("JSON")
}

/// A whole database as SQL: settings, schema, rows.
pub fn dump(connection: &Connection) -> rusqlite::Result<String> {
    let mut sql = String::new();
    for pragma in ["application_id", "user_version"] {
        let value: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        sql.push_str(&format!("PRAGMA {pragma} = {value};\n"));
    }
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")?;
    for schema in statement.query_map([], |row| row.get::<_, String>(0))? {
        sql.push_str(&format!("{};\n", schema?));
    }
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")?;
    for table in statement.query_map([], |row| row.get::<_, String>(0))? {
        dump_rows(connection, &table?, &mut sql)?;
    }
    Ok(sql)
}

fn dump_rows(connection: &Connection, table: &str, sql: &mut String) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(integer) => integer.to_string(),
                ValueRef::Real(real) => real.to_string(),
                ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''")),
                ValueRef::Blob(blob) => format!("x'{}'", hex::encode(blob)),
            })
        });
        let values = values.collect::<rusqlite::Result<Vec<String>>>()?.join(",");
        sql.push_str(&format!("INSERT INTO {table} VALUES({values});\n"));
    }
    Ok(())
}
