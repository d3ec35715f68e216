//! Connections: how endpoints outside are authorized to, with BASIC, an API key, or OAuth's client credentials.
//!
//! Invariant: what a user gave is sealed in the row (see [`crate::seal`]) and leaves it only as what is added to a request,
//! for a caller whose permissions were evaluated. Answers, logs and errors hold no secret. OAuth connections whose token is
//! not yet there are rows in the state AUTHORIZING, which one loop works off, also after a crash.

mod api;
mod oauth;
mod parameters;

pub use parameters::Additions;

use crate::background::Background;
use crate::front::with_request_keys;
use crate::seal::Sealer;
use crate::service_file::ServiceFile;
use crate::storage::StorageError;
use crate::wire::{Access, CallContext, Decision, ServiceError, ServiceRequest};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify};

pub(super) const SCHEMA: &str = "
CREATE TABLE connections(
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, secret TEXT NOT NULL,
    description TEXT, kind TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, kms_key TEXT, shown TEXT NOT NULL,
    sealed BLOB NOT NULL, token BLOB, token_number INTEGER NOT NULL DEFAULT 0, token_until INTEGER,
    created INTEGER NOT NULL, modified INTEGER NOT NULL, authorized INTEGER,
    PRIMARY KEY(account, region, name)) WITHOUT ROWID;
CREATE INDEX connections_authorizing ON connections(account) WHERE state = 'AUTHORIZING';
";

const OAUTH: &str = "OAUTH_CLIENT_CREDENTIALS";
/// A token is renewed when it has less time left than this.
const TOKEN_MARGIN_MS: i64 = 60_000;
/// Looked for connections to authorize at least this often.
const IDLE: Duration = Duration::from_secs(300);
/// Connections that are authorized in one look.
const AUTHORIZED_AT_ONCE_MAX: usize = 64;

/// Why a connection cannot be used: Step Functions calls it `Events.ConnectionResource.` and this code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ConnectionFault {
    /// Such as `ResourceNotFound`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl ConnectionFault {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn internal(error: impl std::fmt::Display) -> Self {
        Self::new("InternalError", error.to_string())
    }
}

/// The door to connections. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

struct Inner {
    file: ServiceFile,
    sealer: Sealer,
    arrived: Notify,
    background: Background,
    /// One renewal of a token at a time; the others wait for it and take its result.
    renewing: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// A row, as far as it is needed to use the connection.
#[derive(Clone)]
struct Stored {
    account: String,
    region: String,
    name: String,
    id: String,
    secret: String,
    kind: String,
    state: String,
    reason: Option<String>,
    sealed: Vec<u8>,
    token: Option<Vec<u8>>,
    token_number: i64,
    token_until: Option<i64>,
}

const COLUMNS: &str =
    "account, region, name, id, secret, kind, state, reason, sealed, token, token_number, token_until";

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            account: row.get(0)?,
            region: row.get(1)?,
            name: row.get(2)?,
            id: row.get(3)?,
            secret: row.get(4)?,
            kind: row.get(5)?,
            state: row.get(6)?,
            reason: row.get(7)?,
            sealed: row.get(8)?,
            token: row.get(9)?,
            token_number: row.get(10)?,
            token_until: row.get(11)?,
        })
    }

    fn arn(&self) -> String {
        format!("arn:aws:events:{}:{}:connection/{}/{}", self.region, self.account, self.name, self.id)
    }

    /// Only an authorized connection adds anything to a request.
    fn check_usable(&self) -> Result<(), ConnectionFault> {
        let arn = self.arn();
        match self.state.as_str() {
            "AUTHORIZED" => Ok(()),
            "AUTHORIZING" => {
                let message = format!("The connection {arn} is being authorized.");
                Err(ConnectionFault::new("AuthInProgress", message))
            }
            state => {
                let reason = self.reason.as_deref().unwrap_or("");
                let message = format!("The connection {arn} is in the state {state}. {reason}");
                Err(ConnectionFault::new("InvalidConnectionState", message.trim_end()))
            }
        }
    }
}

/// Region, account, name and id of `arn:aws:events:region:account:connection/name/id`.
fn parts_of(arn: &str) -> Option<(&str, &str, &str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let (_, _, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account) = (parts.next()?, parts.next()?);
    let (name, id) = parts.next()?.strip_prefix("connection/")?.split_once('/')?;
    (service == "events").then_some((region, account, name, id))
}

impl Connections {
    pub(super) fn open(file: ServiceFile) -> Result<Self, StorageError> {
        let sealer = Sealer::open(&file.environment.config().data_dir)?;
        let inner = Inner {
            file,
            sealer,
            arrived: Notify::new(),
            background: Background::default(),
            renewing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) fn start(&self) {
        let connections = self.clone();
        self.inner.background.start(async move { connections.authorize_all().await });
    }

    pub(super) async fn stop(&self) {
        self.inner.background.stop().await;
    }

    pub(super) async fn answer(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
    ) -> Result<Value, ServiceError> {
        let (file, input) = (&self.inner.file, request.json()?.clone());
        let sealer = self.inner.sealer.clone();
        let answer = match request.operation.as_str() {
            "CreateConnection" => {
                let job = move |connection: &Connection, call: &_, input: &_| {
                    api::create(connection, call, input, &sealer)
                };
                file.change(context, input, job).await
            }
            "UpdateConnection" => {
                let job = move |connection: &Connection, call: &_, input: &_| {
                    api::update(connection, call, input, &sealer)
                };
                file.change(context, input, job).await
            }
            "DeleteConnection" => file.change(context, input, api::delete).await,
            "DeauthorizeConnection" => {
                let job = move |connection: &Connection, call: &_, input: &_| {
                    api::deauthorize(connection, call, input, &sealer)
                };
                file.change(context, input, job).await
            }
            "DescribeConnection" => file.query(context, input, api::describe).await,
            "ListConnections" => file.query(context, input, api::list).await,
            operation => Err(ServiceError::unsupported("events", operation)),
        };
        self.inner.arrived.notify_one();
        answer
    }

    /// What the connection adds to a request, for the caller of the context. `refused` is the number of a token that the
    /// endpoint did not take: it is renewed first, unless somebody has done so.
    pub async fn additions(
        &self,
        context: &CallContext,
        arn: &str,
        refused: Option<i64>,
    ) -> Result<Additions, ConnectionFault> {
        let mut stored = self.permitted(context, arn)?;
        stored.check_usable()?;
        if stored.kind == OAUTH {
            stored = self.with_good_token(stored, refused).await?;
        }
        // Of the row as it is now: it may have been changed while a token was waited for.
        let parameters = self.parameters(&stored).map_err(ConnectionFault::internal)?;
        if stored.kind != OAUTH {
            return Ok(parameters::additions(&stored.kind, &parameters, None));
        }
        let token = stored.token.as_deref().unwrap_or_default();
        let token = self.inner.sealer.unseal(&stored.arn(), token).map_err(ConnectionFault::internal)?;
        let token = String::from_utf8(token).map_err(ConnectionFault::internal)?;
        Ok(parameters::additions(&stored.kind, &parameters, Some((stored.token_number, &token))))
    }

    /// The row, if the caller may have what is in it.
    fn permitted(&self, context: &CallContext, arn: &str) -> Result<Stored, ConnectionFault> {
        let missing =
            || ConnectionFault::new("ResourceNotFound", format!("The connection {arn} does not exist."));
        let (region, account, name, id) = parts_of(arn).ok_or_else(missing)?;
        let stored = self.stored(account, region, name).map_err(ConnectionFault::internal)?;
        // Other accounts' connections are not seen, whatever the permissions.
        let stored = stored.filter(|stored| stored.id == id && account == context.account);
        let needed = [
            Access::new("events:RetrieveConnectionCredentials", arn),
            Access::new("secretsmanager:DescribeSecret", self.secret_arn(stored.as_ref(), arn)),
            Access::new("secretsmanager:GetSecretValue", self.secret_arn(stored.as_ref(), arn)),
        ];
        let environment = &self.inner.file.environment;
        for access in needed {
            let access = with_request_keys(access, context, environment.now());
            if let Decision::Denied { message } = environment.iam().authorize(&context.principal, &access) {
                return Err(ConnectionFault::new("AccessDenied", message));
            }
        }
        stored.ok_or_else(missing)
    }

    fn secret_arn(&self, stored: Option<&Stored>, arn: &str) -> String {
        stored.map_or_else(|| arn.to_owned(), |stored| stored.secret.clone())
    }

    fn stored(&self, account: &str, region: &str, name: &str) -> Result<Option<Stored>, ServiceError> {
        self.inner.file.database.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM connections WHERE account = ?1 AND region = ?2 AND name = ?3");
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row(params![account, region, name], Stored::read).optional()?)
        })
    }

    fn parameters(&self, stored: &Stored) -> Result<Value, ServiceError> {
        let opened = self.inner.sealer.unseal(&stored.arn(), &stored.sealed)?;
        serde_json::from_slice(&opened).map_err(ServiceError::internal)
    }

    /// The row with a token that is good as far as is known.
    async fn with_good_token(&self, stored: Stored, refused: Option<i64>) -> Result<Stored, ConnectionFault> {
        let now_ms = self.inner.file.environment.now().as_millisecond();
        let is_good = |stored: &Stored| {
            let lasts = stored.token_until.is_none_or(|until| until - now_ms > TOKEN_MARGIN_MS);
            stored.token.is_some() && lasts && refused.is_none_or(|refused| stored.token_number > refused)
        };
        if is_good(&stored) {
            return Ok(stored);
        }
        let turn = {
            let mut renewing = self.inner.renewing.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody waits for is dropped, so that the map holds what is under way.
            renewing.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(renewing.entry(stored.arn()).or_default())
        };
        let _turn = turn.lock().await;
        // While others were waited for it may have been changed, taken its authorization, or deleted.
        let again = self.again(&stored)?;
        if again.kind != OAUTH || is_good(&again) {
            return Ok(again);
        }
        let renewed = self.renew(&again).await?;
        renewed.check_usable()?;
        Ok(renewed)
    }

    /// Fetches a token and keeps it. A refusal by the endpoint takes the connection's authorization.
    async fn renew(&self, stored: &Stored) -> Result<Stored, ConnectionFault> {
        let parameters = self.parameters(stored).map_err(ConnectionFault::internal)?;
        let fetched = oauth::fetch(&*self.inner.file.environment.config().outside, &parameters).await;
        let token = match fetched {
            Ok(token) => token,
            Err(oauth::Unfetched::Unreachable(reason)) => {
                return Err(ConnectionFault::internal(format!("The authorization endpoint: {reason}")));
            }
            Err(oauth::Unfetched::Refused(reason)) => {
                let kept = self.keep(stored, Err(reason.clone())).await;
                kept.map_err(ConnectionFault::internal)?;
                let message = format!("The connection {} lost its authorization: {reason}", stored.arn());
                return Err(ConnectionFault::new("InvalidConnectionState", message));
            }
        };
        self.keep(stored, Ok(token)).await.map_err(ConnectionFault::internal)?;
        self.row_of(stored)
    }

    /// The row as it is now, of the same connection: not of another one that took its name.
    fn row_of(&self, stored: &Stored) -> Result<Stored, ConnectionFault> {
        let found = self.stored(&stored.account, &stored.region, &stored.name);
        let found = found.map_err(ConnectionFault::internal)?.filter(|row| row.id == stored.id);
        found.ok_or_else(|| {
            ConnectionFault::new("ResourceNotFound", format!("The connection {} is gone.", stored.arn()))
        })
    }

    /// The row as it is now, if it can be used still.
    fn again(&self, stored: &Stored) -> Result<Stored, ConnectionFault> {
        let again = self.row_of(stored)?;
        again.check_usable()?;
        Ok(again)
    }

    /// Writes how an authorization ended, unless the connection has been changed since.
    async fn keep(&self, stored: &Stored, ended: Result<oauth::Token, String>) -> Result<(), ServiceError> {
        let now_ms = self.inner.file.environment.now().as_millisecond();
        let (state, reason, token, until) = match ended {
            Ok(token) => {
                let sealed = self.inner.sealer.seal(&stored.arn(), token.text.as_bytes())?;
                let until = token.seconds.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000)));
                ("AUTHORIZED", None, Some(sealed), until)
            }
            Err(reason) => ("DEAUTHORIZED", Some(reason), None, None),
        };
        let stored = stored.clone();
        let write = move |connection: &Connection| -> Result<(), ServiceError> {
            let sql = "UPDATE connections SET state = ?5, reason = ?6, token = ?7, token_until = ?8,
                         token_number = token_number + 1, authorized = iif(?7 IS NULL, authorized, ?9)
                       WHERE account = ?1 AND region = ?2 AND name = ?3 AND sealed = ?4";
            let Stored { account, region, name, sealed, .. } = &stored;
            let row = params![account, region, name, sealed, state, reason, token, until, now_ms];
            Ok(connection.execute(sql, row).map(drop)?)
        };
        self.inner.file.database.write(write).await
    }

    /// Works off the connections that have no token yet.
    async fn authorize_all(&self) {
        loop {
            match self.unauthorized() {
                // Side by side: an endpoint that does not answer holds up no other connection of this look.
                Ok(waiting) => {
                    let mut authorizing = tokio::task::JoinSet::new();
                    for stored in waiting {
                        let connections = self.clone();
                        authorizing.spawn(async move { connections.authorize(&stored).await });
                    }
                    while authorizing.join_next().await.is_some() {}
                }
                Err(error) => tracing::error!(%error, "EventBridge cannot read its connections"),
            }
            // A connection that is created meanwhile leaves its ring behind.
            let _ = tokio::time::timeout(IDLE, self.inner.arrived.notified()).await;
        }
    }

    fn unauthorized(&self) -> Result<Vec<Stored>, ServiceError> {
        self.inner.file.database.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM connections WHERE state = 'AUTHORIZING' LIMIT ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([AUTHORIZED_AT_ONCE_MAX as i64], Stored::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    async fn authorize(&self, stored: &Stored) {
        if let Err(fault) = self.renew(stored).await {
            tracing::warn!(connection = stored.arn(), code = fault.code, "a connection is not authorized");
            if fault.code == "InternalError"
                && let Err(error) = self.keep(stored, Err(fault.message)).await
            {
                tracing::error!(%error, "EventBridge cannot write its connections");
            }
        }
    }
}

#[cfg(test)]
mod tests;
