//! Who waits for a message, by queue ARN. It only wakes; what there is to receive is looked up afterwards.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Waiters {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<HashMap<String, Arc<Notify>>>,
    is_closed: AtomicBool,
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One long poll. Its queue is forgotten when the last one ends.
pub(super) struct Waiter {
    shared: Arc<Shared>,
    queue_arn: String,
    notify: Arc<Notify>,
}

impl Waiters {
    pub(super) fn waiter(&self, queue_arn: &str) -> Waiter {
        let notify = self.shared.queues().entry(queue_arn.to_owned()).or_default().clone();
        Waiter { shared: self.shared.clone(), queue_arn: queue_arn.to_owned(), notify }
    }

    /// Wakes everyone who waits for the queue.
    pub(super) fn wake(&self, queue_arn: &str) {
        if let Some(notify) = self.shared.queues().get(queue_arn) {
            notify.notify_waiters();
        }
    }

    /// Ends every wait, now and later.
    pub(super) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.shared.queues().values().for_each(|notify| notify.notify_waiters());
    }
}

impl Waiter {
    /// Ends at the next wake after this call, not after its first poll. False if everything is closed.
    pub(super) fn woken(&self) -> impl Future<Output = bool> + '_ {
        let mut notified = Box::pin(self.notify.notified());
        notified.as_mut().enable();
        async move {
            if !self.shared.is_closed.load(Ordering::SeqCst) {
                notified.await;
            }
            !self.shared.is_closed.load(Ordering::SeqCst)
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut queues = self.shared.queues();
        // The map and this waiter: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            queues.remove(&self.queue_arn);
        }
    }
}
