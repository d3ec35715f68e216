//! HTTP Tasks, `arn:aws:states:::http:invoke`: an endpoint outside is called by an EventBridge connection.
//!
//! Source: "Call HTTPS APIs in Step Functions workflows" of the AWS developer guide. What the connection adds wins over what
//! the state says. Redirects are not followed, and nothing is sent twice, but for a token that the endpoint refused and that
//! was renewed. Who may be called and where is the transport's to decide.

mod encoding;
mod parameters;
mod response;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::task::{Call, Integrations, Report, Stage};
use crate::transport::{Additions, Endpoint, TransportError};
pub(crate) use parameters::problems;
use parameters::{Invocation, Prepared};

/// What is told of the exchange to who tests the state (TestState's TRACE).
#[derive(Clone, Debug, PartialEq)]
pub struct HttpTrace {
    /// `protocol`, `method`, `url`, `headers`, `body`.
    pub request: Value,
    /// `protocol`, `statusCode`, `statusMessage`, `headers`, `body`; none when nobody answered.
    pub response: Option<Value>,
}

/// Whether what the connection adds is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As it was sent.
    Shown,
    /// As if the connection added nothing.
    Omitted,
}

/// Hears of each exchange.
type Telling<'a> = dyn FnMut(&Invocation, &Prepared, Option<&http::Response<Bytes>>) + Send + 'a;

impl Integrations {
    /// Carries out an HTTP Task, and tells of the exchange. Other tasks are carried out with nothing to tell.
    pub async fn run_traced(&self, call: &Call, secrets: Secrets) -> (Report, Option<HttpTrace>) {
        if !is_http(call) {
            return (self.run(call).await, None);
        }
        let mut trace = None;
        let mut tell =
            |invocation: &Invocation, prepared: &Prepared, answer: Option<&http::Response<Bytes>>| {
                let shown = match secrets {
                    Secrets::Shown => Ok(prepared.clone()),
                    Secrets::Omitted => invocation.prepare(&Additions::default(), &call.identity.region),
                };
                let response = answer.map(response::traced);
                trace = shown.ok().map(|shown| HttpTrace { request: shown.traced(), response });
            };
        let report = report(self.invoke_endpoint(call, &mut tell).await);
        (report, trace)
    }

    pub(crate) async fn run_http(&self, call: &Call) -> Report {
        report(self.invoke_endpoint(call, &mut |_, _, _| {}).await)
    }

    async fn invoke_endpoint(&self, call: &Call, tell: &mut Telling<'_>) -> Result<Value, Failure> {
        let invocation = Invocation::read(call.arguments.value())?;
        let endpoint = Endpoint {
            state_machine_arn: call.state_machine_arn.to_string(),
            url: invocation.url.clone(),
            method: invocation.method.to_string(),
            connection_arn: invocation.connection_arn.clone(),
        };
        let mut refused = None;
        loop {
            let additions = self.transport().additions(&call.identity, &endpoint, refused).await;
            let additions = additions.map_err(|refusal| Failure::new(refusal.error, refusal.cause))?;
            let prepared = invocation.prepare(&additions, &call.identity.region)?;
            let answer = self.transport().http(prepared.request()?).await;
            tell(&invocation, &prepared, answer.as_ref().ok());
            let answer = answer.map_err(|error| unanswered(&error))?;
            let is_refused = matches!(answer.status().as_u16(), 401 | 407);
            // A token is renewed once; what the endpoint says to the new one counts.
            match additions.token.filter(|_| is_refused && refused.is_none()) {
                Some(token) => refused = Some(token),
                None => return response::result(&answer),
            }
        }
    }
}

fn is_http(call: &Call) -> bool {
    let asl::program::ResourceKind::Service { service, .. } = &call.resource.kind else { return false };
    &**service == "http"
}

fn report(result: Result<Value, Failure>) -> Report {
    match result {
        Ok(result) => Report::Succeeded(result),
        Err(failure) => Report::Failed(failure, Stage::Run),
    }
}

fn unanswered(error: &TransportError) -> Failure {
    match error {
        TransportError::Refused(reason) => Failure::new("States.Permissions", reason.clone()),
        TransportError::TooLarge(_) => Failure::new(
            "States.DataLimitExceeded",
            "The state/task 'arn:aws:states:::http:invoke' returned a result with a size exceeding the maximum number of \
             bytes service limit.",
        ),
        TransportError::Connection(_) | TransportError::TimedOut | TransportError::AssumeRole { .. } => {
            Failure::new("States.Http.Socket", error.to_string())
        }
    }
}

/// `[name: value, name: value]`, as TestState writes headers.
fn listed<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
    json!(format!("[{}]", headers.join(", ")))
}

#[cfg(test)]
mod tests;
