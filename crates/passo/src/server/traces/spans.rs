//! Events of one execution → spans: one for the execution, one for each visit of a state, for each attempt of a task, a
//! Parallel or a Map, and for each branch and iteration. A fold over the journal, pure, so that the same events give the
//! same spans whenever and however often they are read. No input, output, parameter or cause gets into a span.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Event, EventKind, FrameId, Start, TaskLabel, Timestamp};

use super::ids::{SpanId, TraceContext};
use super::span::{Attribute, Kind, Span};

/// Why something ended that a sibling or the execution took along.
const ABORTED: &str = "aborted";

/// Everything of one execution that is not over.
pub(super) struct Trace {
    context: TraceContext,
    start: Arc<Start>,
    /// The last event that was applied.
    pub seq: u64,
    root: Option<Span>,
    redrives: u32,
    frames: BTreeMap<FrameId, Frame>,
    over: Vec<Span>,
}

/// A line of control.
#[derive(Default)]
struct Frame {
    parent: Option<FrameId>,
    /// The branch or iteration; none for the machine's own line.
    line: Option<Span>,
    visit: Option<Visit>,
    /// Its span is told; the frame is kept, since a redrive may take it up again.
    is_over: bool,
}

/// A state that is visited.
struct Visit {
    span: Span,
    attempts: u32,
    attempt: Option<Span>,
    /// The last error.
    error: Option<String>,
    /// Its span is told.
    is_over: bool,
}

impl Trace {
    /// Before the first event.
    pub fn new(start: &Arc<Start>) -> Trace {
        Trace {
            context: TraceContext::of(start),
            start: Arc::clone(start),
            seq: 0,
            root: None,
            redrives: 0,
            frames: BTreeMap::from([(FrameId::ROOT, Frame::default())]),
            over: Vec::new(),
        }
    }

    /// The trace and the caller's span.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Takes the next event; gives the spans that ended with it.
    pub fn apply(&mut self, event: &Event) -> Vec<Span> {
        self.seq = event.seq;
        let (at, frame) = (event.at, event.frame);
        match &event.kind {
            EventKind::ExecutionStarted { .. } => self.root = Some(self.execution(at)),
            EventKind::ExecutionRedriven { count, .. } => self.redriven(*count, event),
            EventKind::ExecutionSucceeded { .. } => self.ended(at, "SUCCEEDED", None),
            EventKind::ExecutionFailed { failure } => self.ended(at, "FAILED", Some(name_of(failure))),
            EventKind::ExecutionTimedOut { failure } => self.ended(at, "TIMED_OUT", Some(name_of(failure))),
            EventKind::ExecutionAborted { failure } => self.ended(at, "ABORTED", Some(name_of(failure))),
            EventKind::StateEntered { state, name, state_type, .. } => {
                self.entered(event, (state, name, state_type.name()));
            }
            EventKind::StateExited { next, .. } => {
                self.leave(frame, at);
                if next.is_none() {
                    self.succeeded(frame, at);
                }
            }
            EventKind::StateAborted { .. } => {
                // AWS aborts the state that failed, too.
                let own = self.visit(frame).and_then(|visit| visit.error.clone());
                self.end_visit(frame, at, Some(own.unwrap_or_else(|| ABORTED.into())));
            }
            EventKind::EvaluationFailed { failure, .. } => self.failed(frame, name_of(failure)),
            _ => self.inside(event),
        }
        std::mem::take(&mut self.over)
    }

    /// What happens within a state.
    fn inside(&mut self, event: &Event) {
        let (at, frame) = (event.at, event.frame);
        match &event.kind {
            EventKind::TaskScheduled { task } => {
                self.attempt(event, task_name(&task.label), Kind::Client, task_attributes(task));
            }
            EventKind::TaskStarted { worker_name: Some(worker), .. } => {
                self.note(frame, Attribute::text("aws.step_functions.activity.worker_name", worker));
            }
            EventKind::TaskSucceeded { .. }
            | EventKind::ParallelStateSucceeded {}
            | EventKind::MapStateSucceeded {}
            | EventKind::MapRunSucceeded { .. } => self.end_attempt(frame, at, None),
            EventKind::TaskFailed { failure, .. }
            | EventKind::TaskTimedOut { failure, .. }
            | EventKind::ParallelStateFailed { failure }
            | EventKind::MapStateFailed { failure }
            | EventKind::MapRunFailed { failure } => {
                self.failed(frame, name_of(failure));
                self.end_attempt(frame, at, Some(name_of(failure)));
            }
            EventKind::MapRunAborted {} => self.end_attempt(frame, at, Some(ABORTED.into())),
            EventKind::ParallelStateStarted { branches, .. } => {
                let attributes = vec![Attribute::number("aws.step_functions.parallel.branches", *branches)];
                self.attempt(event, "Parallel".into(), Kind::Internal, attributes);
            }
            EventKind::MapStateStarted { length, distributed: false, .. } => {
                let attributes = vec![Attribute::number("aws.step_functions.map.items", *length)];
                self.attempt(event, "Map".into(), Kind::Internal, attributes);
            }
            EventKind::MapRunStarted { map_run_arn } | EventKind::MapRunRedriven { map_run_arn, .. } => {
                let attributes = vec![Attribute::text("aws.step_functions.map_run.arn", map_run_arn)];
                self.attempt(event, "MapRun".into(), Kind::Internal, attributes);
                let id = self.context.span(&format!("map-run {map_run_arn} {}", self.redrives));
                if let Some(attempt) = self.open_attempt(frame) {
                    attempt.id = id;
                }
            }
            EventKind::BranchStarted { parent, index, .. } => {
                let index_of = Attribute::number("aws.step_functions.parallel.branch", *index);
                self.line(event, *parent, format!("branch {index}"), index_of);
            }
            EventKind::MapIterationStarted { parent, name, index, .. } => {
                let index_of = Attribute::number("aws.step_functions.map.index", *index);
                self.line(event, *parent, format!("{name} [{index}]"), index_of);
            }
            EventKind::MapIterationFailed { .. } | EventKind::MapIterationAborted { .. } => {
                self.end_line(frame, at)
            }
            EventKind::MapIterationSucceeded { .. } => self.succeeded(frame, at),
            EventKind::RetryScheduled { until, failure, .. } => {
                self.retried(frame, at, *until, name_of(failure))
            }
            _ => {}
        }
    }

    fn execution(&self, at: Timestamp) -> Span {
        let id = self.context.execution(self.redrives);
        let start = &self.start;
        let parent = match self.redrives {
            0 => self.context.caller,
            // Under the first one, so that the trace stays one tree.
            _ => Some(self.context.execution(0)),
        };
        let mut span = Span::new(id, parent, start.state_machine_name.to_string(), Kind::Server, at);
        let mut text = |name, value: &str| span.attributes.push(Attribute::text(name, value));
        text("aws.step_functions.state_machine.arn", &start.state_machine_arn);
        text("aws.step_functions.execution.arn", &start.execution_arn);
        text("aws.step_functions.execution.name", &start.name);
        let optional = [
            ("aws.step_functions.state_machine.version.arn", &start.version_arn),
            ("aws.step_functions.state_machine.alias.arn", &start.alias_arn),
        ];
        optional.iter().for_each(|(name, value)| {
            if let Some(value) = value {
                text(name, value);
            }
        });
        if let Some(map_run) = &start.map_run {
            text("aws.step_functions.map_run.arn", &map_run.map_run_arn);
            span.attributes.push(Attribute::number("aws.step_functions.map.index", map_run.index));
        }
        span.attributes.push(Attribute::number("aws.step_functions.execution.redrive_count", self.redrives));
        span
    }

    fn ended(&mut self, at: Timestamp, status: &'static str, error: Option<String>) {
        let visit = self.frames.get_mut(&FrameId::ROOT).and_then(|frame| frame.visit.as_mut());
        if let Some(visit) = visit.filter(|visit| visit.error.is_none()) {
            visit.error = error.clone();
        }
        self.end_line(FrameId::ROOT, at);
        if let Some(mut root) = self.root.take() {
            root.attributes.push(Attribute::text("aws.step_functions.execution.status", status));
            self.over.push(root.ended(at, error));
        }
    }

    /// What was open, or was ended by the failure, goes on under new spans of the same trace.
    fn redriven(&mut self, count: u32, event: &Event) {
        self.redrives = count;
        self.root = Some(self.execution(event.at));
        let ids: Vec<FrameId> = self.frames.keys().copied().collect();
        for id in ids {
            // A parent's number is lower than its children's, so that its spans are new already.
            let above = self.above(id);
            let context = &self.context;
            let Some(frame) = self.frames.get_mut(&id) else { continue };
            let again = |span: &mut Span, what: &str, above: SpanId| {
                span.id = context.span(&format!("{what} {} {}", event.seq, id.0));
                (span.parent, span.start, span.events) = (Some(above), event.at, Vec::new());
                span.id
            };
            frame.is_over = false;
            let above = frame.line.as_mut().map_or(above, |line| again(line, "line", above));
            if let Some(visit) = &mut frame.visit {
                again(&mut visit.span, "state", above);
                (visit.error, visit.attempt, visit.is_over) = (None, None, false);
            }
        }
    }

    /// The span that a frame's states, or its branch, lie in.
    fn above(&self, frame: FrameId) -> SpanId {
        let root = self.root.as_ref().map_or_else(|| self.context.execution(self.redrives), |root| root.id);
        let parent = self.frames.get(&frame).and_then(|frame| self.frames.get(&frame.parent?));
        let visit = parent.and_then(|parent| parent.visit.as_ref());
        visit.map_or(root, |visit| visit.attempt.as_ref().map_or(visit.span.id, |attempt| attempt.id))
    }

    fn entered(&mut self, event: &Event, (path, name, state_type): (&str, &str, &'static str)) {
        // A state that failed and was caught is left when the next one is entered.
        self.leave(event.frame, event.at);
        let line = self.frames.get(&event.frame).and_then(|frame| frame.line.as_ref());
        let above = line.map_or_else(|| self.above(event.frame), |line| line.id);
        let id = self.context.span(&format!("state {}", event.seq));
        let mut span = Span::new(id, Some(above), name.to_owned(), Kind::Internal, event.at);
        span.attributes.push(Attribute::text("aws.step_functions.state.name", name));
        span.attributes.push(Attribute::text("aws.step_functions.state.type", state_type));
        span.attributes.push(Attribute::text("aws.step_functions.state.path", path));
        let visit = Visit { span, attempts: 0, attempt: None, error: None, is_over: false };
        self.frames.entry(event.frame).or_default().visit = Some(visit);
    }

    fn line(&mut self, event: &Event, parent: FrameId, name: String, attribute: Attribute) {
        self.frames.insert(event.frame, Frame { parent: Some(parent), ..Frame::default() });
        let id = self.context.span(&format!("line {}", event.seq));
        let mut span = Span::new(id, Some(self.above(event.frame)), name, Kind::Internal, event.at);
        span.attributes.push(attribute);
        if let Some(frame) = self.frames.get_mut(&event.frame) {
            frame.line = Some(span);
        }
    }

    fn attempt(&mut self, event: &Event, name: String, kind: Kind, mut attributes: Vec<Attribute>) {
        self.end_attempt(event.frame, event.at, None);
        self.forget_children(event.frame);
        let id = self.context.span(&format!("attempt {}", event.seq));
        let Some(visit) = self.visit(event.frame) else { return };
        visit.attempts += 1;
        visit.error = None;
        attributes.push(Attribute::number("aws.step_functions.attempt", visit.attempts));
        let mut span = Span::new(id, Some(visit.span.id), name, kind, event.at);
        span.attributes = attributes;
        visit.attempt = Some(span);
    }

    fn retried(&mut self, frame: FrameId, at: Timestamp, until: Timestamp, error: String) {
        self.end_attempt(frame, at, Some(error.clone()));
        let wait = until.since(at).as_millis();
        if let Some(visit) = self.visit(frame) {
            let attributes = vec![
                Attribute::text("error.type", &error),
                Attribute::number(
                    "aws.step_functions.retry.delay_ms",
                    u64::try_from(wait).unwrap_or(u64::MAX),
                ),
            ];
            visit.span.events.push((at, "retry", attributes));
            visit.error = Some(error);
        }
    }

    fn visit(&mut self, frame: FrameId) -> Option<&mut Visit> {
        self.frames.get_mut(&frame)?.visit.as_mut()
    }

    fn open_attempt(&mut self, frame: FrameId) -> Option<&mut Span> {
        self.visit(frame)?.attempt.as_mut()
    }

    fn note(&mut self, frame: FrameId, attribute: Attribute) {
        if let Some(attempt) = self.open_attempt(frame) {
            attempt.attributes.push(attribute);
        }
    }

    fn failed(&mut self, frame: FrameId, error: String) {
        if let Some(visit) = self.visit(frame) {
            visit.error = Some(error);
        }
    }

    /// Ends an attempt with whatever runs inside it.
    fn end_attempt(&mut self, frame: FrameId, at: Timestamp, error: Option<String>) {
        self.children(frame).into_iter().for_each(|child| self.end_line(child, at));
        if let Some(attempt) = self.visit(frame).and_then(|visit| visit.attempt.take()) {
            self.over.push(attempt.ended(at, error));
        }
    }

    fn children(&self, frame: FrameId) -> Vec<FrameId> {
        let is_child = |(_, other): &(&FrameId, &Frame)| other.parent == Some(frame);
        self.frames.iter().filter(is_child).map(|(id, _)| *id).collect()
    }

    /// No redrive takes them up any more.
    fn forget_children(&mut self, frame: FrameId) {
        for child in self.children(frame) {
            self.forget_children(child);
            self.frames.remove(&child);
        }
    }

    /// Ends what is open of a state; it stays, for a redrive.
    fn end_visit(&mut self, frame: FrameId, at: Timestamp, error: Option<String>) {
        self.end_attempt(frame, at, error.clone());
        let Some(visit) = self.visit(frame).filter(|visit| !visit.is_over) else { return };
        visit.is_over = true;
        let span = visit.span.clone().ended(at, error);
        self.over.push(span);
    }

    /// Leaves a state for good. One that had an error which was caught ended well; its attempt tells the error.
    fn leave(&mut self, frame: FrameId, at: Timestamp) {
        if let Some(visit) = self.visit(frame)
            && let Some(caught) = visit.error.take()
        {
            visit.span.attributes.push(Attribute::text("aws.step_functions.caught_error", &caught));
        }
        self.end_visit(frame, at, None);
        self.forget_children(frame);
        if let Some(frame) = self.frames.get_mut(&frame) {
            frame.visit = None;
        }
    }

    /// A branch or iteration came to its end; the machine's own line ends with the execution.
    fn succeeded(&mut self, frame: FrameId, at: Timestamp) {
        self.leave(frame, at);
        if frame == FrameId::ROOT {
            return;
        }
        if let Some(line) =
            self.frames.remove(&frame).filter(|frame| !frame.is_over).and_then(|frame| frame.line)
        {
            self.over.push(line.ended(at, None));
        }
    }

    /// A line of control fails, or is taken along by one that does; it stays, for a redrive.
    fn end_line(&mut self, frame: FrameId, at: Timestamp) {
        let error = self.visit(frame).map(|visit| visit.error.clone().unwrap_or_else(|| ABORTED.into()));
        self.end_visit(frame, at, error.clone());
        let Some(ended) = self.frames.get_mut(&frame).filter(|frame| !frame.is_over) else { return };
        ended.is_over = true;
        if let Some(line) = ended.line.clone() {
            self.over.push(line.ended(at, Some(error.unwrap_or_else(|| ABORTED.into()))));
        }
    }
}

fn name_of(failure: &engine::Failure) -> String {
    failure.error.as_deref().unwrap_or("unknown").to_owned()
}

fn task_name(label: &TaskLabel) -> String {
    match label {
        TaskLabel::Service { resource_type, resource } => format!("{resource_type}:{resource}"),
        TaskLabel::Lambda => "lambda".into(),
        TaskLabel::Activity => "activity".into(),
    }
}

fn task_attributes(task: &engine::event::TaskScheduled) -> Vec<Attribute> {
    let mut attributes = vec![Attribute::text("cloud.region", &task.region)];
    match &task.label {
        TaskLabel::Service { resource_type, resource } => {
            let service = resource_type.strip_prefix("aws-sdk:").unwrap_or(resource_type);
            let method = resource.split('.').next().unwrap_or_default();
            attributes.push(Attribute::text("rpc.system", "aws-api"));
            attributes.push(Attribute::text("rpc.service", service));
            attributes.push(Attribute::text("rpc.method", method));
        }
        TaskLabel::Lambda => attributes.push(Attribute::text("faas.invoked_provider", "aws")),
        TaskLabel::Activity => {}
    }
    attributes
}
