//! The contract between the front and a service, and AWS's protocols on either side of it.
//!
//! The front reads bytes into a [`ServiceRequest`], asks the service which permissions the request needs, evaluates
//! them, lets the service answer, and renders the [`ServiceResponse`] or [`ServiceError`] in the protocol the caller
//! spoke. A service therefore never writes an error body, a request id or a checksum itself.

pub mod access;
pub mod aws_query;
pub mod context;
pub mod credential_scope;
mod error;
pub mod render;
pub mod request;
pub mod response;
pub mod route;
pub mod sigv4;
pub mod stream;
pub mod xml;

pub use access::{Access, Decision};
pub use aws_query::Form;
pub use context::{CallContext, Principal};
pub use error::ServiceError;
pub use request::{Protocol, ServiceRequest};
pub use response::{ResponseBody, ServiceResponse};
pub use xml::Xml;

use crate::guard::PageVerdict;
use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that [`Service`] is object safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The header by which our own runtime marks a call that it may send again after a crash.
pub const INVOCATION_ID_HEADER: &str = "x-passo-invocation-id";

/// One AWS service. Implementations answer only after their effect is committed.
pub trait Service: Send + Sync + 'static {
    /// The SigV4 signing name: `lambda`, `ecs`, `dynamodb`, `sns`, `sqs`, `logs`, `monitoring`, `iam`, `sts`.
    fn name(&self) -> &'static str;

    /// The permissions this request needs, evaluated before [`Service::handle`]. Empty: anyone may call it.
    ///
    /// Bad input is not this function's business: return what can be known, and let `handle` find the fault.
    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access>;

    /// Performs the request. The effect is on disk when the future ends.
    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>>;

    /// What becomes of a request of a web page of another origin. Only S3 has buckets that let pages in.
    fn page(&self, _parts: &http::request::Parts) -> PageVerdict {
        PageVerdict::Refused
    }

    /// The namespace of the service's XML answers, for services that speak the query protocol.
    fn xml_namespace(&self) -> &'static str {
        ""
    }

    /// Called once after all services are open: start background work, recover what a killed server left behind.
    fn start(&self) {}

    /// Called once at the end: stop background work and child processes.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
