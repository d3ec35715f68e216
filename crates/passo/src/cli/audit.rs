//! `passo audit`: who changed what, as CloudTrail's records, one JSON object a line, the oldest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Failed;
use super::execution::refused;
use super::logs::since;
use super::lookup::ServerArgs;
use super::terminal::Terminal;
use crate::client::Client;

/// Pause between two looks for new records.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A record is dated by the beginning of its call and written at its end; so far back each look begins again.
const LATE_SECONDS: i64 = 900;
/// More records than this are not held; a filter or a later `--since` finds the others.
const RECORDS_MAX: usize = 200_000;
const TARGET: &str = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents";
const EXAMPLES: &str = "Examples:
  passo audit --since 2h
  passo audit --event DeleteStateMachine --user alice
  passo audit --follow >> audit.jsonl";

/// Arguments of `passo audit`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// Go on with new records
    #[arg(long, short)]
    follow: bool,
    /// How far back: 30s, 10m, 2h, 3d, 1w, or a date and time [default: 1d]
    #[arg(long, value_parser = since)]
    since: Option<i64>,
    /// Only calls of this name, such as UpdateStateMachine
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only calls of this user, role session, or root
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only calls about this resource, by its ARN or name
    #[arg(long, value_name = "ARN|NAME")]
    resource: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows.
pub async fn audit(arguments: &AuditArgs) -> Result<(), Failed> {
    let terminal = Terminal::for_data();
    let client = arguments.server.client()?;
    let day_ago = || jiff::Timestamp::now().as_millisecond() - 86_400_000;
    let mut start = arguments.since.unwrap_or_else(day_ago).div_euclid(1000);
    let mut seen: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    loop {
        let mut fresh = records(&client, arguments, start).await?;
        fresh.reverse();
        for record in fresh {
            let at = record["EventTime"].as_f64().unwrap_or_default() as i64;
            let id = record["EventId"].as_str().unwrap_or_default().to_owned();
            let line = record["CloudTrailEvent"].as_str().unwrap_or_default();
            if seen.entry(at).or_default().insert(id) && arguments.takes(line) {
                terminal.data(line);
            }
        }
        if !arguments.follow {
            return Ok(());
        }
        if let Some(newest) = seen.keys().next_back() {
            start = start.max(newest - LATE_SECONDS);
            seen = seen.split_off(&start);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl AuditArgs {
    /// The one attribute that the server is asked for.
    fn attribute(&self) -> Option<Value> {
        let asked = [("ResourceName", &self.resource), ("EventName", &self.event), ("Username", &self.user)];
        let (key, value) = asked.iter().find_map(|(key, value)| Some((key, value.as_ref()?)))?;
        Some(json!([{ "AttributeKey": key, "AttributeValue": value }]))
    }

    /// AWS takes one attribute; the others are looked at here.
    fn takes(&self, line: &str) -> bool {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let identity = &record["userIdentity"];
        let is = |wanted: &Option<String>, found: &[&Value]| {
            wanted.as_deref().is_none_or(|wanted| found.iter().any(|found| found.as_str() == Some(wanted)))
        };
        let session =
            identity["principalId"].as_str().and_then(|id| id.split(':').nth(1)).unwrap_or_default();
        let root = if identity["type"] == "Root" { "root" } else { "" };
        is(&self.event, &[&record["eventName"]])
            && is(&self.user, &[&identity["userName"], &session.into(), &root.into()])
    }
}

/// All records since a second of the epoch, the newest first.
async fn records(client: &Client, arguments: &AuditArgs, start: i64) -> Result<Vec<Value>, Failed> {
    let mut body = json!({ "StartTime": start });
    if let Some(attribute) = arguments.attribute() {
        body["LookupAttributes"] = attribute;
    }
    let mut found = Vec::new();
    loop {
        let mut page = client.json("cloudtrail", TARGET, body.clone()).await.map_err(refused)?;
        if let Value::Array(events) = page["Events"].take() {
            found.extend(events);
        }
        if found.len() > RECORDS_MAX {
            let message = format!(
                "more than {RECORDS_MAX} records; narrow them with --since, --event, --user or --resource"
            );
            return Err(Failed::Usage(message));
        }
        match page["NextToken"].take() {
            Value::Null => return Ok(found),
            token => body["NextToken"] = token,
        }
    }
}
