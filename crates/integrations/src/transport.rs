//! The port through which requests leave: somebody else signs, sends and reads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// On whose behalf a request is made.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Role that is assumed for the call: the execution's, or that of the Task's `Credentials`.
    pub role_arn: Arc<str>,
    /// Role session name AWS gives to Step Functions' calls: the execution's name.
    pub session_name: Arc<str>,
    /// Account of the execution.
    pub account: Arc<str>,
    /// Region of the execution.
    pub region: Arc<str>,
    /// The same for every redelivery of one attempt, so that a receiver can drop duplicates.
    pub invocation_id: Arc<str>,
}

/// Why no response came back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// The role may not be assumed.
    #[error("The role {execution_role} is not authorized to assume the task state's role, {role}")]
    AssumeRole {
        /// Who wanted to.
        execution_role: String,
        /// What it wanted to be.
        role: String,
    },
    /// Nobody answered.
    #[error("Unable to execute HTTP request: {0}")]
    Connection(String),
    /// The answer did not come in time.
    #[error("Unable to execute HTTP request: Read timed out")]
    TimedOut,
    /// The endpoint may not be called from here.
    #[error("{0}")]
    Refused(String),
    /// The answer is larger than is read.
    #[error("The response is larger than {0} bytes")]
    TooLarge(usize),
}

/// A response with its whole body.
pub type Answer = Result<http::Response<Bytes>, TransportError>;
/// What [`Transport::call`] returns.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// An endpoint that a task wants to call, and by which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The state machine, on which the permission to call it is evaluated.
    pub state_machine_arn: String,
    /// Its address, without what is added to the query.
    pub url: String,
    /// The HTTP method.
    pub method: String,
    /// The connection.
    pub connection_arn: String,
}

/// What a connection adds to a request. It holds secrets, so it cannot be printed.
#[derive(Clone, Default)]
pub struct Additions {
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Of the query string.
    pub query: Vec<(String, String)>,
    /// Members of the body.
    pub body: Vec<(String, String)>,
    /// Which token is among them; none where there is none that could be renewed.
    pub token: Option<i64>,
}

/// Why an endpoint cannot be called by a connection: the ASL error and its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `Events.ConnectionResource.AccessDenied`.
    pub error: String,
    /// For people.
    pub cause: String,
}

/// What [`Transport::additions`] returns.
pub type Adding<'a> = Pin<Box<dyn Future<Output = Result<Additions, Refusal>> + Send + 'a>>;

/// Sends requests. Implemented by the binary: in process to the embedded services, or over HTTP with SigV4.
pub trait Transport: Send + Sync {
    /// Sends `request` (relative URI, no host) to the AWS service with this SigV4 signing name.
    fn call<'a>(
        &'a self,
        identity: &'a Identity,
        service: &'a str,
        request: http::Request<Bytes>,
    ) -> Pending<'a>;

    /// What a connection adds to a request to an endpoint, if this caller may call it so. `refused` is the token that the
    /// endpoint did not take. Without an implementation there are no connections.
    fn additions<'a>(
        &'a self,
        identity: &'a Identity,
        endpoint: &'a Endpoint,
        refused: Option<i64>,
    ) -> Adding<'a> {
        let _ = (identity, refused);
        let error = "Events.ConnectionResource.ResourceNotFound".into();
        let cause = format!("The connection {} does not exist.", endpoint.connection_arn);
        Box::pin(async move { Err(Refusal { error, cause }) })
    }

    /// Sends `request` (absolute URI) to an outside HTTP endpoint, unsigned. Redirects are answers.
    fn http<'a>(&'a self, request: http::Request<Bytes>) -> Pending<'a>;
}
