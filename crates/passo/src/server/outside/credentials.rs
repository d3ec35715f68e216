//! With which keys requests leave: those of the table, of a profile, or of the environment; looked for only when a table
//! asks for them. Temporary ones are looked for again before they end.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::profile;

/// Keys are renewed this long before they end.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Keys to sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// Its secret.
    pub secret: String,
    /// The token of temporary keys.
    pub token: Option<String>,
    /// When they end.
    pub expires: Option<Timestamp>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Nothing secret: configuration gets into logs.
        formatter.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish()
    }
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// They stand in the table.
    Given(Credentials),
    /// A profile of the shared files.
    Profile(String),
    /// The environment's, else the profile that it names.
    Chain,
}

impl Source {
    async fn find(&self) -> Result<Credentials, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match self {
            Source::Given(credentials) => Ok(credentials.clone()),
            Source::Profile(name) => profile::credentials(name).await,
            Source::Chain => match variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")) {
                Some((access_key_id, secret)) => {
                    let token = variable("AWS_SESSION_TOKEN");
                    Ok(Credentials { access_key_id, secret, token, expires: None })
                }
                None => {
                    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".into());
                    let found = profile::credentials(&name).await;
                    found.map_err(|reason| format!("no AWS_ACCESS_KEY_ID in the environment, and {reason}"))
                }
            },
        }
    }
}

/// Keys at hand.
pub struct Keeper {
    source: Source,
    last: Mutex<Option<Credentials>>,
}

impl Keeper {
    pub fn new(source: Source) -> Keeper {
        Keeper { source, last: Mutex::default() }
    }

    /// The keys of the last look.
    pub fn last(&self) -> Option<Credentials> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keys that are good for a while yet.
    pub async fn credentials(&self) -> Result<Credentials, String> {
        let good = |keys: &Credentials| {
            keys.expires.is_none_or(|expires| expires.duration_since(Timestamp::now()) > MARGIN)
        };
        if let Some(keys) = self.last().filter(good) {
            return Ok(keys);
        }
        let found = self.source.find().await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }
}
