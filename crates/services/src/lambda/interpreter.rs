//! Which program runs a function: the exact interpreter of its runtime, else the nearest one, with a word about it.
//!
//! A candidate counts only after it has run as the user that functions run as: a version manager's shim, Apple's
//! stub or an interpreter in somebody's home are all found on the PATH and do not work.

use crate::process::Processes;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The bootstrap needs this much.
const OLDEST_PYTHON_MINOR: u32 = 8;
const PROBES_MAX: usize = 24;
const PROBE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A family of runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `python3.x`; the number is the minor version.
    Python(u32),
    /// `nodejsNN.x`; the number is the major version.
    Node(u32),
    /// `provided.*`: the bundle's own `bootstrap`.
    Provided,
}

impl Family {
    /// Reads a runtime's identifier; `None` for runtimes that cannot run here.
    pub fn of(runtime: &str) -> Option<Self> {
        if let Some(minor) = runtime.strip_prefix("python3.") {
            return minor.parse().ok().map(Self::Python);
        }
        if let Some(major) = runtime.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x")) {
            return major.parse().ok().map(Self::Node);
        }
        matches!(runtime, "provided" | "provided.al2" | "provided.al2023").then_some(Self::Provided)
    }
}

/// An interpreter that was seen working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program itself, not a shim.
    pub path: PathBuf,
    /// Its version, such as `3.11.2`.
    pub version: String,
    /// One line for the operator, when it is not what the function asked for.
    pub warning: Option<String>,
    /// Whether it runs only as the server's own user.
    pub needs_server_user: bool,
}

/// The interpreters of this machine, each looked for once.
#[derive(Debug)]
pub struct Interpreters {
    processes: Arc<Processes>,
    search_path: OsString,
    found: Mutex<HashMap<Family, Result<Interpreter, String>>>,
}

impl Interpreters {
    /// Looks in the directories of `search_path` and in the usual ones.
    pub fn new(processes: Arc<Processes>, search_path: OsString) -> Self {
        Self { processes, search_path, found: Mutex::default() }
    }

    /// The interpreter for a family, or why there is none.
    pub async fn find(&self, family: Family) -> Result<Interpreter, String> {
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&family) {
            return found.clone();
        }
        let found = self.look(family).await;
        if found.is_ok() {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(family, found.clone());
        }
        found
    }

    /// What the operator should know about the interpreters found so far.
    pub fn warnings(&self) -> Vec<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.values().filter_map(|found| found.as_ref().ok()?.warning.clone()).collect()
    }

    async fn look(&self, family: Family) -> Result<Interpreter, String> {
        let (name, wanted) = match family {
            Family::Python(minor) => ("python", minor),
            Family::Node(major) => ("node", major),
            Family::Provided => return Err("a provided runtime brings its own bootstrap".to_owned()),
        };
        let separate = self.processes.identities().sample();
        let candidates = self.candidates(family);
        // First as the users of functions; an interpreter that only the server's user can run is the last resort.
        for uid in [separate, None].into_iter().take(if separate.is_some() { 2 } else { 1 }) {
            let mut working = Vec::new();
            for candidate in candidates.iter().take(PROBES_MAX) {
                let Some((path, version)) = probe(candidate, family, uid).await else { continue };
                let found = number(&version, family);
                let usable = family != Family::Python(wanted) || found >= OLDEST_PYTHON_MINOR;
                if usable {
                    working.push((found.abs_diff(wanted), found < wanted, path, version));
                }
                if usable && found == wanted {
                    break;
                }
            }
            working.sort();
            if let Some((distance, _, path, version)) = working.into_iter().next() {
                let needs_server_user = separate.is_some() && uid.is_none();
                let warning = warning(family, distance, &path, &version, needs_server_user);
                return Ok(Interpreter { path, version, warning, needs_server_user });
            }
        }
        let asked = if name == "python" { format!("python3.{wanted}") } else { format!("Node.js {wanted}") };
        Err(format!(
            "{asked} is not installed on this machine and no other version was found; install it and try again"
        ))
    }

    /// Files that may be the interpreter: exact names first, then any version.
    fn candidates(&self, family: Family) -> Vec<PathBuf> {
        let mut directories: Vec<PathBuf> = std::env::split_paths(&self.search_path).collect();
        directories.extend(["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"].map(PathBuf::from));
        let exact = match family {
            Family::Python(minor) => format!("python3.{minor}"),
            Family::Node(_) | Family::Provided => "node".to_owned(),
        };
        let mut candidates: Vec<PathBuf> =
            directories.iter().map(|directory| directory.join(&exact)).collect();
        if let Family::Python(wanted) = family {
            let mut minors: Vec<u32> = (OLDEST_PYTHON_MINOR..wanted.max(OLDEST_PYTHON_MINOR) + 8).collect();
            minors.sort_by_key(|minor| (minor.abs_diff(wanted), *minor < wanted));
            let names = minors.iter().map(|minor| format!("python3.{minor}")).chain(["python3".to_owned()]);
            candidates.extend(
                names.flat_map(|name| directories.iter().map(move |directory| directory.join(&name))),
            );
        }
        let mut seen = std::collections::HashSet::new();
        candidates.retain(|path| path.is_file() && seen.insert(path.clone()) && !is_apples_stub(path));
        candidates
    }
}

fn warning(family: Family, distance: u32, path: &Path, version: &str, server_user: bool) -> Option<String> {
    let asked = match family {
        Family::Python(minor) => format!("python3.{minor}"),
        Family::Node(major) => format!("nodejs{major}.x"),
        Family::Provided => return None,
    };
    let path = path.display();
    if server_user {
        return Some(format!(
            "{asked}: {path} ({version}) can only be run by the server's own user, so functions are not separated from it"
        ));
    }
    (distance > 0).then(|| format!("{asked} was not found; functions run with {version} ({path})"))
}

fn number(version: &str, family: Family) -> u32 {
    let index = usize::from(matches!(family, Family::Python(_)));
    version.split('.').nth(index).and_then(|part| part.parse().ok()).unwrap_or(0)
}

/// Runs a candidate and asks for its real path and version.
async fn probe(candidate: &Path, family: Family, uid: Option<u32>) -> Option<(PathBuf, String)> {
    let mut command = tokio::process::Command::new(candidate);
    match family {
        Family::Python(_) => command
            .args(["-c", "import sys, platform; print(sys.executable); print(platform.python_version())"]),
        Family::Node(_) | Family::Provided => {
            command.args(["-e", "console.log(process.execPath); console.log(process.versions.node)"])
        }
    };
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/").stdin(Stdio::null());
    command.kill_on_drop(true);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let output = tokio::time::timeout(PROBE_WAIT_MAX, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let mut lines = text.lines();
    Some((PathBuf::from(lines.next()?), lines.next()?.to_owned()))
}

/// macOS has a `/usr/bin/python3` that opens a dialog to install the developer tools.
fn is_apples_stub(path: &Path) -> bool {
    cfg!(target_os = "macos")
        && path.starts_with("/usr/bin")
        && !std::process::Command::new("/usr/bin/xcode-select")
            .arg("-p")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
