//! PutMetricData.

use super::Call;
use super::bucket::Bucket;
use super::input::{invalid_combination, invalid_value, list, missing, number, seconds, text};
use super::series::{dimensions_of, find_or_insert};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

const DATA_MAX: usize = 1000;
const VALUES_MAX: usize = 150;
const PAST_MAX_SECONDS: f64 = 14.0 * 86400.0;
const FUTURE_MAX_SECONDS: f64 = 2.0 * 3600.0;
/// AWS keeps minutes for 15 days.
const KEPT_SECONDS: i64 = 15 * 86400;
const MINUTE: i64 = 60;
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

pub(super) fn put_metric_data(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    let namespace = text(input, "Namespace").ok_or_else(|| missing("Namespace"))?;
    if namespace.starts_with("AWS/") || namespace.starts_with(':') || namespace.len() > 255 {
        return Err(invalid_value(format!("The value {namespace} for parameter Namespace is invalid.")));
    }
    let data = list(input, "MetricData");
    if data.is_empty() && list(input, "EntityMetricData").is_empty() {
        return Err(missing("MetricData"));
    }
    if data.len() > DATA_MAX {
        return Err(invalid_value("The collection MetricData must not have a size greater than 1000."));
    }
    for (index, datum) in data.iter().enumerate() {
        put_one(connection, call, namespace, datum, &format!("MetricData.member.{}", index + 1))?;
    }
    Ok(Value::Null)
}

fn put_one(
    connection: &Connection,
    call: &Call,
    namespace: &str,
    datum: &Value,
    place: &str,
) -> Result<(), ServiceError> {
    let metric = text(datum, "MetricName").ok_or_else(|| missing(&format!("{place}.MetricName")))?;
    let unit = text(datum, "Unit").unwrap_or("None");
    if !UNITS.contains(&unit) {
        return Err(invalid_value(format!("The value {unit} for parameter {place}.Unit is invalid.")));
    }
    let now = call.now_ms as f64 / 1000.0;
    let at = match datum.get("Timestamp") {
        None | Some(Value::Null) => now,
        Some(value) => seconds(value)
            .ok_or_else(|| invalid_value(format!("The value for parameter {place}.Timestamp is invalid.")))?,
    };
    let bound = if at < now - PAST_MAX_SECONDS {
        Some("two weeks in the past")
    } else if at > now + FUTURE_MAX_SECONDS {
        Some("two hours in the future")
    } else {
        None
    };
    if let Some(bound) = bound {
        let message = format!("The parameter {place}.Timestamp must specify a time no more than {bound}.");
        return Err(invalid_value(message));
    }
    let bucket = bucket_of(datum, place)?;
    let step = match datum.get("StorageResolution").and_then(number) {
        Some(1.0) => 1,
        None | Some(60.0) => MINUTE,
        Some(_) => {
            return Err(invalid_value(format!(
                "The value for parameter {place}.StorageResolution is invalid."
            )));
        }
    };
    let series_id = find_or_insert(connection, call, namespace, metric, &dimensions_of(datum)?)?;
    add(connection, series_id, at.floor() as i64, step, unit, &bucket)
}

fn bucket_of(datum: &Value, place: &str) -> Result<Bucket, ServiceError> {
    let mut bucket = Bucket::empty();
    let finite = |member: &str, value: &Value| {
        number(value).ok_or_else(|| {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            invalid_value(format!("The value {shown} for parameter {place}.{member} is invalid."))
        })
    };
    let given = ["Value", "Values", "StatisticValues"]
        .map(|member| datum.get(member).filter(|value| !value.is_null()));
    match given {
        [Some(value), None, None] => bucket.add(finite("Value", value)?, 1.0),
        [None, Some(_), None] => {
            let (values, counts) = (list(datum, "Values"), list(datum, "Counts"));
            if values.is_empty() || values.len() > VALUES_MAX {
                return Err(invalid_value(format!(
                    "The collection {place}.Values must have a size between 1 and 150."
                )));
            }
            if !counts.is_empty() && counts.len() != values.len() {
                let message =
                    format!("The parameters {place}.Values and {place}.Counts must be of the same size.");
                return Err(invalid_value(message));
            }
            for (index, value) in values.iter().enumerate() {
                let count = counts.get(index).map_or(Ok(1.0), |count| finite("Counts", count))?;
                bucket.add(finite("Values", value)?, count);
            }
        }
        [None, None, Some(set)] => {
            let member = |name: &str| {
                let value =
                    set.get(name).ok_or_else(|| missing(&format!("{place}.StatisticValues.{name}")))?;
                finite(&format!("StatisticValues.{name}"), value)
            };
            bucket.add_set(member("SampleCount")?, member("Sum")?, member("Minimum")?, member("Maximum")?);
        }
        [None, None, None] => return Err(missing(&format!("{place}.Value"))),
        _ => {
            let message = format!(
                "The parameters {place}.Value and {place}.StatisticValues are mutually exclusive and you have \
                 specified both."
            );
            return Err(invalid_combination(message));
        }
    }
    Ok(bucket)
}

/// Joins a bucket to what is kept for its minute.
pub(super) fn add(
    connection: &Connection,
    series_id: i64,
    at_seconds: i64,
    step: i64,
    unit: &str,
    bucket: &Bucket,
) -> Result<(), ServiceError> {
    let at = at_seconds.div_euclid(step) * step;
    let sql = "SELECT bucket FROM buckets WHERE series_id = ?1 AND at = ?2 AND unit = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let held: Option<Vec<u8>> =
        statement.query_row(params![series_id, at, unit], |row| row.get(0)).optional()?;
    if held.is_none() {
        // A new minute of a metric forgets its oldest ones, so nothing else has to.
        let sql = "DELETE FROM buckets WHERE series_id = ?1 AND at < ?2";
        connection.prepare_cached(sql)?.execute(params![series_id, at - KEPT_SECONDS])?;
    }
    let mut joined = held.and_then(|bytes| Bucket::from_bytes(&bytes)).unwrap_or_else(Bucket::empty);
    joined.merge(bucket);
    let sql = "INSERT OR REPLACE INTO buckets VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![series_id, at, unit, joined.to_bytes()])?;
    Ok(())
}
