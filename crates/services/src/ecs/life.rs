//! The driver of one task: each step is on disk before the next begins, and any step can be the first one after a
//! restart.

use super::Inner;
use super::catalog::TaskCell;
use super::choice::Mode;
use super::container::{TaskContainer, remove_unowned};
use super::plan::{Plan, plan};
use super::process::TaskProcess;
use super::task::{Status, Task};
use crate::configuration::Enforce;
use crate::lambda::LogStream;
use crate::process::{Ambient, Credentials, isolated_environment};
use crate::wire::{CallContext, Principal, ServiceError};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// After SIGKILL an ended container is waited for so long.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

/// What runs for a container.
#[derive(Clone)]
enum Running {
    Process(TaskProcess),
    Container(TaskContainer),
}

struct Started {
    index: usize,
    running: Running,
    stop_timeout: Duration,
    end: tokio::sync::watch::Receiver<Option<i32>>,
}

/// Why a task did not come to run.
struct Failure {
    index: usize,
    reason: String,
}

/// Goes on with every task that has not stopped, and ends processes that belong to none.
pub(super) fn resume_all(inner: &Arc<Inner>) {
    let mut owned = HashSet::new();
    for cell in inner.catalog.tasks() {
        let task = cell.get();
        if task.status != Status::Stopped {
            owned.extend((0..task.containers.len()).map(|index| task.token(index)));
            start(inner, cell);
        }
    }
    let records = inner.processes.records().unwrap_or_default();
    for record in records.into_iter().filter(|record| record.supervised && !owned.contains(&record.token)) {
        record.end();
        inner.processes.forget(&record.token);
    }
    inner.processes.remove_files_but(&owned);
    if inner.engine.may_use_containers() {
        let inner = Arc::clone(inner);
        tokio::spawn(async move { remove_unowned(&inner).await });
    }
}

/// Drives a task until it has stopped.
pub(super) fn start(inner: &Arc<Inner>, cell: Arc<TaskCell>) {
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        if let Err(error) = drive(&inner, &cell).await {
            // Only the disk can fail here. The task stays as it was written, for the next start.
            tracing::error!(task = cell.get().arn, %error, "a task cannot go on");
        }
    });
}

async fn drive(inner: &Arc<Inner>, cell: &Arc<TaskCell>) -> Result<(), ServiceError> {
    let mut may_exist = true;
    if cell.get().status == Status::Provisioning && !cell.get().stop_requested {
        // Nothing can have been started before the choice was on disk, so an engine need not be asked, or waited for.
        may_exist = false;
        let choice = inner.engine.choice().await;
        let change = |task: &mut Task| {
            task.mode = Some(choice.mode);
            task.mode_reason = Some(choice.reason);
            task.status = Status::Pending;
        };
        inner.catalog.change(cell, change).await?;
    }
    let (started, failure) = start_containers(inner, cell, may_exist).await?;
    if failure.is_none() && cell.get().status == Status::Pending {
        let now = inner.environment.now().as_millisecond();
        let change = |task: &mut Task| {
            task.status = Status::Running;
            task.started_ms = Some(now);
            task.containers.iter_mut().for_each(|container| container.status = Status::Running);
        };
        inner.catalog.change(cell, change).await?;
    }
    if failure.is_none() {
        let task = cell.get();
        tokio::select! {
            () = essential_end(&task, &started) => {}
            () = cell.stop_requested() => {}
        }
    }
    begin_to_stop(inner, cell, &started, failure).await?;
    let codes = stop_containers(&started).await;
    let now = inner.environment.now().as_millisecond();
    let change = |task: &mut Task| {
        for (index, code) in codes {
            task.containers[index].exit_code = Some(code);
        }
        task.containers.iter_mut().for_each(|container| container.status = Status::Stopped);
        task.status = Status::Stopped;
        task.stopped_ms = Some(now);
    };
    inner.logs.flush().await;
    inner.catalog.change(cell, change).await?;
    for started in started {
        match started.running {
            Running::Process(process) => process.forget(inner),
            Running::Container(container) => container.forget(inner).await,
        }
    }
    Ok(())
}

/// Finds or starts every container of a task. Nothing is started for a task that is to stop.
async fn start_containers(
    inner: &Arc<Inner>,
    cell: &Arc<TaskCell>,
    may_exist: bool,
) -> Result<(Vec<Started>, Option<Failure>), ServiceError> {
    let mut started = Vec::new();
    for index in 0..cell.get().containers.len() {
        let task = cell.get();
        let plan = plan(&task, index);
        let may_start = task.status <= Status::Pending && !task.stop_requested;
        let found = if may_exist { find(inner, &task, index, may_start).await } else { None };
        let running = match found {
            Some(running) => running,
            None if !may_start => continue,
            None => match start_one(inner, cell, index, &plan).await? {
                Ok(running) => running,
                Err(reason) => return Ok((started, Some(Failure { index, reason }))),
            },
        };
        let id = match &running {
            Running::Process(_) => task.token(index),
            Running::Container(container) => container.id.clone(),
        };
        if task.containers[index].runtime_id.is_none() {
            inner.catalog.change(cell, |task| task.containers[index].runtime_id = Some(id)).await?;
        }
        let end = watch_end(inner, &running, log_stream(inner, &task, &plan).await);
        started.push(Started { index, running, stop_timeout: plan.stop_timeout, end });
    }
    Ok((started, None))
}

async fn find(inner: &Inner, task: &Task, index: usize, may_start: bool) -> Option<Running> {
    match task.mode? {
        Mode::Process => TaskProcess::find(inner, &task.token(index)).ok().flatten().map(Running::Process),
        Mode::Container => {
            TaskContainer::find(inner, &task.token(index), may_start).await.map(Running::Container)
        }
    }
}

async fn start_one(
    inner: &Arc<Inner>,
    cell: &Arc<TaskCell>,
    index: usize,
    plan: &Plan,
) -> Result<Result<Running, String>, ServiceError> {
    let task = cell.get();
    let token = task.token(index);
    if task.mode == Some(Mode::Container) {
        let environment = match environment(inner, &task, plan, Mode::Container).await {
            Ok(environment) => environment,
            Err(reason) => return Ok(Err(reason)),
        };
        match TaskContainer::start(inner, &task, &token, plan, environment).await {
            Ok(container) => return Ok(Ok(Running::Container(container))),
            Err(reason) if index > 0 || !inner.engine.may_fall_back() || is_the_images_fault(&reason) => {
                return Ok(Err(reason));
            }
            Err(reason) => {
                // The first container decides for the task, before anything of it runs.
                let change = |task: &mut Task| {
                    task.mode = Some(Mode::Process);
                    task.mode_reason = Some(reason);
                };
                inner.catalog.change(cell, change).await?;
            }
        }
    }
    let task = cell.get();
    let started = match environment(inner, &task, plan, Mode::Process).await {
        Ok(environment) => TaskProcess::start(inner, &task, &token, plan, environment).await,
        Err(reason) => Err(reason),
    };
    Ok(started.map(Running::Process))
}

/// Whether the engine could start containers, only not this program.
fn is_the_images_fault(reason: &str) -> bool {
    ["executable file", "no such file or directory", "permission denied"]
        .iter()
        .any(|text| reason.contains(text))
        && reason.starts_with("CannotStartContainerError")
}

/// The container's whole environment, with the credentials of the task's role.
async fn environment(
    inner: &Inner,
    task: &Task,
    plan: &Plan,
    mode: Mode,
) -> Result<BTreeMap<String, String>, String> {
    let (credentials, _) = credentials(inner, task, task.task_role.as_deref()).await?;
    let empty_file = match mode {
        Mode::Process => inner.empty_file.as_path(),
        // Every image has it, and it is empty.
        Mode::Container => std::path::Path::new("/dev/null"),
    };
    let ambient = Ambient {
        endpoint: &inner.environment.endpoint(),
        region: &task.region,
        credentials: &credentials,
        empty_file,
        path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        elsewhere: &inner.environment.variables_of_elsewhere(&task.region),
    };
    let mut environment = isolated_environment(&ambient, plan.variables.clone());
    environment.insert("AWS_EXECUTION_ENV".to_owned(), format!("AWS_ECS_{}", task.launch_type));
    if mode == Mode::Container {
        // The image's own is the right one.
        environment.remove("PATH");
        environment.extend(plan.variables.iter().filter(|(name, _)| name == "PATH").cloned());
    }
    Ok(environment)
}

async fn credentials(
    inner: &Inner,
    task: &Task,
    role: Option<&str>,
) -> Result<(Credentials, Principal), String> {
    let iam = inner.environment.iam();
    let enforced = inner.environment.config().enforce == Enforce::On;
    let Some(role) = role else {
        let nothing = Credentials {
            access_key_id: "none".into(),
            secret_access_key: "none".into(),
            ..Credentials::default()
        };
        let nobody =
            Principal::Service { account: task.account.clone(), name: "ecs-tasks.amazonaws.com".into() };
        return if enforced { Ok((nothing, nobody)) } else { Ok(account_itself(task)) };
    };
    match iam.assume_role_for_service(role, "ecs-tasks.amazonaws.com", &task.id).await {
        Ok(given) => {
            let now = inner.environment.now();
            let principal = iam
                .principal(Some(&given.access_key_id), Some(&given.session_token), now)
                .map_err(|error| format!("the credentials of the role '{role}' cannot be used: {error:?}"))?;
            let credentials = Credentials {
                access_key_id: given.access_key_id,
                secret_access_key: given.secret_access_key,
                session_token: given.session_token,
            };
            Ok((credentials, principal))
        }
        Err(error) if enforced => Err(format!(
            "ECS was unable to assume the role '{role}' that was provided for this task. ({error})"
        )),
        Err(_) => Ok(account_itself(task)),
    }
}

/// Where permissions are not enforced, the account stands in for a role that does not exist.
fn account_itself(task: &Task) -> (Credentials, Principal) {
    let credentials = Credentials {
        access_key_id: task.account.clone(),
        secret_access_key: "local".to_owned(),
        session_token: task.id.clone(),
    };
    (credentials, Principal::Root { account: task.account.clone() })
}

async fn log_stream(inner: &Inner, task: &Task, plan: &Plan) -> Arc<LogStream> {
    let role = task.execution_role.as_deref().filter(|_| plan.logs_are_configured);
    let principal = match role {
        Some(role) => credentials(inner, task, Some(role)).await.map(|(_, principal)| principal).ok(),
        None => None,
    };
    let principal = principal.unwrap_or_else(|| Principal::Root { account: task.account.clone() });
    Arc::new(LogStream {
        context: CallContext::of(principal, &task.region),
        group: plan.log_group.clone(),
        stream: plan.log_stream.clone(),
    })
}

fn watch_end(
    inner: &Arc<Inner>,
    running: &Running,
    stream: Arc<LogStream>,
) -> tokio::sync::watch::Receiver<Option<i32>> {
    let (told, end) = tokio::sync::watch::channel(None);
    let (inner, running) = (Arc::clone(inner), running.clone());
    tokio::spawn(async move {
        let code = match running {
            Running::Process(process) => process.wait(&inner, &stream).await,
            Running::Container(container) => container.wait(&inner, &stream).await,
        };
        told.send_replace(Some(code));
    });
    end
}

/// Ends when an essential container has ended, or all have.
async fn essential_end(task: &Task, started: &[Started]) {
    loop {
        let mut waits = Vec::new();
        for container in started.iter().filter(|container| container.end.borrow().is_none()) {
            let mut end = container.end.clone();
            waits.push(Box::pin(async move { end.wait_for(Option::is_some).await.is_ok() }));
        }
        let essential_ended = started
            .iter()
            .any(|container| container.end.borrow().is_some() && task.containers[container.index].essential);
        if essential_ended || waits.is_empty() {
            return;
        }
        std::future::poll_fn(|context| {
            let any = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
            if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

async fn begin_to_stop(
    inner: &Inner,
    cell: &TaskCell,
    started: &[Started],
    failure: Option<Failure>,
) -> Result<(), ServiceError> {
    let now = inner.environment.now().as_millisecond();
    let ended_itself =
        !started.is_empty() && started.iter().any(|container| container.end.borrow().is_some());
    let change = |task: &mut Task| {
        task.stopping_ms.get_or_insert(now);
        if ended_itself {
            task.execution_stopped_ms.get_or_insert(now);
        }
        if let Some(Failure { index, reason }) = failure {
            task.stop_code.get_or_insert("TaskFailedToStart".to_owned());
            task.stopped_reason.get_or_insert(reason.clone());
            task.containers[index].reason = Some(reason);
        }
        if started.is_empty() && task.stop_code.is_none() {
            // Found again after a restart of the machine: what ran there ended with it.
            task.stop_code = Some("TerminationNotice".to_owned());
            task.stopped_reason = Some("The machine was restarted while the task was running".to_owned());
        }
        task.stop_code.get_or_insert("EssentialContainerExited".to_owned());
        task.stopped_reason.get_or_insert("Essential container in task exited".to_owned());
        task.status = Status::Deprovisioning;
    };
    inner.catalog.change(cell, change).await.map(drop)
}

/// SIGTERM to what still runs, then SIGKILL; returns the exit codes.
async fn stop_containers(started: &[Started]) -> Vec<(usize, i32)> {
    for container in started.iter().filter(|container| container.end.borrow().is_none()) {
        match &container.running {
            Running::Process(process) => process.terminate(),
            Running::Container(running) => running.terminate().await,
        }
    }
    let mut codes = Vec::new();
    for container in started {
        let mut end = container.end.clone();
        if tokio::time::timeout(container.stop_timeout, end.wait_for(Option::is_some)).await.is_err() {
            match &container.running {
                Running::Process(process) => process.kill().await,
                Running::Container(running) => running.kill().await,
            }
        }
        let ended = tokio::time::timeout(KILL_WAIT_MAX, end.wait_for(Option::is_some)).await;
        let code = ended.ok().and_then(Result::ok).and_then(|code| *code);
        codes.extend(code.map(|code| (container.index, code)));
        if let Running::Process(process) = &container.running {
            // What the program left behind in its session.
            process.kill().await;
        }
    }
    codes
}
