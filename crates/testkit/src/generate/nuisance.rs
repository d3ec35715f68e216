//! What nobody should send: out of date, double, invented.

use asl::payload::Payload;
use engine::{InputKind, TaskId, TimerId, TimerKind};

use super::Dice;

/// An input that nobody should send.
pub fn nuisance(dice: &mut Dice, seq: u64) -> InputKind {
    let task = TaskId(dice.below(seq + 3));
    match dice.below(8) {
        0 => InputKind::TaskSucceeded { task, nonce: Some(dice.below(99)), output: Payload::null() },
        1 => InputKind::TaskCancelled { task },
        2 => InputKind::TaskHeartbeat { task, nonce: None },
        3 => InputKind::TaskStarted { task, worker_name: None },
        4 => InputKind::Resumed,
        5 => InputKind::Redriven { client_token: None },
        _ => early_timer(dice, seq),
    }
}

/// A timer that fires early, late, double or for nothing: harmless at any time.
pub(crate) fn early_timer(dice: &mut Dice, seq: u64) -> InputKind {
    let kinds = [
        TimerKind::Wait,
        TimerKind::Retry,
        TimerKind::TaskTimeout,
        TimerKind::Heartbeat,
        TimerKind::Execution,
    ];
    let kind = kinds[dice.below(5) as usize];
    InputKind::TimerElapsed { timer: TimerId { seq: dice.below(seq + 3), kind } }
}
