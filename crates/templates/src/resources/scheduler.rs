//! EventBridge Scheduler: schedules and their groups.

use serde_json::{Map, Value, json};

use super::tags::{pairs, tag_map};
use super::{Context, Made};
use crate::client::{CallResult, rest, segment};
use crate::stack::StackResource;

/// Members of a schedule that the API takes as they stand.
const FIELDS: [&str; 9] = [
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "KmsKeyArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
    "Target",
];

fn path(name: &str) -> String {
    format!("/schedules/{}", segment(name))
}

fn in_group(path: String, properties: &Value) -> String {
    match properties["GroupName"].as_str() {
        Some(group) => format!("{path}?groupName={}", segment(group)),
        None => path,
    }
}

fn body(properties: &Value) -> Value {
    let mut body = Map::new();
    for field in FIELDS.iter().chain(["GroupName"].iter()) {
        if let Some(value) = properties.get(*field) {
            body.insert(field.to_string(), value.clone());
        }
    }
    for date in ["StartDate", "EndDate"] {
        if let Some(value) = body.get_mut(date)
            && let Some(seconds) = value.as_str().and_then(epoch_seconds)
        {
            *value = seconds.into();
        }
    }
    Value::Object(body)
}

/// Templates say dates as `2026-01-31T10:00:00Z`, the API's JSON in seconds.
fn epoch_seconds(text: &str) -> Option<i64> {
    let (date, time) = text.trim_end_matches('Z').split_once('T')?;
    let parts: Vec<i64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let &[year, month, day] = parts.as_slice() else { return None };
    let clock: Vec<i64> =
        time.split(':').map(|part| part.split('.').next()?.parse().ok()).collect::<Option<_>>()?;
    let (hour, minute, second) = (clock.first()?, clock.get(1).unwrap_or(&0), clock.get(2).unwrap_or(&0));
    // Days since 1970 of the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

pub(super) async fn create_schedule(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 64);
    let answer = rest(context.client, "scheduler", "POST", &path(&name), Some(body(properties))).await?;
    Ok(Made::new(name, &[("Arn", answer["ScheduleArn"].clone())]))
}

pub(super) async fn update_schedule(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    rest(context.client, "scheduler", "PUT", &path(name), Some(body(properties))).await?;
    Ok(Made::same(current))
}

pub(super) async fn delete_schedule(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = in_group(path(resource.reference.as_str().unwrap_or_default()), &resource.properties);
    rest(context.client, "scheduler", "DELETE", &path, None).await.map(drop)
}

pub(super) async fn locate_schedule(
    context: &Context<'_>,
    properties: &Value,
    name: &str,
) -> CallResult<Made> {
    rest(context.client, "scheduler", "GET", &in_group(path(name), properties), None).await?;
    Ok(Made::new(name, &[]))
}

fn group_path(name: &str) -> String {
    format!("/schedule-groups/{}", segment(name))
}

pub(super) async fn create_group(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "Name", 64);
    let body = json!({ "Tags": pairs(&tag_map(properties), "Key", "Value") });
    let answer = rest(context.client, "scheduler", "POST", &group_path(&name), Some(body)).await?;
    Ok(Made::new(name, &[("Arn", answer["ScheduleGroupArn"].clone())]))
}

pub(super) async fn delete_group(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = group_path(resource.reference.as_str().unwrap_or_default());
    rest(context.client, "scheduler", "DELETE", &path, None).await.map(drop)
}

pub(super) async fn locate_group(context: &Context<'_>, name: &str) -> CallResult<Made> {
    rest(context.client, "scheduler", "GET", &group_path(name), None).await?;
    Ok(Made::new(name, &[]))
}

#[cfg(test)]
mod tests {
    use super::epoch_seconds;

    #[test]
    fn dates_become_seconds_since_1970() {
        assert_eq!(epoch_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(epoch_seconds("2024-02-29T12:30:15Z"), Some(1_709_209_815));
        assert_eq!(epoch_seconds("2000-03-01T00:00:00.000Z"), Some(951_868_800));
        assert_eq!(epoch_seconds("soon"), None);
    }
}
