//! Directories that user code may reach.
//!
//! The data directory is closed to user code (mode 0700). When the server is root and gives user code ids of its
//! own, what that code must read lies outside of it, in a directory that others may pass through but not list.

use super::record::Record;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Held while an executable is open for writing and while a process is forked: a child forked in between would
/// hold the descriptor open for writing, and the kernel refuses to execute such a file (ETXTBSY).
pub(super) static WRITING_OR_FORKING: Mutex<()> = Mutex::new(());

/// The file of an area outside of its data directory that names that directory.
const OWNER: &str = "owner";

/// The directories of user code below one root.
#[derive(Debug)]
pub struct Area {
    root: PathBuf,
}

impl Area {
    /// Opens the area of a data directory and clears what belongs to no surviving process.
    pub(super) fn open(data_directory: &Path, kept: &[Record]) -> io::Result<Self> {
        let root = if super::identity::server_is_root() {
            let canonical = fs::canonicalize(data_directory)?;
            let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
            Path::new("/var/tmp").join(format!("passo-{}", hex::encode(&digest[..8])))
        } else {
            data_directory.join("run")
        };
        if super::identity::server_is_root() {
            remove_abandoned(Path::new("/var/tmp"));
        }
        passage(&root)?;
        claim(&root, &fs::canonicalize(data_directory)?)?;
        let area = Self { root };
        for name in ["tmp", "bundles"] {
            passage(&area.root.join(name))?;
        }
        for name in ["packages", "runtime"] {
            readable(&area.root.join(name))?;
        }
        clear(&area.root.join("tmp"), |name| kept.iter().any(|record| record.token == name))?;
        clear(&area.root.join("bundles"), |_| false)?;
        Ok(area)
    }

    /// A fresh temporary directory that only `uid` may use; it is named after the process's token.
    pub fn temporary(&self, token: &str, uid: Option<u32>) -> io::Result<PathBuf> {
        let path = self.root.join("tmp").join(token);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        if let Some(uid) = uid {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid))?;
        }
        Ok(path)
    }

    /// Removes a temporary directory.
    pub fn remove_temporary(&self, token: &str) {
        let _ = fs::remove_dir_all(self.root.join("tmp").join(token));
    }

    /// A directory for unpacked code: root's, readable by `uid` alone.
    pub fn bundle(&self, name: &str, uid: Option<u32>) -> io::Result<PathBuf> {
        let path = self.root.join("bundles").join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(if uid.is_some() { 0o750 } else { 0o700 }))?;
        if let Some(uid) = uid {
            std::os::unix::fs::chown(&path, None, Some(uid))?;
        }
        Ok(path)
    }

    /// The directory of packages that all user code may read.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// Writes a file that all user code may read, such as a runtime's bootstrap, and returns its path.
    pub fn shared_file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.root.join("runtime").join(name);
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            return Ok(path);
        }
        let fresh = self.root.join("runtime").join(format!(".{name}.{}", uuid::Uuid::new_v4()));
        fs::write(&fresh, text)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
        fs::rename(&fresh, &path)?;
        Ok(path)
    }
}

/// Writes a file that may be executed, while no process is being forked.
pub fn write_executable(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let _guard = WRITING_OR_FORKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A directory that only the server may enter.
pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// A directory that others may pass through and not list.
fn passage(path: &Path) -> io::Result<()> {
    owned(path, 0o711)
}

/// A directory that others may read.
fn readable(path: &Path) -> io::Result<()> {
    owned(path, 0o755)
}

/// Makes a directory and checks that it is ours: the name is predictable and its parent may be open to all, so a
/// directory or link that somebody else put there is refused.
fn owned(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != super::identity::effective_uid() {
        return Err(io::Error::other(format!("{} is not a directory of this server's user", path.display())));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Writes down whose area it is. The file is whole at every moment: another server that is starting reads it to find
/// areas that nobody owns.
fn claim(root: &Path, data_directory: &Path) -> io::Result<()> {
    let beside = root.join(format!("{OWNER}.{}", std::process::id()));
    fs::write(&beside, data_directory.as_os_str().as_encoded_bytes())?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside, root.join(OWNER))
}

/// Removes the areas of data directories that are gone.
fn remove_abandoned(parent: &Path) {
    use std::os::unix::ffi::OsStringExt;
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with("passo-")
            && fs::symlink_metadata(&path).is_ok_and(|metadata| {
                metadata.is_dir() && metadata.uid() == super::identity::effective_uid()
            });
        let Some(owner) = fs::read(path.join(OWNER)).ok().filter(|_| is_ours) else { continue };
        if !Path::new(&std::ffi::OsString::from_vec(owner)).exists() {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn clear(directory: &Path, keep: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !keep(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
