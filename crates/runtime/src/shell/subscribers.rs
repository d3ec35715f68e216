//! Committed turns, live, for whoever follows an execution or waits for its end.
//!
//! Invariant: a subscriber sees turns after their commit and in order. A slow one is cut off rather than waited for, and
//! rereads the journal; nobody's slowness costs the shard anything. Nothing is kept for executions that nobody follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::Event;
use tokio::sync::mpsc;

use crate::shard::ReleasedTurn;

/// Turns that a subscriber may be behind before it is cut off.
const BEHIND_MAX: usize = 1_024;

/// Where the turns of an execution go.
type Followers = Vec<mpsc::Sender<Arc<[Event]>>>;

/// Who follows what.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    by_arn: Mutex<HashMap<Arc<str>, Followers>>,
}

impl Subscribers {
    /// Turns of an execution from now on. The receiver ends when it falls too far behind.
    pub(crate) fn subscribe(&self, arn: &str) -> mpsc::Receiver<Arc<[Event]>> {
        let (sender, receiver) = mpsc::channel(BEHIND_MAX);
        let mut by_arn = self.by_arn.lock().unwrap_or_else(PoisonError::into_inner);
        let followers = by_arn.entry(arn.into()).or_default();
        followers.retain(|follower| !follower.is_closed());
        followers.push(sender);
        receiver
    }

    /// Tells the followers of a turn's execution.
    pub(crate) fn publish(&self, turn: &ReleasedTurn) {
        if turn.events.is_empty() {
            return;
        }
        let mut by_arn = self.by_arn.lock().unwrap_or_else(PoisonError::into_inner);
        if by_arn.is_empty() {
            return;
        }
        let arn = &turn.start.execution_arn;
        if let Some(followers) = by_arn.get_mut(arn) {
            followers.retain(|follower| follower.try_send(Arc::clone(&turn.events)).is_ok());
            if followers.is_empty() {
                by_arn.remove(arn);
            }
        }
    }

    /// Forgets followers that have gone.
    pub(crate) fn unsubscribed(&self, arn: &str) {
        let mut by_arn = self.by_arn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(followers) = by_arn.get_mut(arn) {
            followers.retain(|follower| !follower.is_closed());
            if followers.is_empty() {
                by_arn.remove(arn);
            }
        }
    }
}
