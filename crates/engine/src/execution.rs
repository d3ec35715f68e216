//! `Execution`: the state of one execution, a tree of frames that only events change.
//!
//! Invariant: the same events lead to the same state, whether they were just written or come from the journal. What the world
//! owes is computed from this state ([`Execution::outstanding`]); there is no second list. `apply` is in `crate::apply`.

use std::collections::BTreeMap;
use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Pattern, Resource, ResourceKind};
use asl::timestamp::Timestamp;

use crate::effect::{CancelTask, Effect, Finished, ObserveTask, ScheduleTask, StartMapRun, StopMapRun};
use crate::event::{Event, TaskFamily};
use crate::frame::{Frame, MapRunWork, Phase, TaskWork, Visit, Work};
use crate::ids::{FrameId, TaskId, TimerId, TimerKind};
use crate::start::Start;
use crate::token;

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Status {
    /// Before its first event, and until its last.
    #[default]
    Running,
    /// SUCCEEDED.
    Succeeded,
    /// FAILED.
    Failed,
    /// TIMED_OUT.
    TimedOut,
    /// ABORTED.
    Aborted,
}

/// One execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Execution {
    pub(crate) start: Option<Arc<Start>>,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) redrive_count: u32,
    pub(crate) redriven_at: Option<Timestamp>,
    /// The machine's timeout and the event that armed it.
    pub(crate) deadline: Option<(u64, Timestamp)>,
    pub(crate) finished: Option<Finished>,
    pub(crate) seq: u64,
    pub(crate) history_id: u64,
    /// By number; `None` once a frame is over. Numbers are never used again.
    pub(crate) frames: Vec<Option<Box<Frame>>>,
    /// How often each state called the world, by name; counted in a test case only.
    pub(crate) invocations: BTreeMap<Arc<str>, u64>,
    /// Index: frames that can go on, oldest first.
    pub(crate) runnable: Vec<FrameId>,
    /// Index: whom a task, wait or retry belongs to, by `seq`.
    pub(crate) owed: Vec<(u64, FrameId)>,
    /// Tasks whose result nobody wants and whose end was not acknowledged.
    pub(crate) cancelling: BTreeMap<TaskId, Cancelling>,
}

/// What is to be stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cancelling {
    /// A task.
    Task { resource: Resource, handle: Option<Payload>, credentials_role: Option<Arc<str>> },
    /// A Map Run.
    MapRun { map_run_arn: Arc<str> },
}

impl Execution {
    /// Before its first event.
    pub fn new() -> Execution {
        Execution::default()
    }

    /// The state that these events lead to.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Execution {
        let mut execution = Execution::new();
        for event in events {
            execution.apply(event);
        }
        execution
    }

    /// What it was started with; `None` before the first event.
    pub fn start(&self) -> Option<&Arc<Start>> {
        self.start.as_ref()
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        match &self.finished {
            None => Status::Running,
            Some(Finished::Succeeded(_)) => Status::Succeeded,
            Some(Finished::Failed(_)) => Status::Failed,
            Some(Finished::TimedOut(_)) => Status::TimedOut,
            Some(Finished::Aborted(_)) => Status::Aborted,
        }
    }

    /// How it ended.
    pub fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// When it was started.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// How often it was redriven.
    pub fn redrive_count(&self) -> u32 {
        self.redrive_count
    }

    /// When it was redriven last.
    pub fn redriven_at(&self) -> Option<Timestamp> {
        self.redriven_at
    }

    /// `seq` of its last event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// `id` of its last history event.
    pub fn history_id(&self) -> u64 {
        self.history_id
    }

    /// Whether it would go on without any input (a turn was cut short): the shell sends `InputKind::Resumed`.
    pub fn is_runnable(&self) -> bool {
        self.finished.is_none() && !self.runnable.is_empty()
    }

    /// Heartbeats are not journalled: after a replay their deadlines count from here. Call before [`Execution::outstanding`].
    pub fn recovered(&mut self, at: Timestamp) {
        for frame in self.frames.iter_mut().flatten() {
            if let Some(Visit { work: Work::Task(task), .. }) = frame.visit_mut()
                && let (Some(heartbeat), Some(_)) = (task.heartbeat, task.heartbeat_at)
            {
                task.heartbeat_at = Some(at.plus(heartbeat));
            }
        }
    }

    /// All effects still owed: what a shell that lost its memory must ask for again. Cancellations are owed also after the
    /// end; the end itself is told once.
    pub fn outstanding(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.finished.is_none() {
            effects.extend(self.deadline_effect());
            for (_, frame) in &self.owed {
                self.owed_by(*frame, &mut effects);
            }
        }
        effects.extend(self.cancelling.iter().map(|(task, cancelling)| cancel_effect(*task, cancelling)));
        effects
    }

    /// Whether an effect of this very step is still owed at its end (a sibling's failure may have overtaken it).
    pub(crate) fn still_owes(&self, effect: &Effect) -> bool {
        let seq = match effect {
            Effect::CancelTask(_) | Effect::StopMapRun(_) | Effect::Finished { .. } => return true,
            Effect::ScheduleTask(schedule) => schedule.task.0,
            Effect::ObserveTask(observe) => observe.task.0,
            Effect::StartMapRun(start) => start.task.0,
            Effect::ArmTimer { timer, .. } if timer.kind == TimerKind::Execution => {
                return self.finished.is_none();
            }
            Effect::ArmTimer { timer, .. } => timer.seq,
        };
        self.finished.is_none() && self.owner(seq).is_some()
    }

    /// The frame that a task, wait or retry belongs to.
    pub(crate) fn owner(&self, seq: u64) -> Option<FrameId> {
        let place = self.owed.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        Some(self.owed[place].1)
    }

    pub(crate) fn frame(&self, id: FrameId) -> Option<&Frame> {
        self.frames.get(id.0 as usize)?.as_deref()
    }

    pub(crate) fn frame_mut(&mut self, id: FrameId) -> Option<&mut Frame> {
        self.frames.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// What a frame waits for.
    pub(crate) fn owed_by(&self, frame: FrameId, effects: &mut Vec<Effect>) {
        let Some(visit) = self.frame(frame).and_then(Frame::visit) else { return };
        match &visit.work {
            Work::Waiting { seq, until } => effects.push(arm(*seq, TimerKind::Wait, *until)),
            Work::Retrying { seq, until } => effects.push(arm(*seq, TimerKind::Retry, *until)),
            Work::Task(task) => self.owed_for_task(frame, visit, task, effects),
            Work::MapRun(run) => effects.extend(self.owed_for_map_run(frame, visit, run)),
            Work::Begin | Work::Fan(_) | Work::Closed => {}
        }
    }

    fn owed_for_task(&self, id: FrameId, visit: &Visit, task: &TaskWork, effects: &mut Vec<Effect>) {
        // A worker has a started activity, the holder of its token a submitted callback.
        let held = task.handle.is_some() || task.started && task.label.family() == TaskFamily::Activity;
        effects.extend(self.observation(id));
        if !held {
            effects.push(self.schedule_effect(visit, task));
        }
        effects.extend(self.timers(id));
    }

    /// Timers of a frame's task.
    pub(crate) fn timers(&self, id: FrameId) -> Vec<Effect> {
        let Some(Work::Task(task)) = self.frame(id).and_then(Frame::visit).map(|visit| &visit.work) else {
            return Vec::new();
        };
        let timers = [(TimerKind::TaskTimeout, task.timeout_at), (TimerKind::Heartbeat, task.heartbeat_at)];
        timers.into_iter().filter_map(|(kind, at)| Some(arm(task.task.0, kind, at?))).collect()
    }

    /// The watch over a frame's submitted task.
    pub(crate) fn observation(&self, id: FrameId) -> Option<Effect> {
        let Work::Task(task) = &self.frame(id)?.visit()?.work else { return None };
        // In a test case, whoever answered instead of the service has the token's answer, too.
        let mocked = |handle: &Payload| {
            self.start.as_ref().is_some_and(|start| start.test_case.is_some()) && handle.text() != "null"
        };
        let handle = task.handle.clone().filter(|handle| is_observed(&task.resource) || mocked(handle))?;
        Some(Effect::ObserveTask(Box::new(ObserveTask {
            task: task.task,
            resource: task.resource.clone(),
            handle,
            credentials_role: task.credentials_role.clone(),
        })))
    }

    fn schedule_effect(&self, visit: &Visit, task: &TaskWork) -> Effect {
        let token = match (&self.start, task.nonce) {
            (Some(start), Some(nonce)) => Some(token::encode(&start.execution_arn, task.task, nonce).into()),
            _ => None,
        };
        Effect::ScheduleTask(Box::new(ScheduleTask {
            task: task.task,
            state: Arc::clone(&visit.state),
            name: Arc::clone(&visit.name),
            resource: task.resource.clone(),
            arguments: task.arguments.clone(),
            credentials_role: task.credentials_role.clone(),
            token,
            attempt: task.attempt,
            invocation: task.invocation,
            timeout: task.timeout,
            heartbeat: task.heartbeat,
        }))
    }

    fn owed_for_map_run(&self, id: FrameId, visit: &Visit, run: &MapRunWork) -> Option<Effect> {
        if run.ended || run.task.0 == 0 {
            return None;
        }
        Some(Effect::StartMapRun(Box::new(StartMapRun {
            task: run.task,
            map_run_arn: Arc::clone(&run.map_run_arn),
            state: Arc::clone(&visit.state),
            redrive: run.redrive,
            items: run.items.clone(),
            input: run.input.clone(),
            context: Payload::from_value(self.whole_context(id)),
            variables: self.visible_variables(id),
        })))
    }

    pub(crate) fn deadline_effect(&self) -> Option<Effect> {
        self.deadline.map(|(seq, at)| arm(seq, TimerKind::Execution, at))
    }

    fn visible_variables(&self, id: FrameId) -> Vec<(Arc<str>, Payload)> {
        let mut visible = BTreeMap::new();
        for (name, value) in self.ancestors(id).flat_map(|frame| &frame.variables) {
            visible.entry(Arc::clone(name)).or_insert_with(|| value.clone());
        }
        visible.into_iter().collect()
    }

    /// The whole path of frames from one up to the machine's.
    pub(crate) fn ancestors(&self, frame: FrameId) -> impl Iterator<Item = &Frame> {
        let mut next = Some(frame);
        std::iter::from_fn(move || {
            let frame = self.frame(next?)?;
            next = frame.parent.map(|(parent, _)| parent);
            Some(frame)
        })
    }

    /// Names and types of the states that it is in, for people who ask what it waits for.
    pub fn current_states(&self) -> Vec<Arc<str>> {
        let visits = self.frames.iter().flatten().filter_map(|frame| match &frame.phase {
            Phase::Visiting(visit) => Some(Arc::clone(&visit.state)),
            Phase::Entering { .. } | Phase::Ended { .. } => None,
        });
        visits.collect()
    }
}

/// Whether a submitted task is watched by us, rather than by whoever holds its token.
pub(crate) fn is_observed(resource: &Resource) -> bool {
    matches!(&resource.kind, ResourceKind::Service { pattern: Pattern::Sync | Pattern::Sync2, .. })
}

pub(crate) fn arm(seq: u64, kind: TimerKind, at: Timestamp) -> Effect {
    Effect::ArmTimer { timer: TimerId { seq, kind }, at }
}

pub(crate) fn cancel_effect(task: TaskId, cancelling: &Cancelling) -> Effect {
    match cancelling {
        Cancelling::Task { resource, handle, credentials_role } => Effect::CancelTask(Box::new(CancelTask {
            task,
            resource: resource.clone(),
            handle: handle.clone(),
            credentials_role: credentials_role.clone(),
        })),
        Cancelling::MapRun { map_run_arn } => {
            Effect::StopMapRun(Box::new(StopMapRun { task, map_run_arn: Arc::clone(map_run_arn) }))
        }
    }
}
