//! `passo.toml`: where it is found, what it says. The command line and its variables beat it; it beats the defaults.
//!
//! Only this module knows the file. What it says reaches the rest as values, and nothing of it as text. It starts nothing
//! and calls nobody.

mod keys;
mod names;
mod read;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use keys::{KEYS, Key, Kind, Value};
pub use read::{Entry, Finding, read};

/// Where `passo serve` listens unless told otherwise, and where clients look for it: LocalStack's port, which many tools
/// already point at.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:4566";

/// What a file says; nothing when there is none.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file.
    pub file: Option<PathBuf>,
    entries: Vec<Entry>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{file}: {1}", file = .0.display())]
    Unreadable(PathBuf, std::io::Error),
    /// It has errors.
    #[error("{text}", text = shown(.0, .1))]
    Wrong(PathBuf, Vec<Finding>),
}

fn shown(file: &Path, findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| format!("{}:{finding}", file.display()));
    lines.collect::<Vec<_>>().join("\n")
}

/// `$XDG_CONFIG_HOME/passo/passo.toml`, or below `~/.config`.
pub fn default_file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    Some(base.or_else(home)?.join("passo").join("passo.toml"))
}

impl Settings {
    /// The file given, else the user's own if there is one.
    pub fn load(given: Option<&Path>) -> Result<Settings, ConfigError> {
        let file = match given {
            Some(file) => file.to_path_buf(),
            None => match default_file().filter(|file| file.is_file()) {
                Some(file) => file,
                None => return Ok(Settings::default()),
            },
        };
        let text =
            std::fs::read_to_string(&file).map_err(|error| ConfigError::Unreadable(file.clone(), error))?;
        Settings::parse(&file, &text)
    }

    /// What the text of `file` says.
    pub fn parse(file: &Path, text: &str) -> Result<Settings, ConfigError> {
        let entries = read(text).map_err(|findings| ConfigError::Wrong(file.into(), findings))?;
        Ok(Settings { file: Some(file.into()), entries })
    }

    /// What the file sets, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The value of a key: `["smtp", "host"]`.
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.path == path).map(|entry| &entry.value)
    }

    /// A key that holds text.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        match self.value(path)? {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Flag(_) | Value::List(_) => None,
        }
    }

    /// A key that holds a path, from the file's folder.
    pub fn path(&self, path: &[&str]) -> Option<PathBuf> {
        let folder = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Some(folder.join(self.text(path)?))
    }

    /// A key that holds an address.
    pub fn address(&self, path: &[&str]) -> Option<SocketAddr> {
        self.text(path)?.parse().ok()
    }

    /// A key that holds a port.
    pub fn port(&self, path: &[&str]) -> Option<u16> {
        match self.value(path)? {
            Value::Number(port) => u16::try_from(*port).ok(),
            Value::Text(_) | Value::Flag(_) | Value::List(_) => None,
        }
    }

    /// A key that holds a list.
    pub fn list(&self, path: &[&str]) -> &[String] {
        match self.value(path) {
            Some(Value::List(items)) => items,
            Some(Value::Text(_) | Value::Number(_) | Value::Flag(_)) | None => &[],
        }
    }

    /// A key that holds a number above 0.
    pub fn count(&self, path: &[&str]) -> Option<u64> {
        match self.value(path)? {
            Value::Number(count) => u64::try_from(*count).ok(),
            Value::Text(_) | Value::Flag(_) | Value::List(_) => None,
        }
    }

    /// Whether a key is true.
    pub fn flag(&self, path: &[&str]) -> bool {
        self.value(path) == Some(&Value::Flag(true))
    }

    /// The names of the tables in `[section.*]`, each once, in the file's order.
    pub fn names(&self, section: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for entry in &self.entries {
            if let [first, name, _] = entry.path.as_slice()
                && first == section
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }
}
