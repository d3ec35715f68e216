//! `passo validate`: definitions and templates, with the place of every finding.

use std::path::{Path, PathBuf};

use asl::program::StateMachineType;
use asl::{CompileOptions, Diagnostic, Severity};
use clap::Args;
use unicode_width::UnicodeWidthStr;

use super::terminal::{Style, Terminal};
use super::{Failed, project};

/// Arguments of `passo validate`.
#[derive(Args)]
pub struct ValidateArgs {
    /// ASL definitions (.asl.json, .asl.yaml, .json) or SAM/CloudFormation templates (.yaml, .yml)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Check definitions as Express state machines
    #[arg(long)]
    express: bool,
}

/// Shows every finding; fails with 1 if any is an error.
pub fn validate(terminal: &Terminal, arguments: &ValidateArgs) -> Result<(), Failed> {
    let mut errors = 0;
    for file in &arguments.files {
        errors += check_file(terminal, file, arguments.express)?;
    }
    match errors {
        0 => Ok(()),
        _ => Err(Failed::Ended(1)),
    }
}

fn check_file(terminal: &Terminal, file: &Path, express: bool) -> Result<usize, Failed> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::Usage(format!("{}: {error}", file.display())))?;
    let name = file.display().to_string();
    if project::is_template(file, &text) {
        return match project::check_template(terminal, file) {
            Ok(()) => {
                terminal.line(&format!("{name}: {}", terminal.paint(Style::Good, "ok")));
                Ok(0)
            }
            Err(Failed::Usage(message) | Failed::Environment(message)) => {
                terminal.error(&message);
                Ok(1)
            }
            Err(Failed::Ended(_)) => Ok(1),
        };
    }
    let text = project::definition_json(file, text)?;
    let machine_type = if express { StateMachineType::Express } else { StateMachineType::Standard };
    let diagnostics = diagnose(&text, machine_type);
    show(terminal, &name, &text, &diagnostics);
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    if errors == 0 {
        terminal.line(&format!("{name}: {}", terminal.paint(Style::Good, "ok")));
    }
    Ok(errors)
}

/// Every finding about a definition.
pub fn diagnose(text: &str, machine_type: StateMachineType) -> Vec<Diagnostic> {
    let catalog = integrations::Catalog;
    let options = CompileOptions { machine_type, catalog: &catalog, ..CompileOptions::default() };
    asl::validate(text, &options).diagnostics
}

/// The findings that keep a definition from running as a Standard state machine.
pub fn errors(text: &str) -> Vec<Diagnostic> {
    let mut found = diagnose(text, StateMachineType::Standard);
    found.retain(|diagnostic| diagnostic.severity == Severity::Error);
    found
}

/// Each finding with its line and a caret below the place.
pub fn show(terminal: &Terminal, file: &str, text: &str, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let (line, column) = asl::diagnostic::line_and_column(text, diagnostic.span.start);
        let (word, style) = match diagnostic.severity {
            Severity::Error => ("error", Style::Bad),
            Severity::Warning => ("warning", Style::Warn),
        };
        let location = diagnostic.location.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        terminal.line(&format!(
            "{file}:{line}:{column}: {} {}: {}{location}",
            terminal.paint(style, &format!("{word}:")),
            diagnostic.code,
            diagnostic.message
        ));
        if let Some(written) = text.lines().nth(line.saturating_sub(1)) {
            let before: String = written.chars().take(column.saturating_sub(1)).collect();
            let length = diagnostic.span.len().min(written.len().saturating_sub(before.len())).max(1);
            let marked: String = written[before.len()..].chars().take(length).collect();
            terminal.line(&format!("  {line:>4} | {written}"));
            let indent = " ".repeat(before.width());
            let carets = "^".repeat(marked.width().max(1));
            terminal.line(&format!("       | {indent}{}", terminal.paint(style, &carets)));
        }
    }
}
