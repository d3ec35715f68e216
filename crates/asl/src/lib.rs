//! Amazon States Language: text → all diagnostics → compiled [`program::Program`], and the pure evaluation of what stands in it.
//!
//! Pure: no clock, no randomness, no environment, no I/O. It does not execute anything.

pub mod arn;
pub mod entropy;
pub mod intrinsic;
pub mod json_syntax;
pub mod jsonata;
pub mod jsonpath;
pub mod payload;
pub mod scope;
pub mod timestamp;
