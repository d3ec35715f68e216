//! Writing records: a draft when a call begins, a row on disk before it is answered.

use super::plane::{self, Class};
use super::record::{Row, elements};
use super::resources;
use crate::service_file::ServiceFile;
use crate::wire::xml::Xml;
use crate::wire::{
    CallContext, Protocol, ResponseBody, Service, ServiceError, ServiceRequest, ServiceResponse,
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Names of operations that nobody has are cut here.
const NAME_BYTES_MAX: usize = 128;
/// A larger request is not read for its record.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Records that are deleted with one that is written, or by one step of the sweep.
const DELETED_AT_ONCE: i64 = 200;
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Where records are written. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    file: ServiceFile,
    changes: Arc<Mutex<()>>,
}

/// A call of a service outside this crate.
pub struct Call<'a> {
    /// Who, where from, on which account and in which region.
    pub context: &'a CallContext,
    /// Its signing name, such as `states`.
    pub service: &'a str,
    /// Its operation.
    pub name: &'a str,
    /// The request.
    pub input: &'a Value,
    /// The ARNs it is about, as far as they are known.
    pub arns: Vec<String>,
}

/// How a call ended.
pub enum Outcome<'a> {
    /// With this answer.
    Done(&'a Value),
    /// With an error.
    Refused {
        /// AWS's code.
        code: &'a str,
        /// AWS's message.
        message: &'a str,
    },
    /// Nobody waited for it.
    Unknown,
}

/// A call that has begun. If it is dropped because the caller went away, it is recorded nevertheless.
pub struct Draft {
    pub(super) class: Class,
    pub(super) context: CallContext,
    pub(super) service: String,
    pub(super) name: String,
    pub(super) at: Timestamp,
    pub(super) parameters: Value,
    pub(super) arns: Vec<String>,
    pub(super) additional: Option<Value>,
    audit: Option<Audit>,
}

impl Draft {
    /// What the request does not tell: `additionalEventData`.
    pub fn add(&mut self, additional: Value) {
        self.additional = Some(additional);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let Some(audit) = self.audit.take() else { return };
        let written = audit.write(Row::of(self, &Outcome::Unknown));
        // Without a runtime the process is ending, and nobody was answered.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = written.await {
                    tracing::error!(%error, "a call whose caller went away could not be recorded");
                }
            });
        }
    }
}

impl Audit {
    pub(super) fn new(file: ServiceFile) -> Self {
        Self { file, changes: Arc::default() }
    }

    /// Waits until no other call holds it: for calls that record what was before them and what is after them.
    pub async fn one_at_a_time(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changes).lock_owned().await
    }

    /// A name for the content of a text.
    pub fn digest(text: &str) -> String {
        hex::encode(Sha256::digest(text))
    }

    /// Begins the record of a call; none when it is not one that is recorded.
    pub fn begin(&self, call: Call<'_>) -> Option<Draft> {
        let class = self.class(call.service, call.name)?;
        let mut arns = Vec::new();
        call.arns.iter().for_each(|arn| resources::add(&mut arns, arn));
        Some(self.draft(class, call.context, (call.service, call.name), (elements(call.input), arns)))
    }

    /// The same for a call of a service of this crate.
    pub(crate) fn begin_request(
        &self,
        context: &CallContext,
        service: &dyn Service,
        request: &ServiceRequest,
    ) -> Option<Draft> {
        let (signing_name, is_rest) = (service.name(), request.operation.is_empty());
        if is_rest && (is_reading(request) || is_data(signing_name, request.uri.path())) {
            return None;
        }
        if !is_rest {
            self.class(signing_name, &request.operation)?;
        }
        let needed = service.access(context, request);
        let name = if is_rest {
            name_of(signing_name, request, needed.first()?)?
        } else {
            request.operation.clone()
        };
        let class = self.class(signing_name, &name)?;
        let mut arns = Vec::new();
        needed.iter().flat_map(|access| &access.resources).for_each(|arn| resources::add(&mut arns, arn));
        let parameters = elements(&parameters(signing_name, request));
        Some(self.draft(class, context, (signing_name, &name), (parameters, arns)))
    }

    fn class(&self, service: &str, name: &str) -> Option<Class> {
        let records_work = self.file.environment.config().audit.work;
        plane::class(service, name).filter(|class| *class != Class::Work || records_work)
    }

    fn draft(
        &self,
        class: Class,
        context: &CallContext,
        (service, name): (&str, &str),
        (parameters, arns): (Value, Vec<String>),
    ) -> Draft {
        let name = name.char_indices().take_while(|(at, _)| *at < NAME_BYTES_MAX).map(|(_, letter)| letter);
        Draft {
            class,
            context: context.clone(),
            service: service.to_owned(),
            name: name.collect(),
            at: self.file.environment.now(),
            parameters,
            arns,
            additional: None,
            audit: Some(self.clone()),
        }
    }

    /// Writes the record; it is on disk when this ends. Without it the call must not be answered as done.
    pub async fn end(&self, mut draft: Draft, outcome: Outcome<'_>) -> Result<(), ServiceError> {
        // A task of its own, so that the record is written also if the caller goes away just now.
        let written = tokio::spawn(self.write(Row::of(&draft, &outcome)));
        draft.audit = None;
        written.await.map_err(ServiceError::internal)?
    }

    /// The same for an answer of a service of this crate.
    pub(crate) async fn end_request(
        &self,
        draft: Draft,
        answer: &Result<ServiceResponse, ServiceError>,
    ) -> Result<(), ServiceError> {
        match answer {
            Ok(response) => self.end(draft, Outcome::Done(&answer_of(response))).await,
            Err(error) => {
                let outcome = Outcome::Refused { code: error.short_code(), message: &error.message };
                self.end(draft, outcome).await
            }
        }
    }

    fn write(&self, row: Row) -> impl Future<Output = Result<(), ServiceError>> + Send + 'static {
        let max = self.file.environment.config().audit.records_max;
        // The job runs even if nobody waits for it any more.
        self.file.database.write(move |connection| insert(connection, &row, max))
    }

    /// Deletes what is older than the retention, until it is aborted.
    pub(super) async fn sweep(self) {
        let ServiceFile { environment, database } = self.file;
        loop {
            let days = SignedDuration::from_hours(24 * i64::from(environment.config().audit.days));
            let before = environment.now().saturating_sub(days).map_or(0, Timestamp::as_millisecond);
            match database.write(move |connection| delete_old(connection, before)).await {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => environment.sleep(SWEEP_EVERY).await,
                Err(error) => {
                    tracing::warn!(%error, "old records could not be deleted");
                    environment.sleep(SWEEP_EVERY).await;
                }
            }
        }
    }
}

fn insert(connection: &Connection, row: &Row, max: u64) -> Result<(), ServiceError> {
    let sql = "INSERT INTO records(class, account, region, at, event_id, name, source, username, access_key, read_only,
               resources, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let class = row.class as i64;
    connection.prepare_cached(sql)?.execute(params![
        class,
        row.account,
        row.region,
        row.at_ms,
        row.event_id,
        row.name,
        row.source,
        row.username,
        row.access_key,
        row.is_read_only,
        row.resources,
        row.event
    ])?;
    let sql = "UPDATE counts SET n = n + 1 WHERE class = ?1 RETURNING n";
    let kept: i64 = connection.prepare_cached(sql)?.query_row([class], |row| row.get(0))?;
    let surplus = kept.saturating_sub(i64::try_from(max).unwrap_or(i64::MAX));
    if surplus > 0 {
        let sql =
            "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE class = ?1 ORDER BY id LIMIT ?2)";
        let deleted =
            connection.prepare_cached(sql)?.execute(params![class, surplus.min(DELETED_AT_ONCE)])?;
        discount(connection, class, deleted)?;
    }
    Ok(())
}

fn discount(connection: &Connection, class: i64, deleted: usize) -> Result<(), ServiceError> {
    let sql = "UPDATE counts SET n = n - ?2 WHERE class = ?1";
    let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute([class, deleted])?;
    Ok(())
}

/// Deletes some that are old; whether there may be more.
fn delete_old(connection: &Connection, before: i64) -> Result<bool, ServiceError> {
    let mut more = false;
    for class in 0..=2 {
        let sql = "DELETE FROM records WHERE at < ?2 AND id IN
                   (SELECT id FROM records WHERE class = ?1 ORDER BY id LIMIT ?3)";
        let deleted = connection.prepare_cached(sql)?.execute([class, before, DELETED_AT_ONCE])?;
        discount(connection, class, deleted)?;
        more |= deleted as i64 == DELETED_AT_ONCE;
    }
    Ok(more)
}

fn is_reading(request: &ServiceRequest) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")
}

/// What a path alone tells: objects, invocations, and Passo's own endpoints, which are no API of AWS's. Most requests end
/// here, so it is looked at before anything else.
fn is_data(service: &str, path: &str) -> bool {
    let inner = path.trim_start_matches('/');
    match service {
        "s3" => inner.split_once('/').is_some_and(|(_, key)| !key.is_empty()),
        "lambda" => path.ends_with("/invocations"),
        _ => inner.starts_with("local/"),
    }
}

/// The operation of a REST request, by the permission it needs.
fn name_of(service: &str, request: &ServiceRequest, needed: &crate::wire::Access) -> Option<String> {
    let action = needed.action.split(':').nth(1)?;
    if service != "s3" {
        return Some(action.to_owned());
    }
    // Objects are data.
    if needed.resources.iter().any(|arn| arn.contains('/')) {
        return None;
    }
    let is_deletion = request.method == http::Method::DELETE;
    Some(match action.strip_prefix("Put").filter(|_| is_deletion) {
        Some(rest) => format!("Delete{rest}"),
        None => action.to_owned(),
    })
}

/// The request as a document.
fn parameters(service: &str, request: &ServiceRequest) -> Value {
    let is_large = request.body.len() > READ_BYTES_MAX;
    if request.protocol == Protocol::AwsQuery && is_large {
        return Value::Null;
    }
    if request.protocol == Protocol::AwsQuery {
        let fields = request.form().iter().filter(|(name, _)| !matches!(*name, "Action" | "Version"));
        return fields
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<Map<_, _>>()
            .into();
    }
    let mut members = match service {
        // Its documents are XML.
        "s3" => Map::new(),
        _ if is_large => Map::new(),
        _ => request.json().ok().and_then(Value::as_object).cloned().unwrap_or_default(),
    };
    if request.operation.is_empty() {
        let segments = request.path_segments();
        let named = match service {
            "s3" => ("bucketName", segments.first()),
            "lambda" if segments.get(1).is_some_and(|word| word == "functions") => {
                ("functionName", segments.get(2))
            }
            "lambda" => ("resourceArn", segments.get(2)),
            _ => ("name", segments.get(1)),
        };
        if let (name, Some(value)) = named {
            members.insert(name.to_owned(), value.as_str().into());
        }
    }
    Value::Object(members)
}

fn answer_of(response: &ServiceResponse) -> Value {
    match &response.body {
        ResponseBody::Json(value) => value.clone(),
        ResponseBody::Xml(children) => Xml::to_json(children),
        ResponseBody::Bytes(bytes) if bytes.len() <= READ_BYTES_MAX => {
            serde_json::from_slice(bytes).unwrap_or_default()
        }
        ResponseBody::Bytes(_) | ResponseBody::Empty | ResponseBody::Stream(_) => Value::Null,
    }
}
