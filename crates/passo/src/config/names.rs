//! Names that users choose in a file (`[services.X]`, `[keys.X]`), and the keys that go together.

use integrations::model;

use super::keys::Value;
use super::read::{Entry, Reader};

/// Services that cannot be pointed elsewhere, and why.
const AT_HOME: [(&str, &str); 3] = [
    ("sfn", "Step Functions is what this server is"),
    ("iam", "roles and policies of this server's executions and functions are kept here"),
    ("sts", "sessions of this server's roles are issued here"),
];

/// Names by which a service is known elsewhere than in `aws-sdk:` resources.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("cloudwatch-logs", "cloudwatchlogs"),
    ("events", "eventbridge"),
    ("logs", "cloudwatchlogs"),
    ("monitoring", "cloudwatch"),
    ("states", "sfn"),
    ("stepfunctions", "sfn"),
];

/// The candidate that is most like `name`, if any is much like it.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(name, candidate);
    let bound = (name.len() / 3).max(2);
    candidates.filter(|candidate| distance(candidate) <= bound).min_by_key(|candidate| distance(candidate))
}

/// Whether the table `path` may bear its name.
pub(super) fn check(path: &[String]) -> Result<(), String> {
    match path {
        [section, name] if section == "services" => check_service(name),
        [section, name] if section == "keys" => check_access_key(name),
        _ => Ok(()),
    }
}

fn check_service(name: &str) -> Result<(), String> {
    if let Some((_, reason)) = AT_HOME.iter().find(|(home, _)| *home == name) {
        return Err(format!("'{name}' cannot be pointed elsewhere: {reason}"));
    }
    if model::service(name).is_some() {
        return Ok(());
    }
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, name)| *name);
    let hint = other.or_else(|| nearest(name, model::names()));
    let hint = hint.map_or_else(String::new, |meant| format!("; did you mean 'services.{meant}'?"));
    Err(format!("unknown key 'services.{name}': services are named as in aws-sdk: resources{hint}"))
}

fn check_access_key(name: &str) -> Result<(), String> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let good = (3..=128).contains(&name.len()) && plain;
    good.then_some(())
        .ok_or_else(|| format!("'{name}' is no access key id: 3 to 128 letters, digits and underscores"))
}

/// Keys that mean nothing without another one.
pub(super) fn check_companions(reader: &mut Reader<'_>) {
    let mut wrong = Vec::new();
    for entry in &reader.entries {
        let (table, name) = split(entry);
        let with = |name: &str| reader.entries.iter().any(|other| split(other) == (table, name));
        let missing = match (table.first().map(String::as_str), name) {
            (Some("smtp"), _) => "host",
            (Some("keys"), _) => "secret",
            (Some("services"), "secret_access_key" | "session_token") => "access_key_id",
            (Some("services"), "access_key_id") => "secret_access_key",
            (Some("services"), _) => "endpoint",
            _ => continue,
        };
        if !with(missing) {
            wrong.push((entry.line, format!("[{}] has '{name}' and no '{missing}'", table.join("."))));
        }
        if name == "profile" && with("access_key_id") {
            wrong.push((entry.line, format!("[{}] has both 'profile' and 'access_key_id'", table.join("."))));
        }
    }
    wrong.extend(doubles(&reader.entries));
    for (line, message) in wrong {
        reader.find_on(line, message);
    }
}

/// Services that requests cannot tell apart: they bear one name in signatures.
fn doubles(entries: &[Entry]) -> Vec<(usize, String)> {
    let endpoints: Vec<(&Entry, &str)> = entries
        .iter()
        .filter(|entry| {
            entry.key.path == "services.*.endpoint" && entry.value != Value::Text("embedded".into())
        })
        .filter_map(|entry| Some((entry, model::service(&entry.path[1])?.signing_name())))
        .collect();
    let double = |(at, (entry, name)): (usize, &(&Entry, &str))| {
        let (first, _) = endpoints[..at].iter().find(|(_, other)| other == name)?;
        let message = format!(
            "'{}' and '{}' are one service in requests ({name}); point one of them",
            first.path[1], entry.path[1]
        );
        Some((entry.line, message))
    };
    endpoints.iter().enumerate().filter_map(double).collect()
}

fn split(entry: &Entry) -> (&[String], &str) {
    match entry.path.split_last() {
        Some((name, table)) => (table, name),
        None => (&[], ""),
    }
}
