//! The laws L1–L10 of the design, as checks that say which one is broken.
//!
//! Each check looks at events, effects or states only; it never steers. A check that cannot fail proves nothing: for every
//! law there is a [`crate::Mutation`] that it catches.

use std::collections::BTreeMap;
use std::fmt;

use asl::timestamp::Timestamp;
use engine::{Effect, Event, EventKind, Execution, InputKind, TaskId, TimerKind, record};

/// The laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// replay(journal) = live state.
    L1,
    /// Same program, state and input: same events.
    L2,
    /// A stale input leaves no events; what is here is taken before what is due.
    L3,
    /// `history_id` has no gap from 1, and `prev` is before it.
    L4,
    /// After the end only cancellations are outstanding, and no public event follows until a redrive.
    L5,
    /// No effect and no answer before its commit.
    L6,
    /// Effects of a step = outstanding after minus outstanding before.
    L7,
    /// Every Entered has at most one end.
    L8,
    /// Derived tables = rebuild(journal).
    L9,
    /// Every execution ends or waits for something named, and nothing is late.
    L10,
    /// With faults: the same status, output and effects as without.
    SameEnd,
    /// An invariant of the core broke: a panic, or an execution in quarantine.
    Panic,
}

/// A broken law.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.law, self.text)
    }
}

/// The outcome of a check.
pub type Checked<T = ()> = Result<T, Violation>;

/// `Ok` if it holds, else a violation with this text.
pub(crate) fn hold(law: Law, holds: bool, text: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { law, text: text() }) }
}

/// L1: what the journal leads to is what is in memory, and the record of a turn says what the turn did.
pub fn replay_is_live(journal: &[Event], replayed: &Execution, live: &Execution, turn: &[Event]) -> Checked {
    let encoded = record::encode(turn);
    let decoded = record::decode(&encoded.events, &encoded.payloads);
    hold(Law::L1, decoded.as_deref().is_ok_and(|decoded| decoded == turn), || {
        format!("the record of a turn says {decoded:?}, the turn {turn:?}")
    })?;
    hold(Law::L1, replayed == live, || {
        let last = journal.last();
        format!("replay differs from the live state after {last:?}:\n{replayed:?}\n{live:?}")
    })
}

/// L5, the state's part.
pub fn only_cancellations_after_the_end(execution: &Execution) -> Checked {
    if execution.finished().is_none() {
        return Ok(());
    }
    let other = execution.outstanding().into_iter().find(|effect| !is_cancellation(effect));
    hold(Law::L5, other.is_none(), || format!("{other:?} is owed after the end"))
}

/// Whether an effect only lets go of something.
pub fn is_cancellation(effect: &Effect) -> bool {
    matches!(effect, Effect::CancelTask(_) | Effect::StopMapRun(_))
}

/// L7 of an accepted input.
pub fn effects_are_the_difference(before: &[Effect], after: &[Effect], told: &[Effect]) -> Checked {
    let told: Vec<_> = told.iter().filter(|effect| !matches!(effect, Effect::Finished { .. })).collect();
    let new: Vec<_> = after.iter().filter(|effect| !before.contains(effect)).collect();
    for effect in &new {
        hold(Law::L7, told.contains(effect), || format!("{effect:?} is owed and was not told"))?;
    }
    for effect in &told {
        hold(Law::L7, new.contains(effect), || format!("{effect:?} was told and is not newly owed"))?;
    }
    hold(Law::L7, told.len() == new.len(), || format!("an effect was told twice: {told:?}"))
}

/// L7: an ignored input asks for nothing new; a timer that fired too early is armed again as it was.
pub fn nothing_new(before: &[Effect], told: &[Effect]) -> Checked {
    let other = told.iter().find(|effect| !before.contains(effect));
    hold(Law::L7, other.is_none(), || format!("{other:?} of an ignored input"))
}

/// L7: who waits for the end is told of it in the turn that ends, and in no other.
pub fn the_end_is_told(events: &[Event], effects: &[Effect]) -> Checked {
    let ended = events.iter().rev().find_map(|event| match event.kind {
        EventKind::ExecutionRedriven { .. } => Some(false),
        _ => is_terminal(&event.kind).then_some(true),
    });
    let told = effects.iter().any(|effect| matches!(effect, Effect::Finished { .. }));
    hold(Law::L7, told == (ended == Some(true)), || format!("ended: {ended:?}, told: {told}"))
}

/// Whether an event ends its execution.
pub fn is_terminal(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::ExecutionSucceeded { .. }
            | EventKind::ExecutionFailed { .. }
            | EventKind::ExecutionTimedOut { .. }
            | EventKind::ExecutionAborted { .. }
    )
}

/// Why an input must be ignored, as far as the journal alone says: the part of L3 that does not ask the interpreter.
pub fn staleness(journal: &[Event], kind: &InputKind, at: Timestamp) -> Option<&'static str> {
    let (task, nonce) = match kind {
        InputKind::TaskStarted { task, .. } | InputKind::TaskSubmitted { task, .. } => (*task, None),
        InputKind::TaskSucceeded { task, nonce, .. }
        | InputKind::TaskFailed { task, nonce, .. }
        | InputKind::TaskHeartbeat { task, nonce } => (*task, *nonce),
        InputKind::TimerElapsed { timer } if matches!(timer.kind, TimerKind::Wait | TimerKind::Retry) => {
            let until = until_of(journal, timer.seq);
            return match until {
                None => Some("no such timer"),
                Some(until) => (at < until).then_some("a timer before its time"),
            };
        }
        InputKind::Started(_) => return (!journal.is_empty()).then_some("started before"),
        _ => return None,
    };
    let over = journal.last().is_some_and(|_| ended(journal)) || closed(journal, task);
    let known = nonce_of(journal, task);
    match known {
        None => Some("no such task"),
        Some(_) if over => Some("the task is over"),
        Some(right) if nonce.is_some() && nonce != right => Some("a wrong nonce"),
        Some(_) => None,
    }
}

fn until_of(journal: &[Event], seq: u64) -> Option<Timestamp> {
    journal.iter().find(|event| event.seq == seq).and_then(|event| match event.kind {
        EventKind::WaitScheduled { until } | EventKind::RetryScheduled { until, .. } => Some(until),
        _ => None,
    })
}

fn ended(journal: &[Event]) -> bool {
    let last = journal.iter().rev().find(|event| event.history_id.is_some());
    last.is_some_and(|event| is_terminal(&event.kind))
}

fn nonce_of(journal: &[Event], task: TaskId) -> Option<Option<u64>> {
    journal.iter().find(|event| event.seq == task.0).and_then(|event| match &event.kind {
        EventKind::TaskScheduled { task } => Some(task.nonce),
        _ => None,
    })
}

/// Whether a task has its result.
pub fn closed(journal: &[Event], of: TaskId) -> bool {
    journal.iter().any(|event| match event.kind {
        EventKind::TaskSucceeded { task, .. }
        | EventKind::TaskFailed { task, .. }
        | EventKind::TaskTimedOut { task, .. } => task == of,
        _ => false,
    })
}

/// What has become of the state that a frame is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entered {
    Open,
    Exited,
    Aborted,
}

/// L4, L5 and L8 over a whole journal, and no timer before its time.
pub fn check_history(journal: &[Event]) -> Checked {
    let mut next_id = 1;
    let mut over = false;
    let mut frames: BTreeMap<u32, Entered> = BTreeMap::new();
    let mut waiting: BTreeMap<u32, Timestamp> = BTreeMap::new();
    for (event, seq) in journal.iter().zip(1..) {
        hold(Law::L4, event.seq == seq, || format!("seq {} where {seq} should be", event.seq))?;
        hold(Law::L4, event.history_id.is_some() == event.kind.is_public(), || format!("{event:?}"))?;
        if let Some(id) = event.history_id {
            hold(Law::L4, id == next_id, || format!("history_id {id} where {next_id} should be"))?;
            hold(Law::L4, event.prev < id, || format!("{event:?} follows the future"))?;
            next_id += 1;
        }
        let redriven = matches!(event.kind, EventKind::ExecutionRedriven { .. });
        hold(Law::L5, !over || redriven || event.history_id.is_none(), || {
            format!("{event:?} after the end")
        })?;
        over = !redriven && (over || is_terminal(&event.kind));
        check_visit(event, &mut frames)?;
        check_timer(event, &mut waiting)?;
    }
    Ok(())
}

fn check_visit(event: &Event, frames: &mut BTreeMap<u32, Entered>) -> Checked {
    let twice = |was: Option<Entered>| hold(Law::L8, was == Some(Entered::Open), || format!("{event:?}"));
    match event.kind {
        EventKind::StateEntered { .. } => {
            let was = frames.insert(event.frame.0, Entered::Open);
            hold(Law::L8, was != Some(Entered::Open), || format!("{event:?} enters a state in a state"))
        }
        EventKind::StateExited { .. } => twice(frames.insert(event.frame.0, Entered::Exited)),
        EventKind::StateAborted { .. } => twice(frames.insert(event.frame.0, Entered::Aborted)),
        EventKind::ExecutionRedriven { .. } => {
            for entered in frames.values_mut().filter(|entered| **entered == Entered::Aborted) {
                *entered = Entered::Open;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The event after a wait or a retry's delay is not before it is over, unless something outside ended it.
fn check_timer(event: &Event, waiting: &mut BTreeMap<u32, Timestamp>) -> Checked {
    match event.kind {
        EventKind::WaitScheduled { until } | EventKind::RetryScheduled { until, .. } => {
            waiting.insert(event.frame.0, until);
            return Ok(());
        }
        EventKind::ExecutionRedriven { .. } => {
            waiting.clear();
            return Ok(());
        }
        EventKind::StateExited { .. } | EventKind::TaskScheduled { .. } => {}
        _ => {
            if matches!(event.kind, EventKind::StateAborted { .. }) {
                waiting.remove(&event.frame.0);
            }
            return Ok(());
        }
    }
    let until = waiting.remove(&event.frame.0);
    let early = until.is_some_and(|until| event.at < until);
    hold(Law::L3, !early, || format!("{event:?} before {until:?}"))
}

/// L10 in undisturbed virtual time: a wait or a retry's delay ends when it is over, not later.
pub fn nothing_is_late(journal: &[Event]) -> Checked {
    let mut waiting: BTreeMap<u32, Timestamp> = BTreeMap::new();
    for event in journal {
        match event.kind {
            EventKind::WaitScheduled { until } | EventKind::RetryScheduled { until, .. } => {
                waiting.insert(event.frame.0, until);
            }
            EventKind::ExecutionRedriven { .. } => waiting.clear(),
            _ => {
                let until = waiting.remove(&event.frame.0);
                let late = until.is_some_and(|until| event.at > until);
                hold(Law::L10, !late, || format!("{event:?} should have been at {until:?}"))?;
            }
        }
    }
    Ok(())
}

/// L10 at rest: ended, or waiting for something named.
pub fn ended_or_waiting(execution: &Execution) -> Checked {
    if execution.finished().is_some() {
        return Ok(());
    }
    hold(Law::L10, !execution.is_runnable(), || "runnable and at rest".into())?;
    hold(Law::L10, !execution.current_states().is_empty(), || "open and nowhere".into())
}
