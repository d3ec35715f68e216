//! The APIs that are called, as they were read last.
//!
//! Invariant: what is found here is what the file holds, from before the answer to a change on: a change forgets
//! everything after it was committed, and what was read before that is not kept. At most [`KEPT_MAX`] are held.

use super::documents::Api;
use crate::wire::ServiceError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// APIs held.
const KEPT_MAX: usize = 32;

/// APIs by their ids.
#[derive(Default)]
pub(super) struct Deployed {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    apis: HashMap<String, Arc<Api>>,
    /// Changes so far.
    changes: u64,
}

impl Deployed {
    /// An API; if it is not at hand, as `read` finds it.
    pub fn find(
        &self,
        id: &str,
        read: impl FnOnce() -> Result<Option<Api>, ServiceError>,
    ) -> Result<Option<Arc<Api>>, ServiceError> {
        let before = {
            let kept = self.lock();
            if let Some(api) = kept.apis.get(id) {
                return Ok(Some(Arc::clone(api)));
            }
            kept.changes
        };
        let Some(api) = read()?.map(Arc::new) else { return Ok(None) };
        let mut kept = self.lock();
        if kept.changes == before {
            if kept.apis.len() >= KEPT_MAX {
                kept.apis.clear();
            }
            kept.apis.insert(id.to_owned(), Arc::clone(&api));
        }
        Ok(Some(api))
    }

    /// A change was committed.
    pub fn changed(&self) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.apis.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
