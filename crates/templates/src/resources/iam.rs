//! IAM: roles with their inline and attached policies, managed policies.

use serde_json::Value;

use super::tags::{TagChange, fields, key_fields, tag_map};
use super::{Context, Made, document};
use crate::client::{CallResult, query, xml_members, xml_text};
use crate::intrinsics::text;
use crate::stack::StackResource;

async fn call(context: &Context<'_>, action: &str, parameters: &[(&str, &str)]) -> CallResult<String> {
    let parameters: Vec<(String, String)> =
        parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    query(context.client, "iam", "2010-05-08", action, &parameters).await
}

fn listed<'v>(properties: &'v Value, field: &str) -> Vec<&'v str> {
    properties[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) async fn create_role(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "RoleName", 64);
    let trust = document(&properties["AssumeRolePolicyDocument"]);
    let path = properties["Path"].as_str().unwrap_or("/");
    let mut parameters = vec![
        ("RoleName".to_string(), name.clone()),
        ("AssumeRolePolicyDocument".to_string(), trust),
        ("Path".to_string(), path.to_string()),
    ];
    for field in ["Description", "MaxSessionDuration", "PermissionsBoundary"] {
        parameters.extend(properties.get(field).map(|value| (field.to_string(), text(value))));
    }
    parameters.extend(fields(&tag_map(properties)));
    let answer = query(context.client, "iam", "2010-05-08", "CreateRole", &parameters).await?;
    let arn = xml_text(&answer, "Arn").unwrap_or_default();
    let id = xml_text(&answer, "RoleId").unwrap_or_default();
    put_policies(context, &name, properties).await?;
    Ok(Made::new(name, &[("Arn", arn.into()), ("RoleId", id.into())]))
}

async fn put_policies(context: &Context<'_>, role: &str, properties: &Value) -> CallResult<()> {
    for policy in properties["Policies"].as_array().into_iter().flatten() {
        let name = policy["PolicyName"].as_str().unwrap_or("policy");
        put_inline(context, "Role", role, name, &document(&policy["PolicyDocument"])).await?;
    }
    for arn in listed(properties, "ManagedPolicyArns") {
        call(context, "AttachRolePolicy", &[("RoleName", role), ("PolicyArn", arn)]).await?;
    }
    Ok(())
}

async fn put_inline(
    context: &Context<'_>,
    principal: &str,
    name: &str,
    policy: &str,
    text: &str,
) -> CallResult<()> {
    let (action, member) = (format!("Put{principal}Policy"), format!("{principal}Name"));
    let parameters = [(member.as_str(), name), ("PolicyName", policy), ("PolicyDocument", text)];
    call(context, &action, &parameters).await.map(drop)
}

async fn drop_inline(context: &Context<'_>, principal: &str, name: &str, policy: &str) -> CallResult<()> {
    let (action, member) = (format!("Delete{principal}Policy"), format!("{principal}Name"));
    gone(call(context, &action, &[(member.as_str(), name), ("PolicyName", policy)]).await)
}

/// What was not there is gone, too: the next policy and the role itself still have to go.
fn gone(answer: CallResult<String>) -> CallResult<()> {
    match answer {
        Err(error) if error.code() != "NoSuchEntity" => Err(error),
        _ => Ok(()),
    }
}

fn inline_names(properties: &Value) -> Vec<&str> {
    let policies = properties["Policies"].as_array().into_iter().flatten();
    policies.map(|policy| policy["PolicyName"].as_str().unwrap_or("policy")).collect()
}

/// The new policies are there before the old ones go, so that running executions never lack one.
pub(super) async fn update_role(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let role = current.reference.as_str().unwrap_or_default();
    let trust = document(&properties["AssumeRolePolicyDocument"]);
    call(context, "UpdateAssumeRolePolicy", &[("RoleName", role), ("PolicyDocument", &trust)]).await?;
    put_policies(context, role, properties).await?;
    let (kept, attached) = (inline_names(properties), listed(properties, "ManagedPolicyArns"));
    for name in inline_names(&current.properties).into_iter().filter(|name| !kept.contains(name)) {
        drop_inline(context, "Role", role, name).await?;
    }
    for arn in listed(&current.properties, "ManagedPolicyArns") {
        if !attached.contains(&arn) {
            gone(call(context, "DetachRolePolicy", &[("RoleName", role), ("PolicyArn", arn)]).await)?;
        }
    }
    update_settings(context, role, current, properties).await?;
    Ok(Made::same(current))
}

/// Tags, and what else a role says of itself.
async fn update_settings(
    context: &Context<'_>,
    role: &str,
    current: &StackResource,
    properties: &Value,
) -> CallResult<()> {
    let settings = ["Description", "MaxSessionDuration"];
    if settings.iter().any(|field| current.properties.get(*field) != properties.get(*field)) {
        let description = properties["Description"].as_str().unwrap_or_default();
        let duration = properties.get("MaxSessionDuration").map_or("3600".to_string(), text);
        let parameters =
            [("RoleName", role), ("Description", description), ("MaxSessionDuration", duration.as_str())];
        call(context, "UpdateRole", &parameters).await?;
    }
    let (name, tags) = (("RoleName".to_string(), role.to_string()), TagChange::of(current, properties));
    if !tags.gone.is_empty() {
        let parameters = [vec![name.clone()], key_fields(&tags.gone)].concat();
        query(context.client, "iam", "2010-05-08", "UntagRole", &parameters).await?;
    }
    if !tags.put.is_empty() {
        let parameters = [vec![name], fields(&tags.put)].concat();
        query(context.client, "iam", "2010-05-08", "TagRole", &parameters).await?;
    }
    Ok(())
}

/// A role goes with whatever policies it has by now, also those of a change that was never finished.
pub(super) async fn delete_role(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let role = resource.reference.as_str().unwrap_or_default();
    let inline = call(context, "ListRolePolicies", &[("RoleName", role)]).await?;
    for name in xml_members(&inline) {
        drop_inline(context, "Role", role, name.trim()).await?;
    }
    let attached = call(context, "ListAttachedRolePolicies", &[("RoleName", role)]).await?;
    for arn in xml_members(&attached).filter_map(|member| xml_text(member, "PolicyArn")) {
        gone(call(context, "DetachRolePolicy", &[("RoleName", role), ("PolicyArn", &arn)]).await)?;
    }
    call(context, "DeleteRole", &[("RoleName", role)]).await.map(drop)
}

pub(super) async fn locate_role(context: &Context<'_>, name: &str) -> CallResult<Made> {
    call(context, "GetRole", &[("RoleName", name)]).await?;
    Ok(Made::new(name, &[]))
}

/// The roles and users that a policy names.
fn principals(properties: &Value) -> Vec<(&'static str, String)> {
    let of = |field: &str, principal: &'static str| -> Vec<(&'static str, String)> {
        listed(properties, field).into_iter().map(|name| (principal, name.to_string())).collect()
    };
    [of("Roles", "Role"), of("Users", "User")].concat()
}

/// `AWS::IAM::Policy`: an inline policy of the roles and users that it lists.
pub(super) async fn put_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "PolicyName", 128);
    let text = document(&properties["PolicyDocument"]);
    for (principal, of) in principals(properties) {
        put_inline(context, principal, &of, &name, &text).await?;
    }
    Ok(Made::new(name, &[]))
}

pub(super) async fn update_policy(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let made = put_policy(context, properties).await?;
    let kept = principals(properties);
    let renamed = made.reference != current.reference;
    let old = current.reference.as_str().unwrap_or_default();
    for (principal, of) in principals(&current.properties) {
        if renamed || !kept.contains(&(principal, of.clone())) {
            drop_inline(context, principal, &of, old).await?;
        }
    }
    Ok(made)
}

pub(super) async fn locate_policy(
    context: &Context<'_>,
    properties: &Value,
    name: &str,
) -> CallResult<Option<Made>> {
    let Some((principal, of)) = principals(properties).into_iter().next() else { return Ok(None) };
    let (action, member) = (format!("Get{principal}Policy"), format!("{principal}Name"));
    call(context, &action, &[(member.as_str(), &of), ("PolicyName", name)]).await?;
    Ok(Some(Made::new(name, &[])))
}

pub(super) async fn delete_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let name = resource.reference.as_str().unwrap_or_default();
    for (principal, of) in principals(&resource.properties) {
        drop_inline(context, principal, &of, name).await?;
    }
    Ok(())
}

async fn attach(context: &Context<'_>, verb: &str, principal: &str, of: &str, arn: &str) -> CallResult<()> {
    let (action, member) = (format!("{verb}{principal}Policy"), format!("{principal}Name"));
    gone(call(context, &action, &[(member.as_str(), of), ("PolicyArn", arn)]).await)
}

pub(super) async fn create_managed_policy(context: &Context<'_>, properties: &Value) -> CallResult<Made> {
    let name = context.name(properties, "ManagedPolicyName", 128);
    let text = document(&properties["PolicyDocument"]);
    let path = properties["Path"].as_str().unwrap_or("/");
    let parameters = [("PolicyName", name.as_str()), ("PolicyDocument", &text), ("Path", path)];
    let answer = call(context, "CreatePolicy", &parameters).await?;
    let arn = xml_text(&answer, "Arn").unwrap_or_default();
    for (principal, of) in principals(properties) {
        attach(context, "Attach", principal, &of, &arn).await?;
    }
    Ok(Made::new(arn.clone(), &[("PolicyArn", arn.into())]))
}

/// A new version becomes the default, and the one before goes: there may be only five.
pub(super) async fn update_managed_policy(
    context: &Context<'_>,
    current: &StackResource,
    properties: &Value,
) -> CallResult<Made> {
    let arn = current.reference.as_str().unwrap_or_default();
    if current.properties["PolicyDocument"] != properties["PolicyDocument"] || current.half_changed {
        let versions = call(context, "ListPolicyVersions", &[("PolicyArn", arn)]).await?;
        for member in xml_members(&versions) {
            if xml_text(member, "IsDefaultVersion").as_deref() == Some("false") {
                let version = xml_text(member, "VersionId").unwrap_or_default();
                let parameters = [("PolicyArn", arn), ("VersionId", version.as_str())];
                gone(call(context, "DeletePolicyVersion", &parameters).await)?;
            }
        }
        let text = document(&properties["PolicyDocument"]);
        let parameters = [("PolicyArn", arn), ("PolicyDocument", &text), ("SetAsDefault", "true")];
        call(context, "CreatePolicyVersion", &parameters).await?;
    }
    let (old, new) = (principals(&current.properties), principals(properties));
    for (principal, of) in new.iter().filter(|of| !old.contains(of)) {
        attach(context, "Attach", principal, of, arn).await?;
    }
    for (principal, of) in old.iter().filter(|of| !new.contains(of)) {
        attach(context, "Detach", principal, of, arn).await?;
    }
    Ok(Made::same(current))
}

pub(super) async fn delete_managed_policy(context: &Context<'_>, resource: &StackResource) -> CallResult<()> {
    let arn = resource.reference.as_str().unwrap_or_default();
    for (principal, of) in principals(&resource.properties) {
        attach(context, "Detach", principal, &of, arn).await?;
    }
    let versions = call(context, "ListPolicyVersions", &[("PolicyArn", arn)]).await?;
    for member in xml_members(&versions) {
        if xml_text(member, "IsDefaultVersion").as_deref() == Some("false") {
            let version = xml_text(member, "VersionId").unwrap_or_default();
            gone(call(context, "DeletePolicyVersion", &[("PolicyArn", arn), ("VersionId", &version)]).await)?;
        }
    }
    call(context, "DeletePolicy", &[("PolicyArn", arn)]).await.map(drop)
}

pub(super) async fn locate_managed_policy(
    context: &Context<'_>,
    properties: &Value,
    name: &str,
) -> CallResult<Made> {
    let path = properties["Path"].as_str().unwrap_or("/");
    let arn = format!("arn:aws:iam::{}:policy{path}{name}", context.place.account);
    call(context, "GetPolicy", &[("PolicyArn", &arn)]).await?;
    Ok(Made::new(arn, &[]))
}
