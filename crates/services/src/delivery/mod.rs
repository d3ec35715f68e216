//! The loop that every service with durable deliveries runs: SNS, EventBridge, Scheduler and the actions of alarms.
//!
//! Invariant: the rows of a service's table `deliveries(id, attempts, due, …)` are what is owed; the loop keeps no list of
//! its own beyond what is in flight. What differs between services is their [`Courier`]: how a row is read, delivered,
//! tried again and given up. The id of a row is part of the invocation id of the call it makes, so a target of this process
//! that has seen it before a crash does not act twice.

mod outcome;
mod retry_policy;

pub(crate) use outcome::Outcome;
pub(crate) use retry_policy::RetryPolicy;

use crate::background::Background;
use crate::environment::Environment;
use crate::storage::Database;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const IN_FLIGHT_MAX: usize = 64;
/// Looked for what is due at least this often.
const IDLE: Duration = Duration::from_secs(60);
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// One delivery that is owed.
pub(crate) struct Owed<P> {
    /// The id of its row.
    pub(crate) id: i64,
    /// Attempts that have failed.
    pub(crate) attempts: i64,
    /// What is to be delivered, and where to.
    pub(crate) parcel: P,
}

/// What a service adds to the loop.
pub(crate) trait Courier: Send + Sync + 'static {
    /// What a row holds.
    type Parcel: Send + Sync + 'static;
    /// The service's name, for the log.
    const NAME: &'static str;

    /// What every service shares.
    fn environment(&self) -> &Environment;

    /// The file with the table `deliveries`.
    fn database(&self) -> &Database;

    /// Makes rows of what time alone brings (firings of schedules, verdicts on alarms), and says when to look again.
    fn fire(&self) -> impl Future<Output = Result<Option<i64>, ServiceError>> + Send {
        async { Ok(None) }
    }

    /// The rows that are due, the first ones first.
    fn due(
        &self,
        connection: &Connection,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<Owed<Self::Parcel>>, ServiceError>;

    /// Makes one attempt.
    fn deliver(&self, owed: &Owed<Self::Parcel>) -> impl Future<Output = Outcome> + Send;

    /// Milliseconds until the next attempt after `attempts` failures, or nothing when it was the last.
    fn retry_delay_ms(&self, owed: &Owed<Self::Parcel>, attempts: i64) -> Option<i64>;

    /// Tells the log and the dead-letter queue of a delivery that will not be made.
    fn give_up(&self, owed: &Owed<Self::Parcel>, reason: &str) -> impl Future<Output = ()> + Send;

    /// Deletes the row of a delivery that is over, and what was only there for its sake.
    fn forget(connection: &Connection, id: i64) -> Result<(), ServiceError> {
        connection.prepare_cached("DELETE FROM deliveries WHERE id = ?1")?.execute([id])?;
        Ok(())
    }
}

/// Runs the loop of one courier.
pub(crate) struct Deliverer<C> {
    courier: Arc<C>,
    arrived: Arc<Notify>,
    background: Background,
}

impl<C: Courier> Deliverer<C> {
    pub(crate) fn new(courier: C) -> Self {
        Self { courier: Arc::new(courier), arrived: Arc::default(), background: Background::default() }
    }

    /// Rung when rows, or what makes rows, have been committed.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.arrived)
    }

    pub(crate) fn start(&self) {
        self.background.start(run(Arc::clone(&self.courier), self.bell()));
    }

    /// Ends the loop; what it had in flight stays owed.
    pub(crate) async fn stop(&self) {
        self.background.stop().await;
    }
}

async fn run<C: Courier>(courier: Arc<C>, arrived: Arc<Notify>) {
    let mut in_flight = HashSet::new();
    let mut attempts = JoinSet::new();
    loop {
        let wait = match look(&*courier, &in_flight).await {
            Ok((owed, wait)) => {
                for owed in owed {
                    in_flight.insert(owed.id);
                    let courier = Arc::clone(&courier);
                    attempts.spawn(async move { attempt(&*courier, owed).await });
                }
                courier.environment().sleep(wait)
            }
            Err(error) => {
                tracing::error!(%error, "{} cannot read what it owes", C::NAME);
                Box::pin(tokio::time::sleep(ERROR_PAUSE))
            }
        };
        tokio::select! {
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                match ended {
                    Ok(id) => { in_flight.remove(&id); }
                    // A panic in an attempt: what was in flight is read again from the rows.
                    Err(_) if attempts.is_empty() => in_flight.clear(),
                    Err(_) => {}
                }
            }
            () = arrived.notified() => {}
            () = wait => {}
        }
    }
}

/// What is due and not in flight, and how long until something else may be.
async fn look<C: Courier>(
    courier: &C,
    in_flight: &HashSet<i64>,
) -> Result<(Vec<Owed<C::Parcel>>, Duration), ServiceError> {
    let fires = courier.fire().await?;
    let now_ms = courier.environment().now().as_millisecond();
    let room = IN_FLIGHT_MAX.saturating_sub(in_flight.len());
    let (owed, due) = courier.database().read(|connection| -> Result<_, ServiceError> {
        // Those in flight are due as well and come first, so there must be room for them, too.
        let found = courier.due(connection, now_ms, IN_FLIGHT_MAX)?;
        let owed = found.into_iter().filter(|owed| !in_flight.contains(&owed.id)).take(room);
        let sql = "SELECT min(due) FROM deliveries WHERE due > ?1";
        let due: Option<i64> = connection.prepare_cached(sql)?.query_row([now_ms], |row| row.get(0))?;
        Ok((owed.collect(), due))
    })?;
    let next = fires.into_iter().chain(due).min();
    let wait = next.map_or(IDLE, |next| Duration::from_millis((next - now_ms).max(0).unsigned_abs()));
    Ok((owed, wait.min(IDLE)))
}

async fn attempt<C: Courier>(courier: &C, owed: Owed<C::Parcel>) -> i64 {
    let outcome = courier.deliver(&owed).await;
    while let Err(error) = record(courier, &owed, &outcome).await {
        tracing::error!(%error, "{} cannot record a delivery", C::NAME);
        tokio::time::sleep(ERROR_PAUSE).await;
    }
    owed.id
}

async fn record<C: Courier>(
    courier: &C,
    owed: &Owed<C::Parcel>,
    outcome: &Outcome,
) -> Result<(), ServiceError> {
    let attempts = owed.attempts + 1;
    let retry = match outcome {
        Outcome::Failed(_) => courier.retry_delay_ms(owed, attempts),
        Outcome::Delivered | Outcome::Refused(_) => None,
    };
    if let (Outcome::Failed(reason) | Outcome::Refused(reason), None) = (outcome, retry) {
        courier.give_up(owed, reason).await;
    }
    let (id, now_ms) = (owed.id, courier.environment().now().as_millisecond());
    let write = courier.database().write(move |connection| -> Result<(), ServiceError> {
        match retry {
            Some(delay) => {
                let sql = "UPDATE deliveries SET attempts = ?2, due = ?3 WHERE id = ?1";
                connection.prepare_cached(sql)?.execute(params![id, attempts, now_ms + delay])?;
                Ok(())
            }
            None => C::forget(connection, id),
        }
    });
    write.await
}
