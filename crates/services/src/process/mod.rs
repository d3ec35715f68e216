//! User code as operating-system processes, kept apart from the server and from each other.
//!
//! Every process runs in its own session and process group with a directory of its own, an environment that starts
//! empty, resource limits and, when the server is root, a user id of its own. A durable record is written before a
//! process starts, so a killed server's orphans are found at the next start: ended, or taken over when supervised.
//! It knows nothing of Lambda or ECS, and it is no sandbox against kernel bugs: whoever may deploy code is trusted
//! with this machine's network and processor time.

mod area;
mod child;
mod environment;
mod identity;
mod launch;
mod record;
mod table;

pub use area::{Area, write_executable};
pub use environment::{Ambient, Credentials, isolated_environment};
pub use identity::Identities;
pub use launch::{Exit, Launch, Life, Limits, Output, Running};
pub use record::Record;
pub(crate) use table::resident_bytes_max;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The processes of one server: where their records are, where they may write, and as whom they run.
#[derive(Debug)]
pub struct Processes {
    records: PathBuf,
    area: Area,
    identities: Identities,
    /// Held for as long as this server lives: a second one would take its workers for orphans.
    _lock: Option<table::Lock>,
}

impl Processes {
    /// Opens the records below `data_directory` and ends the orphans a killed server left.
    ///
    /// Supervised processes are left alone, to be found again with [`Processes::find`].
    pub fn open(data_directory: &Path) -> io::Result<Arc<Self>> {
        let records = data_directory.join("processes");
        area::private_directory(&records)?;
        let lock = table::lock(&records.join(".lock"), data_directory)?;
        Self::recover(data_directory, Some(lock))
    }

    fn recover(data_directory: &Path, lock: Option<table::Lock>) -> io::Result<Arc<Self>> {
        let records = data_directory.join("processes");
        let mut kept = Vec::new();
        for record in record::read_all(&records)? {
            if record.supervised && record.boot_is_current() {
                kept.push(record);
                continue;
            }
            record.end();
            record.remove(&records)?;
        }
        let area = Area::open(data_directory, &kept)?;
        let identities = Identities::probe(data_directory);
        for record in &kept {
            if let Some(uid) = record.uid {
                identities.reserve(&record.owner, uid);
            }
        }
        Ok(Arc::new(Self { records, area, identities, _lock: lock }))
    }

    /// Where bundles, temporary directories and shared packages live.
    pub fn area(&self) -> &Area {
        &self.area
    }

    /// The user ids given to user code.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Starts a process; its record is on disk before it runs.
    pub async fn launch(self: &Arc<Self>, launch: Launch) -> io::Result<Running> {
        launch::launch(self, launch).await
    }

    /// The record of a supervised process of an earlier server on this boot, if there is one.
    pub fn find(&self, token: &str) -> io::Result<Option<Record>> {
        Ok(record::read_all(&self.records)?.into_iter().find(|record| record.token == token))
    }

    /// All records, of running processes and of those to be found again.
    pub fn records(&self) -> io::Result<Vec<Record>> {
        record::read_all(&self.records)
    }

    /// Forgets a process that has ended: its record and its temporary directory.
    pub fn forget(&self, token: &str) {
        record::remove(&self.records, token);
        self.area.remove_temporary(token);
    }

    /// Removes output and exit files of processes that are not among these and have no record.
    pub fn remove_files_but(&self, kept: &HashSet<String>) {
        for entry in std::fs::read_dir(&self.records).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((token, _)) = name.split_once('.').filter(|(token, _)| !token.is_empty()) else {
                continue;
            };
            if !kept.contains(token) && !self.records.join(token).exists() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn records_directory(&self) -> &Path {
        &self.records
    }
}

/// Where the operator's shell finds programs. This and [`engine_addresses`] are all that this crate takes from the
/// server's environment, because no configuration could know it better.
pub fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// Where container engines listen; what the operator's shell says comes first.
pub fn engine_addresses() -> Vec<String> {
    let named = std::env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty());
    let runtime =
        std::env::var("XDG_RUNTIME_DIR").ok().map(|directory| format!("{directory}/podman/podman.sock"));
    let usual = ["/var/run/docker.sock".to_owned(), "/run/podman/podman.sock".to_owned()];
    named.into_iter().chain(usual).chain(runtime).collect()
}

#[cfg(test)]
mod tests;
