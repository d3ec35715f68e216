//! One task of a service that runs from `start` to `shutdown`.

use std::future::Future;
use std::sync::Mutex;
use tokio::task::JoinHandle;

/// A place for the task.
#[derive(Default)]
pub(crate) struct Background {
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Runs `work` from now on.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(work);
        *self.task.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(task);
    }

    /// Ends the task where it waits, and returns once it has let go of everything.
    pub(crate) async fn stop(&self) {
        let task = self.task.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(task) = task {
            task.abort();
            // The only error is the cancellation itself.
            let _ = task.await;
        }
    }
}
