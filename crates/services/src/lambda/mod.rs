//! AWS Lambda: functions, versions and aliases; the user's real code in processes that speak the Lambda Runtime API.
//!
//! A function's state is one document in Lambda's own file, mirrored in memory; nothing is answered before it is on
//! disk. An invocation runs at least once: a redelivery under the same invocation id joins the one under way or gets
//! the finished one's answer. Queues of SQS are polled for functions ([`sources`]). Layers, container images, code in S3,
//! function URLs and other event sources are refused.

mod aliases;
mod api;
mod catalog;
mod code;
mod function;
mod functions;
mod interpreter;
mod invocation;
mod logs;
mod output;
mod packages;
mod permissions;
mod pool;
mod queue;
mod route;
mod runtime_api;
mod sources;
mod tags;
mod worker;

pub use interpreter::{Family, Interpreter};
pub use logs::{LogStream, LogWriter};

use crate::environment::Environment;
use crate::front::OpenError;
use crate::process::Processes;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use catalog::Catalog;
use interpreter::Interpreters;
use invocation::Joined;
use pool::Pools;
use std::sync::Arc;

/// The Lambda service. Cheap to clone.
#[derive(Clone)]
pub struct Lambda {
    inner: Arc<Inner>,
}

pub(in crate::lambda) struct Inner {
    environment: Environment,
    catalog: Catalog,
    pools: Pools,
    interpreters: Arc<Interpreters>,
    joined: Joined,
    queue: queue::Queue,
    sources: sources::Sources,
}

impl Lambda {
    /// Opens Lambda's file. Its processes are kept by `processes`, its log lines go to `logs`.
    pub fn open(
        environment: Environment,
        processes: Arc<Processes>,
        logs: Arc<LogWriter>,
    ) -> Result<Self, OpenError> {
        let catalog = Catalog::open(&environment.directory())?;
        let search_path = crate::process::search_path();
        let interpreters = Arc::new(Interpreters::new(Arc::clone(&processes), search_path));
        let pools = Pools::new(environment.clone(), processes, Arc::clone(&interpreters), logs)
            .map_err(|error| OpenError::Service { service: "lambda", reason: error.to_string() })?;
        let inner = Inner {
            environment,
            catalog,
            pools,
            interpreters,
            joined: Joined::default(),
            queue: queue::Queue::default(),
            sources: sources::Sources::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The interpreter that functions of a runtime (`python3.12`) run with here, or why there is none.
    pub async fn interpreter(&self, runtime: &str) -> Result<Interpreter, String> {
        match Family::of(runtime) {
            Some(family) => self.inner.interpreters.find(family).await,
            None => Err(format!("functions of runtime {runtime} cannot run on this server")),
        }
    }

    /// The interpreter of a family.
    pub(crate) async fn interpreter_of(&self, family: Family) -> Result<Interpreter, String> {
        self.inner.interpreters.find(family).await
    }

    /// What the operator should know: interpreters that are not the ones asked for, processes that are not separated.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.inner.interpreters.warnings();
        warnings.extend(self.inner.pools.processes().identities().warning().map(str::to_owned));
        warnings
    }
}

impl Service for Lambda {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        api::access(&self.inner, context, request)
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(api::handle(&self.inner, context, request))
    }

    fn start(&self) {
        queue::start(&self.inner);
        sources::start(&self.inner);
        pool::sweep(&self.inner);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.inner.queue.stop();
            self.inner.sources.stop();
            self.inner.pools.end_all().await;
        })
    }
}

#[cfg(test)]
mod tests;
