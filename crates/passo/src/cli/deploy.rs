//! `passo deploy` and `passo delete`: a template's stack on a running server.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use templates::{Change, Stack};

use super::Failed;
use super::project::Project;
use super::stack::{self, Wanted, key_value, verb};
use super::terminal::{Style, Terminal};
use crate::client::Client;
use crate::config::DEFAULT_LISTEN;

/// Where the server is.
#[derive(Args)]
pub struct TargetArgs {
    /// The server [default: http://127.0.0.1:4566]
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the stack [default: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1]
    #[arg(long)]
    region: Option<String>,
    /// Print one JSON object with the outcome on standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

/// Arguments of `passo deploy`.
#[derive(Args)]
pub struct DeployArgs {
    /// A SAM/CloudFormation template, a folder with one, or an .asl.json definition
    #[arg(default_value = ".")]
    template: PathBuf,
    /// Name of the stack [default: the folder's name]
    #[arg(long, visible_alias = "stack-name")]
    stack: Option<String>,
    /// Value of a template parameter; one that is not given keeps the value it was given last
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_value)]
    parameters: Vec<(String, String)>,
    /// The same for several at once, as the AWS CLI takes them
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, num_args = 1..)]
    parameter_overrides: Vec<(String, String)>,
    /// Leave out what is not supported instead of refusing the template
    #[arg(long)]
    skip_unsupported: bool,
    /// Show what would change and change nothing
    #[arg(long, visible_alias = "no-execute-changeset")]
    dry_run: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Arguments of `passo delete`.
#[derive(Args)]
pub struct DeleteArgs {
    /// Name of the stack
    #[arg(value_name = "STACK")]
    stack: String,
    /// Do not ask
    #[arg(long, short, visible_alias = "no-prompts")]
    yes: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl TargetArgs {
    fn client(&self) -> Result<Client, Failed> {
        let given = self.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        let endpoint = given.unwrap_or_else(|| format!("http://{DEFAULT_LISTEN}"));
        let environment = |name: &str| match name {
            "AWS_REGION" if self.region.is_some() => self.region.clone(),
            name => std::env::var(name).ok().filter(|value| !value.is_empty()),
        };
        Client::new(&endpoint, &environment).map_err(Failed::Usage)
    }
}

fn header(terminal: &Terminal, command: &str, stack: &str, client: &Client) {
    let title = terminal.paint(Style::Bold, command);
    terminal.line(&format!("{title} · stack {stack} · {} · {}", client.region(), client.endpoint()));
}

/// Shows what changes and changes it.
pub async fn deploy(terminal: &Terminal, arguments: DeployArgs) -> Result<(), Failed> {
    let project = Project::find(&arguments.template, arguments.stack.as_deref())?;
    let client = arguments.target.client()?;
    header(terminal, "passo deploy", &project.stack, &client);
    let parameters = arguments.parameters.into_iter().chain(arguments.parameter_overrides).collect();
    let wanted = Wanted { parameters, skip_unsupported: arguments.skip_unsupported };
    let mut prepared = stack::prepare(terminal, &project, &client, &wanted).await?;
    if prepared.stack.is_unfinished() {
        terminal
            .warning("an earlier deployment of this stack did not end; this one goes on from what it left");
    }
    let planned = templates::plan(&prepared.template, &prepared.stack);
    let planned = planned.map_err(|error| stack::failed("the stack could not be deployed: ", error))?;
    stack::show(terminal, &planned);
    if arguments.dry_run {
        if planned.is_empty() {
            terminal.line("no changes: the stack is up to date");
        }
        return told(terminal, &arguments.target, &prepared.stack, &planned);
    }
    let deployed = stack::deploy(terminal, &client, &mut prepared).await?;
    let outcome = match stack::summary(&deployed.changes) {
        summary if summary.is_empty() => "no changes: the stack is up to date".to_string(),
        summary => format!("deployed: {summary}"),
    };
    terminal.line(&terminal.paint(Style::Good, &outcome));
    let width = prepared.stack.outputs.keys().map(String::len).max().unwrap_or(0);
    for (name, output) in &prepared.stack.outputs {
        let value = output.value.as_str().map_or_else(|| output.value.to_string(), str::to_string);
        terminal.line(&format!("  {name:<width$}  {value}"));
    }
    told(terminal, &arguments.target, &prepared.stack, &deployed.changes)
}

fn told(terminal: &Terminal, target: &TargetArgs, stack: &Stack, changes: &[Change]) -> Result<(), Failed> {
    if target.json {
        terminal.data(&stack::as_json(stack, changes).to_string());
    }
    Ok(())
}

/// Deletes a stack with everything in it.
pub async fn delete(terminal: &Terminal, arguments: DeleteArgs) -> Result<(), Failed> {
    let client = arguments.target.client()?;
    let place = stack::place(&client).await?;
    let loaded = Stack::load(&client, &arguments.stack).await;
    let mut stack = loaded.map_err(|error| stack::failed("", error))?;
    if !stack.exists() {
        return Err(Failed::Usage(format!("Stack with id {} does not exist", arguments.stack)));
    }
    header(terminal, "passo delete", &stack.name, &client);
    if !arguments.yes && !agreed(terminal, &stack) {
        terminal.line("nothing was deleted");
        return Err(Failed::Ended(1));
    }
    let progress = |change: &Change| terminal.line(&format!("  {} {}", verb(change.kind), change.id));
    let deleted = templates::delete(&client, &mut stack, &place, &progress).await;
    let deleted = deleted.map_err(|error| stack::failed("the stack could not be deleted: ", error))?;
    if !deleted.left_over.is_empty() {
        let left_over = deleted.left_over.join("\n  ");
        return Err(Failed::Usage(format!(
            "these could not be deleted and stay in the stack:\n  {left_over}"
        )));
    }
    let summary = stack::summary(&deleted.changes);
    let summary = if summary.is_empty() { "it was empty".to_string() } else { summary };
    terminal.line(&terminal.paint(Style::Good, &format!("deleted: {summary}")));
    stack.status = "DELETE_COMPLETE".into();
    told(terminal, &arguments.target, &stack, &deleted.changes)
}

/// People are asked; scripts have said what they want by running the command.
fn agreed(terminal: &Terminal, stack: &Stack) -> bool {
    if !std::io::stdin().is_terminal() {
        return true;
    }
    let count = stack.resources.len();
    terminal.line(&format!("delete the stack {} with its {count} resources? [y/N]", stack.name));
    let mut answer = String::new();
    // No answer is a no.
    let read = std::io::stdin().read_line(&mut answer).is_ok();
    read && matches!(answer.trim(), "y" | "Y" | "yes")
}
