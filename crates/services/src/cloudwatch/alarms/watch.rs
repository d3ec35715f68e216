//! Looks at every alarm every few seconds, and hands the actions that are owed to their topics.

use super::evaluate::{Missing, breaches, state_of};
use super::{change_state, find, read_alarm};
use crate::cloudwatch::Call;
use crate::cloudwatch::bucket::Bucket;
use crate::cloudwatch::input::text;
use crate::cloudwatch::read::{Range, buckets};
use crate::cloudwatch::series;
use crate::cloudwatch::statistic::Statistic;
use crate::delivery::{self, Outcome, RetryPolicy};
use crate::environment::Environment;
use crate::service_file::ServiceFile;
use crate::storage::Database;
use crate::target_call;
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const PAUSE_MS: i64 = 5_000;

/// See the module.
pub(in crate::cloudwatch) struct Watch {
    file: ServiceFile,
    /// When the alarms are looked at again.
    next_ms: AtomicI64,
}

/// A message for an alarm's action.
pub(in crate::cloudwatch) struct Parcel {
    account: String,
    region: String,
    alarm_arn: String,
    action: String,
    message: String,
    since_ms: i64,
}

type Owed = delivery::Owed<Parcel>;

impl Watch {
    pub(in crate::cloudwatch) fn new(file: ServiceFile) -> Self {
        Self { file, next_ms: AtomicI64::new(i64::MIN) }
    }
}

impl delivery::Courier for Watch {
    type Parcel = Parcel;
    const NAME: &'static str = "CloudWatch";

    fn environment(&self) -> &Environment {
        &self.file.environment
    }

    fn database(&self) -> &Database {
        &self.file.database
    }

    async fn fire(&self) -> Result<Option<i64>, ServiceError> {
        let now_ms = self.file.environment.now().as_millisecond();
        if self.next_ms.load(Ordering::Relaxed) <= now_ms {
            evaluate_all(&self.file.database, now_ms).await?;
            self.next_ms.store(now_ms + PAUSE_MS, Ordering::Relaxed);
        }
        Ok(Some(self.next_ms.load(Ordering::Relaxed)))
    }

    fn due(&self, connection: &Connection, now_ms: i64, limit: usize) -> Result<Vec<Owed>, ServiceError> {
        let sql = "SELECT id, attempts, account, region, alarm_arn, action, message, since FROM deliveries
                   WHERE due <= ?1 ORDER BY due, id LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![now_ms, limit as i64], |row| {
            let parcel = Parcel {
                account: row.get(2)?,
                region: row.get(3)?,
                alarm_arn: row.get(4)?,
                action: row.get(5)?,
                message: row.get(6)?,
                since_ms: row.get(7)?,
            };
            Ok(Owed { id: row.get(0)?, attempts: row.get(1)?, parcel })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    async fn deliver(&self, owed: &Owed) -> Outcome {
        let Parcel { account, region, alarm_arn, action, message, .. } = &owed.parcel;
        let mut context = CallContext::service(account, region, "cloudwatch.amazonaws.com");
        context.invocation_id = Some(format!("alarm-action-{alarm_arn}-{}", owed.id));
        context.source_arn = Some(alarm_arn.clone());
        Outcome::of_service(target_call::publish(&self.file.environment, &context, action, message).await)
    }

    fn retry_delay_ms(&self, owed: &Owed, attempts: i64) -> Option<i64> {
        let now_ms = self.file.environment.now().as_millisecond();
        RetryPolicy::DEFAULT.delay_ms(attempts, owed.parcel.since_ms, now_ms)
    }

    async fn give_up(&self, owed: &Owed, reason: &str) {
        let Parcel { alarm_arn, action, .. } = &owed.parcel;
        tracing::warn!(alarm = alarm_arn, action, reason, "CloudWatch gives an alarm's action up");
    }
}

async fn evaluate_all(database: &Database, now_ms: i64) -> Result<(), ServiceError> {
    let changes = database.read(|connection| verdicts(connection, now_ms))?;
    for (call, name, state, reason) in changes {
        let write = database.write(move |connection| -> Result<(), ServiceError> {
            match find(connection, &call, &name)? {
                Some(alarm) => change_state(connection, &call, alarm, state, &reason),
                None => Ok(()),
            }
        });
        write.await?;
    }
    Ok(())
}

type Verdict = (Call, String, &'static str, String);

/// The alarms whose state is to change.
fn verdicts(connection: &Connection, now_ms: i64) -> Result<Vec<Verdict>, ServiceError> {
    let mut statement = connection.prepare_cached("SELECT alarm, account, region FROM alarms")?;
    let mut rows = statement.query([])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let alarm = read_alarm(row)?;
        let call = Call::own(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?, now_ms);
        let Some((state, reason)) = verdict(connection, &call, &alarm)? else { continue };
        if text(&alarm, "StateValue") != Some(state) {
            let name = text(&alarm, "AlarmName").unwrap_or("").to_owned();
            changes.push((call, name, state, reason));
        }
    }
    Ok(changes)
}

fn verdict(
    connection: &Connection,
    call: &Call,
    alarm: &Value,
) -> Result<Option<(&'static str, String)>, ServiceError> {
    let whole = |member: &str| alarm.get(member).and_then(Value::as_i64);
    let period = whole("Period").unwrap_or(60).max(1);
    let count = whole("EvaluationPeriods").unwrap_or(1).max(1);
    let needed = whole("DatapointsToAlarm").unwrap_or(count).clamp(1, count);
    // The period under way does not count: its data are not complete.
    let end = (call.now_ms / 1000).div_euclid(period) * period;
    let range = Range { start: end - count * period, end, period };
    let (namespace, metric) =
        (text(alarm, "Namespace").unwrap_or(""), text(alarm, "MetricName").unwrap_or(""));
    let series_id = series::find(connection, call, namespace, metric, &series::dimensions_of(alarm)?)?;
    let mut joined: BTreeMap<i64, Bucket> = BTreeMap::new();
    for ((at, _), bucket) in buckets(connection, series_id, range, text(alarm, "Unit"))? {
        joined.entry(at).or_insert_with(Bucket::empty).merge(&bucket);
    }
    let name = text(alarm, "Statistic").or(text(alarm, "ExtendedStatistic")).unwrap_or("");
    let Some(statistic) = Statistic::parse(name) else { return Ok(None) };
    let threshold = alarm.get("Threshold").and_then(Value::as_f64).unwrap_or_default();
    let comparison = text(alarm, "ComparisonOperator").unwrap_or("");
    let values: Vec<Option<f64>> = (0..count)
        .map(|index| joined.get(&(range.start + index * period)).and_then(|bucket| statistic.of(bucket)))
        .collect();
    let periods: Vec<Option<bool>> =
        values.iter().map(|value| value.map(|value| breaches(comparison, value, threshold))).collect();
    let missing = Missing::parse(text(alarm, "TreatMissingData"));
    let needed = usize::try_from(needed).unwrap_or(1);
    let Some(state) = state_of(&periods, needed, missing) else { return Ok(None) };
    Ok(Some((state, reason(state, &values, threshold))))
}

fn reason(state: &str, values: &[Option<f64>], threshold: f64) -> String {
    let known: Vec<String> = values.iter().flatten().map(|value| format!("{value:?}")).collect();
    if known.is_empty() {
        return format!("Insufficient Data: {} datapoints were unknown.", values.len());
    }
    let crossed = if state == "ALARM" { "breached" } else { "did not breach" };
    let noun = if known.len() == 1 { "datapoint" } else { "datapoints" };
    format!(
        "Threshold Crossed: {} {noun} [{}] {crossed} the threshold ({threshold:?}).",
        known.len(),
        known.join(", ")
    )
}
