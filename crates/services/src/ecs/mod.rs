//! Amazon ECS: clusters, task definitions, and tasks that run as containers or as processes.
//!
//! A task is a document in ECS's own file; each step of its life is on disk before the next begins. What runs is
//! found again after the server was killed: a container by its label, a process by its record, so nothing is started
//! twice and an acknowledged StopTask is carried out. Services, container instances and capacity providers are not
//! there; secrets, volumes and dependencies between containers are refused when a task is run.

mod api;
mod catalog;
mod choice;
mod clusters;
mod container;
mod definitions;
mod life;
mod plan;
mod process;
mod run_task;
mod tags;
mod task;
mod tasks;

pub use choice::Choice;

use crate::environment::Environment;
use crate::front::OpenError;
use crate::lambda::{Lambda, LogWriter};
use crate::process::Processes;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};
use catalog::Catalog;
use choice::Engine;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// The ECS service. Cheap to clone.
#[derive(Clone)]
pub struct Ecs {
    inner: Arc<Inner>,
}

pub(in crate::ecs) struct Inner {
    environment: Environment,
    catalog: Catalog,
    processes: Arc<Processes>,
    logs: Arc<LogWriter>,
    lambda: Lambda,
    engine: Engine,
    empty_file: PathBuf,
}

impl Ecs {
    /// Opens ECS's file. `lambda` knows the interpreters of this machine.
    pub fn open(
        environment: Environment,
        processes: Arc<Processes>,
        logs: Arc<LogWriter>,
        lambda: Lambda,
    ) -> Result<Self, OpenError> {
        let catalog = Catalog::open(&environment.directory())?;
        let empty_file = processes
            .area()
            .shared_file("empty", "")
            .map_err(|error| OpenError::Service { service: "ecs", reason: error.to_string() })?;
        let engine = Engine::new(environment.config().ecs);
        let inner = Inner { environment, catalog, processes, logs, lambda, engine, empty_file };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether tasks run as containers or as processes here, and why.
    pub async fn choice(&self) -> Choice {
        self.inner.engine.choice().await
    }

    /// Something that changes with each step of a task's life; `None` when there is no such task.
    pub fn subscribe(&self, task_arn: &str) -> Option<watch::Receiver<u64>> {
        self.inner.catalog.task(task_arn).map(|cell| cell.subscribe())
    }
}

impl Service for Ecs {
    fn name(&self) -> &'static str {
        "ecs"
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
        life::resume_all(&self.inner);
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        // Tasks go on: they are found again at the next start.
        Box::pin(async { self.inner.logs.flush().await })
    }
}

#[cfg(test)]
mod tests;
