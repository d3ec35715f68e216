//! The bytes of a turn: whatever is changed in them is noticed.

mod samples;

use engine::{Event, Payload};
use samples::{Dice, FRANKFURT, Script, payload_of};
use store::turn::{self, PAYLOAD_ROW_MIN, TurnError};
use store::{MemoryStore, Standing, StoreError};

/// A turn with a payload of each sort: shared, of a row, just below.
fn sample() -> (Script, turn::EncodedTurn) {
    let mut start = samples::start(FRANKFURT, "Order", "a");
    start.input = payload_of(10_000, 1);
    let mut script = Script::new(&MemoryStore::new(), start, 0);
    script.started().passed(&payload_of(100, 2)).passed(&payload_of(5000, 3));
    script.turn(Standing::Open);
    let encoded = turn::encode(script.key, &script.events).expect("a turn");
    (script, encoded)
}

fn decode(blob: &[u8], rows: &[(u64, Payload)]) -> Result<turn::DecodedTurn, TurnError> {
    turn::decode(blob, &mut |_, number| {
        Ok(rows.iter().find(|(n, _)| *n == number).map(|(_, payload)| payload.text().as_bytes().to_vec()))
    })
}

#[test]
fn a_turn_is_read_back_and_shared_payloads_are_written_once() {
    let (script, encoded) = sample();
    let decoded = decode(&encoded.blob, &encoded.rows).expect("a turn");
    assert_eq!((decoded.execution, &decoded.events), (script.key, &script.events));
    assert_eq!(encoded.rows.len(), 2, "two payloads are rows, each once");
    assert!(encoded.rows.iter().all(|(_, payload)| payload.len() >= PAYLOAD_ROW_MIN));
    let small = payload_of(100, 2);
    let found = encoded.blob.windows(small.len()).filter(|window| *window == small.text().as_bytes()).count();
    assert_eq!(found, 1);
}

#[test]
fn any_changed_bit_is_noticed() {
    let (_, encoded) = sample();
    for index in 0..encoded.blob.len() {
        let mut changed = encoded.blob.clone();
        changed[index] ^= 1 << (index % 8);
        decode(&changed, &encoded.rows).expect_err("a changed bit");
    }
}

#[test]
fn any_missing_end_is_noticed() {
    let (_, encoded) = sample();
    for length in 0..encoded.blob.len() {
        decode(&encoded.blob[..length], &encoded.rows).expect_err("a missing end");
    }
    let mut longer = encoded.blob.clone();
    longer.push(0);
    decode(&longer, &encoded.rows).expect_err("an end too many");
}

/// With the checksum made right again, so that the sections themselves must stand up to it.
#[test]
fn any_bytes_with_a_right_checksum_are_decoded_or_refused() {
    let (_, encoded) = sample();
    let mut dice = Dice(1);
    for _ in 0..20_000 {
        let mut changed = encoded.blob.clone();
        for _ in 0..=dice.roll(3) {
            let index = 8 + dice.roll(changed.len() as u64 - 8) as usize;
            changed[index] = dice.roll(256) as u8;
        }
        changed.truncate(changed.len() - dice.roll(3) as usize);
        let checksum = crc32c::crc32c(&changed[8..]);
        changed[4..8].copy_from_slice(&checksum.to_le_bytes());
        if let Ok(decoded) = decode(&changed, &encoded.rows) {
            assert!(!decoded.events.is_empty());
        }
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    let (_, encoded) = sample();
    for (index, what) in [(1, "format"), (2, "codec"), (3, "flags")] {
        let mut newer = encoded.blob.clone();
        newer[index] += 1;
        let refused = decode(&newer, &encoded.rows).expect_err("unknown").to_string();
        assert!(refused.contains(what) && refused.contains("newer"), "{refused}");
    }
}

#[test]
fn a_changed_or_missing_row_is_noticed() {
    let (_, encoded) = sample();
    let missing = decode(&encoded.blob, &encoded.rows[1..]).expect_err("a missing row").to_string();
    assert!(missing.contains("is missing"), "{missing}");
    let mut rows = encoded.rows.clone();
    rows[0].1 = payload_of(10_000, 9);
    let changed = decode(&encoded.blob, &rows).expect_err("a changed row").to_string();
    assert!(changed.contains("checksum"), "{changed}");
}

#[test]
fn a_turn_without_order_is_not_encoded() {
    let (script, _) = sample();
    let mut swapped: Vec<Event> = script.events.clone();
    swapped.swap(1, 2);
    for events in [&[][..], &swapped] {
        let refused = turn::encode(script.key, events).expect_err("no order");
        assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    }
}
