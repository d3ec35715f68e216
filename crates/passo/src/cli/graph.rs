//! `passo graph`: a workflow drawn, or an execution with its states coloured.

use std::path::{Path, PathBuf};

use ::graph::{Chart, Statuses, Theme};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::execution::Watch;
use super::lookup::{self, ServerArgs};
use super::project::Project;
use super::terminal::Terminal;
use super::{Failed, validate};

const EXAMPLES: &str = "Examples:
  passo graph examples/order > order.svg
  passo graph workflow.asl.json --format mermaid
  passo graph --execution 3f6b --output run.svg";

/// Arguments of `passo graph`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct GraphArgs {
    /// An .asl.json definition, a SAM/CloudFormation template, or a folder with one
    #[arg(required_unless_present = "execution")]
    path: Option<PathBuf>,
    /// What to write [default: what the output file's name says, else svg]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Colours of an SVG; auto follows the reader's system
    #[arg(long, value_enum, default_value = "auto")]
    theme: ThemeArg,
    /// Where to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Colour the states as this execution left them: its ARN, name, or beginning of the name
    #[arg(long)]
    execution: Option<String>,
    /// Which definition, when the template has several: its file's name
    #[arg(long, value_name = "FILE")]
    definition: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Scalable vector graphics
    Svg,
    /// A Mermaid flowchart
    Mermaid,
}

#[derive(Clone, Copy, ValueEnum)]
enum ThemeArg {
    Auto,
    Light,
    Dark,
}

/// Draws.
pub async fn graph(terminal: &Terminal, arguments: &GraphArgs) -> Result<(), Failed> {
    let (execution, definition_there) = match &arguments.execution {
        None => (None, None),
        Some(wanted) => {
            let (statuses, definition) = looked_up(arguments, wanted).await?;
            (Some(statuses), Some(definition))
        }
    };
    let (name, text) = match (&arguments.path, definition_there) {
        (Some(path), _) => of_file(arguments, path)?,
        (None, Some(text)) => ("the definition".to_owned(), text),
        (None, None) => return Err(Failed::Usage("name a definition, a template or a folder".into())),
    };
    let definition: Value = serde_json::from_str(&text).map_err(|_| {
        validate::show(terminal, &name, &text, &validate::errors(&text));
        Failed::Usage(format!("{name} is not JSON"))
    })?;
    let drawn = |error: ::graph::ChartError| Failed::Usage(format!("{name} cannot be drawn: {error}"));
    let chart = Chart::read(&definition).map_err(drawn)?;
    let written = match arguments.format() {
        Format::Mermaid => ::graph::mermaid(&chart, execution.as_ref()),
        Format::Svg => {
            let theme = match arguments.theme {
                ThemeArg::Auto => Theme::Auto,
                ThemeArg::Light => Theme::Light,
                ThemeArg::Dark => Theme::Dark,
            };
            ::graph::svg(&chart.draw().map_err(drawn)?, execution.as_ref(), theme)
        }
    };
    match &arguments.output {
        None => Terminal::for_data().data(written.trim_end()),
        Some(file) => std::fs::write(file, written)
            .map_err(|error| Failed::Environment(format!("{}: {error}", file.display())))?,
    }
    Ok(())
}

impl GraphArgs {
    fn format(&self) -> Format {
        let by_name = || {
            let extension = self.output.as_ref()?.extension()?.to_str()?;
            matches!(extension, "mmd" | "mermaid" | "md").then_some(Format::Mermaid)
        };
        self.format.or_else(by_name).unwrap_or(Format::Svg)
    }
}

/// The definition that a file or folder holds.
fn of_file(arguments: &GraphArgs, path: &Path) -> Result<(String, String), Failed> {
    let mut found = Project::find(path, None)?.definitions()?;
    if let Some(wanted) = &arguments.definition {
        found.retain(|(file, _)| file.ends_with(wanted));
    }
    match found.len() {
        1 => Ok(found.remove(0)).map(|(file, text)| (file.display().to_string(), text)),
        0 => Err(Failed::Usage(format!("{} has no such state machine", path.display()))),
        _ => {
            let names: Vec<String> = found.iter().map(|(file, _)| file.display().to_string()).collect();
            Err(Failed::Usage(format!("choose one with --definition: {}", names.join(", "))))
        }
    }
}

/// How far an execution is, and what it runs.
async fn looked_up(arguments: &GraphArgs, wanted: &str) -> Result<(Statuses, String), Failed> {
    let client = arguments.server.client()?;
    let execution_arn = lookup::execution(&client, wanted).await?;
    let of_execution = json!({ "executionArn": execution_arn });
    let described = lookup::states(&client, "DescribeExecution", of_execution.clone()).await?;
    let machine = lookup::states(&client, "DescribeStateMachineForExecution", of_execution).await?;
    let silent = Terminal::silent();
    let watch = Watch { terminal: &silent, client: &client, execution_arn: &execution_arn };
    let events = watch.news(&[]).await?;
    let statuses = Statuses::of_history(&events, described["status"].as_str().unwrap_or_default());
    Ok((statuses, machine["definition"].as_str().unwrap_or_default().to_owned()))
}
