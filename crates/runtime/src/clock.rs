//! The clock port: the only place from which the shell learns the time.
//!
//! Invariant: everything that the core sees as `at`, and every timer, comes from here, so that a test moves time and a
//! simulation owns it. Durations of work (is this turn slow?) are not time of day and do not come from here.

use std::future::Future;
use std::pin::Pin;

use asl::timestamp::Timestamp;

/// A boxed future, as the object-safe ports of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Time of day, and waiting for it.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Resolves at `at` or a little later; at once when it has passed.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock. Sleeps are cut into hours, so that a clock set forward is noticed by a one-year timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

const SLEEP_MAX_MILLIS: i64 = 3_600_000;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_epoch_millis(jiff::Timestamp::now().as_millisecond())
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = at.epoch_millis() - jiff::Timestamp::now().as_millisecond();
                if left <= 0 {
                    return;
                }
                let slice = left.min(SLEEP_MAX_MILLIS).unsigned_abs();
                tokio::time::sleep(std::time::Duration::from_millis(slice)).await;
            }
        })
    }
}

/// Time of day that follows tokio's clock from a given moment on: with `tokio::time::pause` it stands still while there is
/// work and jumps to the next timer when there is none, which makes a test of a one-hour Wait take no time.
#[derive(Clone, Debug)]
pub struct TokioClock {
    origin: tokio::time::Instant,
    started_at: Timestamp,
}

impl TokioClock {
    /// A clock that shows `started_at` now.
    pub fn starting_at(started_at: Timestamp) -> TokioClock {
        TokioClock { origin: tokio::time::Instant::now(), started_at }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_epoch_millis(self.started_at.epoch_millis().saturating_add(elapsed))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let millis = at.epoch_millis().saturating_sub(self.started_at.epoch_millis()).max(0).unsigned_abs();
        let instant = self.origin.checked_add(std::time::Duration::from_millis(millis));
        Box::pin(async move {
            match instant {
                Some(instant) => tokio::time::sleep_until(instant).await,
                None => std::future::pending().await,
            }
        })
    }
}
