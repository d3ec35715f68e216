//! Objects that a workflow finds in its buckets when `passo run` starts it: `Metadata: Passo: Seed` of the template.
//!
//! A seed names a command that writes files into a directory, and the bucket of the stack where they go. AWS ignores the
//! section, and so do `passo deploy` and `passo serve`: only `passo run` runs a template's command, as whoever typed it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use serde_json::{Map, Value};
use templates::Stack;
use tokio::task::JoinSet;

use super::Failed;
use super::terminal::{Style, Terminal};
use crate::client::Client;

/// Uploads under way at a time.
const UPLOADS_MAX: usize = 8;
/// More files than this are a mistake in the command.
const FILES_MAX: usize = 100_000;
const FIELDS: [&str; 3] = ["Command", "Bucket", "Prefix"];

/// A command's files for a bucket.
#[derive(Debug, PartialEq, Eq)]
pub struct Seed {
    /// The words of the command; the directory follows as the last one.
    command: Vec<String>,
    /// Logical id of the bucket.
    bucket: String,
    /// Stands before each file's path.
    prefix: String,
}

impl Seed {
    /// The seeds in a template's `Metadata`.
    pub fn all(metadata: &Value) -> Result<Vec<Seed>, Failed> {
        let seeds = match &metadata["Passo"]["Seed"] {
            Value::Null => return Ok(Vec::new()),
            Value::Array(seeds) => seeds,
            _ => return Err(Failed::Usage("Metadata.Passo.Seed must be a list".into())),
        };
        let read = |(index, seed): (usize, &Value)| {
            Seed::read(seed).map_err(|what| Failed::Usage(format!("Metadata.Passo.Seed[{index}]: {what}")))
        };
        seeds.iter().enumerate().map(read).collect()
    }

    fn read(seed: &Value) -> Result<Seed, String> {
        let empty = Map::new();
        let members = seed.as_object().unwrap_or(&empty);
        if let Some(unknown) = members.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(format!("'{unknown}' is not one of {}", FIELDS.join(", ")));
        }
        let words = |words: &Value| -> Option<Vec<String>> {
            words.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
        };
        let command = words(&seed["Command"]).filter(|command| !command.is_empty());
        let prefix = match &seed["Prefix"] {
            Value::Null => Some(""),
            prefix => prefix.as_str(),
        };
        Ok(Seed {
            command: command.ok_or("Command must be a list of words (text in quotes)")?,
            bucket: seed["Bucket"].as_str().ok_or("Bucket must be the logical id of a bucket")?.to_owned(),
            prefix: prefix.ok_or("Prefix must be text")?.to_owned(),
        })
    }

    /// Runs the command in `folder` and puts what it wrote into the bucket.
    pub async fn sow(
        &self,
        terminal: &Terminal,
        client: &Client,
        stack: &Stack,
        folder: &Path,
    ) -> Result<(), Failed> {
        let bucket = stack.resources.get(&self.bucket).filter(|found| found.kind == "AWS::S3::Bucket");
        let bucket = bucket.and_then(|bucket| bucket.reference.as_str()).ok_or_else(|| {
            Failed::Usage(format!("Metadata.Passo.Seed: the template has no bucket '{}'", self.bucket))
        })?;
        let command = self.command.join(" ");
        terminal.status(&format!("  {command}"));
        let directory = Temporary::new().map_err(|error| Failed::Environment(error.to_string()))?;
        self.run(folder, &directory.0).await?;
        let files =
            files(&directory.0).map_err(|error| Failed::Usage(format!("seed: {command}: {error}")))?;
        let count = files.len();
        let mut uploads = JoinSet::new();
        for (index, (file, path)) in files.into_iter().enumerate() {
            if uploads.len() >= UPLOADS_MAX {
                finished(uploads.join_next().await)?;
            }
            terminal.status(&format!("  s3://{bucket}/{}{path} ({index} of {count})", self.prefix));
            let uri = format!("/{bucket}/{}", encoded(&format!("{}{path}", self.prefix)));
            uploads.spawn(put(client.clone(), file, uri));
        }
        while let Some(done) = uploads.join_next().await {
            finished(Some(done))?;
        }
        let told = format!("{count} files of `{command}` in s3://{bucket}/{}", self.prefix);
        terminal.line(&terminal.paint(Style::Dim, &format!("  {:<7} {told}", "seed")));
        Ok(())
    }

    async fn run(&self, folder: &Path, directory: &Path) -> Result<(), Failed> {
        let command = self.command.join(" ");
        let failed =
            |what: String| Failed::Usage(format!("seed: `{command}` in {}: {what}", folder.display()));
        let mut process = tokio::process::Command::new(&self.command[0]);
        process.args(&self.command[1..]).arg(directory).current_dir(folder);
        process.stdin(Stdio::null()).kill_on_drop(true);
        let output = process.output().await.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.trim_end().lines().rev().take(5).collect();
        Err(failed(format!("{}\n{}", output.status, last.into_iter().rev().collect::<Vec<_>>().join("\n"))))
    }
}

/// A directory that goes with its owner.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> std::io::Result<Temporary> {
        let path = std::env::temp_dir().join(format!("passo-seed-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path)?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every file below a directory with its path there, in order; links are not followed.
fn files(directory: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let mut found = Vec::new();
    let mut folders = vec![(directory.to_path_buf(), String::new())];
    while let Some((folder, path)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let kind = entry.file_type().map_err(|error| error.to_string())?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| unnameable(&entry.file_name()))?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{path}{name}/")));
            } else if kind.is_file() {
                found.push((entry.path(), format!("{path}{name}")));
            }
        }
        if found.len() > FILES_MAX {
            return Err(format!("it wrote more than {FILES_MAX} files"));
        }
    }
    found.sort();
    Ok(found)
}

fn unnameable(name: &OsStr) -> String {
    format!("the name of {} is not UTF-8", name.display())
}

async fn put(client: Client, file: PathBuf, uri: String) -> Result<(), Failed> {
    let body = tokio::fs::read(&file).await;
    let body = body.map_err(|error| Failed::Environment(format!("{}: {error}", file.display())))?;
    let request = http::Request::put(&uri)
        .body(Bytes::from(body))
        .map_err(|error| Failed::Usage(format!("seed: {uri}: {error}")))?;
    let answer = client.send("s3", request).await.map_err(Failed::Environment)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(answer.body());
    Err(Failed::Usage(format!("seed: PUT {uri}: {}: {said}", answer.status())))
}

fn finished(done: Option<Result<Result<(), Failed>, tokio::task::JoinError>>) -> Result<(), Failed> {
    match done {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Failed::Environment(format!("seed: {error}"))),
        None => Ok(()),
    }
}

/// A key in a request's path: everything but unreserved characters and `/` is escaped.
fn encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    key.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(metadata: Value) -> String {
        match Seed::all(&metadata) {
            Err(Failed::Usage(message)) => message,
            _ => String::new(),
        }
    }

    #[test]
    fn a_template_without_the_section_has_no_seeds() {
        assert_eq!(Seed::all(&Value::Null).ok(), Some(Vec::new()));
        assert_eq!(Seed::all(&json!({ "AWS::CloudFormation::Interface": {} })).ok(), Some(Vec::new()));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        let seed = |seed: Value| refusal(json!({ "Passo": { "Seed": [seed] } }));
        assert_eq!(refusal(json!({ "Passo": { "Seed": {} } })), "Metadata.Passo.Seed must be a list");
        assert!(
            seed(json!({ "Command": ["a"], "Bucket": "B", "Table": "T" })).contains("'Table' is not one of")
        );
        assert!(seed(json!({ "Command": "a b", "Bucket": "B" })).contains("Command must be a list"));
        assert!(seed(json!({ "Command": ["a"] })).contains("Bucket must be"));
    }

    #[test]
    fn keys_are_escaped_for_the_path() {
        assert_eq!(encoded("logs/São 1+2.log"), "logs/S%C3%A3o%201%2B2.log");
    }
}
