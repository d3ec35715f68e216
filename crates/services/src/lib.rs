//! AWS, small and durable, behind AWS's own wire protocols: SDKs and the AWS CLI work against it unchanged.
//!
//! Every service implements [`wire::Service`], keeps its state in a SQLite file of its own (see [`storage`]) and is
//! reached through [`Services::handle`], whether the call came over HTTP or from inside the process. Nothing is
//! acknowledged before it is on disk.
//!
//! This crate imports none of Passo's other crates: to the rest of the program it is someone else's AWS.
//!
//! To add a service: a module, a `pub mod` line here, and a line in `registry.rs`.

pub mod apigateway;
mod background;
pub mod cloudformation;
pub mod cloudtrail;
pub mod cloudwatch;
pub mod configuration;
mod delivery;
pub mod dynamodb;
pub mod ecs;
pub mod environment;
pub mod event_pattern;
pub mod events;
#[cfg(test)]
mod fixture;
mod front;
pub mod guard;
pub mod iam;
pub mod lambda;
pub mod logs;
mod once;
pub mod outside;
pub mod process;
mod registry;
pub mod s3;
mod schedule;
pub mod scheduler;
pub mod sdk_call;
mod seal;
pub mod secretsmanager;
pub mod server;
mod service_file;
pub mod sns;
pub mod sqs;
pub mod storage;
pub mod sts;
mod target_call;
pub mod wire;

pub use configuration::{AccessKey, Auditing, EcsMode, Enforce, ServicesConfig, Smtp};
pub use environment::{Clock, Environment, SystemClock};
pub use front::{Elsewhere, OpenError, Services, Unreachable};
pub use guard::{AllowedHosts, FromPage, guard};
pub use registry::Compute;
pub use wire::route::{ServiceName, route};
