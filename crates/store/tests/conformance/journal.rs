//! Turns, pages of history, positions, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::Payload;
use engine::map_run::{Cursor, MapRun, MapRunEvent, MapRunEventKind, Thresholds};
use store::{
    Batch, CursorMove, Direction, ExecutionStatus, HistoryQuery, InputIn, MapRunItem, MapRunItemWrite,
    MapRunItemsQuery, MapRunTurn, Standing, Store, StoreError, TurnRecord, WhichItems,
};

use crate::samples::{self, FRANKFURT, Script, json, payload_of, turns};
use crate::{Backend, conformance};

conformance!(
    an_execution_is_read_back_as_it_was_written,
    pages_of_history_show_the_public_events_both_ways,
    observers_read_by_position_and_remember_it,
    a_batch_that_breaks_the_rules_writes_nothing,
    items_of_a_map_run_are_read_in_pages,
    pages_of_children_are_bounded_by_their_bytes,
    a_checkpoint_takes_the_place_of_a_map_runs_journal,
    a_map_runs_turn_must_follow_the_one_before,
    an_empty_batch_is_no_work,
    readers_see_whole_batches_while_one_writes,
);

fn an_execution_is_read_back_as_it_was_written(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut scripts = Vec::new();
    for (name, bytes) in [("none", 0), ("small", 100), ("below", 4000), ("row", 5000), ("large", 262_000)] {
        let mut start = samples::start(FRANKFURT, "Order", name);
        start.input = payload_of(bytes, 1);
        let mut script = Script::new(&*store, start, 0);
        store.append(&turns([script.started().turn(Standing::Open)])).expect("a commit");
        let (first, second) = (payload_of(bytes, 2), payload_of(bytes, 3));
        script.passed(&first).passed(&second).passed(&first);
        store.append(&turns([script.turn(Standing::Open)])).expect("a commit");
        script.succeeded(&second);
        store.append(&turns([script.turn(Standing::Settled)])).expect("a commit");
        scripts.push(script);
    }
    for restart in 0..2 {
        for script in &scripts {
            assert_eq!(
                store.reader().events(script.key).expect("a read"),
                script.events,
                "restart {restart}"
            );
        }
        assert_eq!(store.verify().expect("verify reads"), []);
        drop(store);
        store = backend.open();
    }
}

fn pages_of_history_show_the_public_events_both_ways(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut script = Script::new(&*store, samples::start(FRANKFURT, "Order", "a"), 0);
    store.append(&turns([script.started().turn(Standing::Open)])).expect("a commit");
    for turn in 0..7 {
        script.passed(&json("1"));
        if turn % 3 == 0 {
            script.passed(&json("2"));
        }
        store.append(&turns([script.turn(Standing::Open)])).expect("a commit");
    }
    // A turn of private events only, after the end.
    store.append(&turns([script.failed().turn(Standing::Open)])).expect("a commit");
    store.append(&turns([script.cancelled().turn(Standing::Settled)])).expect("a commit");
    let reader = store.reader();
    for direction in [Direction::Forward, Direction::Backward] {
        let mut expected = script.public();
        if direction == Direction::Backward {
            expected.reverse();
        }
        for limit in [1, 2, 3, 5, 1000] {
            let mut query = HistoryQuery { execution: script.key, from: None, direction, limit };
            let mut found = Vec::new();
            loop {
                let page = reader.history(&query).expect("a page");
                assert!(page.items.len() <= limit as usize);
                found.extend(page.items);
                match page.next {
                    Some(next) => query.from = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, expected, "{direction:?} by {limit}");
        }
    }
    let nobody = store.keys().draw(&samples::scope(FRANKFURT)).expect("a key");
    let query = HistoryQuery { execution: nobody, from: None, direction: Direction::Forward, limit: 10 };
    assert_eq!(reader.history(&query).expect("a page").items, []);
}

fn observers_read_by_position_and_remember_it(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut scripts: Vec<Script> = (0..3)
        .map(|index| Script::new(&*store, samples::start(FRANKFURT, "Order", &format!("{index}")), 0))
        .collect();
    let started: Vec<TurnRecord> = scripts.iter_mut().map(|s| s.started().turn(Standing::Open)).collect();
    assert_eq!(store.append(&turns(started)).expect("a commit").position, 3);
    let turn = scripts[1].passed(&payload_of(9000, 1)).turn(Standing::Open);
    let cursors = vec![CursorMove { name: "logs".into(), position: Some(3) }];
    let batch = Batch { turns: vec![turn.clone()], cursors, ..Batch::default() };
    assert_eq!(store.append(&batch).expect("a commit").position, 4);
    drop(store);
    let mut store = backend.open();
    let reader = store.reader();
    let positions = |after, limit| -> Vec<u64> {
        reader.journal(after, limit).expect("a page").iter().map(|turn| turn.position).collect()
    };
    assert_eq!(positions(0, 10), [1, 2, 3, 4]);
    assert_eq!(positions(1, 2), [2, 3]);
    assert!(positions(4, 10).is_empty());
    let cursor = reader.cursor("logs").expect("a read").expect("a cursor");
    let read = reader.journal(cursor, 10).expect("a page");
    assert_eq!((read.len(), read[0].execution), (1, scripts[1].key));
    assert_eq!(read[0].events[..], turn.events[..]);
    assert_eq!(reader.cursor("metrics").expect("a read"), None);
    let cursors = vec![CursorMove { name: "logs".into(), position: None }];
    store.append(&Batch { cursors, ..Batch::default() }).expect("a commit");
    assert_eq!(store.reader().cursor("logs").expect("a read"), None);
    let turn = scripts[2].failed().turn(Standing::Settled);
    assert_eq!(store.append(&turns([turn])).expect("a commit").position, 5);
}

fn a_batch_that_breaks_the_rules_writes_nothing(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut script = Script::new(&*store, samples::start(FRANKFURT, "Order", "a"), 0);
    let first = script.started().turn(Standing::Open);
    store.append(&turns([first])).expect("a commit");
    let second = script.passed(&json("1")).turn(Standing::Open);
    let mut other = Script::new(&*store, samples::start(FRANKFURT, "Order", "b"), 0);
    let fine = other.started().turn(Standing::Open);
    let with_events = |events: Vec<engine::Event>| TurnRecord { events: events.into(), ..second.clone() };
    let gap = with_events(vec![second.events[0].clone(), second.events[2].clone()]);
    let mut abroad = Script::new(&*store, samples::start(samples::DUBLIN, "Order", "c"), 0);
    abroad.key.scope = script.key.scope;
    let mut nameless = samples::start(FRANKFURT, "Order", "d");
    nameless.execution_arn = "arn:aws:states:eu-central-1:000000000000:execution".into();
    let mut nameless = Script::new(&*store, nameless, 0);
    for (what, bad) in [
        ("a gap", gap),
        ("no events", with_events(Vec::new())),
        ("another scope", abroad.started().turn(Standing::Open)),
        ("no name", nameless.started().turn(Standing::Open)),
    ] {
        let refused = store.append(&turns([fine.clone(), bad])).expect_err(what);
        assert!(matches!(refused, StoreError::Refused(_)), "{what}: {refused}");
    }
    store.append(&turns([second.clone()])).expect("the store goes on");
    let refused = store.append(&turns([fine.clone(), second.clone()])).expect_err("the same turn twice");
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    assert_eq!(store.reader().execution(other.arn()).expect("a read"), None);
    assert_eq!(store.reader().events(script.key).expect("a read"), script.events);
    assert_eq!(store.append(&turns([fine])).expect("a commit").position, 3);
    assert_eq!(store.verify().expect("verify reads"), []);
}

fn map_run(id: &str) -> Arc<str> {
    format!("arn:aws:states:eu-central-1:000000000000:mapRun:Order/Each:{id}").into()
}

fn item(id: &str, index: u64, input: Option<Payload>) -> MapRunItem {
    MapRunItem {
        map_run_arn: map_run(id),
        index,
        execution_arn: samples::execution_arn(FRANKFURT, "Order/Each", &format!("{index}")).into(),
        status: ExecutionStatus::Running,
        output: None,
        items: 3,
        input,
        start: Some(samples::at(1)),
        stop: None,
        redrive_count: 0,
    }
}

fn page(store: &dyn Store, id: &str, from: u64, which: WhichItems, limit: u32) -> Vec<MapRunItem> {
    let query = MapRunItemsQuery { map_run_arn: map_run(id), from, which, limit };
    store.reader().map_run_items(&query).expect("a page")
}

fn items_of_a_map_run_are_read_in_pages(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut items: Vec<MapRunItem> =
        (0..5).map(|index| item("a", index, Some(payload_of(10, index)))).collect();
    let scheduled = items.iter().rev().cloned().chain([item("b", 0, None)]);
    let scheduled = scheduled.map(MapRunItemWrite::Scheduled).collect();
    store.append(&Batch { items: scheduled, ..Batch::default() }).expect("a commit");
    let ended = |index: u64, status, input| MapRunItemWrite::Ended {
        map_run_arn: map_run("a"),
        index,
        at: samples::at(9),
        status,
        output: Some(samples::json("[1]")),
        input,
    };
    let (succeeded, failed) = (ExecutionStatus::Succeeded, ExecutionStatus::Failed);
    let mut ends = vec![ended(1, succeeded, InputIn::Journal), ended(2, failed, InputIn::Row)];
    ends.extend([ended(3, failed, InputIn::Row), ended(3, succeeded, InputIn::Row)]);
    store.append(&Batch { items: ends, ..Batch::default() }).expect("a commit");
    let redriven = MapRunItemWrite::Redriven { map_run_arn: map_run("a"), index: 2, redrive_count: 1 };
    store
        .append(&Batch { items: vec![ended(4, failed, InputIn::Row), redriven], ..Batch::default() })
        .expect("a commit");
    drop(store);
    let store = backend.open();
    for (index, status) in [(1, succeeded), (3, succeeded), (4, failed)] {
        (items[index].status, items[index].output) = (status, Some(samples::json("[1]")));
        items[index].stop = Some(samples::at(9));
    }
    items[1].input = None;
    items[2].redrive_count = 1;
    assert_eq!(page(&*store, "a", 0, WhichItems::All, 10), items);
    assert_eq!(page(&*store, "a", 2, WhichItems::All, 2), items[2..4]);
    assert_eq!(page(&*store, "a", 0, WhichItems::Unsuccessful, 10), items[4..]);
    assert_eq!(page(&*store, "b", 0, WhichItems::All, 10), [item("b", 0, None)]);
    assert_eq!(page(&*store, "c", 0, WhichItems::All, 10), []);
}

fn pages_of_children_are_bounded_by_their_bytes(backend: &dyn Backend) {
    let mut store = backend.open();
    let large = payload_of(200_000, 1);
    let items =
        (0..40).map(|index| MapRunItemWrite::Scheduled(item("a", index, Some(large.clone())))).collect();
    store.append(&Batch { items, ..Batch::default() }).expect("a commit");
    let (mut seen, mut from) = (0, 0);
    loop {
        let page = page(&*store, "a", from, WhichItems::All, 1_000);
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 6, "{}", page.len());
        (seen, from) = (seen + page.len(), last.index + 1);
    }
    assert_eq!(seen, 40);
}

fn events(from: u64, count: u64) -> Vec<MapRunEvent> {
    let kind = |seq| match seq {
        1 => MapRunEventKind::Began {
            map_run_arn: map_run("a"),
            execution_arn: samples::execution_arn(FRANKFURT, "Order", "e").into(),
            task: engine::TaskId(4),
            redrive: 0,
            express: false,
            thresholds: Thresholds {
                max_concurrency: 4,
                tolerated_failure_count: None,
                tolerated_failure_millionths: Some(5),
            },
            reader: Some(payload_of(9_000, 1)),
            writer: None,
            items_total: None,
            items_per_child: 3,
        },
        _ => MapRunEventKind::ChildScheduled { index: seq - 2, items: 3, cursor: Cursor::default() },
    };
    (from..from + count)
        .map(|seq| MapRunEvent { seq, at: samples::at(seq as i64), kind: kind(seq) })
        .collect()
}

fn map_run_batch(id: &str, events: Vec<MapRunEvent>) -> Batch {
    let turn = MapRunTurn { map_run_arn: map_run(id), events: events.into() };
    Batch { map_runs: vec![turn], ..Batch::default() }
}

fn a_checkpoint_takes_the_place_of_a_map_runs_journal(backend: &dyn Backend) {
    let mut store = backend.open();
    store.append(&map_run_batch("a", events(1, 3))).expect("a commit");
    store.append(&map_run_batch("a", events(4, 2))).expect("a commit");
    assert_eq!(store.reader().map_run_events(&map_run("a")).expect("a read"), events(1, 5));
    let mut state = MapRun::replay(&events(1, 5));
    let checkpoint = state.checkpoint(samples::at(7));
    let mut batch = map_run_batch("a", vec![checkpoint.clone()]);
    batch.items = (0..4).map(|index| MapRunItemWrite::Scheduled(item("a", index, None))).collect();
    store.append(&batch).expect("a commit");
    drop(store);
    let mut store = backend.open();
    assert_eq!(
        store.reader().map_run_events(&map_run("a")).expect("a read"),
        std::slice::from_ref(&checkpoint)
    );
    assert_eq!(store.verify().expect("verify reads"), [], "counters are those of the rows");
    let after = events(checkpoint.seq + 1, 1);
    store.append(&map_run_batch("a", after.clone())).expect("a commit");
    let all = [vec![checkpoint], after].concat();
    assert_eq!(store.reader().map_run_events(&map_run("a")).expect("a read"), all);
    assert_eq!(store.verify().expect("verify reads").len(), 1, "a child without a row");
    assert_eq!(store.reader().map_run_events(&map_run("b")).expect("a read"), []);
}

fn a_map_runs_turn_must_follow_the_one_before(backend: &dyn Backend) {
    let mut store = backend.open();
    store.append(&map_run_batch("a", events(1, 3))).expect("a commit");
    for (what, bad) in [("no events", Vec::new()), ("a gap", [events(4, 1), events(6, 1)].concat())] {
        let refused = store.append(&map_run_batch("a", bad)).expect_err(what);
        assert!(matches!(refused, StoreError::Refused(_)), "{what}: {refused}");
    }
    store.append(&map_run_batch("a", events(6, 1))).expect("a commit");
    let corrupt = store.reader().map_run_events(&map_run("a")).expect_err("a gap between turns");
    assert!(matches!(corrupt, StoreError::Corrupt { seq: 4, .. }), "{corrupt}");
}

fn an_empty_batch_is_no_work(backend: &dyn Backend) {
    let mut store = backend.open();
    assert!(Batch::default().is_empty());
    assert_eq!(store.append(&Batch::default()).expect("a commit").position, 0);
    store.checkpoint().expect("a checkpoint");
    assert_eq!(store.reader().journal(0, 10).expect("a page").len(), 0);
}

fn readers_see_whole_batches_while_one_writes(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut scripts: Vec<Script> = (0..2)
        .map(|index| Script::new(&*store, samples::start(FRANKFURT, "Order", &format!("{index}")), 0))
        .collect();
    let keys = [scripts[0].key, scripts[1].key];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (reader, done) = (store.reader(), &done);
                scope.spawn(move || {
                    let mut reads = 0;
                    while !done.load(Ordering::Relaxed) || reads == 0 {
                        // Both executions grow in every batch, the second after the first.
                        let journal = reader.journal(0, 10_000).expect("a page");
                        assert!(journal.len().is_multiple_of(2), "half a batch was seen");
                        let [first, second] = keys.map(|key| reader.events(key).expect("a read").len());
                        assert!(second >= first, "the second was read later");
                        reads += 1;
                    }
                })
            })
            .collect();
        for round in 0..60 {
            let turns = turns(scripts.iter_mut().map(|script| {
                let script =
                    if round == 0 { script.started() } else { script.passed(&payload_of(5000, round)) };
                script.turn(Standing::Open)
            }));
            store.append(&turns).expect("a commit");
            if round % 20 == 19 {
                store.checkpoint().expect("a checkpoint");
            }
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
    });
    assert_eq!(store.verify().expect("verify reads"), []);
}
