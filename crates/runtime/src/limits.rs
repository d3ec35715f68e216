//! How many calls are under way, per resource.
//!
//! Invariant: never more than the limit of a resource are in flight, and none waits while there is room. Waiting calls are
//! first in, first out. No locks and no async here: the dispatcher owns it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Slots of calls of type `T`, per resource.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    limit: usize,
    resources: HashMap<Arc<str>, Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    running: usize,
    waiting: VecDeque<T>,
}

impl<T> InFlight<T> {
    /// `limit` calls of each resource at a time.
    pub(crate) fn new(limit: usize) -> InFlight<T> {
        InFlight { limit: limit.max(1), resources: HashMap::new() }
    }

    /// Takes a slot for `call` and gives it back to be made, or keeps it until there is one.
    pub(crate) fn admit(&mut self, resource: &Arc<str>, call: T) -> Option<T> {
        let slots = self
            .resources
            .entry(Arc::clone(resource))
            .or_insert_with(|| Slots { running: 0, waiting: VecDeque::new() });
        if slots.running < self.limit {
            slots.running += 1;
            return Some(call);
        }
        slots.waiting.push_back(call);
        None
    }

    /// A call has ended: hands its slot to the next one in line, if any.
    pub(crate) fn release(&mut self, resource: &Arc<str>) -> Option<T> {
        let slots = self.resources.get_mut(resource)?;
        if let Some(next) = slots.waiting.pop_front() {
            return Some(next);
        }
        slots.running -= 1;
        if slots.running == 0 {
            self.resources.remove(resource);
        }
        None
    }

    /// Takes waiting calls out of line.
    pub(crate) fn withdraw(&mut self, resource: &Arc<str>, unwanted: impl Fn(&T) -> bool) {
        if let Some(slots) = self.resources.get_mut(resource) {
            slots.waiting.retain(|call| !unwanted(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_resource_queues_and_others_do_not_care() {
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let mut in_flight = InFlight::new(2);
        assert_eq!(in_flight.admit(&one, 1), Some(1));
        assert_eq!(in_flight.admit(&one, 2), Some(2));
        assert_eq!(in_flight.admit(&one, 3), None);
        assert_eq!(in_flight.admit(&one, 4), None);
        assert_eq!(in_flight.admit(&other, 5), Some(5));
        in_flight.withdraw(&one, |call| *call == 3);
        assert_eq!(in_flight.release(&one), Some(4));
        assert_eq!(in_flight.release(&one), None);
        assert_eq!(in_flight.release(&one), None);
        assert!(!in_flight.resources.contains_key(&one), "an idle resource costs nothing");
        assert_eq!(in_flight.release(&other), None);
    }
}
