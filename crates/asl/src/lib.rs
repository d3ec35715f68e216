//! Amazon States Language: text → all diagnostics → compiled [`program::Program`], and the pure evaluation of what stands in it.
//!
//! Pure: no clock, no randomness, no environment, no I/O. It does not execute anything.

pub mod arn;
pub mod choice;
pub mod definition;
pub mod diagnostic;
pub mod dynamic;
pub mod entropy;
pub mod intrinsic;
pub mod json;
pub mod json_syntax;
pub mod jsonata;
pub mod jsonpath;
pub mod payload;
pub mod program;
pub mod resource;
pub mod scope;
pub mod template;
pub mod timestamp;

pub use definition::{
    CompileOptions, Limits, Validation, compile, compile_state, compile_stored, validate, variable_references,
};
pub use diagnostic::{Code, Diagnostic, Severity};
