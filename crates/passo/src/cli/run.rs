//! `passo run`: deploy, start, show, and say where everything is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use templates::{ChangeKind, Options, Place, Stack};

use super::beside::Beside;
use super::config::show_elsewhere;
use super::execution::{self, Outcome};
use super::project::Project;
use super::seed::Seed;
use super::stack::{self, Prepared, Wanted, key_value};
use super::terminal::{Style, Terminal};
use super::{Failed, IamArg, ServiceArgs, effects};
use crate::client::Client;
use crate::config::{DEFAULT_LISTEN, Settings};
use crate::server::{Info, Plain, Server, ServerConfig};

/// The server of a run takes a free port.
const OWN_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Arguments of `passo run`.
#[derive(Args)]
pub struct RunArgs {
    /// A SAM/CloudFormation template, a folder with one, or an .asl.json definition
    path: PathBuf,
    /// Input of the execution: JSON, or @FILE [default: input.json or the first of inputs/ beside the template, else {}]
    #[arg(long, value_name = "JSON|@FILE")]
    input: Option<String>,
    /// Print one JSON object with the result on standard output, and nothing else there
    #[arg(long)]
    json: bool,
    /// Data directory [default: .passo/STACK]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Throw the data directory of earlier runs away first
    #[arg(long)]
    fresh: bool,
    /// Open the execution in the browser (the console is not built yet)
    #[arg(long)]
    open: bool,
    /// Use the server at this URL instead of one in this process
    #[arg(long, value_name = "URL", env = "PASSO_ENDPOINT")]
    endpoint: Option<String>,
    /// Stop the execution after this many seconds
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
    /// Name of the stack [default: the folder's name]
    #[arg(long)]
    stack: Option<String>,
    /// Value of a template parameter
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = key_value)]
    parameters: Vec<(String, String)>,
    /// Leave out what is not supported instead of refusing the template
    #[arg(long)]
    skip_unsupported: bool,
    /// Logical id of the state machine to run, when the template has several
    #[arg(long, value_name = "LOGICAL_ID")]
    state_machine: Option<String>,
    /// What a missing permission does [default: on]
    #[arg(long, value_enum)]
    iam: Option<IamArg>,
    #[command(flatten)]
    pub(super) services: ServiceArgs,
}

/// Runs; fails with 1 when the execution ended otherwise than SUCCEEDED.
pub async fn run(terminal: &Terminal, arguments: RunArgs, settings: &Settings) -> Result<(), Failed> {
    if arguments.open {
        return Err(Failed::Usage("--open needs the console, which is not built yet".into()));
    }
    let project = Project::find(&arguments.path, arguments.stack.as_deref())?;
    let input = read_input(arguments.input.as_deref(), &project)?;
    if arguments.endpoint.is_none() {
        // What is wrong with the template is told before a server is started for it.
        let parameters = arguments.parameters.iter().cloned().collect();
        let place = Place { account: account(settings), region: "us-east-1".into() };
        let (stack, skip_unsupported) = (project.stack.clone(), arguments.skip_unsupported);
        let options = Options { stack, place, parameters, skip_unsupported, ..Options::default() };
        let template = project.template(terminal, &options)?;
        Seed::all(template.metadata())?;
        Beside::all(template.metadata())?;
    }
    let data = arguments.data.clone().unwrap_or_else(|| Path::new(".passo").join(&project.stack));
    let server = match &arguments.endpoint {
        Some(_) => None,
        None => Some(open_server(&arguments, &data, settings).await?),
    };
    let client = match &server {
        // With the keys that AWS's tools would use, since somebody else runs it.
        None => Client::new(arguments.endpoint.as_deref().unwrap_or_default(), &variable),
        Some(server) => Client::with_login(&server.endpoint, server.login(), &variable),
    }
    .map_err(Failed::Usage)?;
    let work = deployed_and_run(terminal, &arguments, &project, &client, &data, input);
    let outcome = match &server {
        None => work.await,
        Some(server) => tokio::select! {
            outcome = work => outcome,
            // Nothing more is acknowledged, so the work would wait for ever.
            reason = server.fatal() => Err(Failed::Environment(format!("the store failed: {reason}"))),
        },
    };
    terminal.clear_status();
    if let Some(server) = server {
        server.shutdown().await;
    }
    outcome
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The account of a server of our own.
fn account(settings: &Settings) -> String {
    ServerConfig::new(PathBuf::new(), OWN_PORT).with_settings(settings).owner().1
}

async fn open_server(arguments: &RunArgs, data: &Path, settings: &Settings) -> Result<Server, Failed> {
    if arguments.fresh && data.exists() {
        discard(data)?;
    }
    let services = &arguments.services;
    let mut config =
        services.server_config(settings, data.to_path_buf(), OWN_PORT, arguments.iam, IamArg::On);
    // What a template brings along to be called by it runs on this machine, without certificates.
    if settings.text(&["http", "plain"]).is_none() {
        config.http.plain = Plain::Loopback;
    }
    Server::open(config).await.map_err(|error| Failed::Environment(error.to_string()))
}

/// Only a directory that is ours is thrown away.
fn discard(data: &Path) -> Result<(), Failed> {
    let ours = data.join("passo.db").exists() || data.join("services").is_dir();
    let empty = std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none());
    if !ours && !empty {
        let message = format!("{} is not a data directory of Passo; --fresh would delete it", data.display());
        return Err(Failed::Usage(message));
    }
    std::fs::remove_dir_all(data).map_err(|error| Failed::Environment(format!("{}: {error}", data.display())))
}

fn read_input(given: Option<&str>, project: &Project) -> Result<Value, Failed> {
    let (origin, text) = match given.map(|given| given.strip_prefix('@').ok_or(given)) {
        Some(Ok(file)) => (file.to_string(), read(Path::new(file))?),
        Some(Err(json)) => ("--input".to_string(), json.to_string()),
        None => match project.default_input() {
            Some(file) => (file.display().to_string(), read(&file)?),
            None => ("--input".to_string(), "{}".to_string()),
        },
    };
    serde_json::from_str(&text).map_err(|error| Failed::Usage(format!("{origin}: not valid JSON: {error}")))
}

fn read(file: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(file).map_err(|error| Failed::Usage(format!("{}: {error}", file.display())))
}

async fn deployed_and_run(
    terminal: &Terminal,
    arguments: &RunArgs,
    project: &Project,
    client: &Client,
    data: &Path,
    input: Value,
) -> Result<(), Failed> {
    header(terminal, client, project, arguments).await;
    let Prepared { stack, template } = deploy(terminal, project, client, arguments).await?;
    let machine = machine(&stack, arguments.state_machine.as_deref())?;
    for seed in Seed::all(template.metadata())? {
        seed.sow(terminal, client, &stack, &project.folder).await?;
    }
    let mut beside = Vec::new();
    for program in Beside::all(template.metadata())? {
        beside.push(program.start(terminal, &project.folder).await?);
    }
    let timeout = arguments.timeout.map(Duration::from_secs);
    let run = execution::Run { terminal, client, project, stack: &stack, machine: &machine };
    let outcome = run.follow(&input, timeout).await?;
    drop(beside);
    run.report(&outcome).await;
    let outbox = arguments.endpoint.is_none().then(|| data.join("outbox"));
    effects::show(terminal, client, &stack, &outcome, outbox.as_deref()).await;
    next_commands(terminal, arguments, data, &outcome);
    if arguments.json {
        terminal.data(&outcome.as_json().to_string());
    }
    match outcome.status.as_str() {
        "SUCCEEDED" => Ok(()),
        _ => Err(Failed::Ended(1)),
    }
}

async fn header(terminal: &Terminal, client: &Client, project: &Project, arguments: &RunArgs) {
    let request = http::Request::get("/local/info").body(bytes::Bytes::new());
    let answer = match request {
        Ok(request) => client.send("states", request).await.ok(),
        Err(_) => None,
    };
    let info: Option<Info> = answer.and_then(|answer| serde_json::from_slice(answer.body()).ok());
    let Some(info) = info else {
        let endpoint = arguments.endpoint.as_deref().unwrap_or_default();
        terminal.line(&format!(
            "{} · stack {} · {endpoint}",
            terminal.paint(Style::Bold, "passo run"),
            project.stack
        ));
        return;
    };
    let title = format!("passo {}", info.version);
    terminal.line(&format!(
        "{} · stack {} · {}",
        terminal.paint(Style::Bold, &title),
        project.stack,
        info.endpoint
    ));
    for (name, value) in [
        ("data", info.data.display().to_string()),
        ("python", info.python),
        ("ecs", info.ecs),
        ("iam", info.iam),
    ] {
        terminal.line(&terminal.paint(Style::Dim, &format!("  {name:<7} {value}")));
    }
    show_elsewhere(terminal, &info.elsewhere);
}

async fn deploy(
    terminal: &Terminal,
    project: &Project,
    client: &Client,
    arguments: &RunArgs,
) -> Result<Prepared, Failed> {
    let parameters = arguments.parameters.iter().cloned().collect();
    let wanted = Wanted { parameters, skip_unsupported: arguments.skip_unsupported };
    let mut prepared = stack::prepare(terminal, project, client, &wanted).await?;
    let deployed = stack::deploy(terminal, client, &mut prepared).await?;
    let resources = prepared.stack.resources.len();
    let count = |kind: ChangeKind| deployed.changes.iter().filter(|change| change.kind == kind).count();
    let summary = match deployed.changes.len() {
        0 => format!("{resources} resources, unchanged"),
        _ => format!(
            "{resources} resources: {} created, {} updated, {} deleted",
            count(ChangeKind::Add),
            count(ChangeKind::Modify) + count(ChangeKind::Replace),
            count(ChangeKind::Remove)
        ),
    };
    terminal.line(&terminal.paint(Style::Dim, &format!("  {:<7} {summary}", "stack")));
    Ok(prepared)
}

/// What is started: the state machine, through its alias if the stack has one.
pub struct Machine {
    /// ARN to start.
    pub arn: String,
    /// Definition as deployed.
    pub definition: Value,
}

fn machine(stack: &Stack, wanted: Option<&str>) -> Result<Machine, Failed> {
    let of_kind =
        |kind: &'static str| stack.resources.iter().filter(move |(_, resource)| resource.kind == kind);
    let machines: Vec<_> = of_kind("AWS::StepFunctions::StateMachine").collect();
    let found = match wanted {
        Some(id) => machines.iter().find(|(name, _)| name.as_str() == id),
        None if machines.len() == 1 => machines.first(),
        None => None,
    };
    let Some((_, resource)) = found else {
        let ids: Vec<&str> = machines.iter().map(|(id, _)| id.as_str()).collect();
        return Err(Failed::Usage(match ids.len() {
            0 => "the template has no state machine".into(),
            _ => format!("choose the state machine with --state-machine: {}", ids.join(", ")),
        }));
    };
    let arn = resource.reference.as_str().unwrap_or_default();
    let text = resource.properties["DefinitionString"].as_str().unwrap_or_default();
    let definition = serde_json::from_str(text).unwrap_or_else(|_| resource.properties["Definition"].clone());
    let alias = of_kind("AWS::StepFunctions::StateMachineAlias")
        .filter_map(|(_, alias)| alias.reference.as_str())
        .find(|alias| alias.starts_with(&format!("{arn}:")));
    Ok(Machine { arn: alias.unwrap_or(arn).to_string(), definition })
}

fn next_commands(terminal: &Terminal, arguments: &RunArgs, data: &Path, outcome: &Outcome) {
    let program = program();
    let history = format!("stepfunctions get-execution-history --execution-arn {}", outcome.execution_arn);
    terminal.line("");
    terminal.line("next:");
    match &arguments.endpoint {
        Some(endpoint) => {
            terminal.line(&format!("  {program} run {} --endpoint {endpoint}", arguments.path.display()));
            terminal.line(&format!("  AWS_ENDPOINT_URL={endpoint} aws {history}"));
        }
        None => {
            let staying = terminal.paint(Style::Dim, "  # the same stack, staying");
            terminal.line(&format!("  {program} serve --data {}{staying}", data.display()));
            terminal.line(&format!("  AWS_ENDPOINT_URL=http://{DEFAULT_LISTEN} aws {history}"));
        }
    }
}

/// How the user started this program, ready to be typed again.
fn program() -> String {
    let started = std::env::args().next().unwrap_or_else(|| "passo".into());
    match started.rsplit_once("target/") {
        Some((_, "release/passo")) => "cargo run --release --".into(),
        Some((_, "debug/passo")) => "cargo run --".into(),
        _ => started,
    }
}
