//! A record as CloudTrail writes it, and the row that is kept of it.

use super::audit::{Draft, Outcome};
use super::hidden;
use super::plane::{self, Class};
use super::resources;
use crate::wire::{CallContext, Principal};
use serde_json::{Map, Value, json};

/// A record in its file.
pub(super) struct Row {
    pub(super) class: Class,
    pub(super) account: String,
    pub(super) region: String,
    pub(super) at_ms: i64,
    pub(super) event_id: String,
    pub(super) name: String,
    pub(super) source: String,
    pub(super) username: Option<String>,
    pub(super) access_key: Option<String>,
    pub(super) is_read_only: bool,
    /// ARNs as JSON.
    pub(super) resources: String,
    /// The record as JSON.
    pub(super) event: String,
}

/// What is larger is left out of a record.
const ELEMENT_BYTES_MAX: usize = 32 * 1024;

impl Row {
    pub(super) fn of(draft: &Draft, outcome: &Outcome<'_>) -> Self {
        let Draft { context, service, name, at, parameters, arns, .. } = draft;
        let event_id = uuid::Uuid::new_v4().to_string();
        let source = format!("{service}.amazonaws.com");
        let event_name = plane::event_name(service, name);
        let is_read_only = plane::is_read_only(service);
        let mut arns = arns.clone();
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| {
            event.insert(name.to_owned(), value);
        };
        set("eventVersion", "1.11".into());
        set("userIdentity", identity(context));
        set("eventTime", at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
        set("eventSource", source.as_str().into());
        set("eventName", event_name.into());
        set("awsRegion", context.region.as_str().into());
        set("sourceIPAddress", source_address(context).into());
        set("userAgent", context.user_agent.as_deref().unwrap_or("AWS Internal").into());
        let mut class = draft.class;
        let mut response = Value::Null;
        match outcome {
            Outcome::Done(answer) => {
                resources::add_made(&mut arns, answer);
                response = elements(answer);
            }
            Outcome::Refused { code, message } => {
                class = Class::Refused;
                set("errorCode", (*code).into());
                set("errorMessage", without_values(message).chars().take(1024).collect::<String>().into());
            }
            Outcome::Unknown => {
                set(
                    "errorMessage",
                    "The caller went away before the answer; the call may have had its effect.".into(),
                );
            }
        }
        set("requestParameters", parameters.clone());
        set("responseElements", response);
        if let Some(additional) = &draft.additional {
            set("additionalEventData", additional.clone());
        }
        set("requestID", context.request_id.as_str().into());
        set("eventID", event_id.as_str().into());
        set("readOnly", is_read_only.into());
        if !arns.is_empty() {
            let one = |arn: &String| json!({ "accountId": account_of(arn, context), "type": resources::kind(arn), "ARN": arn });
            set("resources", arns.iter().map(one).collect());
        }
        set("eventType", "AwsApiCall".into());
        set("managementEvent", true.into());
        set("recipientAccountId", context.account.as_str().into());
        set("eventCategory", "Management".into());
        Self {
            class,
            account: context.account.clone(),
            region: context.region.clone(),
            at_ms: at.as_millisecond(),
            event_id,
            name: event_name.to_owned(),
            source,
            username: username(context),
            access_key: context.access_key_id.clone(),
            is_read_only,
            resources: json!(arns).to_string(),
            event: Value::Object(event).to_string(),
        }
    }
}

/// `requestParameters` or `responseElements`: null when there are none.
pub(super) fn elements(value: &Value) -> Value {
    let shown = hidden::shown(value);
    match &shown {
        Value::Object(members) if members.is_empty() => Value::Null,
        Value::Object(_) if shown.to_string().len() > ELEMENT_BYTES_MAX => json!({ "omitted": true }),
        Value::Object(_) => shown,
        _ => Value::Null,
    }
}

fn account_of<'a>(arn: &'a str, context: &'a CallContext) -> &'a str {
    arn.split(':').nth(4).filter(|account| !account.is_empty()).unwrap_or(&context.account)
}

fn source_address(context: &CallContext) -> String {
    match (&context.source_ip, &context.principal) {
        (Some(address), _) => address.to_string(),
        (None, Principal::Service { name, .. }) => name.clone(),
        (None, _) => "AWS Internal".to_owned(),
    }
}

fn username(context: &CallContext) -> Option<String> {
    match &context.principal {
        Principal::Root { .. } => Some("root".to_owned()),
        Principal::User { name, .. } => Some(name.clone()),
        Principal::RoleSession { session_name, .. } => Some(session_name.clone()),
        Principal::Service { .. } => None,
    }
}

fn identity(context: &CallContext) -> Value {
    let principal = &context.principal;
    let mut identity = match principal {
        Principal::Root { account } => {
            json!({ "type": "Root", "principalId": account, "arn": principal.arn(), "accountId": account })
        }
        Principal::User { account, arn, name, id } => {
            json!({ "type": "IAMUser", "principalId": id, "arn": arn, "accountId": account, "userName": name })
        }
        Principal::RoleSession { account, role_arn, role_id, session_name } => json!({
            "type": "AssumedRole", "principalId": format!("{role_id}:{session_name}"), "arn": principal.arn(),
            "accountId": account, "sessionContext": { "sessionIssuer": {
                "type": "Role", "principalId": role_id, "arn": role_arn, "accountId": account,
                "userName": role_arn.rsplit('/').next() } } }),
        Principal::Service { name, .. } => json!({ "type": "AWSService", "invokedBy": name }),
    };
    if let Some(key) = &context.access_key_id {
        identity["accessKeyId"] = key.as_str().into();
    }
    identity
}

/// An error's message up to where it quotes what was given: an input, an output or a definition.
fn without_values(message: &str) -> String {
    let quotes = ["[Source:", "Value '", "Value at '"];
    match quotes.iter().filter_map(|quote| message.find(quote)).min() {
        Some(at) => format!("{}{}", &message[..at], super::hidden::HIDDEN),
        None => message.to_owned(),
    }
}
