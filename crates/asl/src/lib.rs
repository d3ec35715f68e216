//! Amazon States Language: text → all diagnostics → compiled [`program::Program`], and the pure evaluation of what stands in it.
//!
//! Pure: no clock, no randomness, no environment, no I/O. It does not execute anything.
