use std::sync::Arc;

use engine::event::TaskScheduled;
use engine::{Event, EventKind, Failure, FrameId, Start, StateType, TaskLabel, Timestamp};

use super::span::Span;
use super::spans::Trace;

/// Events of one execution, a second apart.
struct Story {
    start: Arc<Start>,
    events: Vec<Event>,
}

impl Story {
    fn begin(header: Option<&str>) -> Story {
        let start = Arc::new(Start {
            trace_header: header.map(Arc::from),
            ..Start::of(
                "arn:aws:states:us-east-1:000000000000:stateMachine:m",
                "e",
                runtime::hash(""),
                payload("{}"),
            )
        });
        let mut story = Story { start: Arc::clone(&start), events: Vec::new() };
        story.then(0, EventKind::ExecutionStarted { start, deadline: None, first: "/Only".into() });
        story
    }

    fn then(&mut self, frame: u32, kind: EventKind) -> &mut Story {
        let seq = self.events.len() as u64 + 1;
        let at = Timestamp::from_epoch_millis(1_000 * seq as i64);
        self.events.push(Event {
            seq,
            frame: FrameId(frame),
            at,
            history_id: Some(seq),
            prev: seq - 1,
            kind,
        });
        self
    }

    fn enter(&mut self, frame: u32, name: &str, state_type: StateType) -> &mut Story {
        let state = format!("/{name}").into();
        self.then(
            frame,
            EventKind::StateEntered { state, name: name.into(), state_type, input: payload("{}") },
        )
    }

    fn exit(&mut self, frame: u32, name: &str, state_type: StateType, next: Option<&str>) -> &mut Story {
        let (output, assigned, next) = (payload("{}"), Vec::new(), next.map(Arc::from));
        self.then(frame, EventKind::StateExited { name: name.into(), state_type, output, assigned, next })
    }

    fn schedule(&mut self, frame: u32) -> &mut Story {
        let task = TaskScheduled {
            label: label(),
            resource: asl::program::Resource::parse("arn:aws:states:::lambda:invoke").unwrap(),
            region: "us-east-1".into(),
            parameters: payload("{}"),
            timeout: None,
            heartbeat: None,
            credentials_role: None,
            nonce: None,
        };
        self.then(frame, EventKind::TaskScheduled { task: Box::new(task) })
    }

    fn fail_task(&mut self, frame: u32) -> &mut Story {
        let task = engine::TaskId(self.events.len() as u64);
        let stage = engine::Stage::Run;
        self.then(frame, EventKind::TaskFailed { task, label: label(), failure: failure(), stage })
    }

    fn succeed_task(&mut self, frame: u32) -> &mut Story {
        let task = engine::TaskId(self.events.len() as u64);
        self.then(frame, EventKind::TaskSucceeded { task, label: label(), output: payload("{}") })
    }

    /// The spans, from a fold that is begun anew before event `again`.
    fn spans(&self, again: u64) -> Vec<Span> {
        let mut trace = Trace::new(&self.start);
        let mut spans = Vec::new();
        for event in &self.events {
            if event.seq == again {
                trace = Trace::new(&self.start);
                for earlier in self.events.iter().filter(|earlier| earlier.seq < again) {
                    trace.apply(earlier);
                }
            }
            spans.extend(trace.apply(event));
        }
        spans
    }
}

fn payload(text: &str) -> engine::Payload {
    engine::Payload::parse(text).unwrap()
}

fn label() -> TaskLabel {
    TaskLabel::Service { resource_type: "lambda".into(), resource: "invoke".into() }
}

fn failure() -> Failure {
    Failure { error: Some("States.TaskFailed".into()), cause: Some("a secret".into()) }
}

/// Name, name of the parent, error.
fn tree(spans: &[Span]) -> Vec<(String, String, Option<String>)> {
    let parent = |span: &Span| spans.iter().find(|other| Some(other.id) == span.parent);
    let line = |span: &Span| {
        let parent = parent(span).map(|parent| parent.name.clone());
        (span.name.clone(), parent.unwrap_or_default(), span.error.clone())
    };
    spans.iter().map(line).collect()
}

fn retried() -> Story {
    let mut story = Story::begin(None);
    story.enter(0, "Call", StateType::Task).schedule(0).fail_task(0);
    let until = Timestamp::from_epoch_millis(5_000);
    story.then(0, EventKind::RetryScheduled { until, retrier: 0, failure: failure() });
    story.schedule(0).succeed_task(0).exit(0, "Call", StateType::Task, None);
    story.then(0, EventKind::ExecutionSucceeded { output: payload("{}") });
    story
}

#[test]
fn attempts_lie_in_their_state_and_the_state_in_its_execution() {
    let story = retried();
    let spans = story.spans(0);
    let of = |name: &str, parent: &str, error: Option<&str>| {
        (name.to_owned(), parent.to_owned(), error.map(str::to_owned))
    };
    let expected = [
        of("lambda:invoke", "Call", Some("States.TaskFailed")),
        of("lambda:invoke", "Call", None),
        of("Call", "m", None),
        of("m", "", None),
    ];
    assert_eq!(tree(&spans), expected);
    let text = format!("{spans:?}");
    assert!(!text.contains("a secret"), "{text}");
    assert_eq!(spans[2].events.len(), 1);
}

#[test]
fn a_fold_that_begins_again_anywhere_gives_the_same_spans() {
    for story in [retried(), redriven()] {
        let whole = format!("{:?}", story.spans(0));
        for again in 1..=story.events.len() as u64 {
            assert_eq!(format!("{:?}", story.spans(again)), whole, "again before {again}");
        }
    }
}

fn redriven() -> Story {
    let mut story = Story::begin(Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8"));
    story.enter(0, "Fan", StateType::Parallel);
    story.then(0, EventKind::ParallelStateStarted { branches: 2, input: payload("{}") });
    for (frame, index) in [(1, 0), (2, 1)] {
        let (parent, first, input) = (FrameId(0), "/B".into(), payload("{}"));
        story.then(frame, EventKind::BranchStarted { parent, index, first, input });
        story.enter(frame, "B", StateType::Task).schedule(frame);
    }
    story.succeed_task(1).exit(1, "B", StateType::Task, None);
    story.fail_task(2);
    story.then(0, EventKind::ParallelStateFailed { failure: failure() });
    story.then(0, EventKind::ExecutionFailed { failure: failure() });
    story.then(
        0,
        EventKind::ExecutionRedriven { count: 1, deadline: None, client_token: engine::Apart(None) },
    );
    story.schedule(2).succeed_task(2).exit(2, "B", StateType::Task, None);
    story.then(0, EventKind::ParallelStateSucceeded {});
    story.exit(0, "Fan", StateType::Parallel, None);
    story.then(0, EventKind::ExecutionSucceeded { output: payload("{}") });
    story
}

#[test]
fn a_redrive_goes_on_in_the_same_trace_with_what_had_failed() {
    let spans = redriven().spans(0);
    let names: Vec<(String, String, bool)> =
        tree(&spans).into_iter().map(|(name, parent, error)| (name, parent, error.is_some())).collect();
    let of = |name: &str, parent: &str, failed: bool| (name.to_owned(), parent.to_owned(), failed);
    let expected = [
        of("lambda:invoke", "B", false),
        of("B", "branch 0", false),
        of("branch 0", "Parallel", false),
        of("lambda:invoke", "B", true),
        of("B", "branch 1", true),
        of("branch 1", "Parallel", true),
        of("Parallel", "Fan", true),
        of("Fan", "m", true),
        of("m", "", true),
        of("lambda:invoke", "B", false),
        of("B", "branch 1", false),
        of("branch 1", "Fan", false),
        of("Fan", "m", false),
        of("m", "m", false),
    ];
    assert_eq!(names, expected);
    let mut ids: Vec<String> = spans.iter().map(|span| span.id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
    assert_eq!(spans[8].parent.map(|id| id.to_string()).as_deref(), Some("53995c3f42cd8ad8"));
}
