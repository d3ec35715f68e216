//! The environment of user code: it starts empty and holds nothing of the server's own.
//!
//! An SDK inside finds the endpoint, the region and the credentials of its role, and neither the user's profile nor
//! the instance metadata of the machine, so it cannot reach the real AWS by accident.

use std::collections::BTreeMap;
use std::path::Path;

/// Temporary credentials of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// AWS_ACCESS_KEY_ID
    pub access_key_id: String,
    /// AWS_SECRET_ACCESS_KEY
    pub secret_access_key: String,
    /// AWS_SESSION_TOKEN
    pub session_token: String,
}

/// What surrounds a function or task besides its own variables.
#[derive(Clone, Debug)]
pub struct Ambient<'a> {
    /// Where this server answers, as seen from the code.
    pub endpoint: &'a str,
    /// The region of the function or task.
    pub region: &'a str,
    /// The credentials of its role.
    pub credentials: &'a Credentials,
    /// An empty file that the code may read.
    pub empty_file: &'a Path,
    /// The search path for programs.
    pub path: &'a str,
    /// Variables that lead to services which are pointed elsewhere; they beat the endpoint and the credentials.
    pub elsewhere: &'a [(String, String)],
}

/// Variables that would lead an SDK around the endpoint; a function's own values for them are dropped.
const DROPPED: [&str; 4] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The whole environment of user code: its own variables below, ours above.
pub fn isolated_environment(
    ambient: &Ambient<'_>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> =
        [("PATH", ambient.path), ("LANG", "en_US.UTF-8")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    environment.extend(
        variables
            .into_iter()
            .filter(|(name, value)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')),
    );
    for name in DROPPED {
        environment.remove(name);
    }
    let empty_file = ambient.empty_file.to_string_lossy();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", ambient.credentials.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", ambient.credentials.secret_access_key.as_str()),
        ("AWS_SESSION_TOKEN", ambient.credentials.session_token.as_str()),
        ("AWS_REGION", ambient.region),
        ("AWS_DEFAULT_REGION", ambient.region),
        ("AWS_ENDPOINT_URL", ambient.endpoint),
        ("AWS_CONFIG_FILE", &empty_file),
        ("AWS_SHARED_CREDENTIALS_FILE", &empty_file),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    if ambient.elsewhere.iter().any(|(name, _)| name == "AWS_ACCESS_KEY_ID") {
        // The token belongs to the role's key.
        environment.remove("AWS_SESSION_TOKEN");
    }
    environment.extend(ambient.elsewhere.iter().cloned());
    environment
}
