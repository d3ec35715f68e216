//! Runs every file in `cases/`: in virtual time, and again with the process dying after every event.
//!
//! A case is one text file: a heading, `origin:` (recorded, spec or ours), then sections that begin with `--- name`:
//! definition, input, script and history. `UPDATE_EXPECT=1` writes the history of cases that are ours, never of others.
//!
//! Script lines: `State ok {output}`, `State failed {"error","cause"}`, `State submitted {answer} ok {output}`,
//! `State silent`; `State after 5 ok …` waits first; `@10 stop {"error","cause"}` and `@10 redrive` come from outside.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use asl::payload::Payload;
use asl::program::StateMachineType;
use engine::{Event, EventKind, Failure, InputKind, TaskFamily, TaskLabel};
use testkit::{BEGINNING, Interpreter, Mode, Script, start_of};

struct Case {
    origin: String,
    sections: BTreeMap<String, String>,
    text: String,
}

#[test]
fn every_case_runs_as_it_says_live_and_with_restarts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no cases in {}", root.display());
    let mut wrong = String::new();
    for path in paths {
        if let Err(difference) = check(&path) {
            let _ = writeln!(wrong, "== {}\n{difference}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "case") {
            paths.push(path);
        }
    }
}

fn check(path: &Path) -> Result<(), String> {
    let case = read(path)?;
    let live = run(&case, Mode::Live)?;
    let restarted = run(&case, Mode::RestartAfterEveryEvent)?;
    let expected = case.sections.get("history").map_or("", String::as_str).trim();
    if live.trim() != expected {
        if std::env::var_os("UPDATE_EXPECT").is_some() && case.origin == "ours" {
            let head = case.text.split("--- history").next().unwrap_or_default();
            std::fs::write(path, format!("{head}--- history\n{live}")).map_err(|error| error.to_string())?;
        } else {
            return Err(format!("expected\n{expected}\ngot\n{live}"));
        }
    }
    if restarted != live {
        return Err(format!("with restarts\n{restarted}\nwithout\n{live}"));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Case, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut sections = BTreeMap::new();
    let mut parts = text.split("\n--- ");
    let head = parts.next().unwrap_or_default();
    for part in parts {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        sections.insert(name.trim().to_owned(), body.to_owned());
    }
    let origin =
        head.lines().find_map(|line| line.strip_prefix("origin: ")).unwrap_or_default().trim().to_owned();
    if !["recorded", "reported", "spec", "ours"].contains(&origin.as_str()) {
        return Err(format!("origin {origin:?}"));
    }
    Ok(Case { origin, sections, text })
}

fn run(case: &Case, mode: Mode) -> Result<String, String> {
    let section = |name: &str| case.sections.get(name).map_or("", String::as_str).trim();
    let program = asl::compile_stored(section("definition"), StateMachineType::Standard)
        .map_err(|diagnostics| format!("{diagnostics:?}"))?;
    let input = if section("input").is_empty() { "{}" } else { section("input") };
    let input = Payload::parse(input).map_err(|error| format!("input: {error:?}"))?;
    let mut scripts: BTreeMap<String, VecDeque<Script>> = BTreeMap::new();
    let mut outside = Vec::new();
    for line in section("script").lines() {
        let (who, rest) = line.split_once(' ').ok_or_else(|| format!("script line {line:?}"))?;
        match who.strip_prefix('@') {
            Some(seconds) => {
                let seconds: u64 = seconds.parse().map_err(|_| format!("script line {line:?}"))?;
                outside.push((seconds, request(rest)?));
            }
            None => scripts.entry(who.to_owned()).or_default().push_back(script(rest)?),
        }
    }
    let mut interpreter =
        Interpreter::new(&program, start_of(input, StateMachineType::Standard), scripts, mode);
    for (seconds, kind) in outside {
        interpreter.send(seconds, kind);
    }
    interpreter.run(100_000).map_err(|violation| violation.to_string())?;
    interpreter.check_end().map_err(|violation| violation.to_string())?;
    Ok(history(&interpreter.events))
}

fn request(text: &str) -> Result<InputKind, String> {
    match text.split_once(' ').unwrap_or((text, "{}")) {
        ("stop", failure) => Ok(InputKind::StopRequested { failure: parse_failure(failure)? }),
        ("redrive", _) => Ok(InputKind::Redriven { client_token: None }),
        _ => Err(format!("script: {text:?}")),
    }
}

fn script(text: &str) -> Result<Script, String> {
    let mut script = Script::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut json = serde_json::Deserializer::from_str(tail).into_iter::<serde_json::Value>();
        let mut value = || json.next().transpose().ok().flatten().ok_or_else(|| format!("script: {text:?}"));
        match word {
            "silent" => return Ok(script),
            "after" => script.after = value()?.as_u64().unwrap_or(0),
            "submitted" => script.submitted = Some(Payload::from_value(value()?)),
            "ok" => script.end = Some(Ok(Payload::from_value(value()?))),
            "failed" => script.end = Some(Err(parse_failure(&value()?.to_string())?)),
            word => return Err(format!("script: {word:?}")),
        }
        rest = tail[json.byte_offset()..].trim();
    }
    Ok(script)
}

fn parse_failure(text: &str) -> Result<Failure, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let member = |name: &str| value[name].as_str().map(Into::into);
    Ok(Failure { error: member("error"), cause: member("cause") })
}

/// The history in lines: `id<prev +seconds Type details`; private events are told after `·`.
fn history(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let seconds = (event.at.epoch_millis() - BEGINNING) as f64 / 1000.0;
        let time = if seconds > 0.0 { format!(" +{seconds}s") } else { String::new() };
        match event.history_id {
            Some(id) => {
                let _ = write!(text, "{id}<{}{time} ", event.prev);
            }
            None => {
                let _ = write!(text, "·{time} ");
            }
        }
        text.push_str(describe(&event.kind).trim_end());
        text.push('\n');
    }
    text
}

fn describe(kind: &EventKind) -> String {
    match kind {
        EventKind::ExecutionStarted { start, .. } => format!("ExecutionStarted {}", start.input),
        EventKind::ExecutionSucceeded { output } => format!("ExecutionSucceeded {output}"),
        EventKind::ExecutionFailed { failure } => format!("ExecutionFailed {}", told(failure)),
        EventKind::ExecutionTimedOut { failure } => format!("ExecutionTimedOut {}", told(failure)),
        EventKind::ExecutionAborted { failure } => format!("ExecutionAborted {}", told(failure)),
        EventKind::ExecutionRedriven { count, .. } => format!("ExecutionRedriven {count}"),
        EventKind::StateEntered { name, state_type, input, .. } => {
            format!("{}StateEntered {name} {input}", state_type.name())
        }
        EventKind::StateExited { name, state_type, output, assigned, .. } => {
            let assigned: Vec<_> = assigned.iter().map(|(name, value)| format!(" ${name}={value}")).collect();
            format!("{}StateExited {name} {output}{}", state_type.name(), assigned.concat())
        }
        EventKind::StateAborted { state_type } => format!("{}StateAborted", state_type.name()),
        EventKind::EvaluationFailed { name, failure, location } => {
            format!("EvaluationFailed {name} at {} {}", location.as_deref().unwrap_or("-"), told(failure))
        }
        EventKind::ParallelStateStarted { .. } => "ParallelStateStarted".into(),
        EventKind::ParallelStateSucceeded {} => "ParallelStateSucceeded".into(),
        EventKind::ParallelStateFailed { .. } => "ParallelStateFailed".into(),
        EventKind::MapStateStarted { length, .. } => format!("MapStateStarted {length}"),
        EventKind::MapStateSucceeded {} => "MapStateSucceeded".into(),
        EventKind::MapStateFailed { .. } => "MapStateFailed".into(),
        EventKind::MapIterationStarted { name, index, .. } => format!("MapIterationStarted {name} {index}"),
        EventKind::MapIterationSucceeded { name, index } => format!("MapIterationSucceeded {name} {index}"),
        EventKind::MapIterationFailed { name, index } => format!("MapIterationFailed {name} {index}"),
        EventKind::MapIterationAborted { name, index } => format!("MapIterationAborted {name} {index}"),
        EventKind::MapRunStarted { .. } => "MapRunStarted".into(),
        EventKind::MapRunSucceeded { .. } => "MapRunSucceeded".into(),
        EventKind::MapRunFailed { failure } => format!("MapRunFailed {}", told(failure)),
        EventKind::MapRunAborted {} => "MapRunAborted".into(),
        EventKind::MapRunRedriven { count, .. } => format!("MapRunRedriven {count}"),
        kind => describe_task_or_private(kind),
    }
}

fn describe_task_or_private(kind: &EventKind) -> String {
    match kind {
        EventKind::TaskScheduled { task } => {
            let mut text =
                format!("{}Scheduled {} {}", family(&task.label), resource(&task.label), task.parameters);
            let times = [("timeout", task.timeout), ("heartbeat", task.heartbeat)];
            for (name, time) in times {
                if let Some(time) = time {
                    let _ = write!(text, " {name}={}s", time.as_secs());
                }
            }
            text
        }
        EventKind::TaskStarted { label, worker_name, .. } => {
            format!("{}Started {}", family(label), worker_name.as_deref().unwrap_or_default())
        }
        EventKind::TaskSubmitted { label, output, .. } => format!("{}Submitted {output}", family(label)),
        EventKind::TaskSucceeded { label, output, .. } => format!("{}Succeeded {output}", family(label)),
        EventKind::TaskFailed { label, failure, .. } => format!("{}Failed {}", family(label), told(failure)),
        EventKind::TaskTimedOut { label, failure, .. } => {
            format!("{}TimedOut {}", family(label), told(failure))
        }
        EventKind::BranchStarted { index, .. } => format!("BranchStarted {index}"),
        EventKind::WaitScheduled { until } => format!("WaitScheduled {until}"),
        EventKind::RetryScheduled { until, retrier, .. } => {
            format!("RetryScheduled {until} by retrier {retrier}")
        }
        EventKind::TaskCancelled { .. } => "TaskCancelled".into(),
        _ => String::new(),
    }
}

fn told(failure: &Failure) -> String {
    match (&failure.error, &failure.cause) {
        (Some(error), Some(cause)) => format!("{error}: {cause}"),
        (Some(error), None) => error.to_string(),
        (None, Some(cause)) => format!("- {cause}"),
        (None, None) => "-".into(),
    }
}

fn family(label: &TaskLabel) -> &'static str {
    match label.family() {
        TaskFamily::Service => "Task",
        TaskFamily::Lambda => "LambdaFunction",
        TaskFamily::Activity => "Activity",
    }
}

fn resource(label: &TaskLabel) -> String {
    match label {
        TaskLabel::Service { resource_type, resource } => format!("{resource_type}:{resource}"),
        TaskLabel::Lambda | TaskLabel::Activity => String::new(),
    }
}
