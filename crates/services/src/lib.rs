//! See ARCHITECTURE.md.

pub mod dynamodb;
