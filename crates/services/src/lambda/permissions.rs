//! A function's own policy: who else may invoke it.

use super::api::{Call, invalid};
use super::function::Function;
use crate::wire::{ServiceError, ServiceResponse};
use serde_json::{Map, Value, json};

/// The policy of a function or of one of its versions or aliases, if it has statements.
pub(super) fn policy(function: &Function, qualifier: Option<&str>) -> Option<Value> {
    let statements =
        function.policies.get(qualifier.unwrap_or_default()).filter(|statements| !statements.is_empty())?;
    Some(json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}))
}

pub(super) async fn add(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let input = call.request.json()?;
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let required = |name: &str| {
        let member = format!("{}{}", name[..1].to_lowercase(), &name[1..]);
        text(name).map(str::to_owned).ok_or_else(|| {
            ServiceError::client(
                "ValidationException",
                format!(
                    "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must \
                     not be null"
                ),
            )
        })
    };
    let (sid, action, principal) = (required("StatementId")?, required("Action")?, required("Principal")?);
    if text("FunctionUrlAuthType").is_some() || text("PrincipalOrgID").is_some() {
        return Err(invalid("FunctionUrlAuthType and PrincipalOrgID are not supported by this server."));
    }
    let qualifier = call.qualifier.clone().unwrap_or_default();
    let resource =
        if qualifier.is_empty() { call.key.arn() } else { format!("{}:{qualifier}", call.key.arn()) };
    let mut statement = Map::new();
    statement.insert("Sid".into(), sid.clone().into());
    statement.insert("Effect".into(), "Allow".into());
    let is_service = principal.contains(".amazonaws.com");
    let principal = match principal.as_str() {
        "*" => json!("*"),
        service if is_service => json!({"Service": service}),
        account if account.bytes().all(|byte| byte.is_ascii_digit()) => {
            json!({"AWS": format!("arn:aws:iam::{account}:root")})
        }
        arn => json!({"AWS": arn}),
    };
    statement.insert("Principal".into(), principal);
    statement.insert("Action".into(), action.into());
    statement.insert("Resource".into(), resource.into());
    let mut conditions = Map::new();
    if let Some(account) = text("SourceAccount") {
        conditions.insert("StringEquals".into(), json!({"AWS:SourceAccount": account}));
    }
    if let Some(arn) = text("SourceArn") {
        conditions.insert("ArnLike".into(), json!({"AWS:SourceArn": arn}));
    }
    if !conditions.is_empty() {
        statement.insert("Condition".into(), Value::Object(conditions));
    }
    let statement = Value::Object(statement);
    let added = statement.clone();
    let change = |function: &mut Function| {
        let statements = function.policies.entry(qualifier.clone()).or_default();
        if statements.iter().any(|present| present["Sid"] == added["Sid"]) {
            let message = format!(
                "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the \
                 existing statement."
            );
            return Err(ServiceError::new(409, "ResourceConflictException", message));
        }
        statements.push(added);
        function.policy_revisions.insert(qualifier, uuid::Uuid::new_v4().to_string());
        Ok(())
    };
    call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::json(json!({"Statement": statement.to_string()})).with_status(201))
}

pub(super) fn get(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let function = call.inner.catalog.get(&call.key)?;
    let policy = policy(&function, call.qualifier.as_deref()).ok_or_else(none)?;
    let revision = function.policy_revisions.get(call.qualifier.as_deref().unwrap_or_default());
    Ok(ServiceResponse::json(json!({"Policy": policy.to_string(), "RevisionId": revision})))
}

pub(super) async fn remove(call: &Call<'_>) -> Result<ServiceResponse, ServiceError> {
    let qualifier = call.qualifier.clone().unwrap_or_default();
    let sid = &call.route.item;
    let change = |function: &mut Function| {
        let statements = function.policies.entry(qualifier.clone()).or_default();
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != sid.as_str());
        if statements.len() == before {
            let message = format!("Statement {sid} is not found in resource policy.");
            return Err(ServiceError::new(404, "ResourceNotFoundException", message));
        }
        function.policy_revisions.insert(qualifier, uuid::Uuid::new_v4().to_string());
        Ok(())
    };
    call.inner.catalog.change(&call.key, None, change).await?;
    Ok(ServiceResponse::empty().with_status(204))
}

fn none() -> ServiceError {
    ServiceError::new(404, "ResourceNotFoundException", "The resource you requested does not exist.")
}
