//! IAM: roles with their inline and attached policies, managed policies.

use serde_json::Value;

use super::{Context, Made, document};
use crate::client::{CallResult, query, xml_text};
use crate::deploy::StackResource;

async fn call(context: &Context<'_>, action: &str, parameters: &[(&str, &str)]) -> CallResult<String> {
    let parameters: Vec<(String, String)> =
        parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    query(context.client, "iam", "2010-05-08", action, &parameters).await
}

pub(super) async fn create_role(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "RoleName", 64);
    let trust = document(&properties["AssumeRolePolicyDocument"]);
    let path = properties["Path"].as_str().unwrap_or("/");
    let answer = call(
        context,
        "CreateRole",
        &[("RoleName", &name), ("AssumeRolePolicyDocument", &trust), ("Path", path)],
    )
    .await?;
    let arn = xml_text(&answer, "Arn").unwrap_or_default();
    let id = xml_text(&answer, "RoleId").unwrap_or_default();
    put_policies(context, &name, properties).await?;
    Ok(Made::new(name, &[("Arn", arn.into()), ("RoleId", id.into())]))
}

async fn put_policies(context: &Context<'_>, role: &str, properties: &Value) -> CallResult<()> {
    for policy in properties["Policies"].as_array().into_iter().flatten() {
        let name = policy["PolicyName"].as_str().unwrap_or("policy");
        let text = document(&policy["PolicyDocument"]);
        call(
            context,
            "PutRolePolicy",
            &[("RoleName", role), ("PolicyName", name), ("PolicyDocument", &text)],
        )
        .await?;
    }
    for arn in properties["ManagedPolicyArns"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        call(context, "AttachRolePolicy", &[("RoleName", role), ("PolicyArn", arn)]).await?;
    }
    Ok(())
}

async fn drop_policies(context: &Context<'_>, role: &str, properties: &Value) -> CallResult<()> {
    for policy in properties["Policies"].as_array().into_iter().flatten() {
        let name = policy["PolicyName"].as_str().unwrap_or("policy");
        gone(call(context, "DeleteRolePolicy", &[("RoleName", role), ("PolicyName", name)]).await)?;
    }
    for arn in properties["ManagedPolicyArns"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        gone(call(context, "DetachRolePolicy", &[("RoleName", role), ("PolicyArn", arn)]).await)?;
    }
    Ok(())
}

/// What was not there is gone, too: the next policy and the role itself still have to go.
fn gone(answer: CallResult<String>) -> CallResult<()> {
    match answer {
        Err(error) if error.code() != "NoSuchEntity" => Err(error),
        _ => Ok(()),
    }
}

pub(super) async fn update_role(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let role = current.reference.as_str().unwrap_or_default();
    if context.name(properties, "RoleName", 64) != role {
        delete_role(context, current).await?;
        return create_role(context, properties).await;
    }
    drop_policies(context, role, &current.properties).await?;
    let trust = document(&properties["AssumeRolePolicyDocument"]);
    call(context, "UpdateAssumeRolePolicy", &[("RoleName", role), ("PolicyDocument", &trust)]).await?;
    put_policies(context, role, properties).await?;
    Ok(Made { reference: current.reference.clone(), attributes: current.attributes.clone() })
}

pub(super) async fn delete_role(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let role = resource.reference.as_str().unwrap_or_default();
    drop_policies(context, role, &resource.properties).await?;
    call(context, "DeleteRole", &[("RoleName", role)]).await.map(drop)
}

/// `AWS::IAM::Policy`: an inline policy of the roles that it lists.
pub(super) async fn put_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "PolicyName", 128);
    let text = document(&properties["PolicyDocument"]);
    for role in properties["Roles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        call(
            context,
            "PutRolePolicy",
            &[("RoleName", role), ("PolicyName", &name), ("PolicyDocument", &text)],
        )
        .await?;
    }
    Ok(Made::new(name, &[]))
}

pub(super) async fn delete_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let name = resource.reference.as_str().unwrap_or_default();
    for role in resource.properties["Roles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        call(context, "DeleteRolePolicy", &[("RoleName", role), ("PolicyName", name)]).await?;
    }
    Ok(())
}

pub(super) async fn create_managed_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "ManagedPolicyName", 128);
    let text = document(&properties["PolicyDocument"]);
    let answer = call(context, "CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", &text)]).await?;
    let arn = xml_text(&answer, "Arn").unwrap_or_default();
    for role in properties["Roles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        call(context, "AttachRolePolicy", &[("RoleName", role), ("PolicyArn", &arn)]).await?;
    }
    Ok(Made::new(arn, &[]))
}

pub(super) async fn delete_managed_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let arn = resource.reference.as_str().unwrap_or_default();
    for role in resource.properties["Roles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        call(context, "DetachRolePolicy", &[("RoleName", role), ("PolicyArn", arn)]).await?;
    }
    call(context, "DeletePolicy", &[("PolicyArn", arn)]).await.map(drop)
}
