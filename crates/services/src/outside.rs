//! The way out of this machine, for what AWS's services call over HTTP in a user's name: OAuth's token endpoints.
//!
//! A port: TLS and the rules on which addresses may be called are the binary's. Without it nobody outside is called.

use crate::front::Unreachable;
use crate::wire::BoxFuture;
use bytes::Bytes;
use http::{Request, Response};

/// Sends requests with absolute URIs, within bounds of its own on time and size. Redirects are not followed.
pub trait WayOut: Send + Sync {
    /// Sends one.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Unreachable>>;
}

/// No way out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Closed;

impl WayOut for Closed {
    fn send(&self, _request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Unreachable>> {
        Box::pin(async { Err(Unreachable::Connection("this server calls no outside endpoints".to_owned())) })
    }
}
