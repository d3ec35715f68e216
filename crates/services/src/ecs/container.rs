//! A container of a Docker or Podman engine, found by its name.
//!
//! Its name follows from the task, so it cannot be created twice; after a crash between creating and starting, it is
//! started once. Containers of this data directory that belong to no living task are removed at the start.

use super::Inner;
use super::plan::Plan;
use super::task::{Status, Task};
use crate::lambda::LogStream;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerState, ContainerStateStatusEnum, HostConfig, ResourcesUlimits,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An image that takes longer is not waited for.
const PULL_WAIT_MAX: Duration = Duration::from_secs(20);
/// An engine that went away is asked again so often.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Log lines that come with the container's end are waited for so long.
const LAST_LINES_WAIT_MAX: Duration = Duration::from_secs(5);
const TASK_LABEL: &str = "passo.task";
const CONTAINER_LABEL: &str = "passo.container";
const DATA_LABEL: &str = "passo.data";
const KILLED: i32 = 137;

/// A container of a task.
#[derive(Clone)]
pub(super) struct TaskContainer {
    pub id: String,
    docker: Docker,
    sent_file: PathBuf,
}

impl TaskContainer {
    /// The container with this token, if it was created; one that was never started is started now if `may_start`.
    ///
    /// An engine that does not answer is waited for: its containers may well be running.
    pub async fn find(inner: &Inner, token: &str, may_start: bool) -> Option<Self> {
        let mut told = false;
        loop {
            match Self::look(inner, token, may_start).await {
                Ok(found) => return found,
                Err(reason) => {
                    if !told {
                        tracing::warn!(token, reason, "waiting for the container engine");
                        told = true;
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    async fn look(inner: &Inner, token: &str, may_start: bool) -> Result<Option<Self>, String> {
        let (docker, _) = inner.engine.connection().await?;
        let found = docker.inspect_container(&name(token), None::<InspectContainerOptions>).await;
        let found = match found {
            Ok(found) => found,
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let container = Self::of(inner, docker, token, found.id.unwrap_or_else(|| name(token)));
        let created = found.state.and_then(|state| state.status) == Some(ContainerStateStatusEnum::CREATED);
        if created && may_start {
            docker
                .start_container(&container.id, None::<StartContainerOptions>)
                .await
                .map_err(|error| error.to_string())?;
        } else if created {
            container.forget(inner).await;
            return Ok(None);
        }
        Ok(Some(container))
    }

    fn of(inner: &Inner, docker: &Docker, token: &str, id: String) -> Self {
        let directory = inner.environment.config().data_dir.join("processes");
        Self { id, docker: docker.clone(), sent_file: directory.join(format!("{token}.sent.log")) }
    }

    /// Creates and starts a container. Nothing is left of one that could not be started.
    pub async fn start(
        inner: &Inner,
        task: &Task,
        token: &str,
        plan: &Plan,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let (docker, _) = inner.engine.connection().await?;
        have_image(docker, &plan.image).await?;
        let options = CreateContainerOptions { name: Some(name(token)), ..CreateContainerOptions::default() };
        let body = body(inner, task, plan, environment);
        let created = docker
            .create_container(Some(options), body)
            .await
            .map_err(|error| format!("CannotCreateContainerError: {error}"))?;
        let container = Self::of(inner, docker, token, created.id);
        if let Err(error) = docker.start_container(&container.id, None::<StartContainerOptions>).await {
            container.forget(inner).await;
            return Err(format!("CannotStartContainerError: {error}"));
        }
        Ok(container)
    }

    /// Waits for the end, sending log lines meanwhile.
    pub async fn wait(&self, inner: &Inner, stream: &Arc<LogStream>) -> i32 {
        let ended = async {
            loop {
                let options = WaitContainerOptions { condition: "not-running".to_owned() };
                // What it answers is asked for again below: a connection may break, and codes come as errors.
                let _ = self.docker.wait_container(&self.id, Some(options)).next().await;
                if let Some(code) = self.exit_code().await {
                    return code;
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        let lines = self.send_lines(inner, stream);
        tokio::pin!(ended, lines);
        tokio::select! {
            code = &mut ended => {
                let _ = tokio::time::timeout(LAST_LINES_WAIT_MAX, lines).await;
                code
            }
            () = &mut lines => ended.await,
        }
    }

    /// The exit code, once it does not run; a container that is gone counts as killed.
    async fn exit_code(&self) -> Option<i32> {
        match self.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await {
            Ok(found) => {
                let state: ContainerState = found.state?;
                let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(KILLED);
                let ended = [Some(ContainerStateStatusEnum::EXITED), Some(ContainerStateStatusEnum::DEAD)];
                ended.contains(&state.status).then_some(code)
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Some(KILLED),
            Err(_) => None,
        }
    }

    pub async fn terminate(&self) {
        self.signal("SIGTERM").await;
    }

    pub async fn kill(&self) {
        self.signal("SIGKILL").await;
    }

    async fn signal(&self, signal: &str) {
        let options = KillContainerOptions { signal: signal.to_owned() };
        // One that has ended meanwhile cannot be signalled, and need not be.
        let _ = self.docker.kill_container(&self.id, Some(options)).await;
    }

    /// Removes the container once its end is on disk.
    pub async fn forget(&self, _inner: &Inner) {
        remove(&self.docker, &self.id).await;
        let _ = fs::remove_file(&self.sent_file);
    }

    /// Sends lines as they come. The engine gives all lines again, in the same order, so after a restart as many are
    /// passed over as were sent. (Its timestamps would not do: Podman's are whole seconds.)
    async fn send_lines(&self, inner: &Inner, stream: &Arc<LogStream>) {
        let options = LogsOptions { follow: true, stdout: true, stderr: true, ..LogsOptions::default() };
        let mut lines = self.docker.logs(&self.id, Some(options)).ready_chunks(256);
        let sent = fs::read_to_string(&self.sent_file).ok().and_then(|text| text.parse().ok());
        let sent: usize = sent.unwrap_or(0);
        let mut seen = 0;
        while let Some(chunk) = lines.next().await {
            let now = inner.logs.now_ms();
            for line in chunk.into_iter().flatten() {
                seen += 1;
                if seen > sent {
                    let text = String::from_utf8_lossy(line.as_ref());
                    inner.logs.put(stream, now, text.trim_end_matches(['\n', '\r']).to_owned()).await;
                }
            }
            if seen > sent {
                inner.logs.flush().await;
                let _ = fs::write(&self.sent_file, seen.to_string());
            }
        }
    }
}

/// Removes containers of this data directory that belong to no task that lives.
pub(super) async fn remove_unowned(inner: &Inner) {
    let Ok((docker, _)) = inner.engine.connection().await else { return };
    let label = format!("{DATA_LABEL}={}", inner.environment.config().data_dir.display());
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options =
        ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let task = container.labels.as_ref().and_then(|labels| labels.get(TASK_LABEL));
        // Looked up now and not before: a task is in the catalog before its container is created.
        let cell = task.and_then(|task| inner.catalog.task(task));
        let is_owned = cell.is_some_and(|cell| cell.get().status != Status::Stopped);
        if let Some(id) = container.id.filter(|_| !is_owned) {
            remove(docker, &id).await;
        }
    }
}

async fn remove(docker: &Docker, id: &str) {
    let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
    if let Err(error) = docker.remove_container(id, Some(options)).await {
        tracing::debug!(id, %error, "a container could not be removed");
    }
}

fn name(token: &str) -> String {
    format!("passo-{token}")
}

/// Makes sure that the image is on this machine.
async fn have_image(docker: &Docker, image: &str) -> Result<(), String> {
    if docker.inspect_image(image).await.is_ok() {
        return Ok(());
    }
    let (from_image, tag) = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    };
    let options = CreateImageOptions {
        from_image: Some(from_image.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let pulled = docker.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) });
    match tokio::time::timeout(PULL_WAIT_MAX, pulled).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!(
            "CannotPullContainerError: the image {image} is not local and cannot be pulled: {error}"
        )),
        Err(_) => Err(format!(
            "CannotPullContainerError: the image {image} is not local and was not pulled within {} seconds",
            PULL_WAIT_MAX.as_secs()
        )),
    }
}

fn body(
    inner: &Inner,
    task: &Task,
    plan: &Plan,
    mut environment: BTreeMap<String, String>,
) -> ContainerCreateBody {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let limit = |name: &str, value| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    };
    let memory = plan.memory_megabytes.and_then(|megabytes| i64::try_from(megabytes * 1_048_576).ok());
    let mut host = HostConfig {
        memory,
        // Engines would otherwise ask for more than a container of their own may have.
        ulimits: Some(vec![limit("nofile", 1024), limit("nproc", 4096)]),
        ..HostConfig::default()
    };
    if cfg!(target_os = "linux") {
        // The endpoint listens on loopback, which only the host's network reaches.
        host.network_mode = Some("host".to_owned());
    } else {
        host.extra_hosts = Some(vec!["host.docker.internal:host-gateway".to_owned()]);
        for (_, endpoint) in environment.iter_mut().filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL")) {
            *endpoint = endpoint
                .replace("127.0.0.1", "host.docker.internal")
                .replace("localhost", "host.docker.internal");
        }
    }
    let data = inner.environment.config().data_dir.display().to_string();
    ContainerCreateBody {
        image: Some(plan.image.clone()),
        entrypoint: some(&plan.entry_point),
        cmd: some(&plan.command),
        working_dir: plan.working_directory.clone(),
        user: plan.user.clone(),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(HashMap::from([
            (TASK_LABEL.to_owned(), task.arn.clone()),
            (CONTAINER_LABEL.to_owned(), plan.name.clone()),
            (DATA_LABEL.to_owned(), data),
        ])),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}
