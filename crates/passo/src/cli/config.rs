//! `passo config check`: what is wrong with a configuration file, or what is in effect.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failed;
use super::terminal::{Style, Terminal};
use crate::config::{Entry, KEYS, Key, Kind, Settings, Value, default_file};

/// Arguments of `passo config`.
#[derive(Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check a configuration file; print every key with its value and where it comes from
    Check(CheckArgs),
}

/// Arguments of `passo config check`.
#[derive(Args)]
struct CheckArgs {
    /// The file [default: $XDG_CONFIG_HOME/passo/passo.toml if it is there]
    #[arg(value_name = "FILE", env = "PASSO_CONFIG")]
    file: Option<PathBuf>,
}

/// Carries out a subcommand.
pub fn config(terminal: &Terminal, arguments: &ConfigArgs) -> Result<(), Failed> {
    let ConfigCommand::Check(CheckArgs { file }) = &arguments.command;
    let settings = Settings::load(file.as_deref()).map_err(|error| Failed::Usage(error.to_string()))?;
    match (&settings.file, default_file()) {
        (Some(file), _) => terminal.line(&format!("{}: no errors", file.display())),
        (None, Some(missing)) => {
            terminal.line(&format!("no configuration file: {} is not there", missing.display()))
        }
        (None, None) => terminal.line("no configuration file"),
    }
    warn_of_readers(terminal, &settings);
    for line in lines(&settings) {
        terminal.data(&line);
    }
    Ok(())
}

/// Secrets that other users of the machine can read.
fn warn_of_readers(terminal: &Terminal, settings: &Settings) {
    use std::os::unix::fs::PermissionsExt;
    let Some(file) = &settings.file else { return };
    let holds_secrets = settings.entries().iter().any(|entry| matches!(entry.key.kind, Kind::Secret));
    let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    if holds_secrets && mode & 0o077 != 0 {
        let name = file.display();
        terminal.warning(&format!("{name} holds secrets and others can read it; try: chmod 600 {name}"));
    }
}

/// What is in effect, as a file would say it: first the keys that stand alone, then the tables of the file.
fn lines(settings: &Settings) -> Vec<String> {
    let (named, plain): (Vec<&Key>, Vec<&Key>) = KEYS.iter().partition(|key| key.path.contains('*'));
    let mut lines: Vec<String> = plain.into_iter().filter_map(|key| plain_line(settings, key)).collect();
    let entries =
        settings.entries().iter().filter(|entry| named.iter().any(|key| key.path == entry.key.path));
    lines.extend(entries.map(|entry| line(&entry.path.join("."), &shown(entry), &origin(settings, entry))));
    lines
}

fn plain_line(settings: &Settings, key: &Key) -> Option<String> {
    let given = key.variable.and_then(|name| Some((name, std::env::var(name).ok()?)));
    if let Some((name, value)) = given.filter(|(_, value)| !value.is_empty()) {
        let value = if matches!(key.kind, Kind::Secret) { "\"…\"".into() } else { quoted(&value) };
        return Some(line(key.path, &value, name));
    }
    if let Some(entry) = settings.entries().iter().find(|entry| entry.key.path == key.path) {
        return Some(line(key.path, &shown(entry), &origin(settings, entry)));
    }
    // Without a host there is no mail server, and the rest of its table counts for nothing.
    let in_effect = !key.default.is_empty() && !key.path.starts_with("smtp.");
    in_effect.then(|| line(key.path, &quoted(key.default), "default"))
}

fn line(path: &str, value: &str, origin: &str) -> String {
    format!("{:<44} # {origin}", format!("{path} = {value}"))
}

fn shown(entry: &Entry) -> String {
    match (&entry.value, entry.key.kind) {
        (_, Kind::Secret) => "\"…\"".into(),
        (Value::Text(text), _) => quoted(text),
        (Value::Number(number), _) => number.to_string(),
        (Value::Flag(flag), _) => flag.to_string(),
        (Value::List(items), _) => format!("{items:?}"),
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn origin(settings: &Settings, entry: &Entry) -> String {
    let file = settings.file.as_deref().and_then(std::path::Path::file_name).unwrap_or_default();
    format!("{}:{}", file.to_string_lossy(), entry.line)
}

/// The services that are pointed elsewhere, as lines under a header.
pub(super) fn show_elsewhere(terminal: &Terminal, elsewhere: &[String]) {
    for pointed in elsewhere {
        terminal.line(&format!("  {} {pointed}", terminal.paint(Style::Warn, "outside")));
    }
}
