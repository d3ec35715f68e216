//! What must hold before a task may be scheduled: its activity exists, its arguments fit the integration.
//!
//! Invariant: asked while a turn is stepped, so it answers at once, from memory or one small read. When it cannot be known,
//! the task may be scheduled and fails where it is carried out.

use std::sync::Arc;

use asl::program::ResourceKind;
use engine::{PlannedTask, Preconditions};
use store::{Reader, RegistryKey};

use crate::dispatch::Dispatch;
use crate::mocks;

/// What Step Functions Local says.
const ACTIVITY_MOCKED: &str = "Activity state cannot be mocked. Please remove mocks mapped for all activity state in the mock config file.";

/// The registry and the integrations, asked.
pub(crate) struct KnownTasks {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) dispatch: Arc<dyn Dispatch>,
}

impl Preconditions for KnownTasks {
    fn check(&self, task: &PlannedTask<'_>) -> Result<(), String> {
        let resource = task.resource;
        let mocked = mocks::is_mocked(self.dispatch.mocks(), task);
        match resource.kind {
            ResourceKind::Activity if mocked => Err(ACTIVITY_MOCKED.to_owned()),
            // The call is never made, so it need not be one that could be.
            ResourceKind::Lambda | ResourceKind::Service { .. } if mocked => Ok(()),
            ResourceKind::Activity => {
                let Some(key) = RegistryKey::of_arn(&resource.arn) else { return Ok(()) };
                match self.reader.registry(&key) {
                    Ok(None) => Err(format!("The activity {} does not exist.", resource.arn)),
                    Ok(Some(_)) | Err(_) => Ok(()),
                }
            }
            ResourceKind::Lambda | ResourceKind::Service { .. } => {
                self.dispatch.check(resource, task.parameters)
            }
        }
    }
}
