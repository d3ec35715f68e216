//! A container's command as a process, below a supervisor that outlives the server.
//!
//! Output goes to a file, so the process does not notice when the server is killed; how much of it was sent to
//! CloudWatch Logs is noted beside it.

use super::Inner;
use super::plan::Plan;
use super::task::Task;
use crate::lambda::{Family, LogStream};
use crate::process::{Launch, Life, Limits, Output, Record};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const OPEN_FILES_MAX: u64 = 1024;
/// A process of an earlier server cannot be waited for, only looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const READ_BYTES_MAX: u64 = 1_048_576;
/// What an interpreter takes beside the container's own memory.
const SLACK_BYTES: u64 = 192 * 1_048_576;
/// Killed: what a shell reports for SIGKILL.
const KILLED: i32 = 137;

/// A process of a task.
#[derive(Clone)]
pub(super) struct TaskProcess {
    record: Record,
    log_file: PathBuf,
    sent_file: PathBuf,
}

impl TaskProcess {
    /// The process with this token, if an earlier server started it.
    pub fn find(inner: &Inner, token: &str) -> io::Result<Option<Self>> {
        let Some(record) = inner.processes.find(token)? else { return Ok(None) };
        // A record alone is only the intention: nothing runs and nothing has ended.
        let was_started = record.pid.is_some() || record.anything_runs() || record.exit_code().is_some();
        Ok(was_started.then(|| Self::of(inner, record)))
    }

    fn of(inner: &Inner, record: Record) -> Self {
        let directory = inner.environment.config().data_dir.join("processes");
        Self {
            log_file: directory.join(format!("{}.log", record.token)),
            sent_file: directory.join(format!("{}.sent.log", record.token)),
            record,
        }
    }

    /// Starts the command of a plan.
    pub async fn start(
        inner: &Inner,
        task: &Task,
        token: &str,
        plan: &Plan,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let mut command = plan.entry_point.iter().chain(&plan.command);
        let program = command.next().ok_or_else(|| {
            let why = task.mode_reason.as_deref().unwrap_or("processes were asked for");
            format!("the task runs as a process ({why}), and the task definition has no command for one")
        })?;
        let arguments = command.map(Into::into).collect();
        let text = |error: io::Error| error.to_string();
        let (program, server_user) = program_file(inner, program, &plan.image, &environment).await?;
        let uid =
            if server_user { None } else { inner.processes.identities().of(&task.arn).map_err(text)? };
        let temporary = inner.processes.area().temporary(token, uid).map_err(text)?;
        let mut environment = environment;
        for name in ["TMPDIR", "HOME"] {
            environment.insert(name.to_owned(), temporary.to_string_lossy().into_owned());
        }
        let directory = inner.environment.config().data_dir.join("processes");
        let launch = Launch {
            token: token.to_owned(),
            owner: task.arn.clone(),
            program,
            arguments,
            environment,
            directory: temporary.clone(),
            temporary,
            uid,
            limits: Limits {
                memory_bytes_max: plan.memory_megabytes.map(|megabytes| megabytes * 1_048_576 + SLACK_BYTES),
                open_files_max: OPEN_FILES_MAX,
            },
            output: Output::File(directory.join(format!("{token}.log"))),
            life: Life::Supervised,
        };
        let running = inner
            .processes
            .launch(launch)
            .await
            .map_err(|error| format!("CannotStartContainerError: {error}"))?;
        Ok(Self::of(inner, running.record))
    }

    /// Waits for the end, sending log lines meanwhile.
    pub async fn wait(&self, inner: &Inner, stream: &Arc<LogStream>) -> i32 {
        loop {
            let ended = self.record.exit_code();
            let gone = ended.is_none() && !self.record.is_running() && !self.record.anything_runs();
            self.send_lines(inner, stream, ended.is_some() || gone).await;
            if let Some(code) = ended {
                return code;
            }
            if gone {
                // It may have ended between the two looks; its code is written before it is gone.
                return self.record.exit_code().unwrap_or(KILLED);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub fn terminate(&self) {
        self.record.terminate();
    }

    /// Kills it and all that descends from it, and waits until they are gone.
    pub async fn kill(&self) {
        let record = self.record.clone();
        let _ = tokio::task::spawn_blocking(move || record.end()).await;
    }

    /// Removes what belongs to it once its end is on disk.
    pub fn forget(&self, inner: &Inner) {
        for path in [Some(&self.log_file), Some(&self.sent_file), self.record.exit_file.as_ref()]
            .into_iter()
            .flatten()
        {
            let _ = fs::remove_file(path);
        }
        inner.processes.forget(&self.record.token);
        inner.processes.identities().release(&self.record.owner);
    }

    async fn send_lines(&self, inner: &Inner, stream: &Arc<LogStream>, to_the_end: bool) {
        loop {
            let sent: u64 = fs::read_to_string(&self.sent_file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0);
            let Ok(bytes) = read_from(&self.log_file, sent) else { return };
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let is_long = bytes.len() as u64 >= READ_BYTES_MAX;
            let end = if whole == 0 && (to_the_end || is_long) { bytes.len() } else { whole };
            if end == 0 {
                return;
            }
            let now = inner.environment.now().as_millisecond();
            for line in String::from_utf8_lossy(&bytes[..end]).lines() {
                inner.logs.put(stream, now, line.to_owned()).await;
            }
            inner.logs.flush().await;
            let _ = fs::write(&self.sent_file, (sent + end as u64).to_string());
        }
    }
}

fn read_from(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    file.seek(io::SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file of a program: Python as Lambda finds it, everything else on the search path of the task. The flag says
/// that only the server's user can run it.
async fn program_file(
    inner: &Inner,
    program: &str,
    image: &str,
    environment: &BTreeMap<String, String>,
) -> Result<(PathBuf, bool), String> {
    let python = program.rsplit('/').next().filter(|name| name.starts_with("python"));
    if let Some(name) = python {
        let tag = image.rsplit(['/', ':']).next().unwrap_or_default();
        let minor = |text: &str| text.strip_prefix("3.")?.split(['-', '.']).next()?.parse().ok();
        let wanted: Option<u32> = minor(name.trim_start_matches("python")).or_else(|| minor(tag));
        let found = inner.lambda.interpreter_of(Family::Python(wanted.unwrap_or(12))).await?;
        return Ok((found.path, found.needs_server_user));
    }
    if program.contains('/') {
        return Ok((PathBuf::from(program), false));
    }
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    let found =
        std::env::split_paths(path).map(|directory| directory.join(program)).find(|file| file.is_file());
    found
        .map(|file| (file, false))
        .ok_or_else(|| format!("CannotStartContainerError: {program} is not on this machine's PATH ({path})"))
}
