//! `passo serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::show_elsewhere;
use super::terminal::{Style, Terminal};
use super::{Failed, IamArg, LogFormatArg, ServiceArgs, default_data, parse_address};
use crate::config::{DEFAULT_LISTEN, Settings};
use crate::mocks::MockFile;
use crate::server::{Server, ServerConfig, ServerError, TlsFiles};

/// Arguments of `passo serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:4566]
    #[arg(long, value_parser = parse_address, env = "PASSO_LISTEN")]
    listen: Option<SocketAddr>,
    /// Certificate chain in PEM form: other machines are served by HTTPS; read again when it has changed
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "PASSO_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "PASSO_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Name under which clients of other machines reach the server; may be given more than once
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Serve other machines without encryption, as behind a proxy that encrypts; requests must be signed all the same
    #[arg(long)]
    insecure_http: bool,
    /// Data directory [default: $XDG_DATA_HOME/passo]
    #[arg(long, env = "PASSO_DATA")]
    data: Option<PathBuf>,
    /// Keep the data in a temporary directory that is gone at the end
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,
    /// File that appears, whole and holding the URL, once the server is ready, and is gone at the end
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// What a missing permission does [default: log]
    #[arg(long, value_enum, env = "PASSO_IAM")]
    iam: Option<IamArg>,
    /// How log lines are written [default: text]
    #[arg(long, value_enum, env = "PASSO_LOG_FORMAT")]
    pub(super) log_format: Option<LogFormatArg>,
    /// Start with a clock of the server's own at this time (RFC 3339), which POST /local/clock sets forward: for trying
    /// schedules, waits and alarms
    #[arg(long, value_name = "TIME")]
    clock: Option<jiff::Timestamp>,
    /// Mock configuration file of Step Functions Local: an execution started as ARN#TESTCASE gets its answers from it
    #[arg(long, value_name = "FILE", env = "SFN_MOCK_CONFIG")]
    mock_config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) services: ServiceArgs,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn serve(terminal: &Terminal, arguments: ServeArgs, settings: &Settings) -> Result<(), Failed> {
    let (data, passing) = data_directory(&arguments, settings)?;
    let listen = arguments.listen.or_else(|| settings.address(&["listen"]));
    let listen = listen.map_or_else(|| parse_address(DEFAULT_LISTEN), Ok).map_err(Failed::Usage)?;
    let mut config = arguments.services.server_config(settings, data, listen, arguments.iam, IamArg::Log);
    config.clock = arguments.clock;
    config.mocks = mocks(arguments.mock_config)?;
    config.tls = tls_files(arguments.tls_cert, arguments.tls_key, settings)?;
    config.hosts = match arguments.host.as_slice() {
        [] => {
            settings.text(&["tls", "hosts"]).unwrap_or_default().split_whitespace().map(Into::into).collect()
        }
        hosts => hosts.to_vec(),
    };
    check_reach(&config, arguments.insecure_http)?;
    // Before the server opens, so that no signal is missed and no script sees the file of an earlier server.
    let signals = Signals::new()?;
    let ready = arguments.ready_file.map(ReadyFile::new).transpose()?;
    let server = Server::open(config).await.map_err(unopened)?;
    let written = ready.as_ref().map_or(Ok(()), |ready| ready.write(&server.endpoint));
    if let Err(failed) = written {
        server.shutdown().await;
        return Err(failed);
    }
    let broken = tokio::select! {
        reason = server.fatal() => Some(reason),
        () = signals.wait() => None,
        () = greet_and_wait(terminal, &server) => None,
    };
    drop(ready);
    if let Some(reason) = broken {
        // What was not committed was not acknowledged; going on could only make promises that cannot be kept.
        return Err(Failed::Environment(format!("the store failed and the server stops: {reason}")));
    }
    terminal.line("stopping: finishing what is in commit; running executions go on at the next start");
    server.shutdown().await;
    drop(passing);
    Ok(())
}

/// What the user named and cannot be used is his to mend; all else is the surroundings'.
fn unopened(error: ServerError) -> Failed {
    match error {
        ServerError::Tls(message) => Failed::Usage(message),
        other => Failed::Environment(other.to_string()),
    }
}

/// Certificate and key: both or none.
fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    settings: &Settings,
) -> Result<Option<TlsFiles>, Failed> {
    let certificate = certificate.or_else(|| settings.path(&["tls", "cert"]));
    let key = key.or_else(|| settings.path(&["tls", "key"]));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        _ => Err(Failed::Usage("a certificate needs its key, and a key its certificate: give both".into())),
    }
}

/// Beyond this machine everybody could start what runs here, so everybody has to prove who he is, unheard by others.
fn check_reach(config: &ServerConfig, insecure_http: bool) -> Result<(), Failed> {
    let address = config.listen;
    if address.ip().is_loopback() {
        return Ok(());
    }
    if config.keys.is_empty() {
        return Err(Failed::Usage(format!(
            "{address} can be reached by others, so requests have to be signed: name access keys in passo.toml, [keys.ID] with secret = \"…\""
        )));
    }
    if config.tls.is_none() && !insecure_http {
        return Err(Failed::Usage(format!(
            "{address} can be reached by others, so connections have to be encrypted: give --tls-cert and --tls-key, or --insecure-http if something before the server encrypts"
        )));
    }
    Ok(())
}

/// The mock configuration; a variable that is set to nothing names no file.
fn mocks(file: Option<PathBuf>) -> Result<Option<Arc<MockFile>>, Failed> {
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else { return Ok(None) };
    let opened = MockFile::open(file).map_err(|error| Failed::Usage(error.to_string()))?;
    Ok(Some(Arc::new(opened)))
}

/// The data directory, and what removes it at the end if it is to be.
fn data_directory(arguments: &ServeArgs, settings: &Settings) -> Result<(PathBuf, Option<TempDir>), Failed> {
    if arguments.ephemeral {
        let made = tempfile::Builder::new().prefix("passo-").tempdir();
        let made = made.map_err(|error| Failed::Environment(format!("no temporary directory: {error}")))?;
        return Ok((made.path().to_path_buf(), Some(made)));
    }
    let given = arguments.data.clone().or_else(|| settings.path(&["data"]));
    Ok((given.unwrap_or_else(default_data), None))
}

/// What ends a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failed> {
        let failed = |error: std::io::Error| Failed::Environment(format!("cannot wait for signals: {error}"));
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Signals { terminate, interrupt })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The file that scripts wait for. Dropping it removes the file.
struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Takes away what an earlier server left.
    fn new(file: PathBuf) -> Result<ReadyFile, Failed> {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(&file, &error)),
            _ => Ok(ReadyFile(file)),
        }
    }

    /// Whoever sees the file sees all of it: it is written beside and renamed.
    fn write(&self, endpoint: &str) -> Result<(), Failed> {
        let folder =
            self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut beside = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(beside, "{endpoint}")?;
            beside.persist(&self.0)?;
            Ok(())
        };
        write().map_err(|error| unwritable(&self.0, &error))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Somebody else may have taken it away; then it is gone as it should be.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failed {
    Failed::Environment(format!("{}: {error}", file.display()))
}

/// Says what is served; then the end is up to others. A container engine may take seconds to answer.
async fn greet_and_wait(terminal: &Terminal, server: &Server) {
    let bold = |text: &str| terminal.paint(Style::Bold, text);
    let version = env!("CARGO_PKG_VERSION");
    terminal.line(&format!("{} {version} on {}", bold("passo"), bold(&server.endpoint)));
    let info = server.info().await;
    terminal.line(&format!("  data  {}", info.data.display()));
    terminal.line(&format!("  iam   {}", info.iam));
    terminal.line(&format!("  keys  {}", info.keys));
    terminal.line(&format!("  ecs   {}", info.ecs));
    if let Some(tls) = &server.tls {
        terminal.line(&format!("  tls   {tls}"));
    }
    show_elsewhere(terminal, &info.elsewhere);
    let endpoint = &info.endpoint;
    terminal.line(&format!("  try   AWS_ENDPOINT_URL={endpoint} aws stepfunctions list-state-machines"));
    std::future::pending().await
}
