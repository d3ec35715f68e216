//! `Turn`: one input driven to the next wait on the world.
//!
//! Invariant: [`Turn::emit`] is the only way to change the execution, and it applies what it writes. A turn advances the
//! oldest runnable frame until none is left or the budget of events is used up.

use std::sync::Arc;

use asl::entropy::SeededEntropy;
use asl::payload::Payload;
use asl::program::{Program, State, StateId, StateKind, Transition};
use asl::timestamp::Timestamp;
use serde_json::Value;

use crate::effect::Effect;
use crate::event::{Event, EventKind, StateType};
use crate::execution::{Execution, cancel_effect};
use crate::fault::Fault;
use crate::frame::{Frame, Phase, Visit, Work};
use crate::ids::FrameId;
use crate::lineage;
use crate::start::{Failure, Start};
use crate::states;
use crate::step::Preconditions;
use crate::trial::Notes;

/// One turn.
pub(crate) struct Turn<'a> {
    pub program: &'a Program,
    pub execution: &'a mut Execution,
    pub at: Timestamp,
    pub entropy: SeededEntropy,
    pub events: Vec<Event>,
    pub effects: Vec<Effect>,
    /// The context object as it was made last; what does not change in a turn is not made again.
    pub context: Option<Value>,
    /// What must hold before a task may be scheduled.
    pub preconditions: &'a dyn Preconditions,
    /// What a trial wants to know; none in an execution.
    pub trial: Option<Notes>,
}

/// A frame in a state: where the work of a state type happens.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub frame: FrameId,
    pub state: &'a State,
}

/// A state worked out: what leaves it.
pub(crate) struct Passed {
    /// Its output.
    pub output: Payload,
    /// Its assignments.
    pub assigned: Vec<(Arc<str>, Payload)>,
}

impl<'a> Turn<'a> {
    /// Advances until nothing is runnable or `budget` events were written.
    pub fn run(&mut self, budget: u32) {
        while self.events.len() < budget as usize && self.execution.is_runnable() {
            let before = self.events.len();
            let frame = self.execution.runnable[0];
            self.advance(frame);
            assert!(self.events.len() > before, "frame {frame:?} is runnable and does not advance");
        }
    }

    /// Writes an event of a frame, following the frame's last one.
    pub fn emit(&mut self, frame: FrameId, kind: EventKind) {
        let prev = self.execution.frame(frame).map_or(0, |frame| lineage::previous(frame, &kind));
        self.emit_after(frame, prev, kind);
    }

    /// Writes an event that follows a given one. After the terminal event only acknowledgements are written.
    pub fn emit_after(&mut self, frame: FrameId, prev: u64, kind: EventKind) {
        let epilogue = matches!(kind, EventKind::TaskCancelled { .. } | EventKind::ExecutionRedriven { .. });
        if self.execution.finished.is_some() && !epilogue {
            return;
        }
        let (frame, kind) =
            if self.is_one_too_many(&kind) { (FrameId::ROOT, self.out_of_events()) } else { (frame, kind) };
        let history_id = kind.is_public().then_some(self.execution.history_id + 1);
        let event = Event { seq: self.execution.seq + 1, frame, at: self.at, history_id, prev, kind };
        let armed = match &event.kind {
            EventKind::TaskStarted { .. } | EventKind::TaskSubmitted { .. } => self.execution.timers(frame),
            _ => Vec::new(),
        };
        let cancelled = self.execution.absorb(&event);
        self.owe(&event, &armed);
        for task in cancelled {
            self.effects.push(cancel_effect(task, &self.execution.cancelling[&task]));
        }
        self.events.push(event);
    }

    /// The last event that fits is the terminal one.
    fn is_one_too_many(&self, kind: &EventKind) -> bool {
        let events_max = self.execution.start.as_ref().map_or(0, |start| start.limits.events_max);
        events_max > 0
            && kind.is_public()
            && !kind.ends_execution()
            && self.execution.history_id + 1 >= events_max
    }

    fn out_of_events(&self) -> EventKind {
        let events_max = self.execution.start.as_ref().map_or(0, |start| start.limits.events_max);
        let cause = format!("The execution reached the maximum number of history events ({events_max}).");
        EventKind::ExecutionFailed { failure: Failure::runtime(cause) }
    }

    /// Effects that an event makes outstanding. `armed` are the frame's timers before it.
    fn owe(&mut self, event: &Event, armed: &[Effect]) {
        match &event.kind {
            EventKind::TaskScheduled { .. }
            | EventKind::WaitScheduled { .. }
            | EventKind::RetryScheduled { .. }
            | EventKind::MapRunStarted { .. }
            | EventKind::MapRunRedriven { .. } => self.execution.owed_by(event.frame, &mut self.effects),
            EventKind::TaskStarted { .. } | EventKind::TaskSubmitted { .. } => {
                let moved = self.execution.timers(event.frame);
                self.effects.extend(moved.into_iter().filter(|effect| !armed.contains(effect)));
                if matches!(event.kind, EventKind::TaskSubmitted { .. }) {
                    self.effects.extend(self.execution.observation(event.frame));
                }
            }
            EventKind::ExecutionStarted { .. } | EventKind::ExecutionRedriven { .. } => {
                self.effects.extend(self.execution.deadline_effect());
            }
            _ => {}
        }
    }

    fn advance(&mut self, id: FrameId) {
        let Some(frame) = self.execution.frame(id) else { return };
        match &frame.phase {
            Phase::Entering { state, input } => {
                let (state, input) = (Arc::clone(state), input.clone());
                self.enter(id, &state, input);
            }
            Phase::Ended { .. } => states::map::iteration_succeeded(self, id),
            Phase::Visiting(visit) => match &visit.work {
                Work::Fan(_) => self.advance_fan(id),
                Work::MapRun(_) => states::map_run::redrive(self, self.site(id)),
                Work::Begin | Work::Waiting { .. } | Work::Retrying { .. } | Work::Task(_) | Work::Closed => {
                    self.begin(id)
                }
            },
        }
    }

    fn enter(&mut self, id: FrameId, path: &str, input: Payload) {
        let state = self.state_at(path);
        let kind = EventKind::StateEntered {
            state: Arc::clone(&state.path),
            name: Arc::clone(&state.name),
            state_type: state_type(state),
            input,
        };
        self.emit(id, kind);
        self.begin(id);
    }

    /// Begins (or, after a retry's delay, begins again) the state that a frame is in.
    pub fn begin(&mut self, id: FrameId) {
        if self.execution.finished.is_some() {
            return;
        }
        let site = self.site(id);
        let result = match &site.state.kind {
            StateKind::Pass(pass) => states::pass::begin(self, site, pass),
            StateKind::Wait(wait) => states::wait::begin(self, site, wait),
            StateKind::Choice(choice) => states::choice::begin(self, site, choice),
            StateKind::Succeed => states::succeed::begin(self, site),
            StateKind::Fail(fail) => states::fail::begin(self, site, fail),
            StateKind::Task(task) => states::task::begin(self, site, task),
            StateKind::Parallel(parallel) => states::parallel::begin(self, site, parallel),
            StateKind::Map(map) => states::map::begin(self, site, map),
        };
        self.settle(site, result);
    }

    fn advance_fan(&mut self, id: FrameId) {
        let site = self.site(id);
        let complete = matches!(&self.visit(id).work, Work::Fan(fan) if fan.is_complete());
        let result = match &site.state.kind {
            StateKind::Map(map) if !complete => states::map::next_iteration(self, site, map),
            StateKind::Parallel(parallel) if !complete => states::parallel::next_branch(self, site, parallel),
            _ => self.joined(site),
        };
        self.settle(site, result);
    }

    /// Every slot ended well: Parallel and inline Map go on by the same way.
    fn joined(&mut self, site: Site<'a>) -> Result<(), Fault> {
        let kind = match site.state.kind {
            StateKind::Parallel(_) => EventKind::ParallelStateSucceeded {},
            _ => EventKind::MapStateSucceeded {},
        };
        let Work::Fan(fan) = &self.visit(site.frame).work else { return Ok(()) };
        let result = array_of(fan.outputs.iter().flatten())?;
        self.emit(site.frame, kind);
        self.finish(site, result)
    }

    /// A fault of the state itself goes the way of every failure.
    pub fn settle(&mut self, site: Site<'a>, result: Result<(), Fault>) {
        if let Err(fault) = result {
            let failure = self.raise(site, fault);
            self.fail(site.frame, failure, None);
        }
    }

    /// Turns a fault into a failure, with the EvaluationFailed that AWS writes for expressions.
    pub fn raise(&mut self, site: Site<'a>, fault: Fault) -> Failure {
        let location = match &fault {
            Fault::Query { location, .. } => Some(location.as_deref().map(Arc::from)),
            Fault::Runtime(_) | Fault::Named(..) | Fault::Bare(_) => None,
        };
        let failure = match self.trial {
            Some(_) => fault.into_bare_failure(),
            None => fault.into_failure(site.state, self.visit(site.frame)),
        };
        if let Some(location) = location {
            let name = Arc::clone(&site.state.name);
            let kind = EventKind::EvaluationFailed { name, failure: failure.clone(), location };
            self.emit(site.frame, kind);
        }
        failure
    }

    /// The work gave a result: shape it and leave the state.
    pub fn finish(&mut self, site: Site<'a>, result: Payload) -> Result<(), Fault> {
        let passed = self.pass_on(site, result)?;
        self.exit(site, passed, self.next_of(site.state))
    }

    /// Leaves a state. In the root frame's last state the execution ends well.
    pub fn exit(&mut self, site: Site<'a>, passed: Passed, next: Option<StateId>) -> Result<(), Fault> {
        self.check_size(&passed.output, &site.state.name)?;
        self.check_variables(site, &passed.assigned)?;
        self.note(|inspection| inspection.assigned.clone_from(&passed.assigned));
        let kind = EventKind::StateExited {
            name: Arc::clone(&site.state.name),
            state_type: state_type(site.state),
            output: passed.output.clone(),
            assigned: passed.assigned,
            next: next.map(|next| Arc::clone(&self.program.state(next).path)),
        };
        let frame = self.frame(site.frame);
        let prev = lineage::exit(frame, site.state.query_language);
        self.emit_after(site.frame, prev, kind);
        if site.frame == FrameId::ROOT && next.is_none() {
            self.emit(FrameId::ROOT, EventKind::ExecutionSucceeded { output: passed.output });
        }
        Ok(())
    }

    /// Where a state leads to when it ends well.
    pub fn next_of(&self, state: &State) -> Option<StateId> {
        match state.next {
            Transition::Next(next) => Some(next),
            Transition::End => None,
        }
    }

    /// Refuses a payload above the limit.
    pub fn check_size(&self, payload: &Payload, what: &str) -> Result<(), Fault> {
        let payload_max = self.start().limits.payload_max;
        if payload_max > 0 && payload.len() as u64 > payload_max {
            Err(Fault::too_large(what))
        } else {
            Ok(())
        }
    }

    /// What the execution was started with.
    pub fn start(&self) -> &Start {
        self.execution.start.as_deref().expect("a turn begins with a started execution")
    }

    /// A frame that is known to be there.
    pub fn frame(&self, id: FrameId) -> &Frame {
        self.execution.frame(id).expect("the frame is open")
    }

    /// The visit of a frame that is known to be in a state.
    pub fn visit(&self, id: FrameId) -> &Visit {
        self.frame(id).visit().expect("the frame is in a state")
    }

    /// A frame with the state it is in.
    pub fn site(&self, id: FrameId) -> Site<'a> {
        Site { frame: id, state: self.state_at(&self.visit(id).state) }
    }

    fn state_at(&self, path: &str) -> &'a State {
        self.program.find(path).unwrap_or_else(|| panic!("the definition has no state {path}"))
    }
}

/// The type of a state.
pub(crate) fn state_type(state: &State) -> StateType {
    match state.kind {
        StateKind::Task(_) => StateType::Task,
        StateKind::Parallel(_) => StateType::Parallel,
        StateKind::Map(_) => StateType::Map,
        StateKind::Pass(_) => StateType::Pass,
        StateKind::Wait(_) => StateType::Wait,
        StateKind::Choice(_) => StateType::Choice,
        StateKind::Succeed => StateType::Succeed,
        StateKind::Fail(_) => StateType::Fail,
    }
}

/// A JSON array of payloads, their texts as they are.
pub(crate) fn array_of<'p>(payloads: impl Iterator<Item = &'p Payload>) -> Result<Payload, Fault> {
    let mut text = String::from("[");
    for payload in payloads {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(payload.text());
    }
    text.push(']');
    // It can only be nested too deeply.
    Payload::parse(text).map_err(|error| Fault::Runtime(error.to_string()))
}
