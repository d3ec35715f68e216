//! CloudWatch Logs Insights: queries over log groups, with the commands of the Insights language that people use daily.
//!
//! A query runs on a thread of its own in pages, so writers and other readers go on; its result is kept in memory and
//! forgotten with the process, or when many newer ones came. What it does not do: `SOURCE`, `pattern`, `diff`, `unmask`,
//! joins, and the languages PPL and SQL are refused by name.

mod aggregate;
mod discover;
mod evaluate;
mod functions;
mod language;
mod parse;
mod query;
mod run;
mod scan;
mod value;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::groups;
use super::input::{Input, constraint, group_of_arn, invalid};
use crate::service_file::Call;
use crate::storage::Database;
use crate::wire::ServiceError;

/// Results that are kept, the newest; AWS keeps them for seven days.
const KEPT_MAX: usize = 200;
/// Rows of all kept results together.
const KEPT_ROWS_MAX: usize = 200_000;
/// AWS's quota of queries at a time.
const RUNNING_MAX: usize = 30;
const GROUPS_MAX: usize = 50;
const QUERY_CHARACTERS_MAX: usize = 10_000;
/// AWS's bound, and its default.
const ROWS_MAX: i64 = 10_000;
/// Larger numbers are milliseconds, as AWS reads them.
const SECONDS_MAX: i64 = 100_000_000_000;

/// The queries of this process.
#[derive(Clone, Default)]
pub(super) struct Queries {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    next: u64,
    by_number: BTreeMap<u64, Query>,
}

struct Query {
    id: String,
    account: String,
    region: String,
    text: String,
    group: String,
    created: i64,
    status: &'static str,
    cancel: Arc<AtomicBool>,
    outcome: run::Outcome,
}

/// What a query reads.
pub(super) struct Scope {
    /// Id and name.
    pub groups: Vec<(i64, String)>,
    pub account: String,
    /// First and last millisecond.
    pub start: i64,
    pub end: i64,
    pub rows_max: usize,
}

impl Queries {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// StartQuery.
    pub fn start(&self, database: &Database, call: &Call, members: &Value) -> Result<Value, ServiceError> {
        let input = Input::new(members);
        if let Some(other) = input.text("queryLanguage")?.filter(|language| *language != "CWLI") {
            return Err(ServiceError::unsupported("logs", &format!("StartQuery in {other}")));
        }
        let text = input.required("queryString")?.to_owned();
        if text.chars().count() > QUERY_CHARACTERS_MAX {
            let rule = "Member must have length less than or equal to 10000";
            return Err(constraint("'…'", "queryString", rule));
        }
        let rows_max = input.limit(ROWS_MAX, ROWS_MAX)? as usize;
        let (start, end) = times(&input)?;
        let names = group_names(&input)?;
        let query = language::parse(&text).map_err(malformed)?;
        let found: Result<Vec<(i64, String)>, ServiceError> = database.read(|connection| {
            let find = |name: &String| Ok((groups::find(connection, call, name)?.0, name.clone()));
            names.iter().map(find).collect()
        });
        let scope = Scope { groups: found?, account: call.account.clone(), start, end, rows_max };
        let cancel = Arc::new(AtomicBool::new(false));
        let (number, id) = self.lock().admit(call, text, &scope, Arc::clone(&cancel))?;
        let (queries, database) = (self.clone(), database.clone());
        tokio::task::spawn_blocking(move || {
            let (status, outcome) = match run::run(&database, &query, &scope, &cancel) {
                Ok(outcome) if cancel.load(Ordering::Relaxed) => ("Cancelled", outcome),
                Ok(outcome) if outcome.timed_out => ("Timeout", outcome),
                Ok(outcome) => ("Complete", outcome),
                Err(error) => {
                    tracing::warn!(%error, "a query failed");
                    ("Failed", run::Outcome::default())
                }
            };
            let mut kept = queries.lock();
            if let Some(query) = kept.by_number.get_mut(&number) {
                (query.status, query.outcome) = (status, outcome);
            }
            kept.forget();
        });
        Ok(json!({ "queryId": id }))
    }

    /// GetQueryResults.
    pub fn results(&self, call: &Call, members: &Value) -> Result<Value, ServiceError> {
        let kept = self.lock();
        let query = kept.find(call, members)?;
        let statistics = &query.outcome.statistics;
        Ok(json!({
            "queryLanguage": "CWLI", "status": query.status, "results": query.outcome.rows,
            "statistics": { "recordsMatched": statistics.matched as f64,
                "recordsScanned": statistics.scanned as f64, "bytesScanned": statistics.bytes as f64,
                "logGroupsScanned": statistics.groups as f64 },
        }))
    }

    /// StopQuery.
    pub fn stop(&self, call: &Call, members: &Value) -> Result<Value, ServiceError> {
        let kept = self.lock();
        let query = kept.find(call, members)?;
        if query.status != "Running" {
            let message = format!("Provided query is already ended with status: {}", query.status);
            return Err(invalid(message));
        }
        query.cancel.store(true, Ordering::Relaxed);
        Ok(json!({ "success": true }))
    }

    /// DescribeQueries: the newest first.
    pub fn describe(&self, call: &Call, members: &Value) -> Result<Value, ServiceError> {
        const PAGE_MAX: usize = 1000;
        let input = Input::new(members);
        let (group, status) = (input.text("logGroupName")?, input.text("status")?);
        let kept = self.lock();
        let own = |query: &&Query| query.account == call.account && query.region == call.region;
        let wanted = |query: &&Query| {
            group.is_none_or(|group| query.group == group)
                && status.is_none_or(|status| query.status == status)
        };
        let shown = |query: &Query| {
            json!({ "queryLanguage": "CWLI", "queryId": query.id, "queryString": query.text,
                "status": query.status, "createTime": query.created, "logGroupName": query.group })
        };
        let queries: Vec<Value> =
            kept.by_number.values().rev().filter(own).filter(wanted).take(PAGE_MAX).map(shown).collect();
        Ok(json!({ "queries": queries }))
    }
}

impl Kept {
    fn admit(
        &mut self,
        call: &Call,
        text: String,
        scope: &Scope,
        cancel: Arc<AtomicBool>,
    ) -> Result<(u64, String), ServiceError> {
        if self.by_number.values().filter(|query| query.status == "Running").count() >= RUNNING_MAX {
            let message = "Account maximum query concurrency limit of [30] reached.";
            return Err(ServiceError::client("LimitExceededException", message));
        }
        self.next += 1;
        let id = uuid::Uuid::new_v4().to_string();
        let query = Query {
            id: id.clone(),
            account: call.account.clone(),
            region: call.region.clone(),
            text,
            group: scope.groups.first().map(|(_, name)| name.clone()).unwrap_or_default(),
            created: call.now_ms,
            status: "Running",
            cancel,
            outcome: run::Outcome::default(),
        };
        self.by_number.insert(self.next, query);
        Ok((self.next, id))
    }

    fn find(&self, call: &Call, members: &Value) -> Result<&Query, ServiceError> {
        let id = Input::new(members).required("queryId")?;
        let own = |query: &&Query| query.account == call.account && query.region == call.region;
        let found = self.by_number.values().find(|query| query.id == id);
        found.filter(own).ok_or_else(|| {
            let message = format!("Query with ID {id} does not exist.");
            ServiceError::client("ResourceNotFoundException", message)
        })
    }

    /// The oldest results go first; those that still run stay.
    fn forget(&mut self) {
        let rows = |kept: &Kept| kept.by_number.values().map(|query| query.outcome.rows.len()).sum::<usize>();
        while self.by_number.len() > KEPT_MAX || rows(self) > KEPT_ROWS_MAX {
            let ended = self.by_number.iter().find(|(_, query)| query.status != "Running");
            let Some(oldest) = ended.map(|(number, _)| *number) else { break };
            self.by_number.remove(&oldest);
        }
    }
}

fn malformed(error: query::Malformed) -> ServiceError {
    let location = json!({ "startCharOffset": error.start, "endCharOffset": error.end });
    let compile = json!({ "location": location, "message": error.message });
    ServiceError::client("MalformedQueryException", error.message.clone())
        .with_field("queryCompileError", compile)
}

fn times(input: &Input<'_>) -> Result<(i64, i64), ServiceError> {
    let time = |member: &str| -> Result<i64, ServiceError> {
        let given = input.integer(member)?;
        let given = given.ok_or_else(|| constraint("null", member, "Member must not be null"))?;
        if given < 0 {
            let rule = "Member must have value greater than or equal to 0";
            return Err(constraint(&format!("'{given}'"), member, rule));
        }
        Ok(given)
    };
    let (start, end) = (time("startTime")?, time("endTime")?);
    if end < start {
        return Err(invalid("End time should not be before the start time"));
    }
    let first = if start > SECONDS_MAX { start } else { start * 1000 };
    // The last second belongs to the range.
    let last = if end > SECONDS_MAX { end } else { end * 1000 + 999 };
    Ok((first, last))
}

fn group_names(input: &Input<'_>) -> Result<Vec<String>, ServiceError> {
    let list = |member: &str| -> Result<Option<Vec<String>>, ServiceError> {
        let texts = |list: &Vec<Value>| list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(input.list(member)?.map(texts))
    };
    let one = input.text("logGroupName")?.map(|name| vec![name.to_owned()]);
    let identifiers = list("logGroupIdentifiers")?;
    let identifiers =
        identifiers.map(|list| list.iter().map(|arn| group_of_arn(arn).to_owned()).collect::<Vec<_>>());
    let given: Vec<Vec<String>> = [one, list("logGroupNames")?, identifiers]
        .into_iter()
        .flatten()
        .filter(|list| !list.is_empty())
        .collect();
    let [names] = given.as_slice() else {
        let message = "Exactly one of logGroupName, logGroupNames or logGroupIdentifiers must be given.";
        return Err(invalid(message));
    };
    if names.len() > GROUPS_MAX {
        return Err(invalid("A query may read at most 50 log groups."));
    }
    Ok(names.clone())
}

/// The log groups that a request of StartQuery names, for permissions.
pub(super) fn groups_named(members: &Value) -> Vec<String> {
    group_names(&Input::new(members)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
