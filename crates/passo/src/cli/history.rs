//! `passo history`: an execution state by state, in the words of `passo run`.

use clap::Args;
use serde_json::{Value, json};

use super::execution::{Outcome, Watch, ending, instant};
use super::follow::Follower;
use super::lookup::{self, ServerArgs};
use super::terminal::{Style, Terminal};
use super::{Failed, advice};

const EXAMPLES: &str = "Examples:
  passo history 3f6b                 (the beginning of its name is enough)
  passo history daily-2026-11-22 --follow
  passo history arn:aws:states:us-east-1:000000000000:execution:order-workflow:3f6b --json | jq .type

With --follow the exit code is that of `passo run`: 1 when the execution ended otherwise than SUCCEEDED.";

/// Arguments of `passo history`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct HistoryArgs {
    /// ARN, name, or beginning of the name
    execution: String,
    /// Go on until the execution has ended
    #[arg(long, short)]
    follow: bool,
    /// The events of GetExecutionHistory, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows.
pub async fn history(arguments: &HistoryArgs) -> Result<(), Failed> {
    let terminal = Terminal::for_data();
    let client = arguments.server.client()?;
    let execution_arn = lookup::execution(&client, &arguments.execution).await?;
    let of_execution = json!({ "executionArn": execution_arn });
    let described = lookup::states(&client, "DescribeExecution", of_execution.clone()).await?;
    let machine = lookup::states(&client, "DescribeStateMachineForExecution", of_execution).await?;
    let definition = machine["definition"].as_str().unwrap_or_default();
    let definition: Value = serde_json::from_str(definition).unwrap_or_default();
    // Events are the data then, and lines would be noise among them.
    let silent = Terminal::silent();
    let shown = if arguments.json { &silent } else { &terminal };
    let title = terminal.paint(Style::Bold, described["name"].as_str().unwrap_or_default());
    shown.line(&format!("{title} · {}", machine["name"].as_str().unwrap_or_default()));
    shown.line(&terminal.paint(Style::Dim, &format!("  {execution_arn}")));
    shown.line("");
    let watch = Watch { terminal: shown, client: &client, execution_arn: &execution_arn };
    let print = |event: &Value| {
        if arguments.json {
            terminal.data(&as_json(event));
        }
    };
    let outcome = if arguments.follow {
        watch.to_the_end(&definition, None, print).await?
    } else {
        so_far(&watch, &definition, print).await?
    };
    if outcome.status == "RUNNING" || outcome.status == "PENDING_REDRIVE" {
        shown.line("");
        let hint = terminal.paint(Style::Dim, "  (--follow goes on until it ends)");
        shown.line(&format!("{}{hint}", terminal.paint(Style::Bold, &format!("… {}", outcome.status))));
        return Ok(());
    }
    let good = ending(shown, &outcome);
    if !good {
        for (name, style) in [("error", Style::Bold), ("cause", Style::Dim)] {
            if let Some(text) = outcome.description[name].as_str() {
                let text = terminal.paint(style, &advice::in_words(text));
                shown.line(&format!("  {name:<7} {text}"));
            }
        }
    }
    if good || !arguments.follow { Ok(()) } else { Err(Failed::Ended(1)) }
}

/// What has happened until now.
async fn so_far(
    watch: &Watch<'_>,
    definition: &Value,
    mut print: impl FnMut(&Value),
) -> Result<Outcome, Failed> {
    // The description first: a history that is read later holds at least what it says.
    let description = watch.description().await?;
    let events = watch.news(&[]).await?;
    let mut follower = Follower::new(watch.terminal, definition);
    for event in &events {
        print(event);
        follower.event(event);
    }
    let status = description["status"].as_str().unwrap_or_default().to_string();
    if status == "RUNNING" {
        follower.still_open();
    }
    Ok(Outcome { execution_arn: watch.execution_arn.to_string(), status, description, events })
}

fn as_json(event: &Value) -> String {
    let mut event = event.clone();
    event["timestamp"] = instant(&event["timestamp"]);
    event.to_string()
}
