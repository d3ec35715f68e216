//! What must hold before a task may be scheduled: its activity exists, its arguments fit the integration.
//!
//! Invariant: asked while a turn is stepped, so it answers at once, from memory or one small read. When it cannot be known,
//! the task may be scheduled and fails where it is carried out.

use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Resource, ResourceKind};
use engine::Preconditions;
use store::{Reader, RegistryKey};

use crate::dispatch::Dispatch;

/// The registry and the integrations, asked.
pub(crate) struct KnownTasks {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) dispatch: Arc<dyn Dispatch>,
}

impl Preconditions for KnownTasks {
    fn check(&self, resource: &Resource, parameters: &Payload) -> Result<(), String> {
        match resource.kind {
            ResourceKind::Activity => {
                let Some(key) = RegistryKey::of_arn(&resource.arn) else { return Ok(()) };
                match self.reader.registry(&key) {
                    Ok(None) => Err(format!("The activity {} does not exist.", resource.arn)),
                    Ok(Some(_)) | Err(_) => Ok(()),
                }
            }
            ResourceKind::Lambda | ResourceKind::Service { .. } => self.dispatch.check(resource, parameters),
        }
    }
}
