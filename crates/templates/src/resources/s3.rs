//! S3 buckets. Settings about who may reach a bucket from outside, and about encryption at rest, change nothing here and
//! are kept in the stack only; those that would make something happen (notifications, expiry) are refused.

use quick_xml::escape::escape;
use serde_json::{Value, json};

use super::tags::tag_map;
use super::{Context, Made, document};
use crate::client::{CallResult, rest_xml, segment};
use crate::intrinsics::text;
use crate::stack::StackResource;

/// The region where a bucket goes if nobody says, which the API takes by silence only.
const FIRST_REGION: &str = "us-east-1";

/// A bucket's region is that of its stack; the request must say it.
pub(super) fn prepare(mut properties: Value, region: &str) -> Value {
    if properties.is_null() {
        properties = json!({});
    }
    properties["Region"] = region.into();
    properties
}

async fn put(context: &Context<'_>, path: &str, body: String) -> CallResult<()> {
    rest_xml(context.client, "s3", "PUT", path, body).await.map(drop)
}

pub(super) fn name(context: &Context<'_>, properties: &Value) -> String {
    // Names made from stack and logical id may have capitals, which buckets' names may not.
    match properties["BucketName"].as_str() {
        Some(name) => name.to_string(),
        None => context.name(properties, "BucketName", 63).to_lowercase(),
    }
}

pub(super) async fn create_bucket(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = name(context, properties);
    let region = properties["Region"].as_str().unwrap_or(FIRST_REGION);
    let body = if region == FIRST_REGION {
        String::new()
    } else {
        let constraint = format!("<LocationConstraint>{}</LocationConstraint>", escape(region));
        format!("<CreateBucketConfiguration>{constraint}</CreateBucketConfiguration>")
    };
    put(context, &format!("/{}", segment(&name)), body).await?;
    configure(context, &name, properties, "").await?;
    if properties.get(NOTIFICATION).is_some() {
        put_notification(context, &name, properties).await?;
    }
    Ok(made(&name, region))
}

fn made(name: &str, region: &str) -> Made {
    let attributes = [
        ("Arn", format!("arn:aws:s3:::{name}").into()),
        ("DomainName", format!("{name}.s3.amazonaws.com").into()),
        ("RegionalDomainName", format!("{name}.s3.{region}.amazonaws.com").into()),
        ("DualStackDomainName", format!("{name}.s3.dualstack.{region}.amazonaws.com").into()),
    ];
    Made::new(name, &attributes)
}

const NOTIFICATION: &str = "NotificationConfiguration";

/// Which events go where: to EventBridge, functions, queues and topics.
async fn put_notification(context: &Context<'_>, name: &str, properties: &Value) -> CallResult<()> {
    let wanted = &properties[NOTIFICATION];
    let enabled = &wanted["EventBridgeConfiguration"]["EventBridgeEnabled"];
    let to_event_bridge =
        wanted.get("EventBridgeConfiguration").is_some() && text(enabled).to_lowercase() != "false";
    let mut body = String::new();
    for (list, element, target, kind) in [
        ("LambdaConfigurations", "CloudFunctionConfiguration", "CloudFunction", "Function"),
        ("QueueConfigurations", "QueueConfiguration", "Queue", "Queue"),
        ("TopicConfigurations", "TopicConfiguration", "Topic", "Topic"),
    ] {
        for entry in wanted[list].as_array().into_iter().flatten() {
            let arn = text(&entry[kind]);
            let rules = entry["Filter"]["S3Key"]["Rules"].as_array().into_iter().flatten();
            let rules: String = rules
                .map(|rule| {
                    let (name, value) = (text(&rule["Name"]), text(&rule["Value"]));
                    let (name, value) = (escape(name.as_str()), escape(value.as_str()));
                    format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>")
                })
                .collect();
            let filter = format!("<Filter><S3Key>{rules}</S3Key></Filter>");
            let filter = if rules.is_empty() { String::new() } else { filter };
            let (event, arn) = (text(&entry["Event"]), escape(arn.as_str()));
            let event = escape(event.as_str());
            body.push_str(&format!(
                "<{element}><{target}>{arn}</{target}><Event>{event}</Event>{filter}</{element}>"
            ));
        }
    }
    if to_event_bridge {
        body.push_str("<EventBridgeConfiguration></EventBridgeConfiguration>");
    }
    let body = format!("<NotificationConfiguration>{body}</NotificationConfiguration>");
    put(context, &format!("/{}?notification", segment(name)), body).await
}

/// Versioning and tags. `versioning_without` is the status if the template says none.
async fn configure(
    context: &Context<'_>,
    name: &str,
    properties: &Value,
    versioning_without: &str,
) -> CallResult<()> {
    let path = format!("/{}", segment(name));
    let status = properties["VersioningConfiguration"]["Status"].as_str().unwrap_or(versioning_without);
    if !status.is_empty() {
        let body = format!("<Status>{}</Status>", escape(status));
        let body = format!("<VersioningConfiguration>{body}</VersioningConfiguration>");
        put(context, &format!("{path}?versioning"), body).await?;
    }
    let tags = tag_map(properties);
    if tags.is_empty() {
        return rest_xml(context.client, "s3", "DELETE", &format!("{path}?tagging"), String::new())
            .await
            .map(drop);
    }
    let tag = |(key, value): (&String, &Value)| {
        let value = text(value);
        format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escape(key.as_str()), escape(value.as_str()))
    };
    let set: String = tags.iter().map(tag).collect();
    put(context, &format!("{path}?tagging"), format!("<Tagging><TagSet>{set}</TagSet></Tagging>")).await
}

pub(super) async fn update_bucket(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let name = current.reference.as_str().unwrap_or_default();
    let had_versions = current.properties.get("VersioningConfiguration").is_some();
    // Versioning once enabled can only be suspended.
    configure(context, name, properties, if had_versions { "Suspended" } else { "" }).await?;
    if current.properties.get(NOTIFICATION) != properties.get(NOTIFICATION) || current.half_changed {
        put_notification(context, name, properties).await?;
    }
    Ok(Made::same(current))
}

/// A bucket that holds objects is not deleted, as on AWS.
pub(super) async fn delete_bucket(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = format!("/{}", segment(resource.reference.as_str().unwrap_or_default()));
    rest_xml(context.client, "s3", "DELETE", &path, String::new()).await.map(drop)
}

pub(super) async fn locate_bucket(context: &Context<'_>, name: &str) -> CallResult<Made> {
    let path = format!("/{}?location", segment(name));
    rest_xml(context.client, "s3", "GET", &path, String::new()).await?;
    Ok(Made::new(name, &[]))
}

fn policy_path(properties: &Value) -> String {
    format!("/{}?policy", segment(properties["Bucket"].as_str().unwrap_or_default()))
}

pub(super) async fn put_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    put(context, &policy_path(properties), document(&properties["PolicyDocument"])).await?;
    Ok(Made::new(properties["Bucket"].clone(), &[]))
}

pub(super) async fn delete_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let path = policy_path(&resource.properties);
    rest_xml(context.client, "s3", "DELETE", &path, String::new()).await.map(drop)
}
