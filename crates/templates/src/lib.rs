//! SAM and CloudFormation templates → calls of the AWS API: deploy, update, delete.
//!
//! It speaks to whatever [`Client`] reaches and uses only what a customer can call; the state of a stack is kept there,
//! too. Everything is checked before the first call: what cannot be made is refused by name, with its line, before
//! anything is created.

mod check;
mod client;
mod declared;
mod deploy;
mod document;
mod error;
mod intrinsics;
mod parameters;
mod plan;
mod resources;
mod roll_back;
mod sam;
mod stack;
mod template;
#[cfg(test)]
mod tests;

pub use client::{Client, Pending};
pub use declared::{Declared, DeclaredParameter, declared};
pub use deploy::{Deployed, Progress, delete, deploy};
pub use error::{FilePlace, TemplateError, Unsupported};
pub use plan::{Change, ChangeKind, is_up_to_date, plan};
pub use resources::Place;
pub use sam::definition_text;
pub use stack::{
    Before, FailedResource, Keeping, Output, Parameter, PendingResource, Retired, Stack, StackResource,
    account, exports,
};
pub use template::{Options, Template};
