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
    /// The answer is larger than is read.
    #[error("The response is larger than {0} bytes")]
    TooLarge(usize),
}

/// A response with its whole body.
pub type Answer = Result<http::Response<Bytes>, TransportError>;
/// What [`Transport::call`] returns.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Sends requests. Implemented by the binary: in process to the embedded services, or over HTTP with SigV4.
pub trait Transport: Send + Sync {
    /// Sends `request` (relative URI, no host) to the AWS service with this SigV4 signing name.
    fn call<'a>(
        &'a self,
        identity: &'a Identity,
        service: &'a str,
        request: http::Request<Bytes>,
    ) -> Pending<'a>;

    /// Sends `request` (absolute URI) to an outside HTTP endpoint, unsigned.
    fn http<'a>(&'a self, request: http::Request<Bytes>) -> Pending<'a>;
}
