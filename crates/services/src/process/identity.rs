//! The user ids that user code runs under when the server is root.
//!
//! Each owner (a function, a task) has an id of its own, so the kernel keeps their memory, files and environments
//! apart. The range is one that no distribution gives to people or services (60578–61183 is unused in systemd's
//! list of ids). Without root there is one id for all, and [`Identities::warning`] says so.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

const FIRST: u32 = 60_600;
const COUNT: u32 = 500;

/// Who runs as which user id.
#[derive(Debug)]
pub struct Identities {
    separate: bool,
    offset: u32,
    owners: Mutex<HashMap<String, u32>>,
}

impl Identities {
    /// Finds out whether this server may give user code ids of its own.
    pub(super) fn probe(data_directory: &Path) -> Self {
        let digest = Sha256::digest(data_directory.as_os_str().as_encoded_bytes());
        let offset = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % COUNT;
        let separate = server_is_root() && may_become(FIRST + offset);
        Self { separate, offset, owners: Mutex::default() }
    }

    /// The id of an owner, given on first use; `None` when all run as the server's own user.
    pub fn of(&self, owner: &str) -> std::io::Result<Option<u32>> {
        if !self.separate {
            return Ok(None);
        }
        let mut owners = self.owners.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(uid) = owners.get(owner) {
            return Ok(Some(*uid));
        }
        let uid = (0..COUNT)
            .map(|n| FIRST + (self.offset + n) % COUNT)
            .find(|uid| owners.values().all(|taken| taken != uid))
            .ok_or_else(|| std::io::Error::other(format!("all {COUNT} user ids for user code are in use")))?;
        owners.insert(owner.to_owned(), uid);
        Ok(Some(uid))
    }

    /// Gives the id of an owner back once nothing of it runs.
    pub fn release(&self, owner: &str) {
        self.owners.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(owner);
    }

    pub(super) fn reserve(&self, owner: &str, uid: u32) {
        self.owners.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(owner.to_owned(), uid);
    }

    /// An id to try things with before an owner is known, such as whether an interpreter can be reached.
    pub fn sample(&self) -> Option<u32> {
        self.separate.then_some(FIRST + (self.offset + COUNT - 1) % COUNT)
    }

    /// What the operator should know about the separation, if it is not complete.
    pub fn warning(&self) -> Option<&'static str> {
        (!self.separate).then_some(
            "functions and tasks run as the server's own user, which can read what the server can read; \
             run the server as root for a user id each",
        )
    }
}

fn may_become(uid: u32) -> bool {
    use std::os::unix::process::CommandExt;
    Command::new("/bin/sh")
        .args(["-c", ":"])
        .uid(uid)
        .gid(uid)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub(super) fn server_is_root() -> bool {
    effective_uid() == 0
}

#[allow(unsafe_code)]
pub(super) fn effective_uid() -> u32 {
    // SAFETY: geteuid takes nothing, changes nothing and cannot fail.
    unsafe { libc::geteuid() }
}
