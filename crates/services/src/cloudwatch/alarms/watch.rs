//! Looks at every alarm every few seconds, and hands the actions that are owed to their topics.

use super::evaluate::{Missing, breaches, state_of};
use super::{change_state, find, read_alarm};
use crate::cloudwatch::Call;
use crate::cloudwatch::bucket::Bucket;
use crate::cloudwatch::input::text;
use crate::cloudwatch::read::{Range, buckets};
use crate::cloudwatch::series;
use crate::cloudwatch::statistic::Statistic;
use crate::environment::Environment;
use crate::storage::Database;
use crate::target_call;
use crate::wire::{CallContext, ServiceError};
use rusqlite::{Connection, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const PAUSE: Duration = Duration::from_secs(5);
const ACTIONS_AT_ONCE: i64 = 100;

/// Runs until it is aborted.
pub(in crate::cloudwatch) async fn watch(database: Database, environment: Environment) {
    loop {
        for result in [evaluate_all(&database, &environment).await, act(&database, &environment).await] {
            if let Err(error) = result {
                tracing::warn!(%error, "alarms could not be evaluated");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn evaluate_all(database: &Database, environment: &Environment) -> Result<(), ServiceError> {
    let now_ms = environment.now().as_millisecond();
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
        let call = Call { account: row.get(1)?, region: row.get(2)?, now_ms };
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

/// Hands what is owed to the topics. A failure of the topic's own keeps the row for the next round.
async fn act(database: &Database, environment: &Environment) -> Result<(), ServiceError> {
    type Owed = (i64, String, String, String, String, String);
    let owed: Vec<Owed> = database.read(|connection| -> Result<_, ServiceError> {
        let sql =
            "SELECT id, account, region, alarm_arn, action, message FROM alarm_actions ORDER BY id LIMIT ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([ACTIONS_AT_ONCE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })?;
    for (id, account, region, alarm_arn, action, message) in owed {
        let mut context = CallContext::service(&account, &region, "cloudwatch.amazonaws.com");
        context.invocation_id = Some(format!("alarm-action-{alarm_arn}-{id}"));
        context.source_arn = Some(alarm_arn);
        match target_call::publish(environment, &context, &action, &message).await {
            Err(error) if error.status.is_server_error() => continue,
            Err(error) => tracing::warn!(action, %error, "an alarm's action is refused"),
            Ok(()) => {}
        }
        let forget = database.write(move |connection| -> Result<(), ServiceError> {
            connection.execute("DELETE FROM alarm_actions WHERE id = ?1", params![id])?;
            Ok(())
        });
        forget.await?;
    }
    Ok(())
}
