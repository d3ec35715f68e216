//! `passo serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::terminal::{Style, Terminal};
use super::{DEFAULT_LISTEN, Failed, IamArg, ServiceArgs, default_data, parse_address};
use crate::server::{Server, ServerConfig};

/// Arguments of `passo serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = DEFAULT_LISTEN, value_parser = parse_address, env = "PASSO_LISTEN")]
    listen: SocketAddr,
    /// Data directory [default: $XDG_DATA_HOME/passo]
    #[arg(long, env = "PASSO_DATA")]
    data: Option<PathBuf>,
    /// What a missing permission does
    #[arg(long, value_enum, default_value = "log", env = "PASSO_IAM")]
    iam: IamArg,
    /// Start with a clock of the server's own at this time (RFC 3339), which POST /local/clock sets forward: for trying
    /// schedules, waits and alarms
    #[arg(long, value_name = "TIME")]
    clock: Option<jiff::Timestamp>,
    #[command(flatten)]
    services: ServiceArgs,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn serve(terminal: &Terminal, arguments: ServeArgs) -> Result<(), Failed> {
    if !arguments.listen.ip().is_loopback() {
        let message = "only loopback addresses can be listened on yet: requests are not authenticated";
        return Err(Failed::Usage(message.into()));
    }
    let data = arguments.data.unwrap_or_else(default_data);
    let config = ServerConfig {
        data,
        listen: arguments.listen,
        ecs: arguments.services.ecs.into(),
        iam: arguments.iam.into(),
        clock: arguments.clock,
    };
    // Before the server opens, so that no signal is missed.
    let environment =
        |error: std::io::Error| Failed::Environment(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(environment)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(environment)?;
    let server = Server::open(config).await.map_err(|error| Failed::Environment(error.to_string()))?;
    greet(terminal, &server);
    let broken = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = server.fatal() => Some(reason),
    };
    if let Some(reason) = broken {
        // What was not committed was not acknowledged; going on could only make promises that cannot be kept.
        return Err(Failed::Environment(format!("the store failed and the server stops: {reason}")));
    }
    terminal.line("stopping: finishing what is in commit; running executions go on at the next start");
    server.shutdown().await;
    Ok(())
}

fn greet(terminal: &Terminal, server: &Server) {
    let info = &server.info;
    terminal.line(&format!(
        "{} {} on {}",
        terminal.paint(Style::Bold, "passo"),
        info.version,
        terminal.paint(Style::Bold, &info.endpoint)
    ));
    terminal.line(&format!("  data  {}", info.data.display()));
    terminal.line(&format!("  iam   {}", info.iam));
    terminal.line(&format!("  ecs   {}", info.ecs));
    terminal
        .line(&format!("  try   AWS_ENDPOINT_URL={} aws stepfunctions list-state-machines", info.endpoint));
}
