//! The durable record of a process: enough to find it again after the server was killed, and never to mistake
//! another process for it.
//!
//! A pid alone is recycled, so the record holds the start time and the boot. The token is also in the process's
//! environment: what descends from it is found by the token even when its leader is gone. Records are not synced:
//! a power cut that loses one has ended the process as well.

use super::table;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The environment variable that marks a process as ours.
pub(super) const TOKEN_VARIABLE: &str = "PASSO_PROCESS";

/// How long an ended process may take to leave the process table.
const END_WAIT_MAX: Duration = Duration::from_secs(3);

/// One process that was about to start, or has started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The name of the process, unique for ever.
    pub token: String,
    /// Whose process it is: the ARN of a function or task.
    pub owner: String,
    /// Its process id and process group; absent until it has started.
    pub pid: Option<u32>,
    /// Its start time as the system tells it.
    pub start_time: Option<String>,
    /// The boot it runs in.
    pub boot: String,
    /// Its user id, when it is not the server's.
    pub uid: Option<u32>,
    /// Whether it outlives the server.
    pub supervised: bool,
    /// Where its exit code is written, when supervised.
    pub exit_file: Option<PathBuf>,
}

impl Record {
    /// Whether it was written since the machine started.
    pub fn boot_is_current(&self) -> bool {
        self.boot == table::boot()
    }

    /// Whether the recorded process itself still runs.
    pub fn is_running(&self) -> bool {
        self.boot_is_current() && (self.leader_runs() || self.is_supervised_now())
    }

    fn leader_runs(&self) -> bool {
        self.pid.is_some_and(|pid| self.start_time.is_some() && table::start_time(pid) == self.start_time)
    }

    /// Whether a supervisor holds the exit file. It does so from before the fork until the exit code is written, so
    /// this is true also when the server was killed before it could note the pid, or before the program was loaded.
    fn is_supervised_now(&self) -> bool {
        let file = self.exit_file.as_deref().and_then(|path| fs::File::open(path).ok());
        file.is_some_and(|file| !table::try_lock(&file))
    }

    /// Whether the process or anything that descends from it still runs.
    pub fn anything_runs(&self) -> bool {
        self.is_running() || !self.members().is_empty()
    }

    /// Kills the process, its group and its descendants, and waits until they are gone.
    pub fn end(&self) {
        let limit = Instant::now() + END_WAIT_MAX;
        while self.boot_is_current() && Instant::now() < limit {
            let members = self.members();
            let running = self.is_running();
            if let Some(pid) = self.pid.filter(|_| self.leader_runs()) {
                table::kill_group(pid, libc::SIGKILL);
            }
            for pid in &members {
                table::kill(*pid, libc::SIGKILL);
            }
            if members.is_empty() && !running {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the process group to end.
    pub fn terminate(&self) {
        match self.pid {
            Some(pid) if self.leader_runs() => table::kill_group(pid, libc::SIGTERM),
            Some(_) => {}
            None => self.members().into_iter().for_each(|pid| table::kill(pid, libc::SIGTERM)),
        }
    }

    /// The code that the supervisor wrote, once the process has ended.
    pub fn exit_code(&self) -> Option<i32> {
        read_exit_file(self.exit_file.as_deref()?)
    }

    fn members(&self) -> Vec<u32> {
        if !self.boot_is_current() {
            return Vec::new();
        }
        let mut members = table::with_variable(TOKEN_VARIABLE, &self.token);
        if let (Some(pid), Some(uid)) = (self.pid, self.uid)
            && table::start_time(pid).is_none_or(|found| Some(found) == self.start_time)
        {
            // A process may clear its own environment, but not its session or its user. The session's number cannot
            // be another's while the leader lives, or has left processes behind.
            members.extend(table::in_session(pid, uid));
        }
        members
    }

    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let fresh = directory.join(format!(".{}", self.token));
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(fresh, directory.join(&self.token))
    }

    pub(super) fn remove(&self, directory: &Path) -> io::Result<()> {
        remove(directory, &self.token);
        Ok(())
    }
}

/// Reads an exit file; it counts only when the final line end is there.
pub(super) fn read_exit_file(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok()
}

pub(super) fn remove(directory: &Path, token: &str) {
    let _ = fs::remove_file(directory.join(token));
}

/// All readable records.
pub(super) fn read_all(directory: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains('.') {
            // Output and exit files, the lock, and records half written, which never had a process.
            continue;
        }
        match fs::read(&path).map(|bytes| serde_json::from_slice::<Record>(&bytes)) {
            Ok(Ok(record)) => records.push(record),
            Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "unreadable process record"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}
