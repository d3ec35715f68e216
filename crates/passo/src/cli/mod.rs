//! The command line: what can be typed, and the exit codes.

mod advice;
mod audit;
mod beside;
mod config;
mod deploy;
mod effects;
mod execution;
mod executions;
mod follow;
mod graph;
mod history;
mod logs;
mod lookup;
mod project;
mod run;
mod seed;
mod serve;
mod sources;
mod stack;
mod telemetry;
mod terminal;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use services::{EcsMode, Enforce};

use crate::config::Settings;
use crate::server::ServerConfig;
use terminal::Terminal;

/// AWS Step Functions that you own.
#[derive(Parser)]
#[command(name = "passo", version, about, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 success · 1 the execution ended otherwise · 2 wrong usage or input · 3 the environment"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Deploy a template (or a bare definition) to an in-process server, start an execution and show it live
    Run(run::RunArgs),
    /// Serve Step Functions and the embedded AWS services until Ctrl-C or SIGTERM
    Serve(serve::ServeArgs),
    /// Make a template's stack on a running server, showing what changes
    Deploy(deploy::DeployArgs),
    /// Delete a stack with everything in it
    Delete(deploy::DeleteArgs),
    /// Check definitions and templates, pointing at what is wrong
    Validate(validate::ValidateArgs),
    /// Draw a workflow as SVG or Mermaid, or an execution with its states coloured
    Graph(graph::GraphArgs),
    /// List executions, the newest first
    Executions(executions::ExecutionsArgs),
    /// Show an execution state by state, until it ends if wanted
    History(history::HistoryArgs),
    /// Show the log lines of an execution, a function or a log group
    Logs(logs::LogsArgs),
    /// Show who changed what, as lines of JSON
    Audit(audit::AuditArgs),
    /// Check the configuration file and show what is in effect
    Config(config::ConfigArgs),
}

/// Options of the embedded services, shared by `run` and `serve`.
#[derive(Args, Clone)]
pub(crate) struct ServiceArgs {
    /// How ECS tasks run: a container where an engine answers and has the image, else a process [default: auto]
    #[arg(long, value_enum, env = "PASSO_ECS")]
    ecs: Option<EcsArg>,
    /// Configuration file; what is typed here beats it [default: $XDG_CONFIG_HOME/passo/passo.toml if it is there]
    #[arg(long, value_name = "FILE", env = "PASSO_CONFIG")]
    config: Option<PathBuf>,
}

impl ServiceArgs {
    /// The server's configuration: the command line, else the file, else the defaults.
    fn server_config(
        &self,
        settings: &Settings,
        data: PathBuf,
        listen: SocketAddr,
        iam: Option<IamArg>,
        iam_default: IamArg,
    ) -> ServerConfig {
        let ecs = self.ecs.or_else(|| choice(settings, "ecs")).unwrap_or(EcsArg::Auto);
        let iam = iam.or_else(|| choice(settings, "iam")).unwrap_or(iam_default);
        let config = ServerConfig { ecs: ecs.into(), iam: iam.into(), ..ServerConfig::new(data, listen) };
        let mut config = config.with_settings(settings);
        config.telemetry = telemetry::telemetry(settings, &|name| std::env::var(name).ok());
        config
    }
}

/// A word of the file that the command line knows, too.
fn choice<T: ValueEnum>(settings: &Settings, key: &str) -> Option<T> {
    T::from_str(settings.text(&[key])?, false).ok()
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum EcsArg {
    /// A container where possible, else a process
    Auto,
    /// Containers only
    Docker,
    /// Processes only
    Process,
}

/// How log lines are written.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What a missing permission does.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum IamArg {
    /// Policies are kept and not evaluated
    Off,
    /// The call goes through and the missing statement is logged
    Log,
    /// The call is refused, as on AWS
    On,
}

impl From<EcsArg> for EcsMode {
    fn from(argument: EcsArg) -> EcsMode {
        match argument {
            EcsArg::Auto => EcsMode::Auto,
            EcsArg::Docker => EcsMode::Docker,
            EcsArg::Process => EcsMode::Process,
        }
    }
}

impl From<IamArg> for Enforce {
    fn from(argument: IamArg) -> Enforce {
        match argument {
            IamArg::Off => Enforce::Off,
            IamArg::Log => Enforce::Log,
            IamArg::On => Enforce::On,
        }
    }
}

/// How a command failed; the exit code follows from it.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The execution ended otherwise than SUCCEEDED, or the input has errors that were already shown.
    Ended(u8),
    /// What the user typed or wrote is wrong.
    Usage(String),
    /// Something around us is missing or broken.
    Environment(String),
}

impl Failed {
    fn code(&self) -> u8 {
        match self {
            Failed::Ended(code) => *code,
            Failed::Usage(_) => 2,
            Failed::Environment(_) => 3,
        }
    }
}

/// Data of `passo serve`: `$XDG_DATA_HOME/passo`, or its default.
pub(crate) fn default_data() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base =
        std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
    base.unwrap_or_else(|| PathBuf::from(".")).join("passo")
}

pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:4566".to_string())
}

/// Parses, runs, and turns the outcome into an exit code.
pub fn main() -> ExitCode {
    // Usage errors end here with 2, `--help` and `--version` with 0.
    let cli = Cli::parse();
    let terminal = Terminal::detect();
    let settings = match settings(&cli.command) {
        Ok(settings) => settings,
        Err(failed) => return report(&terminal, &failed),
    };
    logging(&cli.command, &settings);
    if let Err(failed) = arm_failpoint() {
        return report(&terminal, &failed);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&terminal, &Failed::Environment(format!("cannot start: {error}"))),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Run(arguments) => run::run(&terminal, arguments, &settings).await,
            Command::Serve(arguments) => serve::serve(&terminal, arguments, &settings).await,
            Command::Deploy(arguments) => deploy::deploy(&terminal, arguments).await,
            Command::Delete(arguments) => deploy::delete(&terminal, arguments).await,
            Command::Validate(arguments) => validate::validate(&terminal, &arguments),
            Command::Graph(arguments) => graph::graph(&terminal, &arguments).await,
            Command::Executions(arguments) => executions::executions(&arguments).await,
            Command::History(arguments) => history::history(&arguments).await,
            Command::Logs(arguments) => logs::logs(&terminal, &arguments).await,
            Command::Audit(arguments) => audit::audit(&arguments).await,
            Command::Config(arguments) => config::config(&terminal, &arguments),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => report(&terminal, &failed),
    }
}

fn report(terminal: &Terminal, failed: &Failed) -> ExitCode {
    match failed {
        Failed::Ended(_) => {}
        Failed::Usage(message) | Failed::Environment(message) => terminal.error(message),
    }
    ExitCode::from(failed.code())
}

/// The configuration file of the commands that open a server.
fn settings(command: &Command) -> Result<Settings, Failed> {
    let given = match command {
        Command::Run(arguments) => &arguments.services.config,
        Command::Serve(arguments) => &arguments.services.config,
        _ => return Ok(Settings::default()),
    };
    Settings::load(given.as_deref()).map_err(|error| Failed::Usage(error.to_string()))
}

/// `PASSO_FAILPOINT=NAME[:N]` makes the process die at the N-th passage of a named point, for tests of recovery.
fn arm_failpoint() -> Result<(), Failed> {
    let Some(text) = std::env::var("PASSO_FAILPOINT").ok().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let parsed: Result<runtime::failpoint::Failpoint, _> = text.parse();
    let known = runtime::failpoint::NAMES.join(", ");
    let failpoint =
        parsed.map_err(|error| Failed::Usage(format!("PASSO_FAILPOINT: {error}; known: {known}")))?;
    runtime::failpoint::arm(failpoint);
    Ok(())
}

/// Logs go to standard error: warnings for `run`, a line for what matters in `serve`. `PASSO_LOG` overrides.
fn logging(command: &Command, settings: &Settings) {
    let default = match command {
        Command::Serve(_) => settings.text(&["log"]).unwrap_or("info"),
        _ => "error",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("PASSO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let format = match command {
        Command::Serve(arguments) => arguments.log_format.or_else(|| choice(settings, "log_format")),
        _ => None,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Some(LogFormatArg::Json) => lines.json().with_current_span(false).init(),
        Some(LogFormatArg::Text) | None => lines.with_ansi(terminal::colour_wanted()).init(),
    }
}
