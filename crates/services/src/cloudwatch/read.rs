//! GetMetricStatistics and GetMetricData.

use super::Call;
use super::bucket::Bucket;
use super::input::{invalid_combination, invalid_value, list, missing, number, seconds, text};
use super::series::{dimensions_of, find};
use super::statistic::Statistic;
use crate::wire::ServiceError;
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DATAPOINTS_MAX: i64 = 1440;
const QUERIES_MAX: usize = 500;
const VALUES_MAX: usize = 100_800;

/// A stretch of time: from, inclusive, to, exclusive, in steps.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) period: i64,
}

fn time(input: &Value, member: &str) -> Result<i64, ServiceError> {
    let value = input.get(member).ok_or_else(|| missing(member))?;
    let at = seconds(value)
        .ok_or_else(|| invalid_value(format!("The value for parameter {member} is invalid.")))?;
    Ok(at.floor() as i64)
}

fn range(input: &Value, period: Option<&Value>) -> Result<Range, ServiceError> {
    let (start, end) = (time(input, "StartTime")?, time(input, "EndTime")?);
    if start >= end {
        return Err(invalid_combination("The parameter StartTime must be less than the parameter EndTime."));
    }
    let period = period.ok_or_else(|| missing("Period"))?;
    let period =
        number(period).filter(|period| period.fract() == 0.0 && *period > 0.0).map(|period| period as i64);
    match period {
        Some(period) if [1, 5, 10, 20, 30].contains(&period) || period % 60 == 0 => {
            Ok(Range { start, end, period })
        }
        _ => Err(invalid_value("The parameter Period must be a multiple of 60, or 1, 5, 10, 20 or 30.")),
    }
}

/// Buckets by the start of their period, for each unit.
pub(super) fn buckets(
    connection: &Connection,
    series_id: Option<i64>,
    range: Range,
    unit: Option<&str>,
) -> Result<BTreeMap<(i64, String), Bucket>, ServiceError> {
    let mut joined = BTreeMap::new();
    let Some(series_id) = series_id else { return Ok(joined) };
    let sql = "SELECT at, unit, bucket FROM buckets WHERE series_id = ?1 AND at >= ?2 AND at < ?3
               AND (?4 IS NULL OR unit = ?4) ORDER BY at";
    let mut statement = connection.prepare_cached(sql)?;
    let first = range.start.div_euclid(range.period) * range.period;
    let mut rows = statement.query(params![series_id, first, range.end, unit])?;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(0)?;
        let Some(bucket) = Bucket::from_bytes(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
        else {
            return Err(ServiceError::internal("a stored bucket cannot be read"));
        };
        let key = (at.div_euclid(range.period) * range.period, row.get(1)?);
        joined.entry(key).or_insert_with(Bucket::empty).merge(&bucket);
    }
    Ok(joined)
}

pub(super) fn get_metric_statistics(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    let namespace = text(input, "Namespace").ok_or_else(|| missing("Namespace"))?;
    let metric = text(input, "MetricName").ok_or_else(|| missing("MetricName"))?;
    let range = range(input, input.get("Period"))?;
    let points = (range.end - range.start) / range.period;
    if points > DATAPOINTS_MAX {
        return Err(invalid_combination(format!(
            "You have requested up to {points} datapoints, which exceeds the limit of 1,440. You may reduce the \
             datapoints requested by increasing Period, or decreasing the time range."
        )));
    }
    let named = |member: &str| -> Result<Vec<(String, Statistic)>, ServiceError> {
        let names = list(input, member).iter().filter_map(Value::as_str);
        names
            .map(|name| match Statistic::parse(name) {
                Some(statistic) => Ok((name.to_owned(), statistic)),
                None => {
                    Err(invalid_value(format!("The value {name} for parameter {member} is not supported.")))
                }
            })
            .collect()
    };
    let (plain, extended) = (named("Statistics")?, named("ExtendedStatistics")?);
    if plain.is_empty() && extended.is_empty() {
        return Err(invalid_combination(
            "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
        ));
    }
    let series_id = find(connection, call, namespace, metric, &dimensions_of(input)?)?;
    let mut datapoints = Vec::new();
    for ((at, unit), bucket) in buckets(connection, series_id, range, text(input, "Unit"))? {
        let mut datapoint = json!({"Timestamp": at, "Unit": unit});
        for (name, statistic) in &plain {
            if let Some(value) = statistic.of(&bucket) {
                datapoint[name.as_str()] = json!(value);
            }
        }
        let percentiles: Map<String, Value> = extended
            .iter()
            .filter_map(|(name, statistic)| Some((name.clone(), json!(statistic.of(&bucket)?))))
            .collect();
        if !percentiles.is_empty() {
            datapoint["ExtendedStatistics"] = Value::Object(percentiles);
        }
        datapoints.push(datapoint);
    }
    Ok(json!({"Label": metric, "Datapoints": datapoints}))
}

pub(super) fn get_metric_data(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    let queries = list(input, "MetricDataQueries");
    if queries.is_empty() {
        return Err(missing("MetricDataQueries"));
    }
    if queries.len() > QUERIES_MAX {
        return Err(validation("The collection MetricDataQueries must not have a size greater than 500."));
    }
    let ascending = text(input, "ScanBy") == Some("TimestampAscending");
    let mut results = Vec::new();
    for query in queries {
        let id = text(query, "Id").ok_or_else(|| missing("MetricDataQueries.member.1.Id"))?;
        if query.get("Expression").is_some_and(|expression| !expression.is_null()) {
            let message = "Metric math and search expressions are not implemented by this server.";
            return Err(ServiceError::new(501, "UnsupportedOperationException", message));
        }
        let stat = query.get("MetricStat").ok_or_else(|| missing("MetricDataQueries.member.1.MetricStat"))?;
        let mut values = values_of(connection, call, input, stat)?;
        if !ascending {
            values.reverse();
        }
        values.truncate(VALUES_MAX);
        let metric = stat.pointer("/Metric/MetricName").and_then(Value::as_str).unwrap_or(id);
        if query.get("ReturnData").is_some_and(|wanted| [json!(false), json!("false")].contains(wanted)) {
            continue;
        }
        let (times, values): (Vec<i64>, Vec<f64>) = values.into_iter().unzip();
        results.push(json!({"Id": id, "Label": text(query, "Label").unwrap_or(metric), "Timestamps": times,
                            "Values": values, "StatusCode": "Complete"}));
    }
    Ok(json!({"MetricDataResults": results, "Messages": []}))
}

fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::client("ValidationError", message)
}

fn values_of(
    connection: &Connection,
    call: &Call,
    input: &Value,
    stat: &Value,
) -> Result<Vec<(i64, f64)>, ServiceError> {
    let metric = stat.get("Metric").ok_or_else(|| missing("MetricStat.Metric"))?;
    let namespace = text(metric, "Namespace").ok_or_else(|| missing("MetricStat.Metric.Namespace"))?;
    let name = text(metric, "MetricName").ok_or_else(|| missing("MetricStat.Metric.MetricName"))?;
    let wanted = text(stat, "Stat").ok_or_else(|| missing("MetricStat.Stat"))?;
    let statistic = Statistic::parse(wanted)
        .ok_or_else(|| validation(format!("The statistic {wanted} is not implemented by this server.")))?;
    let range = range(input, stat.get("Period"))?;
    let series_id = find(connection, call, namespace, name, &dimensions_of(metric)?)?;
    let found = buckets(connection, series_id, range, text(stat, "Unit"))?;
    // Without a unit all are taken together, as AWS does for GetMetricData when there is but one.
    let mut joined: BTreeMap<i64, Bucket> = BTreeMap::new();
    for ((at, _), bucket) in found {
        joined.entry(at).or_insert_with(Bucket::empty).merge(&bucket);
    }
    Ok(joined.into_iter().filter_map(|(at, bucket)| Some((at, statistic.of(&bucket)?))).collect())
}
