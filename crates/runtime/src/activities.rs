//! Activity tasks waiting for workers, and workers waiting for tasks.
//!
//! Invariant: of one activity either tasks wait or workers do, never both, and a task is with at most one worker. A waiting
//! worker is one entry in a queue: no thread, no polling. A task that was offered to a worker who has gone goes back to the
//! head of its queue. Nothing here is durable: recovery fills the queues again from what executions owe.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use asl::payload::Payload;
use engine::TaskId;
use tokio::sync::oneshot;

/// A scheduled activity task.
#[derive(Clone, Debug)]
pub(crate) struct ActivityTask {
    pub(crate) activity: Arc<str>,
    pub(crate) execution: Arc<str>,
    pub(crate) task: TaskId,
    pub(crate) token: Arc<str>,
    pub(crate) input: Payload,
}

#[derive(Debug, Default)]
struct Queue {
    tasks: VecDeque<ActivityTask>,
    workers: VecDeque<oneshot::Sender<Offered>>,
}

/// All activities' queues.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    queues: Mutex<HashMap<Arc<str>, Queue>>,
}

/// A task on its way to a worker. Unless [`Offered::take`]n it returns to its queue when dropped.
#[derive(Debug)]
pub(crate) struct Offered {
    task: Option<ActivityTask>,
    home: Arc<Activities>,
}

impl Offered {
    /// The worker is there: the task is its.
    pub(crate) fn take(mut self) -> Option<ActivityTask> {
        self.task.take()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            self.home.put(task, Place::First);
        }
    }
}

/// What a worker that asks gets.
pub(crate) enum Poll {
    /// A task, now.
    Task(Offered),
    /// A place in the queue.
    Wait(oneshot::Receiver<Offered>),
    /// Too many wait already.
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

impl Activities {
    /// A task was scheduled.
    pub(crate) fn schedule(self: &Arc<Self>, task: ActivityTask) {
        self.put(task, Place::Last);
    }

    /// A worker asks.
    pub(crate) fn poll(self: &Arc<Self>, activity: &Arc<str>, workers_max: usize) -> Poll {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(Arc::clone(activity)).or_default();
        if let Some(task) = queue.tasks.pop_front() {
            return Poll::Task(Offered { task: Some(task), home: Arc::clone(self) });
        }
        if queue.workers.len() >= workers_max {
            queue.workers.retain(|worker| !worker.is_closed());
            if queue.workers.len() >= workers_max {
                return Poll::Full;
            }
        }
        let (sender, receiver) = oneshot::channel();
        queue.workers.push_back(sender);
        Poll::Wait(receiver)
    }

    /// A task is no longer wanted.
    pub(crate) fn withdraw(&self, activity: &str, execution: &str, task: TaskId) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(activity) {
            queue.tasks.retain(|waiting| waiting.task != task || &*waiting.execution != execution);
            if queue.tasks.is_empty() && queue.workers.is_empty() {
                queues.remove(activity);
            }
        }
    }

    fn put(self: &Arc<Self>, task: ActivityTask, place: Place) {
        let mut task = task;
        // The lock is not held while a worker is told: a worker that has gone returns the task through `Drop`-free `Err`.
        while let Some(worker) = self.next_worker(&task.activity) {
            let offered = Offered { task: Some(task), home: Arc::clone(self) };
            match worker.send(offered) {
                Ok(()) => return,
                Err(mut refused) => match refused.task.take() {
                    Some(returned) => task = returned,
                    None => return,
                },
            }
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(Arc::clone(&task.activity)).or_default();
        // A worker may have come between the two locks; then it is served now.
        if let Some(worker) = queue.workers.pop_front() {
            drop(queues);
            let offered = Offered { task: Some(task), home: Arc::clone(self) };
            drop(worker.send(offered));
            return;
        }
        match place {
            Place::First => queue.tasks.push_front(task),
            Place::Last => queue.tasks.push_back(task),
        }
    }

    fn next_worker(&self, activity: &str) -> Option<oneshot::Sender<Offered>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get_mut(activity)?.workers.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: u64) -> ActivityTask {
        ActivityTask {
            activity: "activity".into(),
            execution: "execution".into(),
            task: TaskId(n),
            token: "token".into(),
            input: Payload::empty_object(),
        }
    }

    fn poll_now(activities: &Arc<Activities>) -> Option<u64> {
        match activities.poll(&"activity".into(), 2) {
            Poll::Task(offered) => offered.take().map(|task| task.task.0),
            Poll::Wait(_) | Poll::Full => None,
        }
    }

    #[test]
    fn tasks_are_handed_out_in_order() {
        let activities = Arc::new(Activities::default());
        activities.schedule(task(1));
        activities.schedule(task(2));
        activities.schedule(task(3));
        activities.withdraw("activity", "execution", TaskId(2));
        assert_eq!(poll_now(&activities), Some(1));
        assert_eq!(poll_now(&activities), Some(3));
        assert_eq!(poll_now(&activities), None);
    }

    #[test]
    fn a_worker_that_hung_up_does_not_swallow_a_task() {
        let activities = Arc::new(Activities::default());
        let gone = activities.poll(&"activity".into(), 2);
        let Poll::Wait(mut second) = activities.poll(&"activity".into(), 2) else {
            panic!("nothing to do yet")
        };
        assert!(matches!(activities.poll(&"activity".into(), 2), Poll::Full));
        drop(gone);
        activities.schedule(task(7));
        // The second worker was told but hangs up before it takes the task.
        assert!(second.try_recv().is_ok_and(|offered| offered.task.is_some()));
        assert_eq!(poll_now(&activities), Some(7));
    }
}
