//! Retry and Catch: the way of every failure, from a state to the frame above it, until something handles it or the execution
//! fails.
//!
//! A failure first meets the state's retriers (one counter each), then its catchers, then ends its frame: siblings are
//! aborted and the Parallel or Map around it fails in its turn. `States.Runtime` goes no such way: nothing handles it and no state
//! around it tells of it, the execution fails at once (`3<2 ParallelStateStarted; 4<3 PassStateEntered; 5<4 ExecutionFailed`).

use std::sync::Arc;
use std::time::Duration;

use asl::entropy::Entropy;
use asl::program::{Catcher, Retrier, StateKind};
use asl::template::RUNTIME;

use crate::event::{EventKind, StateType};
use crate::fault::Fault;
use crate::frame::{Phase, Work};
use crate::ids::FrameId;
use crate::start::Failure;
use crate::turn::{Site, Turn};

/// The second name that a missed heartbeat answers to; its event says `States.Timeout`.
pub(crate) const HEARTBEAT_TIMEOUT: &str = "States.HeartbeatTimeout";

/// Where a failure of a state comes from. Only one from below makes AWS write `MapStateFailed` or `ParallelStateFailed`
/// (`3<2 MapStateStarted; 4<3 ExecutionFailed` when the Map's own fields are wrong).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The state itself or its task.
    Itself,
    /// A branch, an iteration, the Map Run.
    Below,
}

impl<'a> Turn<'a> {
    /// A frame's state failed. `also` is a second name the error answers to.
    pub fn fail(&mut self, frame: FrameId, failure: Failure, also: Option<&'static str>) {
        self.propagate(frame, failure, also, Origin::Itself);
    }

    /// What a frame's Map waits for failed: the Map fails by it as by an iteration.
    pub fn fail_below(&mut self, frame: FrameId, failure: Failure) {
        self.propagate(frame, failure, None, Origin::Below);
    }

    fn propagate(&mut self, frame: FrameId, failure: Failure, also: Option<&'static str>, origin: Origin) {
        let (mut frame, mut failure, mut also, mut origin) = (frame, failure, also, origin);
        let mut prev = self.frame(frame).last;
        while self.execution.finished.is_none() {
            if failure.error() == RUNTIME && origin == Origin::Itself {
                return self.emit_after(FrameId::ROOT, prev, EventKind::ExecutionFailed { failure });
            }
            let site = self.site(frame);
            if self.retry(site, prev, &failure, also) {
                return;
            }
            if origin == Origin::Below {
                self.fan_failed(site, prev, &failure);
            }
            match self.catch(site, failure, also) {
                None => return,
                Some(uncaught) => failure = uncaught,
            }
            prev = self.frame(frame).last;
            let parent = self.frame(frame).parent.filter(|_| failure.error() != RUNTIME);
            let Some((parent, index)) = parent else {
                return self.emit_after(FrameId::ROOT, prev, EventKind::ExecutionFailed { failure });
            };
            self.abort_siblings(parent, frame, index);
            (frame, origin, also) = (parent, Origin::Below, None);
        }
    }

    /// Schedules another attempt if a retrier wants it. The first one that matches decides: when its attempts are used up,
    /// later ones are not asked.
    fn retry(&mut self, site: Site<'a>, prev: u64, failure: &Failure, also: Option<&'static str>) -> bool {
        let retriers = handlers(site).0;
        let by_task = self.is_of_task();
        let matching = |retrier: &Retrier| matches(&retrier.error_equals, failure, also, by_task);
        let Some(index) = retriers.iter().position(matching) else { return false };
        let retrier = &retriers[index];
        self.note(|inspection| inspection.retry_index = Some(index));
        let used = self.visit(site.frame).retries.get(index).copied().unwrap_or(0);
        if u64::from(used) >= retrier.max_attempts {
            return false;
        }
        let mut delay = delay_of(retrier, used);
        self.note(|inspection| inspection.retry_delay = Some(delay));
        if retrier.full_jitter {
            let share = (self.entropy.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            delay = delay.mul_f64(share);
        }
        let kind = EventKind::RetryScheduled {
            until: self.at.plus(delay),
            retrier: u32::try_from(index).unwrap_or(u32::MAX),
            failure: failure.clone(),
        };
        self.emit_after(site.frame, prev, kind);
        true
    }

    /// Whether `States.TaskFailed` may stand for an error: always, unless a trial says that another state raised it.
    fn is_of_task(&self) -> bool {
        self.trial.as_ref().is_none_or(|notes| notes.by_task)
    }

    fn fan_failed(&mut self, site: Site<'a>, prev: u64, failure: &Failure) {
        let failure = failure.clone();
        let kind = match site.state.kind {
            StateKind::Parallel(_) => EventKind::ParallelStateFailed { failure },
            _ => EventKind::MapStateFailed { failure },
        };
        self.emit_after(site.frame, prev, kind);
    }

    /// Leaves the state by a catcher, or gives back the failure that nothing caught: the same, or the catcher's own.
    fn catch(&mut self, site: Site<'a>, failure: Failure, also: Option<&'static str>) -> Option<Failure> {
        let catchers = handlers(site).1;
        let by_task = self.is_of_task();
        let matching = |catcher: &Catcher| matches(&catcher.error_equals, &failure, also, by_task);
        let Some(index) = catchers.iter().position(matching) else { return Some(failure) };
        self.note(|inspection| {
            inspection.catch_index = Some(index);
            inspection.caught = Some(failure.clone());
        });
        let catcher = &catchers[index];
        match self.caught(site, catcher, &failure) {
            Ok(()) => None,
            Err(fault) => Some(self.raise(site, fault)),
        }
    }

    fn caught(&mut self, site: Site<'a>, catcher: &'a Catcher, failure: &Failure) -> Result<(), Fault> {
        let passed = self.catch_output(site, catcher, failure)?;
        self.exit(site, passed, Some(catcher.next))
    }

    /// A child failed for good: its siblings stop, and it stops. All of it follows the failure
    /// (`20<16 TaskTimedOut; 24<20 MapIterationFailed; 25<20 TaskStateAborted; 26<20 MapIterationAborted; … 31<20
    /// TaskStateAborted; 32<20 MapStateFailed`: the failing task's own abort comes last).
    fn abort_siblings(&mut self, parent: FrameId, failed: FrameId, index: u32) {
        let prev = self.frame(failed).last;
        let (name, siblings, is_map) = {
            let visit = self.visit(parent);
            let Work::Fan(fan) = &visit.work else { return };
            (Arc::clone(&visit.name), fan.live.clone(), fan.items.is_some())
        };
        if is_map {
            self.emit_after(failed, prev, EventKind::MapIterationFailed { name: Arc::clone(&name), index });
        }
        for sibling in siblings.into_iter().filter(|sibling| *sibling != failed) {
            self.abort(sibling, prev, is_map.then(|| Arc::clone(&name)));
        }
        let own = self.frame(failed).visit().map(|visit| visit.state_type);
        if let Some(state_type @ (StateType::Task | StateType::Wait)) = own {
            self.emit_after(failed, prev, EventKind::StateAborted { state_type });
        }
    }

    /// Stops a frame and all below it, innermost first. `map` is the Map's name if the frame is an iteration.
    fn abort(&mut self, id: FrameId, prev: u64, map: Option<Arc<str>>) {
        let Some(frame) = self.execution.frame(id) else { return };
        let index = frame.parent.map_or(0, |(_, index)| index);
        let (children, state_type, name) = match &frame.phase {
            Phase::Entering { .. } | Phase::Ended { .. } => (Vec::new(), None, None),
            Phase::Visiting(visit) => match &visit.work {
                Work::Fan(fan) => {
                    let name = fan.items.is_some().then(|| Arc::clone(&visit.name));
                    (fan.live.clone(), Some(visit.state_type), name)
                }
                _ => (Vec::new(), Some(visit.state_type), None),
            },
        };
        for child in children {
            self.abort(child, prev, name.clone());
        }
        if let Some(state_type @ (StateType::Task | StateType::Wait | StateType::Parallel | StateType::Map)) =
            state_type
        {
            self.emit_after(id, prev, EventKind::StateAborted { state_type });
        }
        if let Some(name) = map {
            self.emit_after(id, prev, EventKind::MapIterationAborted { name, index });
        }
    }
}

fn handlers<'a>(site: Site<'a>) -> (&'a [Retrier], &'a [Catcher]) {
    match &site.state.kind {
        StateKind::Task(task) => (&task.retry, &task.catch),
        StateKind::Parallel(parallel) => (&parallel.retry, &parallel.catch),
        StateKind::Map(map) => (&map.retry, &map.catch),
        StateKind::Pass(_)
        | StateKind::Wait(_)
        | StateKind::Choice(_)
        | StateKind::Succeed
        | StateKind::Fail(_) => (&[], &[]),
    }
}

/// Whether `ErrorEquals` names an error. `by_task`: `States.TaskFailed` may stand for it.
fn matches(error_equals: &[Arc<str>], failure: &Failure, also: Option<&str>, by_task: bool) -> bool {
    let error = failure.error();
    // Of a Map Run that ends by it the Map tells still.
    if error == RUNTIME {
        return false;
    }
    error_equals.iter().any(|name| match &**name {
        "States.ALL" => true,
        "States.TaskFailed" if by_task => error != "States.Timeout",
        name => name == error || also == Some(name),
    })
}

/// `min(MaxDelaySeconds, IntervalSeconds × BackoffRate ^ used)`.
fn delay_of(retrier: &Retrier, used: u32) -> Duration {
    /// A year, the longest an execution may take.
    const DELAY_MAX: f64 = 31_622_400.0;
    let exponent = i32::try_from(used).unwrap_or(i32::MAX);
    let delay = retrier.interval_seconds as f64 * retrier.backoff_rate.powi(exponent);
    let delay_max = retrier.max_delay_seconds.map_or(DELAY_MAX, |seconds| seconds as f64).min(DELAY_MAX);
    Duration::from_secs_f64(delay.min(delay_max).max(0.0))
}
