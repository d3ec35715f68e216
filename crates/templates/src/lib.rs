//! SAM and CloudFormation templates → calls of the AWS API: deploy, update, delete.
//!
//! It speaks to whatever [`Client`] reaches and uses only what a customer can call. Everything is checked before the first
//! call: a resource type that cannot be made is refused by name, with its line, before anything is created.

mod check;
mod client;
mod deploy;
mod document;
mod error;
mod intrinsics;
mod resources;
mod sam;
mod template;

pub use client::{Client, Pending};
pub use deploy::{Change, ChangeKind, Deployed, Keep, Progress, Stack, StackResource, delete, deploy, plan};
pub use error::{Place, TemplateError};
pub use sam::definition_text;
pub use template::{Options, Template};
