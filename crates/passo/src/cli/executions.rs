//! `passo executions`: what ran and what runs, over all state machines.

use clap::Args;
use serde_json::{Value, json};

use super::Failed;
use super::execution::instant;
use super::lookup::{self, ServerArgs};
use super::terminal::{Style, Terminal};

const STATUSES: [&str; 6] = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"];
const EXAMPLES: &str = "Examples:
  passo executions
  passo executions --state-machine order-workflow --status FAILED
  passo executions --limit 1000 --json | jq -r 'select(.status == \"RUNNING\") | .executionArn'";

/// Arguments of `passo executions`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ExecutionsArgs {
    /// Only those of this state machine
    #[arg(long, value_name = "NAME|ARN", conflicts_with = "map_run")]
    state_machine: Option<String>,
    /// The children of this Map Run
    #[arg(long, value_name = "ARN")]
    map_run: Option<String>,
    /// Only those with this status: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, PENDING_REDRIVE
    #[arg(long, value_parser = status)]
    status: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

fn status(text: &str) -> Result<String, String> {
    let written = text.to_uppercase().replace('-', "_");
    let known = STATUSES.iter().find(|status| **status == written);
    known.map(|status| (*status).to_owned()).ok_or_else(|| format!("expected one of {}", STATUSES.join(", ")))
}

/// Lists.
pub async fn executions(arguments: &ExecutionsArgs) -> Result<(), Failed> {
    let terminal = Terminal::for_data();
    let client = arguments.server.client()?;
    let limit = arguments.limit as usize;
    let bodies: Vec<Value> = match &arguments.map_run {
        Some(arn) => vec![json!({ "mapRunArn": arn })],
        None => {
            let machines = lookup::machines(&client, arguments.state_machine.as_deref()).await?;
            machines.iter().map(|machine| json!({ "stateMachineArn": machine["stateMachineArn"] })).collect()
        }
    };
    let mut found = Vec::new();
    for mut body in bodies {
        if let Some(status) = &arguments.status {
            body["statusFilter"] = status.as_str().into();
        }
        found.extend(lookup::listed(&client, "ListExecutions", "executions", body, limit).await?);
    }
    let started = |execution: &Value| execution["startDate"].as_f64().unwrap_or_default();
    found.sort_by(|one, other| started(other).total_cmp(&started(one)));
    found.truncate(limit);
    if arguments.json {
        for mut execution in found {
            for date in ["startDate", "stopDate", "redriveDate"] {
                if execution.get(date).is_some() {
                    execution[date] = instant(&execution[date]);
                }
            }
            terminal.data(&execution.to_string());
        }
        return Ok(());
    }
    table(&terminal, &found);
    Ok(())
}

fn table(terminal: &Terminal, executions: &[Value]) {
    if executions.is_empty() {
        terminal.talk("no executions");
        return;
    }
    let machine = |execution: &Value| {
        let arn = execution["executionArn"].as_str().unwrap_or_default();
        arn.split(':').nth(6).unwrap_or_default().to_owned()
    };
    let width =
        executions.iter().map(|execution| machine(execution).chars().count()).max().unwrap_or(0).max(13);
    let head = format!("{:<17} {:<19} {:>9}  {:<width$}  NAME", "STATUS", "STARTED", "TOOK", "STATE MACHINE");
    terminal.line(&terminal.paint(Style::Dim, &head));
    for execution in executions {
        let status = execution["status"].as_str().unwrap_or_default();
        let (mark, style) = match status {
            "SUCCEEDED" => ("✓", Style::Good),
            "RUNNING" | "PENDING_REDRIVE" => ("…", Style::Bold),
            "ABORTED" => ("⊘", Style::Warn),
            _ => ("✗", Style::Bad),
        };
        let status = terminal.paint(style, &format!("{:<17}", format!("{mark} {status}")));
        let (start, stop) = (execution["startDate"].as_f64(), execution["stopDate"].as_f64());
        let started = start.map(local).unwrap_or_default();
        let took = start.zip(stop).map(|(start, stop)| took(stop - start)).unwrap_or_default();
        let name = execution["name"].as_str().unwrap_or_default();
        terminal.line(&format!("{status} {started:<19} {took:>9}  {:<width$}  {name}", machine(execution)));
    }
}

/// Date and time where the user is.
fn local(seconds: f64) -> String {
    let at = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn took(seconds: f64) -> String {
    let whole = seconds.round() as i64;
    match whole {
        ..60 => format!("{seconds:.2} s"),
        60..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!(super::took(0.034), "0.03 s");
        assert_eq!(super::took(61.4), "1 m 01 s");
        assert_eq!(super::took(7_322.0), "2 h 02 m");
    }
}
