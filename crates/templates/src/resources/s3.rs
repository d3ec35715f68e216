//! S3 buckets and their policies. Settings about who may reach a bucket from outside, and about encryption at rest, change
//! nothing here and are kept in the stack only.

use quick_xml::escape::escape;
use serde_json::{Value, json};

use super::tags::tag_map;
use super::{Context, Made, document, s3_settings};
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
    s3_settings::put(context, &name, &Value::Null, properties).await?;
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
    let old = if current.half_changed { &Value::Null } else { &current.properties };
    s3_settings::put(context, name, old, properties).await?;
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
