//! Metrics by namespace, name and dimensions, and ListMetrics.

use super::Call;
use super::input::{invalid_value, list, missing, text};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DIMENSIONS_MAX: usize = 30;
const PAGE_MAX: i64 = 500;

/// Dimensions by name; the order in which they were given does not matter.
pub(super) type Dimensions = BTreeMap<String, String>;

pub(super) fn dimensions_of(value: &Value) -> Result<Dimensions, ServiceError> {
    let mut dimensions = Dimensions::new();
    for dimension in list(value, "Dimensions") {
        let name = text(dimension, "Name").ok_or_else(|| missing("Dimensions.member.1.Name"))?;
        let value = text(dimension, "Value").ok_or_else(|| missing("Dimensions.member.1.Value"))?;
        dimensions.insert(name.to_owned(), value.to_owned());
    }
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(invalid_value("The collection Dimensions must not have a size greater than 30."));
    }
    Ok(dimensions)
}

fn stored(dimensions: &Dimensions) -> String {
    json!(dimensions).to_string()
}

/// The row of a metric, if anything was ever put.
pub(super) fn find(
    connection: &Connection,
    call: &Call,
    namespace: &str,
    metric: &str,
    dimensions: &Dimensions,
) -> Result<Option<i64>, ServiceError> {
    let sql = "SELECT id FROM series
               WHERE account = ?1 AND region = ?2 AND namespace = ?3 AND metric = ?4 AND dimensions = ?5";
    let row = params![call.account, call.region, namespace, metric, stored(dimensions)];
    Ok(connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?)
}

pub(super) fn find_or_insert(
    connection: &Connection,
    call: &Call,
    namespace: &str,
    metric: &str,
    dimensions: &Dimensions,
) -> Result<i64, ServiceError> {
    if let Some(id) = find(connection, call, namespace, metric, dimensions)? {
        return Ok(id);
    }
    let sql =
        "INSERT INTO series(account, region, namespace, metric, dimensions) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![call.account, call.region, namespace, metric, stored(dimensions)];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(connection.last_insert_rowid())
}

/// The members of a metric as AWS shows them.
pub(super) fn shown(namespace: &str, metric: &str, dimensions: &Dimensions) -> Value {
    let dimensions: Vec<Value> =
        dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    json!({"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions})
}

pub(super) fn list_metrics(
    connection: &Connection,
    call: &Call,
    input: &Value,
) -> Result<Value, ServiceError> {
    let after: i64 = match text(input, "NextToken") {
        None => 0,
        Some(token) => token.parse().map_err(|_| invalid_value("Request parameter NextToken is invalid"))?,
    };
    let sql = "SELECT id, namespace, metric, dimensions FROM series
               WHERE account = ?1 AND region = ?2 AND id > ?3 AND (?4 IS NULL OR namespace = ?4)
                 AND (?5 IS NULL OR metric = ?5) ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let row = params![call.account, call.region, after, text(input, "Namespace"), text(input, "MetricName")];
    let mut rows = statement.query(row)?;
    let mut metrics = Vec::new();
    let mut last = after;
    let mut more = false;
    while let Some(row) = rows.next()? {
        if metrics.len() as i64 >= PAGE_MAX {
            more = true;
            break;
        }
        last = row.get(0)?;
        let dimensions: Dimensions = serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default();
        let wanted = list(input, "Dimensions").iter().all(|filter| {
            let held = text(filter, "Name").and_then(|name| dimensions.get(name));
            held.is_some_and(|held| text(filter, "Value").is_none_or(|value| value == held))
        });
        if wanted {
            metrics.push(shown(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?, &dimensions));
        }
    }
    let mut answer = json!({"Metrics": metrics});
    if more {
        answer["NextToken"] = json!(last.to_string());
    }
    Ok(answer)
}
