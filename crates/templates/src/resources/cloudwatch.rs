//! CloudWatch: alarms on one metric.

use serde_json::Value;

use super::tags::{fields, tag_map};
use super::{Context, Made};
use crate::client::{CallResult, query, xml_members, xml_text};
use crate::intrinsics::text;
use crate::stack::StackResource;

async fn monitoring(
    context: &Context<'_>,
    action: &str,
    parameters: &[(String, String)],
) -> CallResult<String> {
    query(context.client, "monitoring", "2010-08-01", action, parameters).await
}

/// Members of an alarm that are one value.
const FIELDS: [&str; 14] = [
    "ActionsEnabled",
    "AlarmDescription",
    "ComparisonOperator",
    "DatapointsToAlarm",
    "EvaluateLowSampleCountPercentile",
    "EvaluationPeriods",
    "ExtendedStatistic",
    "MetricName",
    "Namespace",
    "Period",
    "Statistic",
    "Threshold",
    "TreatMissingData",
    "Unit",
];

/// Putting an alarm again changes it and leaves its state.
pub(super) async fn put_alarm(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "AlarmName", 255);
    let mut parameters = vec![("AlarmName".to_string(), name.clone())];
    for field in FIELDS {
        parameters.extend(properties.get(field).map(|value| (field.to_string(), text(value))));
    }
    for list in ["AlarmActions", "OKActions", "InsufficientDataActions"] {
        let actions = properties[list].as_array().into_iter().flatten().enumerate();
        parameters.extend(actions.map(|(index, arn)| (format!("{list}.member.{}", index + 1), text(arn))));
    }
    for (index, dimension) in properties["Dimensions"].as_array().into_iter().flatten().enumerate() {
        for member in ["Name", "Value"] {
            let path = format!("Dimensions.member.{}.{member}", index + 1);
            parameters.push((path, text(&dimension[member])));
        }
    }
    parameters.extend(fields(&tag_map(properties)));
    monitoring(context, "PutMetricAlarm", &parameters).await?;
    let arn = context.arn("cloudwatch", &format!("alarm:{name}"));
    Ok(Made::new(name, &[("Arn", arn.into())]))
}

pub(super) async fn delete_alarm(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let parameters = [("AlarmNames.member.1".to_string(), text(&resource.reference))];
    monitoring(context, "DeleteAlarms", &parameters).await.map(drop)
}

pub(super) async fn locate_alarm(context: &Context<'_>, name: &str) -> CallResult<Option<Made>> {
    let parameters = [("AlarmNames.member.1".to_string(), name.to_string())];
    let answer = monitoring(context, "DescribeAlarms", &parameters).await?;
    let is_there = xml_members(&answer).any(|member| xml_text(member, "AlarmName").as_deref() == Some(name));
    Ok(is_there.then(|| Made::new(name, &[])))
}
