//! `passo logs`: log lines of an execution, a function or a log group, now and as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Failed;
use super::execution::refused;
use super::lookup::ServerArgs;
use super::sources::{self, Source};
use super::terminal::{Style, Terminal};
use crate::client::Client;

/// Pause between two looks for new lines.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Lines may arrive this much later than they say; so far back each look begins again.
const LATE: i64 = 5_000;
/// After its end an execution's last lines get this many looks, or more if its last event must be among them.
const LOOKS_AFTER_END: usize = 4;
const LOOKS_FOR_LAST: usize = 40;
/// The events that are an execution's last.
const LAST: [&str; 4] = ["ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"];
const EXAMPLES: &str = "Examples:
  passo logs 3f6b                          (everything that an execution wrote, and its functions and tasks)
  passo logs order-process-order --follow  (a function)
  passo logs /aws/vendedlogs/states/order --since 2h --filter '{ $.type = \"TaskFailed\" }'";

/// Arguments of `passo logs`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct LogsArgs {
    /// A log group, a function's name or ARN, or an execution's ARN, name, or beginning of its name
    #[arg(value_name = "EXECUTION|FUNCTION|GROUP")]
    what: String,
    /// Go on with new lines; those of an execution end with it
    #[arg(long, short)]
    follow: bool,
    /// How far back: 30s, 10m, 2h, 3d, 1w, or a date and time [default: 10m; of an execution, its start]
    #[arg(long, value_parser = since)]
    since: Option<i64>,
    /// A filter pattern of CloudWatch Logs
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Milliseconds of the epoch.
pub(super) fn since(text: &str) -> Result<i64, String> {
    let now = jiff::Timestamp::now().as_millisecond();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => {
            let at: Result<jiff::Timestamp, _> = text.parse();
            return at.map(jiff::Timestamp::as_millisecond).map_err(|_| {
                "expected a time back, such as 10m or 2h, or a date and time, such as 2026-11-22T09:00:00Z".into()
            });
        }
    };
    let back = number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds * 1000));
    back.map(|back| (now - back).max(0)).ok_or_else(|| format!("'{text}' is too long ago"))
}

/// Shows.
pub async fn logs(talk: &Terminal, arguments: &LogsArgs) -> Result<(), Failed> {
    let terminal = Terminal::for_data();
    let client = arguments.server.client()?;
    let found = sources::find(&client, &arguments.what).await?;
    let start = arguments.since.or(found.start).unwrap_or_else(|| {
        // As `aws logs tail` does.
        jiff::Timestamp::now().as_millisecond() - 600_000
    });
    let mut reader = Reader {
        client: &client,
        terminal: &terminal,
        arguments,
        start,
        seen: BTreeMap::new(),
        wide: found.sources.len() > 1,
        saw_last: false,
    };
    let mut sources = found.sources;
    let mut after_end = 0;
    loop {
        if let Some(execution_arn) = &found.execution {
            // Tasks that were started meanwhile write to groups of their own.
            sources = sources::of_execution(&client, execution_arn).await?.sources;
            reader.wide = sources.len() > 1;
        }
        let ended = match &found.execution {
            Some(execution_arn) if arguments.follow => sources::has_ended(&client, execution_arn).await?,
            _ => false,
        };
        reader.look(&sources).await?;
        after_end += usize::from(ended);
        let last_comes = arguments.filter.is_none() && sources.iter().any(|source| source.tells_end);
        let enough = if last_comes { LOOKS_FOR_LAST } else { LOOKS_AFTER_END };
        if !arguments.follow || after_end >= enough || (ended && reader.saw_last) {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    if reader.seen.is_empty() && !arguments.follow {
        let groups: Vec<&str> = sources.iter().map(|source| source.group.as_str()).collect();
        talk.line(&format!("no lines in {}", groups.join(", ")));
    }
    Ok(())
}

struct Reader<'a> {
    client: &'a Client,
    terminal: &'a Terminal,
    arguments: &'a LogsArgs,
    /// Milliseconds of the epoch; nothing older is shown.
    start: i64,
    /// Ids of lines that were shown, by the time that they say.
    seen: BTreeMap<i64, BTreeSet<String>>,
    /// Whether lines say where they come from.
    wide: bool,
    /// Whether the last event of an execution was among them.
    saw_last: bool,
}

impl Reader<'_> {
    /// Shows the lines that are new, in the order of time.
    async fn look(&mut self, sources: &[Source]) -> Result<(), Failed> {
        let newest = self.seen.keys().next_back().copied().unwrap_or(self.start);
        let from = (newest - LATE).max(self.start);
        let mut fresh: Vec<(i64, Value)> = Vec::new();
        for source in sources {
            for event in self.events(source, from).await? {
                let at = event["timestamp"].as_i64().unwrap_or_default();
                let id = format!("{}{}", source.group, event["eventId"].as_str().unwrap_or_default());
                if self.seen.entry(at).or_default().insert(id) {
                    self.saw_last |= source.tells_end && is_last(&event);
                    fresh.push((at, self.shown(source, event)));
                }
            }
        }
        self.seen.retain(|_, ids| !ids.is_empty());
        fresh.sort_by_key(|(at, _)| *at);
        fresh.iter().for_each(|(_, line)| self.print(line));
        let old = self.seen.keys().next_back().map_or(0, |newest| newest - 2 * LATE);
        if self.arguments.follow {
            self.seen = self.seen.split_off(&old);
        }
        Ok(())
    }

    async fn events(&self, source: &Source, from: i64) -> Result<Vec<Value>, Failed> {
        let mut body = json!({ "logGroupName": source.group, "startTime": from });
        let about = source.about.as_ref().map(|arn| format!("{{ $.execution_arn = \"{arn}\" }}"));
        if let Some(pattern) = self.arguments.filter.clone().or(about) {
            body["filterPattern"] = pattern.into();
        }
        if let Some(streams) = &source.streams {
            body["logStreamNames"] = json!(streams);
        }
        if let Some(end) = source.end {
            body["endTime"] = end.into();
        }
        let mut found = Vec::new();
        loop {
            let answer = self.client.json("logs", "Logs_20140328.FilterLogEvents", body.clone()).await;
            let mut page = match answer {
                // A group or stream that a task will only make when it writes its first line.
                Err(error) if error.code == "ResourceNotFoundException" => return Ok(found),
                other => other.map_err(refused)?,
            };
            if let Value::Array(events) = page["events"].take() {
                // Two patterns cannot be asked for at once.
                let about = |event: &Value| match (&source.about, event["message"].as_str()) {
                    (Some(arn), Some(message)) => message.contains(arn.as_str()),
                    _ => true,
                };
                found.extend(events.into_iter().filter(about));
            }
            match page["nextToken"].take() {
                Value::Null => return Ok(found),
                token => body["nextToken"] = token,
            }
        }
    }

    fn shown(&self, source: &Source, event: Value) -> Value {
        let at = event["timestamp"].as_i64().unwrap_or_default();
        let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
        json!({ "timestamp": format!("{at:.3}"), "logGroup": source.group,
            "logStream": event["logStreamName"], "message": event["message"] })
    }

    fn print(&self, line: &Value) {
        if self.arguments.json {
            return self.terminal.data(&line.to_string());
        }
        let of = |name: &str| line[name].as_str().unwrap_or_default();
        let place = if self.wide { of("logGroup") } else { of("logStream") };
        let at = self.terminal.paint(Style::Dim, of("timestamp"));
        let place = self.terminal.paint(Style::Bold, place);
        self.terminal.data(&format!("{at} {place} {}", of("message").trim_end()));
    }
}

fn is_last(event: &Value) -> bool {
    let line = serde_json::from_str(event["message"].as_str().unwrap_or_default()).unwrap_or(Value::Null);
    line["type"].as_str().is_some_and(|kind| LAST.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn a_time_back_is_a_number_with_a_unit_or_a_date() {
        let now = jiff::Timestamp::now().as_millisecond();
        let ago = now - since("10m").expect("a time");
        assert!((500_000..=600_000).contains(&ago), "{ago}");
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1_000));
        assert!(since("soon").is_err() && since("9999999999999999999d").is_err() && since("10").is_err());
    }
}
