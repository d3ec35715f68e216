//! Python packages that AWS offers or a bundle asks for, fetched once with pip and only when code imports them.
//!
//! Only wheels are installed, so nothing of a package runs here. A handler that imports nothing never gets here.

use super::interpreter::Interpreter;
use crate::process::Processes;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The oldest that knows AWS_ENDPOINT_URL; an older one would call the real AWS.
const BOTO3: &str = "boto3>=1.28,<2";
const INSTALL_WAIT_MAX: Duration = Duration::from_secs(180);
/// A failed installation is not tried again for so long.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// When an installation was last tried, and what came of it.
type Attempt = (Instant, Result<PathBuf, String>);

/// The installed packages of one server.
#[derive(Debug)]
pub struct Packages {
    processes: Arc<Processes>,
    done: tokio::sync::Mutex<HashMap<String, Attempt>>,
}

/// What one worker may ask for.
#[derive(Clone, Debug)]
pub(super) struct PackageRequest {
    pub packages: Arc<Packages>,
    pub interpreter: Option<Interpreter>,
    pub bundle: PathBuf,
}

impl PackageRequest {
    pub fn may_install(&self) -> bool {
        self.interpreter.is_some()
    }

    /// Installs `boto3` or what the bundle's `requirements.txt` names; the message is for the function's author.
    pub async fn provide(&self, what: &str) -> Result<PathBuf, String> {
        let interpreter = self.interpreter.as_ref().ok_or("no packages for this runtime")?;
        match what {
            "boto3" => self.packages.install(interpreter, "boto3", &[BOTO3.to_owned()]).await.map_err(|error| {
                format!("boto3 1.28 or newer is needed (older ones do not know AWS_ENDPOINT_URL) and pip could not \
                         fetch it: {error}; install it for {}", interpreter.path.display())
            }),
            "requirements" => {
                let text = fs::read_to_string(self.bundle.join("requirements.txt")).map_err(|e| e.to_string())?;
                let requirements = requirements(&text)?;
                let digest = hex::encode(&Sha256::digest(&text)[..8]);
                self.packages.install(interpreter, &format!("requirements-{digest}"), &requirements).await.map_err(
                    |error| format!("pip could not install requirements.txt: {error}; run `sam build` and deploy that"),
                )
            }
            other => Err(format!("unknown package set {other}")),
        }
    }
}

/// The lines of a requirements file; options could run code or change the index, so they are left to `sam build`.
fn requirements(text: &str) -> Result<Vec<String>, String> {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            if line.starts_with('-') || line.ends_with('\\') || line.contains("://") || line.contains(" @ ") {
                return Err(format!(
                    "requirements.txt has `{line}`, which is only understood by `sam build`"
                ));
            }
            Ok(line.to_owned())
        })
        .collect()
}

impl Packages {
    /// Keeps packages in the area that all user code may read.
    pub fn new(processes: Arc<Processes>) -> Self {
        Self { processes, done: tokio::sync::Mutex::default() }
    }

    async fn install(
        &self,
        interpreter: &Interpreter,
        set: &str,
        wanted: &[String],
    ) -> Result<PathBuf, String> {
        let version: Vec<&str> = interpreter.version.split('.').take(2).collect();
        let version = version.join(".");
        let directory = self.processes.area().packages().join(format!("python{version}-{set}"));
        // One installation at a time, so that two cold starts do not fetch the same thing twice.
        let mut done = self.done.lock().await;
        if directory.is_dir() {
            return Ok(directory);
        }
        let key = directory.display().to_string();
        if let Some((at, Err(message))) = done.get(&key)
            && at.elapsed() < RETRY_AFTER
        {
            return Err(message.clone());
        }
        let result = pip(interpreter, &version, wanted, &directory).await;
        done.insert(key, (Instant::now(), result.clone()));
        result
    }
}

/// Installs into a fresh directory and gives it its name only when complete.
async fn pip(
    interpreter: &Interpreter,
    version: &str,
    wanted: &[String],
    directory: &Path,
) -> Result<PathBuf, String> {
    let fresh = directory.with_extension(format!("{}.partial", std::process::id()));
    let (target, environment) = (fresh.join("target"), fresh.join("environment"));
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(|error| error.to_string())?;
    let mut result = Err(String::new());
    // The function's own interpreter may lack pip (Debian splits it off); any other can fetch wheels for it.
    for python in [interpreter.path.as_path(), Path::new("python3")] {
        if result.is_err() {
            result = install(python, version, wanted, &target).await;
        }
    }
    // Where none has it, a virtual environment may bring its own.
    if result.as_ref().is_err_and(|reason| reason.contains("No module named pip")) {
        let venv = |command: &mut tokio::process::Command| {
            command.args(["-m", "venv"]).arg(&environment);
        };
        if run(&interpreter.path, venv).await.is_ok() {
            result = install(&environment.join("bin/python"), version, wanted, &target).await;
        }
    }
    let published = result.and_then(|()| publish(&target, directory).map_err(|error| error.to_string()));
    let _ = fs::remove_dir_all(&fresh);
    published
}

/// Has a Python's pip fetch wheels for a version of Python.
async fn install(python: &Path, version: &str, wanted: &[String], target: &Path) -> Result<(), String> {
    let arguments = |command: &mut tokio::process::Command| {
        command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        command.args(["--only-binary=:all:", "--no-compile", "--retries", "1", "--timeout", "10"]);
        command.args(["--implementation", "cp", "--python-version", version]).arg("--target").arg(target);
        command.args(wanted);
    };
    run(python, arguments).await
}

/// Runs a program to its end; the error is the last that it said.
async fn run(program: &Path, arguments: impl FnOnce(&mut tokio::process::Command)) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    arguments(&mut command);
    command.stdin(Stdio::null()).current_dir("/").kill_on_drop(true);
    match tokio::time::timeout(INSTALL_WAIT_MAX, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(last_line(&output.stderr)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} seconds", INSTALL_WAIT_MAX.as_secs())),
    }
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let error = text.lines().rev().find(|line| line.starts_with("ERROR:"));
    error.or_else(|| text.lines().last()).unwrap_or("pip failed").trim_start_matches("ERROR: ").to_owned()
}

fn publish(fresh: &Path, directory: &Path) -> std::io::Result<PathBuf> {
    open_to_all(fresh)?;
    fs::rename(fresh, directory)?;
    Ok(directory.to_owned())
}

fn open_to_all(path: &Path) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    } else if metadata.is_file() {
        fs::set_permissions(path, fs::Permissions::from_mode(metadata.permissions().mode() | 0o444))?;
    }
    Ok(())
}
