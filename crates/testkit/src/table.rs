//! How often each kind of event and effect, each fault and each answer occurred: a simulation that never reaches a kind
//! proves nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use asl::program::{Resource, ResourceKind};
use engine::{Effect, Event, EventKind};

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Kinds of events.
    pub events: BTreeMap<String, u64>,
    /// Kinds of effects.
    pub effects: BTreeMap<String, u64>,
    /// Types of states that were entered, and what tasks called.
    pub states: BTreeMap<String, u64>,
    /// What was done to the shard, and what it answered.
    pub happenings: BTreeMap<&'static str, u64>,
}

/// All kinds of events, by their names in Rust.
pub const EVENTS: [&str; 35] = [
    "ExecutionStarted",
    "ExecutionSucceeded",
    "ExecutionFailed",
    "ExecutionTimedOut",
    "ExecutionAborted",
    "ExecutionRedriven",
    "StateEntered",
    "StateExited",
    "StateAborted",
    "EvaluationFailed",
    "TaskScheduled",
    "TaskStarted",
    "TaskSubmitted",
    "TaskSucceeded",
    "TaskFailed",
    "TaskTimedOut",
    "ParallelStateStarted",
    "ParallelStateSucceeded",
    "ParallelStateFailed",
    "MapStateStarted",
    "MapStateSucceeded",
    "MapStateFailed",
    "MapIterationStarted",
    "MapIterationSucceeded",
    "MapIterationFailed",
    "MapIterationAborted",
    "MapRunStarted",
    "MapRunSucceeded",
    "MapRunFailed",
    "MapRunAborted",
    "MapRunRedriven",
    "BranchStarted",
    "WaitScheduled",
    "RetryScheduled",
    "TaskCancelled",
];

/// All kinds of effects.
pub const EFFECTS: [&str; 7] =
    ["ScheduleTask", "ObserveTask", "CancelTask", "ArmTimer", "StartMapRun", "StopMapRun", "Finished"];

/// All types of states, and all forms of a task's resource.
pub const STATES: [&str; 15] = [
    "Task",
    "Parallel",
    "Map",
    "Pass",
    "Wait",
    "Choice",
    "Succeed",
    "Fail",
    "Task activity",
    "Task Lambda",
    "Task RequestResponse",
    "Task Sync",
    "Task Sync2",
    "Task WaitForTaskToken",
    "Task of an AWS SDK",
];

fn form_of(resource: &Resource) -> String {
    match &resource.kind {
        ResourceKind::Lambda => "Lambda".into(),
        ResourceKind::Activity => "activity".into(),
        ResourceKind::Service { .. } if resource.arn.contains(":aws-sdk:") => "of an AWS SDK".into(),
        ResourceKind::Service { pattern, .. } => name_of(pattern),
    }
}

impl Table {
    /// Counts an event.
    pub fn event(&mut self, event: &Event) {
        count(&mut self.events, name_of(&event.kind));
        match &event.kind {
            EventKind::StateEntered { state_type, .. } => count(&mut self.states, name_of(state_type)),
            EventKind::TaskScheduled { task } => {
                count(&mut self.states, format!("Task {}", form_of(&task.resource)));
            }
            _ => {}
        }
    }

    /// Counts an effect.
    pub fn effect(&mut self, effect: &Effect) {
        count(&mut self.effects, name_of(effect));
    }

    /// Counts something else.
    pub fn happened(&mut self, what: &'static str) {
        *self.happenings.entry(what).or_default() += 1;
    }

    /// Adds another table.
    pub fn add(&mut self, other: &Table) {
        for (name, number) in &other.events {
            *self.events.entry(name.clone()).or_default() += number;
        }
        for (name, number) in &other.effects {
            *self.effects.entry(name.clone()).or_default() += number;
        }
        for (name, number) in &other.states {
            *self.states.entry(name.clone()).or_default() += number;
        }
        for (name, number) in &other.happenings {
            *self.happenings.entry(name).or_default() += number;
        }
    }

    /// Kinds of events and effects, types of states and forms of resources that occurred less often than this.
    pub fn rarer_than(&self, least: u64) -> Vec<&'static str> {
        let rare =
            |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0) < least;
        let events = EVENTS.into_iter().filter(|name| rare(&self.events, name));
        let effects = EFFECTS.into_iter().filter(|name| rare(&self.effects, name));
        events.chain(effects).chain(STATES.into_iter().filter(|name| rare(&self.states, name))).collect()
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    *counts.entry(name).or_default() += 1;
}

/// A variant's name, from its debug text.
fn name_of(value: &impl fmt::Debug) -> String {
    struct Head(String);
    impl fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            // An error ends the formatting: the rest may be long.
            for c in text.chars() {
                if !c.is_ascii_alphanumeric() {
                    return Err(fmt::Error);
                }
                self.0.push(c);
            }
            Ok(())
        }
    }
    let mut head = Head(String::new());
    let _ = fmt::write(&mut head, format_args!("{value:?}"));
    head.0
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, counts) in
            [("events", &self.events), ("effects", &self.effects), ("states", &self.states)]
        {
            writeln!(formatter, "{title}")?;
            for (name, number) in counts {
                writeln!(formatter, "  {name:<26}{number:>12}")?;
            }
        }
        writeln!(formatter, "happenings")?;
        for (name, number) in &self.happenings {
            writeln!(formatter, "  {name:<26}{number:>12}")?;
        }
        Ok(())
    }
}
