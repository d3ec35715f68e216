//! What a Task's `Resource` means: which service is called, how its parameters and results look, how its errors are named,
//! and how `.sync` and `.waitForTaskToken` are waited for.
//!
//! Every AWS call is made from AWS's own service models ([`model`], [`protocol`]), whether the integration is optimized or a
//! generic `aws-sdk:*`; the optimized ones add their shaping ([`optimized`]). The crate does no I/O of its own: requests leave
//! through the [`Transport`] port, which the binary points at embedded services, another endpoint or the real AWS.

mod apigateway;
pub mod catalog;
mod failure;
mod http_task;
pub mod items;
pub mod mock;
pub mod model;
mod naming;
mod optimized;
pub mod protocol;
mod sdk;
mod sync;
mod task;
mod transport;

pub use catalog::Catalog;
pub use failure::Failure;
pub use http_task::{HttpTrace, Secrets};
pub use sdk::SdkCall;
pub use sync::Observation;
pub use task::{Call, Integrations, Report, Stage};
pub use transport::{
    Adding, Additions, Answer, Endpoint, Identity, Pending, Refusal, Transport, TransportError,
};
