//! `Execution::apply`: what each event does to the state.
//!
//! Total and evaluating nothing: it copies facts. It is the only code that changes an [`Execution`] (the deadlines of
//! heartbeats apart, which are never journalled); `step` writes through it and replay reads through it.

use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;

use crate::effect::Finished;
use crate::event::{Event, EventKind, TaskFamily, TaskScheduled};
use crate::execution::{Cancelling, Execution, is_observed};
use crate::frame::{Fan, Frame, MapRunWork, Phase, TaskWork, Visit, Work};
use crate::ids::{FrameId, TaskId};
use crate::lineage;
use crate::start::Failure;

impl Execution {
    /// Takes in one event. Total; evaluates nothing.
    pub fn apply(&mut self, event: &Event) {
        self.absorb(event);
    }

    /// Applies an event and names the tasks that it leaves to be cancelled.
    pub(crate) fn absorb(&mut self, event: &Event) -> Vec<TaskId> {
        self.seq = event.seq;
        self.history_id = event.history_id.unwrap_or(self.history_id);
        if let (Some(id), true) = (event.history_id, lineage::is_followed(&event.kind))
            && let Some(frame) = self.frame_mut(event.frame)
        {
            frame.last = id;
        }
        let cancelled = self.absorb_kind(event);
        self.index(event.frame);
        cancelled
    }

    fn absorb_kind(&mut self, event: &Event) -> Vec<TaskId> {
        match &event.kind {
            EventKind::ExecutionStarted { .. }
            | EventKind::ExecutionSucceeded { .. }
            | EventKind::ExecutionFailed { .. }
            | EventKind::ExecutionTimedOut { .. }
            | EventKind::ExecutionAborted { .. }
            | EventKind::ExecutionRedriven { .. } => return self.absorb_execution(event),
            EventKind::StateEntered { .. } => self.entered(event),
            EventKind::StateExited { output, assigned, next, .. } => {
                self.exited(event.frame, output, assigned, next)
            }
            EventKind::StateAborted { .. } => return self.close(event.frame),
            EventKind::TaskTimedOut { .. } => return self.close_below(event.frame),
            EventKind::EvaluationFailed { .. } => self.settle(event.frame),
            EventKind::TaskScheduled { task } => self.scheduled(event, task),
            EventKind::TaskStarted { .. } => self.started(event.frame, event.at),
            EventKind::TaskSubmitted { handle, .. } => self.submitted(event.frame, handle, event.at),
            EventKind::TaskSucceeded { .. } | EventKind::TaskFailed { .. } => self.settle(event.frame),
            EventKind::ParallelStateStarted { branches, input } => {
                self.fan(event.frame, Fan::new(*branches, input, None, 0));
            }
            EventKind::MapStateStarted { items, input, distributed: true, .. } => {
                self.begin_map_run(event.frame, MapRunWork::new(items.clone(), input.clone()));
            }
            EventKind::MapStateStarted { length, items, input, max_concurrency, .. } => {
                self.fan(event.frame, Fan::new(*length, input, items.clone(), *max_concurrency));
            }
            EventKind::ParallelStateSucceeded {} | EventKind::MapStateSucceeded {} => {}
            EventKind::ParallelStateFailed { .. } | EventKind::MapStateFailed { .. } => {
                return self.close_below(event.frame);
            }
            EventKind::BranchStarted { parent, index, first, input }
            | EventKind::MapIterationStarted { parent, index, first, input, .. } => {
                self.fork(event, *parent, *index, first, input);
            }
            EventKind::MapIterationSucceeded { .. } => self.join(event.frame, event.history_id),
            EventKind::MapIterationFailed { .. } | EventKind::MapIterationAborted { .. } => {
                return self.close(event.frame);
            }
            EventKind::MapRunStarted { map_run_arn } => self.map_run_started(event, map_run_arn, 0),
            EventKind::MapRunRedriven { map_run_arn, count } => {
                self.map_run_started(event, map_run_arn, *count)
            }
            EventKind::MapRunSucceeded { output } => self.map_run_ended(event, Some(output.clone())),
            EventKind::MapRunFailed { .. } | EventKind::MapRunAborted {} => self.map_run_ended(event, None),
            EventKind::WaitScheduled { until } => {
                self.waits(event, Work::Waiting { seq: event.seq, until: *until })
            }
            EventKind::RetryScheduled { until, retrier, .. } => return self.retries(event, *until, *retrier),
            EventKind::TaskCancelled { task } => {
                self.cancelling.remove(task);
            }
        }
        Vec::new()
    }

    fn absorb_execution(&mut self, event: &Event) -> Vec<TaskId> {
        match &event.kind {
            EventKind::ExecutionStarted { start, deadline, first } => {
                self.started_at = event.at;
                self.deadline = deadline.map(|at| (event.seq, at));
                self.frames.push(Some(Box::new(Frame::new(None, 0, Arc::clone(first), start.input.clone()))));
                self.start = Some(Arc::clone(start));
            }
            EventKind::ExecutionSucceeded { output } => {
                self.finish(event.at, Finished::Succeeded(output.clone()))
            }
            EventKind::ExecutionFailed { failure } => return self.stop(event.at, Finished::Failed, failure),
            EventKind::ExecutionTimedOut { failure } => {
                return self.stop(event.at, Finished::TimedOut, failure);
            }
            EventKind::ExecutionAborted { failure } => {
                return self.stop(event.at, Finished::Aborted, failure);
            }
            EventKind::ExecutionRedriven { count, deadline, .. } => {
                self.finished = None;
                self.ended_at = None;
                self.redrive_count = *count;
                self.redriven_at = Some(event.at);
                self.deadline = deadline.map(|at| (event.seq, at));
                self.reopen(FrameId::ROOT, event.history_id.unwrap_or_default());
            }
            _ => {}
        }
        Vec::new()
    }

    fn finish(&mut self, at: Timestamp, finished: Finished) {
        self.finished = Some(finished);
        self.ended_at = Some(at);
        self.deadline = None;
    }

    fn stop(&mut self, at: Timestamp, finished: fn(Failure) -> Finished, failure: &Failure) -> Vec<TaskId> {
        self.finish(at, finished(failure.clone()));
        self.close(FrameId::ROOT)
    }

    fn entered(&mut self, event: &Event) {
        let EventKind::StateEntered { state, name, state_type, input } = &event.kind else { return };
        let Some(frame) = self.frame_mut(event.frame) else { return };
        frame.phase = Phase::Visiting(Box::new(Visit {
            state: Arc::clone(state),
            name: Arc::clone(name),
            state_type: *state_type,
            input: input.clone(),
            entered_id: event.history_id.unwrap_or_default(),
            entered_prev: event.prev,
            entered_at: event.at,
            retries: Vec::new(),
            work: Work::Begin,
        }));
    }

    fn exited(
        &mut self,
        id: FrameId,
        output: &Payload,
        assigned: &[(Arc<str>, Payload)],
        next: &Option<Arc<str>>,
    ) {
        self.drop_children(id);
        self.forget(id);
        let Some(frame) = self.frame_mut(id) else { return };
        for (name, value) in assigned {
            frame.variables.insert(Arc::clone(name), value.clone());
        }
        frame.phase = match next {
            Some(state) => Phase::Entering { state: Arc::clone(state), input: output.clone() },
            None => Phase::Ended { output: output.clone() },
        };
        if let (None, Some((parent, _))) = (next, frame.parent) {
            // AWS has no word for the end of a branch; an iteration's is MapIterationSucceeded.
            if self.work_mut(parent).is_some_and(|work| matches!(work, Work::Fan(fan) if fan.items.is_none()))
            {
                self.join(id, None);
            }
        }
    }

    fn scheduled(&mut self, event: &Event, task: &TaskScheduled) {
        let at = event.at;
        let activity = task.label.family() == TaskFamily::Activity;
        // The delay before a retry is over; left in the index it would make the task owed twice.
        self.forget(event.frame);
        let invocation = self.count_invocation(event.frame);
        let Some(visit) = self.frame_mut(event.frame).and_then(Frame::visit_mut) else { return };
        visit.work = Work::Task(Box::new(TaskWork {
            task: TaskId(event.seq),
            label: task.label.clone(),
            resource: task.resource.clone(),
            arguments: task.parameters.clone(),
            credentials_role: task.credentials_role.clone(),
            nonce: task.nonce,
            timeout: task.timeout,
            heartbeat: task.heartbeat,
            // An activity nobody polls for times out as well; the clock starts again when it is handed out.
            timeout_at: task.timeout.filter(|_| activity).map(|timeout| at.plus(timeout)),
            heartbeat_at: None,
            started: false,
            handle: None,
            attempt: visit.retry_count(),
            invocation,
        }));
        self.owed.push((event.seq, event.frame));
    }

    /// Number of a frame's call among those of its state. A test case has one sequence of responses a state and execution,
    /// which retries, iterations and loops use up together, as in Step Functions Local.
    fn count_invocation(&mut self, id: FrameId) -> u64 {
        if self.start.as_ref().is_none_or(|start| start.test_case.is_none()) {
            return 0;
        }
        let Some(name) = self.frame(id).and_then(Frame::visit).map(|visit| Arc::clone(&visit.name)) else {
            return 0;
        };
        let next = self.invocations.entry(name).or_default();
        let invocation = *next;
        *next += 1;
        invocation
    }

    fn started(&mut self, id: FrameId, at: Timestamp) {
        if let Some(Work::Task(task)) = self.work_mut(id) {
            task.started = true;
            task.timeout_at = task.timeout.map(|timeout| at.plus(timeout));
            task.heartbeat_at = task.heartbeat.map(|heartbeat| at.plus(heartbeat));
        }
    }

    fn submitted(&mut self, id: FrameId, handle: &Payload, at: Timestamp) {
        if let Some(Work::Task(task)) = self.work_mut(id) {
            task.handle = Some(handle.clone());
            // The holder of a token can beat only once the call that hands it out is through.
            task.heartbeat_at = task.heartbeat.map(|heartbeat| at.plus(heartbeat));
        }
    }

    fn waits(&mut self, event: &Event, work: Work) {
        self.forget(event.frame);
        if let Some(slot) = self.work_mut(event.frame) {
            *slot = work;
            self.owed.push((event.seq, event.frame));
        }
    }

    fn retries(&mut self, event: &Event, until: Timestamp, retrier: u32) -> Vec<TaskId> {
        let cancelled = self.close_below(event.frame);
        self.drop_children(event.frame);
        if let Some(frame) = self.frame_mut(event.frame) {
            // `8<7 MapIterationFailed; 9<7 MapStateStarted`: the next attempt follows what failed.
            frame.last = event.prev;
        }
        if let Some(visit) = self.frame_mut(event.frame).and_then(Frame::visit_mut) {
            let retrier = retrier as usize;
            if visit.retries.len() <= retrier {
                visit.retries.resize(retrier + 1, 0);
            }
            visit.retries[retrier] += 1;
        }
        self.waits(event, Work::Retrying { seq: event.seq, until });
        cancelled
    }

    fn fan(&mut self, id: FrameId, fan: Fan) {
        self.drop_children(id);
        self.forget(id);
        if let Some(work) = self.work_mut(id) {
            *work = Work::Fan(Box::new(fan));
        }
    }

    fn begin_map_run(&mut self, id: FrameId, run: MapRunWork) {
        self.forget(id);
        if let Some(work) = self.work_mut(id) {
            *work = Work::MapRun(Box::new(run));
        }
    }

    fn fork(&mut self, event: &Event, parent: FrameId, index: u32, first: &Arc<str>, input: &Payload) {
        let last = event.history_id.unwrap_or(event.prev);
        let frame = Frame::new(Some((parent, index)), last, Arc::clone(first), input.clone());
        let place = event.frame.0 as usize;
        self.frames.resize_with(self.frames.len().max(place + 1), || None);
        self.frames[place] = Some(Box::new(frame));
        if let Some(Work::Fan(fan)) = self.work_mut(parent) {
            fan.next = index + 1;
            fan.live.push(event.frame);
        }
        self.index(parent);
    }

    /// A child ended well: its output goes into its slot of the parent, and it is gone. Shared by Parallel and Map.
    fn join(&mut self, child: FrameId, joined_by: Option<u64>) {
        let Some(frame) = self.frames.get_mut(child.0 as usize).and_then(Option::take) else { return };
        let (Some((parent, index)), Phase::Ended { output }) = (frame.parent, frame.phase) else { return };
        if let Some(frame_of_parent) = self.frame_mut(parent) {
            frame_of_parent.last = frame.last;
        }
        if let Some(Work::Fan(fan)) = self.work_mut(parent) {
            fan.joined_by = joined_by;
            fan.live.retain(|live| *live != child);
            if let Some(slot) = fan.outputs.get_mut(index as usize) {
                *slot = Some(output);
            }
        }
        self.index(child);
        self.index(parent);
    }

    fn map_run_started(&mut self, event: &Event, map_run_arn: &Arc<str>, redrive: u32) {
        let (seq, id) = (event.seq, event.history_id.unwrap_or_default());
        if let Some(Work::MapRun(run)) = self.work_mut(event.frame) {
            run.task = TaskId(seq);
            run.started_id = id;
            run.map_run_arn = Arc::clone(map_run_arn);
            run.ended = false;
            run.redriven = false;
            run.redrive = redrive;
            self.owed.push((seq, event.frame));
        }
    }

    fn map_run_ended(&mut self, event: &Event, output: Option<Payload>) {
        self.forget(event.frame);
        if let Some(Work::MapRun(run)) = self.work_mut(event.frame) {
            run.ended = true;
            run.ended_id = event.history_id.unwrap_or_default();
            run.output = output;
        }
    }

    /// The attempt is over, its result or failure is in the event.
    fn settle(&mut self, id: FrameId) {
        self.forget(id);
        match self.work_mut(id) {
            // Children and Map Runs stay for a redrive.
            Some(Work::Fan(fan)) => fan.failed = true,
            Some(Work::MapRun(run)) => run.ended = true,
            Some(work) => *work = Work::Closed,
            None => {}
        }
    }

    /// Stops a frame and all below it; what a redrive needs stays. Names the tasks that are now to be cancelled.
    fn close(&mut self, id: FrameId) -> Vec<TaskId> {
        if let Some(frame) = self.frame_mut(id) {
            frame.closed = true;
        }
        self.close_below(id)
    }

    /// Ends a frame's attempt at its state: the frame itself may go on, all below it is stopped.
    fn close_below(&mut self, id: FrameId) -> Vec<TaskId> {
        let mut cancelled = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            self.abandon_task(id, &mut cancelled);
            self.settle(id);
            let children = match self.work_mut(id) {
                Some(Work::Fan(fan)) => fan.live.clone(),
                _ => Vec::new(),
            };
            for child in children {
                if let Some(frame) = self.frame_mut(child) {
                    frame.closed = true;
                }
                open.push(child);
            }
            self.index(id);
        }
        cancelled
    }

    /// What nobody wants any more is to be cancelled, unless only the holder of a token works on it.
    fn abandon_task(&mut self, id: FrameId, cancelled: &mut Vec<TaskId>) {
        let (task, cancelling) = match self.work_mut(id) {
            Some(Work::Task(task)) if task.handle.is_some() && !is_observed(&task.resource) => return,
            Some(Work::Task(task)) => (
                task.task,
                Cancelling::Task {
                    resource: task.resource.clone(),
                    handle: task.handle.clone(),
                    credentials_role: task.credentials_role.clone(),
                },
            ),
            Some(Work::MapRun(run)) if run.task.0 > 0 && !run.ended => {
                (run.task, Cancelling::MapRun { map_run_arn: Arc::clone(&run.map_run_arn) })
            }
            _ => return,
        };
        self.cancelling.insert(task, cancelling);
        cancelled.push(task);
    }

    fn drop_children(&mut self, id: FrameId) {
        let Some(Work::Fan(fan)) = self.work_mut(id) else { return };
        let mut open = std::mem::take(&mut fan.live);
        while let Some(id) = open.pop() {
            self.forget(id);
            if let Some(Work::Fan(fan)) = self.work_mut(id) {
                open.append(&mut fan.live);
            }
            self.frames[id.0 as usize] = None;
            self.unindex(id);
        }
    }

    /// Redrive: every state that was entered and not left begins again; what ended well stays.
    fn reopen(&mut self, id: FrameId, redriven: u64) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(frame) = self.frame_mut(id) else { continue };
            frame.last = redriven;
            frame.closed = false;
            if let Some(visit) = frame.visit_mut() {
                visit.retries.clear();
                match &mut visit.work {
                    Work::Fan(fan) if !fan.live.is_empty() || fan.next > 0 => {
                        fan.failed = false;
                        open.extend(fan.live.iter().copied());
                    }
                    Work::MapRun(run) if run.task.0 > 0 && run.output.is_none() => run.redriven = true,
                    Work::Begin
                    | Work::Waiting { .. }
                    | Work::Retrying { .. }
                    | Work::Task(_)
                    | Work::Fan(_)
                    | Work::MapRun(_)
                    | Work::Closed => visit.work = Work::Begin,
                }
            }
            self.index(id);
        }
    }

    fn work_mut(&mut self, id: FrameId) -> Option<&mut Work> {
        Some(&mut self.frame_mut(id)?.visit_mut()?.work)
    }

    /// The frame no longer waits for a task or timer.
    fn forget(&mut self, id: FrameId) {
        let seq = match self.work_mut(id) {
            Some(Work::Waiting { seq, .. } | Work::Retrying { seq, .. }) => *seq,
            Some(Work::Task(task)) => task.task.0,
            Some(Work::MapRun(run)) => run.task.0,
            Some(Work::Begin | Work::Fan(_) | Work::Closed) | None => return,
        };
        if let Ok(place) = self.owed.binary_search_by_key(&seq, |(seq, _)| *seq) {
            self.owed.remove(place);
        }
    }

    /// Keeps the index of runnable frames true for one frame.
    fn index(&mut self, id: FrameId) {
        let runnable = self.frame(id).is_some_and(Frame::is_runnable);
        match (self.runnable.binary_search(&id), runnable) {
            (Err(place), true) => self.runnable.insert(place, id),
            (Ok(place), false) => {
                self.runnable.remove(place);
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    fn unindex(&mut self, id: FrameId) {
        if let Ok(place) = self.runnable.binary_search(&id) {
            self.runnable.remove(place);
        }
    }
}
