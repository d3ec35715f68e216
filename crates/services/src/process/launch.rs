//! Starting a process, knowing when it ended, ending it.
//!
//! All processes are forked by one thread that never ends: the kernel's "kill me when my parent dies" means the
//! parent *thread*, and a thread of the async runtime may end at any time.

use super::child::{Confinement, confine};
use super::record::{Record, TOKEN_VARIABLE, read_exit_file};
use super::{Processes, area, table};
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use tokio::sync::{oneshot, watch};

/// A process to be started.
#[derive(Debug)]
pub struct Launch {
    /// Its name, unique for ever; also the name of its temporary directory.
    pub token: String,
    /// Whose process it is.
    pub owner: String,
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where it starts.
    pub directory: PathBuf,
    /// Its temporary directory, from [`super::Area::temporary`].
    pub temporary: PathBuf,
    /// Its user id, from [`super::Identities::of`].
    pub uid: Option<u32>,
    /// Its limits.
    pub limits: Limits,
    /// Where its output goes.
    pub output: Output,
    /// What happens to it when the server ends.
    pub life: Life,
}

/// Limits of a process.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Private writable memory (RLIMIT_DATA); `None` for programs that reserve far more than they use.
    pub memory_bytes_max: Option<u64>,
    /// Open files.
    pub open_files_max: u64,
}

/// Where standard output and standard error go.
#[derive(Clone, Debug)]
pub enum Output {
    /// To pipes that the server reads.
    Piped,
    /// Appended to a file that outlives the server.
    File(PathBuf),
}

/// How long a process may live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// No longer than the server.
    EndsWithServer,
    /// On its own, below a supervisor that writes its exit code beside its record.
    Supervised,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// The code a shell would report.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A process that was started here.
#[derive(Debug)]
pub struct Running {
    /// Its durable record.
    pub record: Record,
    /// Its standard output, when piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, when piped.
    pub stderr: Option<ChildStderr>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Running {
    /// Kills the whole group at once.
    pub fn kill(&self) {
        if self.exit.borrow().is_none()
            && let Some(pid) = self.record.pid
        {
            table::kill_group(pid, libc::SIGKILL);
        }
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Something to wait with that does not keep the process itself.
    pub fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(value) => value.unwrap_or(Exit::Signal(libc::SIGKILL)),
            Err(_) => Exit::Signal(libc::SIGKILL),
        }
    }
}

/// Starts a process on the forking thread.
pub(super) async fn launch(processes: &Arc<Processes>, launch: Launch) -> io::Result<Running> {
    let (answer, started) = oneshot::channel();
    let processes = Arc::clone(processes);
    let job: Job = Box::new(move || {
        let _ = answer.send(start(&processes, launch));
    });
    forking_thread()?.send(job).map_err(|_| io::Error::other("the forking thread has ended"))?;
    started.await.map_err(|_| io::Error::other("the forking thread has ended"))?
}

type Job = Box<dyn FnOnce() + Send>;

fn forking_thread() -> io::Result<&'static std::sync::mpsc::Sender<Job>> {
    static JOBS: OnceLock<Option<std::sync::mpsc::Sender<Job>>> = OnceLock::new();
    JOBS.get_or_init(|| {
        let (jobs, work) = std::sync::mpsc::channel::<Job>();
        let body = move || work.into_iter().for_each(|job| job());
        std::thread::Builder::new().name("fork".into()).spawn(body).ok().map(|_| jobs)
    })
    .as_ref()
    .ok_or_else(|| io::Error::other("the forking thread could not start"))
}

fn start(processes: &Arc<Processes>, launch: Launch) -> io::Result<Running> {
    let directory = processes.records_directory();
    let supervised = launch.life == Life::Supervised;
    let exit_file = supervised.then(|| directory.join(format!("{}.exit", launch.token)));
    let mut record = Record {
        token: launch.token.clone(),
        owner: launch.owner.clone(),
        pid: None,
        start_time: None,
        boot: table::boot(),
        uid: launch.uid,
        supervised,
        exit_file: exit_file.clone(),
    };
    // Before the fork: a server killed in between finds the process by the token in its environment.
    record.write(directory)?;
    let mut child = match spawn(&launch, exit_file.as_deref()) {
        Ok(child) => child,
        Err(error) => {
            super::record::remove(directory, &record.token);
            return Err(error);
        }
    };
    record.pid = Some(child.id());
    record.start_time = table::start_time(child.id());
    record.write(directory)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let exit = reap(child, exit_file, (!supervised).then(|| (Arc::clone(processes), record.clone())))?;
    Ok(Running { record, stdout, stderr, exit })
}

fn spawn(launch: &Launch, exit_file: Option<&Path>) -> io::Result<Child> {
    let exit_file = exit_file.map(|path| open_output(path, 0o600)).transpose()?;
    if exit_file.as_ref().is_some_and(|file| !table::try_lock(file)) {
        return Err(io::Error::other(format!("the process {} runs already", launch.token)));
    }
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).env_clear().envs(&launch.environment);
    command.env(TOKEN_VARIABLE, &launch.token).current_dir(&launch.directory).stdin(Stdio::null());
    match &launch.output {
        Output::Piped => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Output::File(path) => {
            let file = open_output(path, 0o600)?;
            command.stdout(file.try_clone()?).stderr(file)
        }
    };
    // A program below /tmp would vanish behind a private one.
    let reachable = [&launch.program, &launch.directory].iter().all(|path| !path.starts_with("/tmp"));
    let private_tmp = launch.uid.filter(|_| reachable).map(|_| &launch.temporary);
    confine(
        &mut command,
        Confinement {
            uid: launch.uid,
            limits: launch.limits.clone(),
            exit_file: exit_file.as_ref().map(AsRawFd::as_raw_fd),
            private_tmp: private_tmp.and_then(|path| CString::new(path.as_os_str().as_encoded_bytes()).ok()),
            server_pid: std::process::id(),
        },
    );
    let _guard = area::WRITING_OR_FORKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    command.spawn()
}

fn open_output(path: &Path, mode: u32) -> io::Result<fs::File> {
    fs::OpenOptions::new().append(true).create(true).mode(mode).open(path)
}

/// Waits for the child in a small thread of its own, so no zombie stays and nothing polls.
fn reap(
    mut child: Child,
    exit_file: Option<PathBuf>,
    forget: Option<(Arc<Processes>, Record)>,
) -> io::Result<watch::Receiver<Option<Exit>>> {
    let (told, exit) = watch::channel(None);
    let wait = move || {
        let pid = child.id();
        table::await_end(pid);
        table::kill_group(pid, libc::SIGKILL);
        let status = child.wait();
        let written = exit_file.as_deref().and_then(read_exit_file).map(Exit::Code);
        let waited = status.ok().map(|status| match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
        });
        if let Some((processes, record)) = forget {
            // What left the group is found by its environment or its session.
            record.end();
            processes.forget(&record.token);
        }
        told.send_replace(written.or(waited).or(Some(Exit::Signal(libc::SIGKILL))));
    };
    std::thread::Builder::new().name("reap".into()).stack_size(128 * 1024).spawn(wait)?;
    Ok(exit)
}
