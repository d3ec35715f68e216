//! Passo: AWS Step Functions that you own. The binary: command line, configuration, wiring.

mod cli;
mod client;
mod config;
mod mocks;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
