//! `previousEventId`: what AWS says an event follows, with all its oddities, each named after the recorded behaviour.
//!
//! A frame remembers the last event of its line ([`Frame::last`]); most events follow it and become it. This file holds every
//! exception and nothing else does.

use asl::program::QueryLanguage;

use crate::event::EventKind;
use crate::frame::{Frame, Visit, Work};

/// `previousEventId` of an event that a frame is about to write.
pub(crate) fn previous(frame: &Frame, kind: &EventKind) -> u64 {
    match kind {
        EventKind::ExecutionStarted { .. } => 0,
        EventKind::ExecutionAborted { .. } | EventKind::ExecutionTimedOut { .. } => stopped_from_outside(),
        EventKind::EvaluationFailed { .. } => evaluation_on_entry_follows_what_entered_follows(frame),
        EventKind::MapStateSucceeded {} => end_of_an_inline_map(frame),
        _ => frame.last,
    }
}

/// Whether the frame's next event follows this one.
pub(crate) fn is_followed(kind: &EventKind) -> bool {
    match kind {
        // The first state's Entered follows event 0, not the ExecutionStarted.
        EventKind::ExecutionStarted { .. } => false,
        // The events around an iteration are leaves: the next iteration follows the last one's last state.
        EventKind::MapIterationSucceeded { .. }
        | EventKind::MapIterationFailed { .. }
        | EventKind::MapIterationAborted { .. } => false,
        // `18<17 MapStateSucceeded; 19<17 MapStateExited`.
        EventKind::MapStateSucceeded {} | EventKind::ParallelStateSucceeded {} => false,
        // What a failing sibling takes with it all follows the failure.
        EventKind::StateAborted { .. } => false,
        kind => kind.is_public(),
    }
}

/// `3<0 ExecutionAborted`: nothing in the execution led to it.
fn stopped_from_outside() -> u64 {
    0
}

/// `13<12 PassStateEntered; 14<12 EvaluationFailed`: entering and evaluating are one act that follows the event before it.
fn evaluation_on_entry_follows_what_entered_follows(frame: &Frame) -> u64 {
    match frame.visit() {
        Some(visit) if visit.entered_id == frame.last => visit.entered_prev,
        _ => frame.last,
    }
}

/// `16<14 MapIterationStarted; 17<16 MapIterationSucceeded; 18<17 MapStateSucceeded; 19<17 MapStateExited`: while the next
/// iteration follows the last one's last state, the Map's end follows the iteration's.
fn end_of_an_inline_map(frame: &Frame) -> u64 {
    match frame.visit() {
        Some(Visit { work: Work::Fan(fan), .. }) => fan.joined_by.unwrap_or(frame.last),
        _ => frame.last,
    }
}

/// What a StateExited follows. The exit of a distributed Map follows the Map Run's start, not its end
/// (`6<5 MapRunStarted; 7<6 MapRunSucceeded; 8<7 MapStateSucceeded; 9<6 MapStateExited`), except in a JSONPath machine's first
/// state (`5<4 MapRunSucceeded; 6<5 MapStateSucceeded; 7<5 MapStateExited`).
pub(crate) fn exit(frame: &Frame, query_language: QueryLanguage) -> u64 {
    match frame.visit() {
        Some(Visit { work: Work::MapRun(run), entered_prev, .. }) if run.output.is_some() => {
            let first = *entered_prev == 0 && query_language == QueryLanguage::JsonPath;
            if first { run.ended_id } else { run.started_id }
        }
        _ => end_of_an_inline_map(frame),
    }
}
