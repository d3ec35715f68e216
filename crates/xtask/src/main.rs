//! Chores of the workspace: `codegen` from AWS's service models, `tidy` for the rules that no compiler checks.
//!
//! It writes generated files and nothing else; it is not part of the product.

mod actions;
mod models;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask codegen BOTOCORE_DATA_DIR [--check]\n       cargo xtask tidy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["codegen", data] => codegen(Path::new(data), Mode::Write),
        ["codegen", data, "--check"] => codegen(Path::new(data), Mode::Check),
        ["tidy"] => tidy::run(&workspace_root()),
        _ => Err(USAGE.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Check,
}

/// Root of the workspace, two levels above this crate.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

fn codegen(data: &Path, mode: Mode) -> Result<(), String> {
    let root = workspace_root();
    let services = models::read_all(data)?;
    settle(&root.join("crates/integrations/models/models.bin"), &models::pack(&services)?, mode)?;
    settle(&root.join("crates/api/src/model/generated.rs"), actions::render(&services)?.as_bytes(), mode)
}

/// Writes a generated file, or complains when the committed one differs.
fn settle(path: &Path, content: &[u8], mode: Mode) -> Result<(), String> {
    let current = std::fs::read(path).unwrap_or_default();
    if current == content {
        return Ok(());
    }
    if mode == Mode::Check {
        return Err(format!("{} is not what the models give; run `cargo xtask codegen`", path.display()));
    }
    std::fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))
}

#[allow(clippy::print_stderr)]
fn complain(problem: &str) {
    eprintln!("{problem}");
}
