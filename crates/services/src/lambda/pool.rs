//! The workers of all functions: warm ones are used again, the number under way is bounded, idle ones end.
//!
//! A pool belongs to one version at one revision; a new revision retires it. A process is used by one function only.

use super::Inner;
use super::code;
use super::function::{Function, FunctionKey, Version};
use super::interpreter::{Family, Interpreter, Interpreters};
use super::logs::{LogStream, LogWriter};
use super::output::OutputReader;
use super::packages::{PackageRequest, Packages};
use super::runtime_api::RuntimeApi;
use super::worker::{Ended, Invocation, Outcome, Worker, WorkerLog};
use crate::configuration::Enforce;
use crate::environment::Environment;
use crate::process::{Ambient, Credentials, Launch, Life, Limits, Output, Processes, isolated_environment};
use crate::wire::{CallContext, Principal, ServiceError};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Invocations under way at a time; AWS grants an account 1,000, a developer's machine carries fewer processes.
const CONCURRENT_MAX: usize = 128;
/// Invocations that may wait for a place.
const WAITING_MAX: usize = 2_000;
const IDLE_WORKERS_MAX: usize = 64;
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
const SWEEP_EVERY: Duration = Duration::from_secs(15);
const OPEN_FILES_MAX: u64 = 1024;
/// What an interpreter needs beside the function's own memory.
const RUNTIME_MEMORY_BYTES: u64 = 192 * 1_048_576;
/// An invocation is given to so many workers that vanish before they take it.
const HANDOVERS_MAX: usize = 3;

const PYTHON_BOOTSTRAP: &str = include_str!("bootstrap/python.py");
const NODE_BOOTSTRAP: &str = include_str!("bootstrap/node.mjs");

type PoolKey = (FunctionKey, String, String);

/// The workers of one server.
pub(super) struct Pools {
    environment: Environment,
    processes: Arc<Processes>,
    interpreters: Arc<Interpreters>,
    packages: Arc<Packages>,
    logs: Arc<LogWriter>,
    permits: Semaphore,
    waiting: AtomicUsize,
    idle: Mutex<HashMap<PoolKey, Vec<Worker>>>,
    busy: Mutex<HashMap<FunctionKey, u32>>,
    unpacking: tokio::sync::Mutex<()>,
    empty_file: PathBuf,
}

/// What a worker of a function needs to start.
struct Plan<'a> {
    function: &'a Function,
    version: &'a Version,
    interpreter: Option<Interpreter>,
    uid: Option<u32>,
    bundle: PathBuf,
}

impl Pools {
    pub fn new(
        environment: Environment,
        processes: Arc<Processes>,
        interpreters: Arc<Interpreters>,
        logs: Arc<LogWriter>,
    ) -> io::Result<Self> {
        Ok(Self {
            packages: Arc::new(Packages::new(Arc::clone(&processes))),
            empty_file: processes.area().shared_file("empty", "")?,
            environment,
            processes,
            interpreters,
            logs,
            permits: Semaphore::new(CONCURRENT_MAX),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            busy: Mutex::default(),
            unpacking: tokio::sync::Mutex::default(),
        })
    }

    pub fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    /// Runs an invocation on a warm worker, or on a new one.
    pub async fn run(
        &self,
        inner: &Inner,
        function: &Function,
        invocation: Invocation,
    ) -> Result<Outcome, ServiceError> {
        let _place = Place::take(self, function)?;
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(throttled("Rate Exceeded.", "CallerRateLimitExceeded"));
        }
        let permit = self.permits.acquire().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let _permit = permit.map_err(|_| ServiceError::unavailable("The service is shutting down."))?;
        let version = Arc::clone(&invocation.version);
        let key = (function.key.clone(), version.version.clone(), version.revision_id.clone());
        let timeout = Duration::from_secs(u64::from(version.timeout_seconds));
        for _ in 0..HANDOVERS_MAX {
            let mut worker = match self.take_idle(&key, timeout) {
                Some(worker) => worker,
                None => self.start(inner, function, &version).await?,
            };
            match worker.run(&invocation).await {
                Ended::Answered(outcome) => {
                    self.put_idle(inner, key, worker);
                    return Ok(outcome);
                }
                Ended::Last(outcome) => {
                    worker.running.kill();
                    return Ok(outcome);
                }
                Ended::NotTaken => {}
            }
        }
        Err(service_exception("The function's processes ended before they took the event."))
    }

    /// Waits until everything logged so far has been sent.
    pub async fn flush_logs(&self) {
        self.logs.flush().await;
    }

    /// Ends the idle workers of a function whose code or configuration changed, or that is gone.
    pub fn retire(&self, key: &FunctionKey) {
        let mut idle = self.idle();
        idle.retain(|(owner, _, _), workers| {
            if owner == key {
                workers.iter().for_each(|worker| worker.running.kill());
            }
            owner != key
        });
    }

    /// Ends all workers, busy ones too, and sends what they logged.
    pub async fn end_all(&self) {
        self.permits.close();
        drop(self.idle().drain().map(|(_, workers)| workers).collect::<Vec<_>>());
        let records = self.processes.records().unwrap_or_default();
        let ended = tokio::task::spawn_blocking(move || {
            records.iter().filter(|record| !record.supervised).for_each(crate::process::Record::end);
        });
        let _ = ended.await;
        self.logs.flush().await;
    }

    fn end_idle(&self) {
        self.idle().retain(|_, workers| {
            workers.retain(|worker| {
                let keep = worker.idle_since.elapsed() < IDLE_TIME_MAX && worker.running.exited().is_none();
                if !keep {
                    worker.running.kill();
                }
                keep
            });
            !workers.is_empty()
        });
    }

    fn take_idle(&self, key: &PoolKey, timeout: Duration) -> Option<Worker> {
        let mut idle = self.idle();
        let workers = idle.get_mut(key)?;
        // The one used last: the others can grow old and end.
        while let Some(worker) = workers.pop() {
            if worker.is_fit(timeout, self.environment.now()) {
                return Some(worker);
            }
            worker.running.kill();
        }
        None
    }

    fn put_idle(&self, inner: &Inner, key: PoolKey, mut worker: Worker) {
        let current = inner.catalog.find(&key.0);
        let current =
            current.and_then(|function| function.version(&key.1).map(|version| version.revision_id.clone()));
        if current.as_ref() != Some(&key.2) || self.permits.is_closed() {
            worker.running.kill();
            return;
        }
        worker.idle_since = Instant::now();
        let mut idle = self.idle();
        idle.entry(key).or_default().push(worker);
        if idle.values().map(Vec::len).sum::<usize>() > IDLE_WORKERS_MAX
            && let Some(workers) =
                idle.values_mut().min_by_key(|workers| workers.first().map(|w| w.idle_since))
            && !workers.is_empty()
        {
            workers.remove(0).running.kill();
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<PoolKey, Vec<Worker>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cold start.
    async fn start(
        &self,
        inner: &Inner,
        function: &Function,
        version: &Version,
    ) -> Result<Worker, ServiceError> {
        let family =
            Family::of(&version.runtime).ok_or_else(|| service_exception("The runtime cannot run here."))?;
        let interpreter = match family {
            Family::Provided => None,
            Family::Python(_) | Family::Node(_) => {
                Some(self.interpreters.find(family).await.map_err(|reason| service_exception(&reason))?)
            }
        };
        let server_user = interpreter.as_ref().is_some_and(|interpreter| interpreter.needs_server_user);
        let uid = if server_user {
            None
        } else {
            self.processes.identities().of(&function.key.arn()).map_err(ServiceError::internal)?
        };
        let bundle = self.unpacked(inner, function, version, uid).await?;
        let plan = Plan { function, version, interpreter, uid, bundle };
        self.launch(&plan).await
    }

    /// The directory with a version's unpacked code.
    async fn unpacked(
        &self,
        inner: &Inner,
        function: &Function,
        version: &Version,
        uid: Option<u32>,
    ) -> Result<PathBuf, ServiceError> {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(format!("{} {} {uid:?}", function.key.arn(), version.code_sha256));
        let directory =
            self.processes.area().bundle(&hex::encode(&digest[..12]), uid).map_err(ServiceError::internal)?;
        let task = directory.join("task");
        let _unpacking = self.unpacking.lock().await;
        if task.is_dir() {
            return Ok(task);
        }
        let zip = inner.catalog.code(&version.code_sha256)?;
        let unpacked = tokio::task::spawn_blocking(move || -> io::Result<PathBuf> {
            let partial = directory.join("partial");
            let _ = std::fs::remove_dir_all(&partial);
            make_group_readable(&partial, uid)?;
            code::unpack(&zip, &partial, uid)?;
            std::fs::rename(&partial, directory.join("task"))?;
            Ok(directory.join("task"))
        });
        unpacked.await.map_err(ServiceError::internal)?.map_err(ServiceError::internal)
    }

    async fn launch(&self, plan: &Plan<'_>) -> Result<Worker, ServiceError> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let (credentials, credentials_until, principal) = self.credentials(plan, &token).await?;
        let request = PackageRequest {
            packages: Arc::clone(&self.packages),
            interpreter: plan.interpreter.clone().filter(|_| plan.version.runtime.starts_with("python")),
            bundle: plan.bundle.clone(),
        };
        let (api, address, listening) =
            RuntimeApi::open(request, plan.uid).await.map_err(ServiceError::internal)?;
        let date = self.environment.now().strftime("%Y/%m/%d");
        let stream = format!("{date}/[{}]{token}", plan.version.version);
        let log = WorkerLog {
            writer: Arc::clone(&self.logs),
            stream: Arc::new(LogStream {
                context: CallContext::of(principal, &plan.function.key.region),
                group: plan.function.log_group(plan.version),
                stream: stream.clone(),
            }),
            tail: Arc::default(),
        };
        let temporary = self.processes.area().temporary(&token, plan.uid).map_err(ServiceError::internal)?;
        let mut environment = self.variables(plan, &credentials, &temporary);
        environment.insert("AWS_LAMBDA_RUNTIME_API".into(), address.to_string());
        environment.insert("AWS_LAMBDA_LOG_STREAM_NAME".into(), stream);
        let (program, arguments) = self.program(plan).map_err(ServiceError::internal)?;
        let launch = Launch {
            token,
            owner: plan.function.key.arn(),
            program,
            arguments,
            environment,
            directory: plan.bundle.clone(),
            temporary,
            uid: plan.uid,
            limits: limits(plan.version),
            output: Output::Piped,
            life: Life::EndsWithServer,
        };
        let started = Instant::now();
        let mut running = self.processes.launch(launch).await.map_err(|error| {
            service_exception(&format!("The function's process could not be started: {error}"))
        })?;
        let output = OutputReader::start(&mut running, log.clone()).map_err(ServiceError::internal)?;
        Ok(Worker {
            running,
            api,
            _listening: listening,
            output,
            log,
            memory_megabytes: plan.version.memory_megabytes,
            started,
            init: None,
            credentials_until,
            idle_since: started,
        })
    }

    fn program(&self, plan: &Plan<'_>) -> io::Result<(PathBuf, Vec<std::ffi::OsString>)> {
        let Some(interpreter) = &plan.interpreter else {
            let bootstrap = plan.bundle.join("bootstrap");
            if !bootstrap.is_file() {
                return Err(io::Error::other("the bundle has no file `bootstrap`"));
            }
            return Ok((bootstrap, Vec::new()));
        };
        let area = self.processes.area();
        if plan.version.runtime.starts_with("python") {
            let script = area.shared_file("bootstrap.py", PYTHON_BOOTSTRAP)?;
            // Without user site-packages and without writing beside the code, which is read-only.
            return Ok((interpreter.path.clone(), vec!["-s".into(), "-B".into(), script.into()]));
        }
        let script = area.shared_file("bootstrap.mjs", NODE_BOOTSTRAP)?;
        let memory = format!("--max-old-space-size={}", plan.version.memory_megabytes);
        Ok((interpreter.path.clone(), vec![memory.into(), script.into()]))
    }

    /// A function's environment, as AWS documents it for runtimes.
    fn variables(
        &self,
        plan: &Plan<'_>,
        credentials: &Credentials,
        temporary: &Path,
    ) -> BTreeMap<String, String> {
        let ambient = Ambient {
            endpoint: &self.environment.endpoint(),
            region: &plan.function.key.region,
            credentials,
            empty_file: &self.empty_file,
            path: "/usr/local/bin:/usr/bin:/bin:/opt/bin",
            elsewhere: &self.environment.variables_of_elsewhere(&plan.function.key.region),
        };
        let own = plan.version.variables.clone().unwrap_or_default();
        let mut environment = isolated_environment(&ambient, own);
        let bundle = plan.bundle.to_string_lossy();
        let temporary = temporary.to_string_lossy();
        let memory = plan.version.memory_megabytes.to_string();
        let group = plan.function.log_group(plan.version);
        let execution_environment = format!("AWS_Lambda_{}", plan.version.runtime);
        for (name, value) in [
            ("LAMBDA_TASK_ROOT", &*bundle),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
            ("_HANDLER", &plan.version.handler),
            ("AWS_EXECUTION_ENV", &execution_environment),
            ("AWS_LAMBDA_FUNCTION_NAME", &plan.function.key.name),
            ("AWS_LAMBDA_FUNCTION_VERSION", &plan.version.version),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
            ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("TZ", ":UTC"),
            ("TMPDIR", &*temporary),
            ("HOME", &*temporary),
            ("PYTHONIOENCODING", "utf-8"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment
    }

    /// The credentials of the function's role. Where permissions are not enforced, a role that does not exist is
    /// stood in for by the account itself.
    async fn credentials(
        &self,
        plan: &Plan<'_>,
        token: &str,
    ) -> Result<(Credentials, Option<Timestamp>, Principal), ServiceError> {
        let key = &plan.function.key;
        let iam = self.environment.iam();
        let session = &plan.function.key.name;
        match iam.assume_role_for_service(&plan.version.role, "lambda.amazonaws.com", session).await {
            Ok(given) => {
                let now = self.environment.now();
                let principal = iam
                    .principal(Some(&given.access_key_id), Some(&given.session_token), now)
                    .unwrap_or_else(|_| Principal::Service {
                        account: key.account.clone(),
                        name: "lambda.amazonaws.com".into(),
                    });
                let credentials = Credentials {
                    access_key_id: given.access_key_id,
                    secret_access_key: given.secret_access_key,
                    session_token: given.session_token,
                };
                Ok((credentials, Some(given.expiration), principal))
            }
            Err(error) if self.environment.config().enforce == Enforce::On => {
                let message =
                    format!("The role defined for the function cannot be assumed by Lambda. ({error})");
                Err(ServiceError::new(403, "AccessDeniedException", message))
            }
            Err(_) => {
                let credentials = Credentials {
                    access_key_id: key.account.clone(),
                    secret_access_key: "local".to_owned(),
                    session_token: token.to_owned(),
                };
                Ok((credentials, None, Principal::Root { account: key.account.clone() }))
            }
        }
    }
}

fn make_group_readable(directory: &Path, uid: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o750))?;
    match uid {
        Some(uid) => std::os::unix::fs::chown(directory, None, Some(uid)),
        None => Ok(()),
    }
}

/// Node reserves far more than it uses, so its heap is limited by its own option instead.
fn limits(version: &Version) -> Limits {
    let bytes = u64::from(version.memory_megabytes) * 1_048_576 + RUNTIME_MEMORY_BYTES;
    let memory_bytes_max = (!version.runtime.starts_with("nodejs")).then_some(bytes);
    Limits { memory_bytes_max, open_files_max: OPEN_FILES_MAX }
}

/// Ends idle workers from time to time, for as long as the service lives.
pub(super) fn sweep(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let Some(inner) = inner.upgrade() else { return };
            inner.pools.end_idle();
        }
    });
}

/// A function's place among its reserved concurrency; given back when dropped.
struct Place<'a> {
    pools: &'a Pools,
    key: FunctionKey,
}

impl<'a> Place<'a> {
    fn take(pools: &'a Pools, function: &Function) -> Result<Self, ServiceError> {
        let mut busy = pools.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(function.key.clone()).or_default();
        if function.reserved_concurrency.is_some_and(|reserved| *count >= reserved) {
            return Err(throttled("Rate Exceeded.", "ReservedFunctionConcurrentInvocationLimitExceeded"));
        }
        *count += 1;
        Ok(Self { pools, key: function.key.clone() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut busy = self.pools.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.key);
            }
        }
    }
}

fn throttled(message: &str, reason: &str) -> ServiceError {
    ServiceError::new(429, "TooManyRequestsException", message).with_field("Reason", reason)
}

fn service_exception(message: &str) -> ServiceError {
    ServiceError::new(500, "ServiceException", message)
}
