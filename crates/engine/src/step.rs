//! `step`: one input in, events and effects out.
//!
//! The input is checked against the state first: what is stale, late or seen before yields no events and a reason. Nothing
//! else may move an execution.

use std::sync::Arc;

use asl::entropy::SeededEntropy;
use asl::payload::Payload;
use asl::program::{Program, Resource, StateMachineType};
use asl::timestamp::Timestamp;
use std::time::Duration;

use crate::effect::Effect;
use crate::event::{Apart, Event, EventKind, TaskFamily};
use crate::execution::{Execution, Status, arm};
use crate::frame::{Frame, TaskWork, Work};
use crate::ids::{FrameId, TaskId, TimerId, TimerKind};
use crate::input::{Ignored, Input, InputKind, MapRunResult, Outcome};
use crate::start::{Failure, Start};
use crate::states::{map_run, task, wait};
use crate::turn::Turn;

/// Longest an Express execution may take.
const EXPRESS_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest after its end that an execution can be redriven.
const REDRIVABLE_PERIOD: Duration = Duration::from_secs(14 * 24 * 3600);

/// What an input led to. The events were applied already.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whether the input fitted the state.
    pub outcome: Outcome,
    /// To be appended to the journal in one commit.
    pub events: Vec<Event>,
    /// To be carried out after that commit, not before.
    pub effects: Vec<Effect>,
    /// The budget is used up: go on with `InputKind::Resumed`.
    pub more: bool,
}

/// Moves an execution by one input until it waits for the world again, or about `budget` events were written (what one
/// input does at once is never cut).
///
/// # Panics
/// On a broken invariant, such as events of another definition. The shell drops the execution's memory then.
pub fn step(program: &Program, execution: &mut Execution, input: Input, budget: u32) -> Step {
    step_with(program, execution, input, budget, &NoPreconditions)
}

/// What must hold before a task may be scheduled, as far as the caller knows: that the activity exists, that the parameters
/// fit the integration. AWS fails such a state with `States.Runtime` and no TaskScheduled. The answer is part of the input:
/// it may differ from step to step, and its result travels in the event.
pub trait Preconditions {
    /// Why this task cannot even be scheduled (`The activity … does not exist.`), in AWS's words without the sentence that
    /// names the state.
    fn check(&self, task: &PlannedTask<'_>) -> Result<(), String>;
}

/// A task before it is scheduled.
#[derive(Clone, Copy, Debug)]
pub struct PlannedTask<'a> {
    /// The execution.
    pub start: &'a Start,
    /// Name of the state.
    pub state: &'a str,
    /// What is to be called.
    pub resource: &'a Resource,
    /// With what.
    pub parameters: &'a Payload,
}

/// Every task may be scheduled.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPreconditions;

impl Preconditions for NoPreconditions {
    fn check(&self, _task: &PlannedTask<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// As [`step`], with a check of tasks before they are scheduled.
///
/// # Panics
/// As [`step`].
pub fn step_with(
    program: &Program,
    execution: &mut Execution,
    input: Input,
    budget: u32,
    preconditions: &dyn Preconditions,
) -> Step {
    let was_open = execution.finished.is_none();
    let mut turn = Turn {
        program,
        execution,
        at: input.at,
        entropy: SeededEntropy::new(input.entropy),
        events: Vec::new(),
        effects: Vec::new(),
        context: None,
        preconditions,
        trial: None,
    };
    let outcome = match turn.accept(input.kind) {
        Ok(()) => Outcome::Accepted,
        Err(ignored) => Outcome::Ignored(ignored),
    };
    turn.run(budget);
    let Turn { events, mut effects, .. } = turn;
    effects.retain(|effect| execution.still_owes(effect));
    if let (true, Some(finished)) = (was_open || redriven(&events), execution.finished()) {
        let (finished, redrives) = (finished.clone(), execution.redrive_count());
        effects.push(Effect::Finished { finished, redrives });
    }
    Step { outcome, events, effects, more: execution.is_runnable() }
}

fn redriven(events: &[Event]) -> bool {
    matches!(events.first(), Some(Event { kind: EventKind::ExecutionRedriven { .. }, .. }))
}

type Accepted = Result<(), Ignored>;

impl<'a> Turn<'a> {
    fn accept(&mut self, input: InputKind) -> Accepted {
        match input {
            InputKind::Started(start) => self.accept_start(start),
            InputKind::TaskStarted { task, worker_name } => self.accept_task_started(task, worker_name),
            InputKind::TaskSubmitted { task, handle, output } => self.accept_submitted(task, handle, output),
            InputKind::TaskSucceeded { task, nonce, output } => {
                let (frame, work) = self.open_task(task, nonce)?;
                let site = self.site(frame);
                let result = task::succeeded(self, site, &work, output);
                self.settle(site, result);
                Ok(())
            }
            InputKind::TaskFailed { task, nonce, failure, stage } => {
                let (frame, work) = self.open_task(task, nonce)?;
                task::failed(self, self.site(frame), &work, failure, stage);
                Ok(())
            }
            InputKind::TaskHeartbeat { task, nonce } => self.accept_heartbeat(task, nonce),
            InputKind::TaskCancelled { task } => self.accept_cancelled(task),
            InputKind::TimerElapsed { timer } => self.accept_timer(timer),
            InputKind::MapRunEnded { task, result } => self.accept_map_run_ended(task, result),
            InputKind::StopRequested { failure } => self.accept_stop(failure),
            InputKind::Redriven { client_token } => self.accept_redrive(client_token),
            InputKind::Resumed if self.execution.is_runnable() => Ok(()),
            InputKind::Resumed => Err(Ignored::Stale),
        }
    }

    fn accept_start(&mut self, start: Arc<Start>) -> Accepted {
        if self.execution.start.is_some() {
            return Err(Ignored::Duplicate);
        }
        let workflow = self.program.workflows.iter().find(|workflow| workflow.path == start.workflow);
        let workflow =
            workflow.unwrap_or_else(|| panic!("the definition has no workflow {}", start.workflow));
        let first = Arc::clone(&self.program.state(workflow.start_at).path);
        let deadline = self.deadline(start.machine_type);
        self.emit(FrameId::ROOT, EventKind::ExecutionStarted { start, deadline, first });
        Ok(())
    }

    /// When an execution that starts (again) now times out.
    fn deadline(&self, machine_type: StateMachineType) -> Option<Timestamp> {
        let timeout = self.program.timeout_seconds.map(Duration::from_secs);
        let timeout = match machine_type {
            StateMachineType::Standard => timeout?,
            StateMachineType::Express => timeout.unwrap_or(EXPRESS_TIMEOUT).min(EXPRESS_TIMEOUT),
        };
        Some(self.at.plus(timeout))
    }

    fn accept_task_started(&mut self, task: TaskId, worker_name: Option<Arc<str>>) -> Accepted {
        let (frame, work) = self.open_task(task, None)?;
        if work.started || work.label.family() != TaskFamily::Activity {
            return Err(Ignored::Duplicate);
        }
        self.emit(frame, EventKind::TaskStarted { task, label: work.label, worker_name });
        Ok(())
    }

    fn accept_submitted(&mut self, task: TaskId, handle: Payload, output: Payload) -> Accepted {
        let (frame, work) = self.open_task(task, None)?;
        if work.handle.is_some() {
            return Err(Ignored::Duplicate);
        }
        self.emit(frame, EventKind::TaskSubmitted { task, label: work.label, output, handle });
        Ok(())
    }

    fn accept_heartbeat(&mut self, task: TaskId, nonce: Option<u64>) -> Accepted {
        let (frame, _) = self.open_task(task, nonce)?;
        let at = self.at;
        let visit = self.execution.frame_mut(frame).and_then(Frame::visit_mut);
        if let Some(Work::Task(work)) = visit.map(|visit| &mut visit.work)
            && let (Some(heartbeat), Some(_)) = (work.heartbeat, work.heartbeat_at)
        {
            // Only a deadline that runs is moved: nobody works on an activity that was not handed out.
            let at = at.plus(heartbeat);
            if work.heartbeat_at.replace(at) != Some(at) {
                self.effects.push(arm(task.0, TimerKind::Heartbeat, at));
            }
        }
        Ok(())
    }

    fn accept_cancelled(&mut self, task: TaskId) -> Accepted {
        if !self.execution.cancelling.contains_key(&task) {
            return Err(Ignored::Stale);
        }
        self.emit(FrameId::ROOT, EventKind::TaskCancelled { task });
        Ok(())
    }

    fn accept_map_run_ended(&mut self, task: TaskId, result: MapRunResult) -> Accepted {
        self.open()?;
        let frame = self.execution.owner(task.0).ok_or(Ignored::Stale)?;
        if !matches!(&self.visit(frame).work, Work::MapRun(run) if run.task == task && !run.ended) {
            return Err(Ignored::Stale);
        }
        map_run::ended(self, self.site(frame), result);
        Ok(())
    }

    fn accept_stop(&mut self, failure: Failure) -> Accepted {
        self.open()?;
        self.emit(FrameId::ROOT, EventKind::ExecutionAborted { failure });
        Ok(())
    }

    fn accept_timer(&mut self, timer: TimerId) -> Accepted {
        self.open()?;
        if timer.kind == TimerKind::Execution {
            return self.accept_deadline(timer);
        }
        let frame = self.execution.owner(timer.seq).ok_or(Ignored::Stale)?;
        let site = self.site(frame);
        let due = match (timer.kind, &self.visit(frame).work) {
            (TimerKind::Wait, Work::Waiting { until, .. }) => Some(*until),
            (TimerKind::Retry, Work::Retrying { until, .. }) => Some(*until),
            (TimerKind::TaskTimeout, Work::Task(work)) => work.timeout_at,
            (TimerKind::Heartbeat, Work::Task(work)) => work.heartbeat_at,
            _ => None,
        };
        let due = due.ok_or(Ignored::Stale)?;
        if self.at < due {
            self.effects.push(arm(timer.seq, timer.kind, due));
            return Err(Ignored::Stale);
        }
        match (timer.kind, self.visit(frame).work.clone()) {
            (TimerKind::Wait, _) => {
                let result = wait::over(self, site);
                self.settle(site, result);
            }
            (TimerKind::Retry, _) => self.begin(frame),
            (kind, Work::Task(work)) => task::timed_out(self, site, &work, kind == TimerKind::Heartbeat),
            _ => {}
        }
        Ok(())
    }

    fn accept_deadline(&mut self, timer: TimerId) -> Accepted {
        let (_, due) = self.execution.deadline.filter(|(seq, _)| *seq == timer.seq).ok_or(Ignored::Stale)?;
        if self.at < due {
            self.effects.extend(self.execution.deadline_effect());
            return Err(Ignored::Stale);
        }
        let failure = Failure::named("States.Timeout");
        self.emit(FrameId::ROOT, EventKind::ExecutionTimedOut { failure });
        Ok(())
    }

    fn accept_redrive(&mut self, client_token: Option<Arc<str>>) -> Accepted {
        let refuse = |reason| Err(Ignored::NotRedrivable(reason));
        let Some(start) = &self.execution.start else { return Err(Ignored::Stale) };
        let machine_type = start.machine_type;
        let events_max = start.limits.events_max;
        match self.execution.status() {
            Status::Running => return refuse("Execution is RUNNING and cannot be redriven"),
            Status::Succeeded => return refuse("Execution is SUCCEEDED and cannot be redriven"),
            Status::Failed | Status::TimedOut | Status::Aborted => {}
        }
        if machine_type == StateMachineType::Express {
            return refuse("Execution is not redrivable because it is of type EXPRESS");
        }
        if events_max > 0 && self.execution.history_id + 1 >= events_max {
            return refuse("Execution history event limit exceeded");
        }
        if self.execution.ended_at.is_some_and(|ended| self.at.since(ended) > REDRIVABLE_PERIOD) {
            return refuse("Execution has exceeded the redrivable period");
        }
        let kind = EventKind::ExecutionRedriven {
            count: self.execution.redrive_count + 1,
            deadline: self.deadline(machine_type),
            client_token: Apart(client_token),
        };
        let prev = self.execution.history_id;
        self.emit_after(FrameId::ROOT, prev, kind);
        Ok(())
    }

    /// The execution must be open.
    fn open(&self) -> Accepted {
        match (&self.execution.start, &self.execution.finished) {
            (Some(_), None) => Ok(()),
            (None, _) => Err(Ignored::Stale),
            (Some(_), Some(_)) => Err(Ignored::ExecutionClosed),
        }
    }

    /// A task that still waits for its result. One that was scheduled once and is over is told from one that never was.
    fn open_task(&self, task: TaskId, nonce: Option<u64>) -> Result<(FrameId, TaskWork), Ignored> {
        if task.0 == 0 || task.0 > self.execution.seq {
            return Err(Ignored::TaskUnknown);
        }
        self.open().map_err(|_| Ignored::TaskClosed)?;
        let frame = self.execution.owner(task.0).ok_or(Ignored::TaskClosed)?;
        let Work::Task(work) = &self.visit(frame).work else { return Err(Ignored::TaskClosed) };
        if nonce.is_some() && nonce != work.nonce {
            return Err(Ignored::TaskUnknown);
        }
        Ok((frame, TaskWork::clone(work)))
    }
}
