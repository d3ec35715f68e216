//! Definition text → all diagnostics → [`Program`].
//!
//! One walk over the text finds everything that is wrong and builds the program on the way; nothing stops at
//! the first finding. Texts are AWS's where it was seen to say them (recorded cases, ValidateStateMachineDefinition);
//! the others are worded alike. It knows the language only: whether an integration exists is asked of the
//! [`ResourceCatalog`].

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::json;
use crate::program::{Program, StateMachineType};
use crate::resource::{AnyResource, ResourceCatalog};

mod choices;
mod compiler;
mod data_flow;
mod failures;
mod fields;
mod graph;
mod layout;
mod map;
mod matrix;
mod paths;
mod readers;
mod states;
mod templates;
mod variables;

pub use variables::variable_references;

/// What a definition is compiled for.
#[derive(Clone, Copy)]
pub struct CompileOptions<'a> {
    /// Express machines may not use everything.
    pub machine_type: StateMachineType,
    /// Which resources there are.
    pub catalog: &'a dyn ResourceCatalog,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of a definition.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Characters of a state name.
    pub state_name_chars_max: usize,
    /// Characters of a variable name.
    pub variable_name_chars_max: usize,
    /// Scopes inside each other.
    pub nesting_max: usize,
    /// Findings kept; a broken definition of a megabyte could yield hundreds of thousands.
    pub diagnostics_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            state_name_chars_max: 80,
            variable_name_chars_max: 80,
            nesting_max: 24,
            diagnostics_max: 1000,
        }
    }
}

impl Default for CompileOptions<'_> {
    /// A Standard machine in a world where every well-formed resource exists.
    fn default() -> CompileOptions<'static> {
        CompileOptions {
            machine_type: StateMachineType::Standard,
            catalog: &AnyResource,
            limits: Limits::default(),
        }
    }
}

/// All findings about a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// Errors and warnings, in AWS's order: the schema in document order, then the graph.
    pub diagnostics: Vec<Diagnostic>,
}

impl Validation {
    /// Whether a state machine can be created from it (warnings do not matter).
    pub fn is_ok(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning)
    }
}

/// Compiles a definition; if there is any error, gives all errors.
pub fn compile(text: &str, options: &CompileOptions<'_>) -> Result<Program, Vec<Diagnostic>> {
    let (program, mut diagnostics) = build(text, options);
    diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    match program {
        Some(program) if diagnostics.is_empty() => Ok(program),
        _ => Err(diagnostics),
    }
}

/// Compiles a definition that was accepted before, also if today's rules are stricter: only what makes a
/// program impossible is an error.
pub fn compile_stored(text: &str, machine_type: StateMachineType) -> Result<Program, Vec<Diagnostic>> {
    let (program, diagnostics) = build(text, &CompileOptions { machine_type, ..CompileOptions::default() });
    program.ok_or(diagnostics)
}

/// Compiles a single state (TestState): a machine that starts with it, and in which each state that its
/// transitions name is an empty Succeed. The state's own id is 0.
pub fn compile_state(
    text: &str,
    name: &str,
    options: &CompileOptions<'_>,
) -> Result<Program, Vec<Diagnostic>> {
    let node = read(text).map_err(|diagnostic| vec![*diagnostic])?;
    let (program, mut diagnostics) = compiler::Compiler::new(options).lone_state(&node, name);
    diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    match program {
        Some(program) if diagnostics.is_empty() => Ok(program),
        _ => Err(diagnostics),
    }
}

/// All findings, warnings included.
pub fn validate(text: &str, options: &CompileOptions<'_>) -> Validation {
    Validation { diagnostics: build(text, options).1 }
}

fn build(text: &str, options: &CompileOptions<'_>) -> (Option<Program>, Vec<Diagnostic>) {
    match read(text) {
        Ok(node) => compiler::Compiler::new(options).machine(&node),
        Err(diagnostic) => (None, vec![*diagnostic]),
    }
}

/// Reads the JSON; the answer to a broken one is Jackson's, its location included.
fn read(text: &str) -> Result<json::Node, Box<Diagnostic>> {
    let error = |code, message: String, location, at| {
        Box::new(Diagnostic { severity: Severity::Error, code, message, location, span: at..at })
    };
    let not_an_object =
        || error(Code::SchemaValidationFailed, "Definition must be a valid JSON object".to_owned(), None, 0);
    if text.trim().is_empty() {
        return Err(not_an_object());
    }
    let node = json::read(text).map_err(|fault| {
        let at = byte_of(text, fault.line, fault.column);
        error(Code::InvalidJsonDescription, fault.message.clone(), Some(fault.location()), at)
    })?;
    if node.as_object().is_none() {
        return Err(not_an_object());
    }
    Ok(node)
}

/// The byte at a line and column counted from 1.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(line_start..).unwrap_or_default();
    let chars = column.saturating_sub(1);
    line_start + rest.char_indices().nth(chars).map_or(rest.len(), |(at, _)| at)
}
