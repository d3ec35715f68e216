//! Texts that came to events after the format was fixed: written under tags of their own, and read back.

use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;
use engine::record::{decode, encode};
use engine::{Apart, DefinitionHash, Event, EventKind, FrameId, Start};

fn start(test_case: Option<&str>) -> Arc<Start> {
    Arc::new(Start {
        test_case: test_case.map(Arc::from),
        ..Start::of(
            "arn:aws:states:us-east-1:000000000000:stateMachine:m",
            "e",
            DefinitionHash([7; 32]),
            Payload::empty_object(),
        )
    })
}

fn event(seq: u64, kind: EventKind) -> Event {
    let at = Timestamp::from_epoch_millis(1_700_000_000_000);
    Event { seq, frame: FrameId::ROOT, at, history_id: Some(seq), prev: 0, kind }
}

fn started(test_case: Option<&str>) -> Event {
    event(1, EventKind::ExecutionStarted { start: start(test_case), deadline: None, first: "A".into() })
}

fn redriven(token: Option<&str>) -> Event {
    let client_token = Apart(token.map(Arc::from));
    event(2, EventKind::ExecutionRedriven { count: 1, deadline: None, client_token })
}

#[test]
fn what_is_written_apart_is_read_back() {
    for (test_case, token) in [(None, None), (Some("HappyPath"), Some("token-1"))] {
        let events = vec![started(test_case), redriven(token), event(3, EventKind::MapStateSucceeded {})];
        let turn = encode(&events);
        assert_eq!(decode(&turn.events, &turn.payloads), Ok(events));
    }
}

#[test]
fn without_such_a_text_an_event_has_the_bytes_it_always_had() {
    for (tag, event) in
        [(1, started(None)), (6, redriven(None)), (7, started(Some("T"))), (8, redriven(Some("T")))]
    {
        assert_eq!(encode(&[event]).events[0], tag);
    }
}
