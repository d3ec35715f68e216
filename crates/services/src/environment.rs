//! What every service is given when it is opened: configuration, the clock, IAM, and the door to the other services.
//!
//! A service never holds another service. It calls through [`Environment::call`], so that the same permission rules
//! apply as over the wire.

use crate::cloudformation::maker::StackMaker;
use crate::cloudtrail::Audit;
use crate::cloudwatch::MetricSink;
use crate::configuration::ServicesConfig;
use crate::events::EventSink;
use crate::front::Front;
use crate::iam::Iam;
use crate::logs::LogSink;
use crate::sdk_call::SdkCaller;
use crate::wire::{BoxFuture, CallContext, ServiceError, ServiceRequest, ServiceResponse};
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// The time of day, and waiting for it. Whatever becomes due by the clock waits here, never by `tokio::time`, so that a
/// clock that is set forward is noticed at once.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Resolves at `at` or a little later; at once when it has passed.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Sleeps are cut into pieces, so that a machine whose clock is set, or that was suspended, is not missed for long.
const SLEEP_MAX: Duration = Duration::from_secs(60);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Ok(left) = Duration::try_from(at.duration_since(Timestamp::now()))
                && !left.is_zero()
            {
                tokio::time::sleep(left.min(SLEEP_MAX)).await;
            }
        })
    }
}

/// How long a call waits for a process that is starting.
const SDK_CALLER_WAIT: Duration = Duration::from_secs(60);

/// What the binary gives to the services once the rest of the process is open.
async fn given<T: Clone>(mut given: watch::Receiver<Option<T>>) -> Result<T, ServiceError> {
    let given = tokio::time::timeout(SDK_CALLER_WAIT, given.wait_for(Option::is_some)).await;
    let given = given.ok().and_then(Result::ok).and_then(|given| given.clone());
    given.ok_or_else(|| ServiceError::unavailable("Nobody makes such calls in this process."))
}

/// What every service shares. Cheap to clone.
#[derive(Clone)]
pub struct Environment {
    inner: Arc<Inner>,
}

struct Inner {
    config: ServicesConfig,
    iam: Arc<Iam>,
    endpoint: RwLock<String>,
    front: OnceLock<Weak<Front>>,
    audit: OnceLock<Audit>,
    logs: OnceLock<LogSink>,
    metrics: OnceLock<MetricSink>,
    events: OnceLock<EventSink>,
    sdk_caller: watch::Sender<Option<Arc<dyn SdkCaller>>>,
    stack_maker: watch::Sender<Option<Arc<dyn StackMaker>>>,
}

impl Environment {
    pub(crate) fn new(config: ServicesConfig, iam: Arc<Iam>) -> Self {
        let endpoint = RwLock::new("http://localhost:4566".to_owned());
        Self {
            inner: Arc::new(Inner {
                config,
                iam,
                endpoint,
                front: OnceLock::new(),
                audit: OnceLock::new(),
                logs: OnceLock::new(),
                metrics: OnceLock::new(),
                events: OnceLock::new(),
                sdk_caller: watch::Sender::new(None),
                stack_maker: watch::Sender::new(None),
            }),
        }
    }

    /// The configuration the services were opened with.
    pub fn config(&self) -> &ServicesConfig {
        &self.inner.config
    }

    /// The directory for files of the services: `<data_dir>/services`, mode 0700.
    pub fn directory(&self) -> PathBuf {
        self.inner.config.data_dir.join("services")
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.inner.config.clock.now()
    }

    /// Waits by the clock that [`Environment::now`] reads.
    pub fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.inner.config.clock.sleep_until(self.now().saturating_add(time).unwrap_or(Timestamp::MAX))
    }

    /// Users, roles, policies and credentials.
    pub fn iam(&self) -> &Arc<Iam> {
        &self.inner.iam
    }

    /// The URL at which processes of this machine reach the services, without a slash at the end.
    pub fn endpoint(&self) -> String {
        self.inner.endpoint.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(crate) fn set_endpoint(&self, endpoint: &str) {
        let mut held = self.inner.endpoint.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *held = endpoint.trim_end_matches('/').to_owned();
    }

    /// Where calls are recorded; nothing before the services are open.
    pub fn audit(&self) -> Option<&Audit> {
        self.inner.audit.get()
    }

    pub(crate) fn attach_audit(&self, audit: Audit) {
        // CloudTrail is opened once for an environment.
        let _ = self.inner.audit.set(audit);
    }

    /// Where services of this process write their logs; nothing before the services are open.
    pub fn logs(&self) -> Option<&LogSink> {
        self.inner.logs.get()
    }

    pub(crate) fn attach_logs(&self, sink: LogSink) {
        // Logs are opened once for an environment.
        let _ = self.inner.logs.set(sink);
    }

    /// Where parts of this process write their metrics; nothing before the services are open.
    pub fn metrics(&self) -> Option<&MetricSink> {
        self.inner.metrics.get()
    }

    pub(crate) fn attach_metrics(&self, sink: MetricSink) {
        // Metrics are opened once for an environment.
        let _ = self.inner.metrics.set(sink);
    }

    /// Where parts of this process put their events; nothing before the services are open.
    pub fn events(&self) -> Option<&EventSink> {
        self.inner.events.get()
    }

    pub(crate) fn attach_events(&self, sink: EventSink) {
        // EventBridge is opened once for an environment.
        let _ = self.inner.events.set(sink);
    }

    /// Says how calls are made that this crate cannot make, once they can be made.
    pub fn set_sdk_caller(&self, caller: Arc<dyn SdkCaller>) {
        self.inner.sdk_caller.send_replace(Some(caller));
    }

    /// Says who makes stacks, once they can be made.
    pub fn set_stack_maker(&self, maker: Arc<dyn StackMaker>) {
        self.inner.stack_maker.send_replace(Some(maker));
    }

    /// Who makes stacks. What a killed server owes waits for it here.
    pub(crate) async fn stack_maker(&self) -> Result<Arc<dyn StackMaker>, ServiceError> {
        given(self.inner.stack_maker.subscribe()).await
    }

    /// What makes those calls. While the process starts, what is owed already waits for it here, so that no attempt is lost
    /// by being early.
    pub(crate) async fn sdk_caller(&self) -> Result<Arc<dyn SdkCaller>, ServiceError> {
        given(self.inner.sdk_caller.subscribe()).await
    }

    /// Variables that lead user code to services which it is to reach directly elsewhere.
    pub(crate) fn variables_of_elsewhere(&self, region: &str) -> Vec<(String, String)> {
        let elsewhere = self.inner.config.elsewhere.values();
        elsewhere.flat_map(|elsewhere| elsewhere.variables(region)).collect()
    }

    pub(crate) fn attach(&self, front: Weak<Front>) {
        // A second front for one environment cannot be built: only `Services::open` calls this, once.
        let _ = self.inner.front.set(front);
    }

    /// Calls another service from inside the process, under the permission rules of `context`'s principal.
    pub fn call<'a>(
        &'a self,
        context: &'a CallContext,
        service: &'a str,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            match self.inner.front.get().and_then(Weak::upgrade) {
                Some(front) => front.call(context, service, request).await,
                None => Err(ServiceError::unavailable("The services are shutting down.")),
            }
        })
    }
}
