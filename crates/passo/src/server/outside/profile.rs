//! AWS's shared files: a profile's keys, or what its `credential_process` prints. Profiles that sign in or assume roles are
//! refused with a word on how to use them all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::credentials::Credentials;

/// A program that signs in may ask somebody.
const PROCESS_WAIT_MAX: Duration = Duration::from_secs(60);

/// The keys of a profile.
pub async fn credentials(name: &str) -> Result<Credentials, String> {
    let (credentials, config) =
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config"));
    let text = |path: &Option<PathBuf>| {
        path.as_deref().and_then(|path: &Path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    };
    let profile = merged(name, &text(&credentials), &text(&config));
    let Some(profile) = profile else {
        let shown =
            |path: &Option<PathBuf>| path.as_deref().map_or("?".into(), |path| path.display().to_string());
        return Err(format!("there is no profile '{name}' in {} or {}", shown(&credentials), shown(&config)));
    };
    match of_profile(name, &profile)? {
        Found::Keys(keys) => Ok(keys),
        Found::Process(command) => of_process(name, &command).await,
    }
}

fn file(variable: &str, name: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    given.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".aws").join(name)))
}

type Profile = BTreeMap<String, String>;

/// The profile's lines of both files; the credentials file beats the other.
pub(super) fn merged(name: &str, credentials: &str, config: &str) -> Option<Profile> {
    let in_config = if name == "default" { "default".to_string() } else { format!("profile {name}") };
    let mut found = section(config, &in_config);
    if let Some(lines) = section(credentials, name) {
        found.get_or_insert_default().extend(lines);
    }
    found
}

fn section(text: &str, name: &str) -> Option<Profile> {
    let (mut found, mut inside) = (None, false);
    for line in text.lines() {
        // Indented lines belong to the setting above them.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(heading) = line.trim_end().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let words: Vec<&str> = heading.split_whitespace().collect();
            inside = words.join(" ") == name;
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let lines: &mut Profile = found.get_or_insert_default();
            lines.insert(key.trim().to_ascii_lowercase(), value.trim().to_string());
        }
    }
    found
}

/// What a profile leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Keys(Credentials),
    Process(String),
}

pub(super) fn of_profile(name: &str, profile: &Profile) -> Result<Found, String> {
    let value = |key: &str| profile.get(key).filter(|value| !value.is_empty()).cloned();
    if let Some((access_key_id, secret)) = value("aws_access_key_id").zip(value("aws_secret_access_key"))
        && value("role_arn").is_none()
    {
        let token = value("aws_session_token");
        return Ok(Found::Keys(Credentials { access_key_id, secret, token, expires: None }));
    }
    if let Some(command) = value("credential_process") {
        return Ok(Found::Process(command));
    }
    let way = ["role_arn", "sso_session", "sso_start_url", "web_identity_token_file", "login_session"]
        .into_iter()
        .find(|key| value(key).is_some());
    Err(match way {
        Some(way) => format!(
            "the profile '{name}' gets its keys by {way}, which is not done here; hint: make a profile with \
             credential_process = aws configure export-credentials --profile {name} --format process"
        ),
        None => format!("the profile '{name}' has no aws_access_key_id and aws_secret_access_key"),
    })
}

async fn of_process(name: &str, command: &str) -> Result<Credentials, String> {
    let failed = |reason: String| format!("credential_process of the profile '{name}': {reason}");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(PROCESS_WAIT_MAX, shell.output()).await;
    let output = output.map_err(|_| failed("it did not end in 60 seconds".into()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    of_output(&output.stdout).map_err(failed)
}

/// `{"Version": 1, "AccessKeyId": …, "SecretAccessKey": …, "SessionToken": …, "Expiration": …}`
pub(super) fn of_output(output: &[u8]) -> Result<Credentials, String> {
    let printed: Value = serde_json::from_slice(output).map_err(|_| "it printed no JSON".to_string())?;
    if printed["Version"] != 1 {
        return Err("it printed a version other than 1".into());
    }
    let member = |name: &str| printed[name].as_str().map(str::to_string);
    let keys = member("AccessKeyId").zip(member("SecretAccessKey"));
    let (access_key_id, secret) = keys.ok_or("it printed no AccessKeyId and SecretAccessKey")?;
    let expires = member("Expiration").map(|text| text.parse::<Timestamp>());
    let expires = expires.transpose().map_err(|_| "it printed an Expiration that is no time".to_string())?;
    Ok(Credentials { access_key_id, secret, token: member("SessionToken"), expires })
}
