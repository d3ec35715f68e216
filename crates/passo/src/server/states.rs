//! Step Functions as one more service of the server: callers are known and their permissions evaluated like everywhere.

use std::sync::{Arc, OnceLock};

use api::{Api, Caller};
use bytes::Bytes;
use runtime::Scope;
use serde_json::{Value, json};
use services::Services;
use services::wire::{Access, CallContext, Protocol};
use tracing::Instrument;

use super::audit::Recording;

use super::gzip;

/// The API for calls from inside the process; attached once the runtime, which needs the transport first, is open.
#[derive(Clone, Default)]
pub(super) struct States(Arc<OnceLock<(Api, Services)>>);

impl States {
    pub fn attach(&self, api: Api, services: Services) {
        // Only `Server::open` attaches, once.
        let _ = self.0.set((api, services));
    }

    /// Answers a call made for a known caller.
    pub async fn call(
        &self,
        context: &CallContext,
        request: http::Request<Bytes>,
    ) -> Option<http::Response<Bytes>> {
        let (api, services) = self.0.get()?;
        Some(answer(api, services, context, request).await)
    }
}

/// Answers a call that came over HTTP.
pub(super) async fn over_http(
    api: &Api,
    services: &Services,
    request: http::Request<Bytes>,
) -> http::Response<Bytes> {
    let (parts, body) = request.into_parts();
    // What was signed is what was sent, so it is unpacked after the signature was verified.
    let context = match services.context(&parts, &body) {
        Ok(context) => context,
        Err(error) => return refusal(error.status.as_u16(), &error.code, &error.message, &request_id()),
    };
    let wants_gzip = gzip::is_accepted(&parts.headers);
    let body = match gzip::unpacked(&parts.headers, body) {
        Ok(body) => body,
        Err(error) => return refusal(error.status, error.code, error.message, &context.request_id),
    };
    let answer = answer(api, services, &context, http::Request::from_parts(parts, body)).await;
    match wants_gzip {
        true => gzip::packed(answer),
        false => answer,
    }
}

async fn answer(
    api: &Api,
    services: &Services,
    context: &CallContext,
    request: http::Request<Bytes>,
) -> http::Response<Bytes> {
    let name = api::action_name(&request).unwrap_or_default().to_owned();
    let span = tracing::info_span!("request", service = "states", action = name, id = context.request_id);
    let answered = async {
        let input: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let needed = accesses(&request, &input);
        let recording = Recording::begin(api, services.environment().audit(), context, (&name, &input)).await;
        drop(input);
        let answer = match services.check(context, "states", Protocol::AwsJson10, needed) {
            Ok(()) => {
                let caller = Caller { scope: scope(context), request_id: context.request_id.clone() };
                api.handle(&caller, request).await
            }
            Err(error) => refusal(error.status.as_u16(), &error.code, &error.message, &context.request_id),
        };
        match recording {
            Some(recording) => recording.end(api, context, answer).await,
            None => answer,
        }
    };
    answered.instrument(span).await
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Under what everything of the caller is kept.
pub(super) fn scope(context: &CallContext) -> Scope {
    Scope { account: context.principal.account().into(), region: context.region.as_str().into() }
}

/// `states:ACTION` on the resource named, and `iam:PassRole` where a role is handed over.
fn accesses(request: &http::Request<Bytes>, body: &Value) -> Vec<Access> {
    let Some(action) = api::action_name(request) else { return Vec::new() };
    let mut accesses = vec![Access::new(format!("states:{action}"), api::resource(body))];
    if action == "TestState" {
        let reveals = body["revealSecrets"].as_bool() == Some(true);
        accesses.extend(reveals.then(|| Access::new("states:RevealSecrets", "*")));
        let role = body["roleArn"].as_str();
        accesses.extend(role.map(|role| Access::pass_role(role, "states.amazonaws.com")));
    }
    if matches!(action, "CreateStateMachine" | "UpdateStateMachine")
        && let Some(role) = body["roleArn"].as_str()
    {
        accesses.push(Access::pass_role(role, "states.amazonaws.com"));
    }
    accesses
}

pub(super) fn refusal(status: u16, code: &str, message: &str, request_id: &str) -> http::Response<Bytes> {
    let body = json!({ "__type": code, "message": message }).to_string();
    let mut response = http::Response::new(Bytes::from(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
    let json = http::HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert("content-type", json);
    if let Ok(id) = http::HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}
