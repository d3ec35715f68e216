//! Calls of Step Functions as CloudTrail records them: like those of every service, and for changes of a state machine with
//! its revision before and after.
//!
//! Changes of state machines are taken one at a time, so that what was before one is what was after the last.

use api::{Api, Caller};
use bytes::Bytes;
use serde_json::{Value, json};
use services::cloudtrail::{Audit, Call, Draft, Outcome};
use services::wire::CallContext;
use tokio::sync::OwnedMutexGuard;

/// Actions that change what a state machine is.
const CHANGING: [&str; 4] =
    ["CreateStateMachine", "UpdateStateMachine", "DeleteStateMachine", "PublishStateMachineVersion"];

/// A call whose record has begun.
pub(super) struct Recording {
    audit: Audit,
    draft: Draft,
    change: Option<Change>,
}

/// A change of a state machine.
struct Change {
    arn: String,
    before: Value,
    _alone: OwnedMutexGuard<()>,
}

impl Recording {
    /// Begins; none for a call that is not recorded.
    pub async fn begin(
        api: &Api,
        audit: Option<&Audit>,
        context: &CallContext,
        (name, input): (&str, &Value),
    ) -> Option<Recording> {
        let named = input.as_object().into_iter().flatten();
        let arns = named.filter(|(name, _)| name.ends_with("Arn") && *name != "roleArn");
        let arns = arns.filter_map(|(_, value)| value.as_str()).map(str::to_owned).collect();
        let audit = audit?.clone();
        let draft = audit.begin(Call { context, service: "states", name, input, arns })?;
        let mut recording = Recording { audit, draft, change: None };
        if CHANGING.contains(&name) {
            // A call that names none is refused, and recorded as such.
            let named =
                input["name"].as_str().map(|name| context.arn("states", &format!("stateMachine:{name}")));
            let Some(arn) = input["stateMachineArn"].as_str().map(str::to_owned).or(named) else {
                return Some(recording);
            };
            let alone = recording.audit.one_at_a_time().await;
            let before = revision(api, context, &arn).await;
            recording.change = Some(Change { arn, before, _alone: alone });
        }
        Some(recording)
    }

    /// Writes the record, and gives the answer back once it is on disk.
    pub async fn end(
        mut self,
        api: &Api,
        context: &CallContext,
        answer: http::Response<Bytes>,
    ) -> http::Response<Bytes> {
        if let Some(Change { arn, before, .. }) = &self.change {
            let after = revision(api, context, arn).await;
            self.draft.add(json!({ "stateMachineArn": arn, "before": before, "after": after }));
        }
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let code = text("__type").rsplit('#').next().unwrap_or_default();
        let outcome = match answer.status().is_success() {
            true => Outcome::Done(&body),
            false => Outcome::Refused { code, message: text("message") },
        };
        match self.audit.end(self.draft, outcome).await {
            Ok(()) => answer,
            Err(error) => super::states::refusal(
                error.status.as_u16(),
                &error.code,
                &error.message,
                &context.request_id,
            ),
        }
    }
}

/// What a state machine is now; null when there is none.
async fn revision(api: &Api, context: &CallContext, arn: &str) -> Value {
    let body = json!({ "stateMachineArn": arn }).to_string();
    let request = http::Request::post("/")
        .header("x-amz-target", "AWSStepFunctions.DescribeStateMachine")
        .body(Bytes::from(body));
    let Ok(request) = request else { return Value::Null };
    let caller = Caller { scope: super::states::scope(context), request_id: context.request_id.clone() };
    let answer = api.handle(&caller, request).await;
    if !answer.status().is_success() {
        return Value::Null;
    }
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    // AWS's word for the first revision, which has no id.
    let revision = body["revisionId"].as_str().unwrap_or("INITIAL");
    let definition = Audit::digest(body["definition"].as_str().unwrap_or_default());
    json!({ "revisionId": revision, "definitionSha256": definition, "roleArn": body["roleArn"] })
}
