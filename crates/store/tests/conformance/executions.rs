//! Names, rows, lists, and what recovery finds.

use std::sync::Arc;

use store::{
    Batch, ExecutionStatus, ExecutionsQuery, ListBy, Parked, QuarantineWrite, Quarantined, Reader, Standing,
    Store,
};

use crate::samples::{self, DUBLIN, FRANKFURT, Script, at, json, turns};
use crate::{Backend, conformance};

conformance!(
    a_taken_name_refuses_only_its_own_turns,
    a_taken_name_stays_taken_after_a_restart,
    the_same_name_is_free_in_another_machine_and_region,
    a_row_follows_its_execution_to_the_end_and_back,
    an_execution_that_ends_in_its_first_turn_has_a_final_row,
    lists_are_newest_first_in_pages,
    lists_filter_by_status_and_redrive,
    children_are_listed_by_their_map_run_only,
    recovery_finds_what_is_not_settled,
    parked_executions_are_found_when_due,
    a_quarantined_execution_is_remembered_until_released,
);

fn begin(store: &mut dyn Store, region: &str, machine: &str, name: &str, now: i64) -> Script {
    let mut script = Script::new(store, samples::start(region, machine, name), now);
    script.started();
    let committed = store.append(&turns([script.turn(Standing::Open)])).expect("a commit");
    assert!(committed.conflicts.is_empty(), "{name} is free");
    script
}

fn row(store: &dyn Store, script: &Script) -> store::ExecutionRow {
    store.reader().execution(script.arn()).expect("a read").expect("a row")
}

fn clean(store: &dyn Store) {
    assert_eq!(store.verify().expect("verify reads"), []);
}

fn a_taken_name_refuses_only_its_own_turns(backend: &dyn Backend) {
    let mut store = backend.open();
    let first = begin(&mut *store, FRANKFURT, "Order", "a", 0);
    let mut twice = Script::new(&*store, samples::start(FRANKFURT, "Order", "a"), 10);
    let mut other = Script::new(&*store, samples::start(FRANKFURT, "Order", "b"), 20);
    let mut other_twice = Script::new(&*store, samples::start(FRANKFURT, "Order", "b"), 30);
    let batch = turns([
        twice.started().turn(Standing::Open),
        other.started().turn(Standing::Open),
        twice.passed(&json("1")).turn(Standing::Open),
        other_twice.started().turn(Standing::Open),
        other.passed(&json("2")).turn(Standing::Open),
    ]);
    let committed = store.append(&batch).expect("a commit");
    assert_eq!(committed.position, 3);
    let refused: Vec<_> = committed.conflicts.iter().map(|conflict| conflict.execution).collect();
    assert_eq!(refused, [twice.key, other_twice.key]);
    assert_eq!(committed.conflicts[0].existing.key, first.key);
    assert_eq!(committed.conflicts[0].existing.start, at(0));
    assert_eq!(committed.conflicts[1].existing.key, other.key);
    let reader = store.reader();
    assert_eq!(reader.events(twice.key).expect("a read"), []);
    assert_eq!(reader.events(other.key).expect("a read"), other.events);
    assert_eq!(reader.execution(first.arn()).expect("a read").expect("a row").key, first.key);
    clean(&*store);
}

fn a_taken_name_stays_taken_after_a_restart(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut first = begin(&mut *store, FRANKFURT, "Order", "a", 0);
    store.append(&turns([first.failed().turn(Standing::Settled)])).expect("a commit");
    drop(store);
    let mut store = backend.open();
    let mut twice = Script::new(&*store, samples::start(FRANKFURT, "Order", "a"), 10);
    assert!(twice.key > first.key, "keys are not given twice");
    let committed = store.append(&turns([twice.started().turn(Standing::Open)])).expect("a commit");
    assert_eq!(committed.conflicts.len(), 1);
    assert_eq!(committed.conflicts[0].existing.status, ExecutionStatus::Failed);
    clean(&*store);
}

fn the_same_name_is_free_in_another_machine_and_region(backend: &dyn Backend) {
    let mut store = backend.open();
    let here = begin(&mut *store, FRANKFURT, "Order", "a", 0);
    let other = begin(&mut *store, FRANKFURT, "Return", "a", 1);
    let there = begin(&mut *store, DUBLIN, "Order", "a", 2);
    assert_ne!(here.key.scope, there.key.scope);
    for script in [&here, &other, &there] {
        assert_eq!(row(&*store, script).key, script.key);
    }
    let missing = samples::execution_arn(DUBLIN, "Return", "a");
    for arn in [missing.as_str(), "", "arn:aws:states", "a:b:c:d:e:f:g:h"] {
        assert_eq!(store.reader().execution(arn).expect("a read"), None, "{arn:?}");
    }
}

fn a_row_follows_its_execution_to_the_end_and_back(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut start = samples::start(FRANKFURT, "Order", "a");
    start.version_arn = Some(samples::machine_arn(FRANKFURT, "Order:3").into());
    start.alias_arn = Some(samples::machine_arn(FRANKFURT, "Order:live").into());
    let mut script = Script::new(&*store, start.clone(), 0);
    store.append(&turns([script.started().turn(Standing::Open)])).expect("a commit");
    let running = row(&*store, &script);
    assert_eq!((running.status, running.start, running.stop), (ExecutionStatus::Running, at(0), None));
    assert_eq!((&running.version_arn, &running.alias_arn), (&start.version_arn, &start.alias_arn));
    assert_eq!((&*running.arn, &*running.name), (script.arn(), "a"));
    assert_eq!(running.state_machine_arn, start.state_machine_arn);
    store.append(&turns([script.failed().turn(Standing::Settled)])).expect("a commit");
    let failed = row(&*store, &script);
    assert_eq!((failed.status, failed.stop), (ExecutionStatus::Failed, Some(at(3))));
    store.append(&turns([script.redriven(1).turn(Standing::Open)])).expect("a commit");
    let redriven = row(&*store, &script);
    assert_eq!((redriven.status, redriven.stop), (ExecutionStatus::Running, None));
    assert_eq!((redriven.redrive_count, redriven.redrive_date), (1, Some(at(4))));
    store.append(&turns([script.aborted().turn(Standing::Open)])).expect("a commit");
    store.append(&turns([script.cancelled().turn(Standing::Settled)])).expect("a commit");
    let aborted = row(&*store, &script);
    assert_eq!(
        (aborted.status, aborted.stop, aborted.redrive_count),
        (ExecutionStatus::Aborted, Some(at(5)), 1)
    );
    drop(store);
    let store = backend.open();
    assert_eq!(row(&*store, &script), aborted);
    assert_eq!(store.reader().execution_by_key(script.key).expect("a read"), Some(aborted));
    clean(&*store);
}

fn an_execution_that_ends_in_its_first_turn_has_a_final_row(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut script = Script::new(&*store, samples::start(FRANKFURT, "Order", "a"), 0);
    script.started().succeeded(&json("[]"));
    store.append(&turns([script.turn(Standing::Settled)])).expect("a commit");
    let row = row(&*store, &script);
    assert_eq!((row.status, row.stop), (ExecutionStatus::Succeeded, Some(at(3))));
    assert_eq!(store.reader().open(None, None, 10).expect("a read"), []);
    clean(&*store);
}

/// All names of a list, page by page.
fn listed(reader: &dyn Reader, query: &ExecutionsQuery) -> Vec<Arc<str>> {
    let mut query = query.clone();
    let mut names = Vec::new();
    loop {
        let page = reader.executions(&query).expect("a page");
        assert!(page.items.len() <= query.limit as usize);
        names.extend(page.items.into_iter().map(|row| row.name));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return names,
        }
    }
}

fn by_machine(machine: &str) -> ExecutionsQuery {
    let by = ListBy::StateMachine(samples::machine_arn(FRANKFURT, machine).into());
    ExecutionsQuery { by, status: None, redriven: None, after: None, limit: 2 }
}

fn lists_are_newest_first_in_pages(backend: &dyn Backend) {
    let mut store = backend.open();
    // Two started in the same millisecond, one with a clock that went back.
    for (name, now) in [("a", 10), ("b", 20), ("c", 20), ("d", 20), ("e", 5), ("f", 30)] {
        begin(&mut *store, FRANKFURT, "Order", name, now);
    }
    begin(&mut *store, FRANKFURT, "Return", "elsewhere", 15);
    begin(&mut *store, DUBLIN, "Order", "abroad", 15);
    for limit in [1, 2, 3, 6, 100] {
        let query = ExecutionsQuery { limit, ..by_machine("Order") };
        let names = listed(&*store.reader(), &query);
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["f", "d", "c", "b", "a", "e"]);
    }
    assert!(listed(&*store.reader(), &by_machine("Unknown")).is_empty());
}

fn lists_filter_by_status_and_redrive(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut scripts: Vec<Script> = (0..9)
        .map(|index| begin(&mut *store, FRANKFURT, "Order", &format!("{index}"), i64::from(index) * 10))
        .collect();
    for script in scripts.iter_mut().step_by(3) {
        store.append(&turns([script.failed().turn(Standing::Settled)])).expect("a commit");
    }
    let turn = scripts[0].redriven(1).turn(Standing::Open);
    store.append(&turns([turn])).expect("a commit");
    let list = |status, redriven| {
        let query = ExecutionsQuery { status, redriven, ..by_machine("Order") };
        listed(&*store.reader(), &query).join(" ")
    };
    assert_eq!(list(Some(ExecutionStatus::Failed), None), "6 3");
    assert_eq!(list(Some(ExecutionStatus::Running), None), "8 7 5 4 2 1 0");
    assert_eq!(list(Some(ExecutionStatus::Succeeded), None), "");
    assert_eq!(list(None, Some(true)), "0");
    assert_eq!(list(Some(ExecutionStatus::Running), Some(false)), "8 7 5 4 2 1");
    clean(&*store);
}

fn children_are_listed_by_their_map_run_only(backend: &dyn Backend) {
    let mut store = backend.open();
    let map_run = "arn:aws:states:eu-central-1:000000000000:mapRun:Order/Each:5f0c";
    for index in 0..3 {
        let mut script =
            Script::new(&*store, samples::child(FRANKFURT, "Order", map_run, index), index as i64);
        store.append(&turns([script.started().turn(Standing::Open)])).expect("a commit");
        assert_eq!(row(&*store, &script).map_run, Some((map_run.into(), index)));
    }
    let query = ExecutionsQuery { by: ListBy::MapRun(map_run.into()), ..by_machine("Order") };
    assert_eq!(listed(&*store.reader(), &query).join(" "), "child-2 child-1 child-0");
    assert!(listed(&*store.reader(), &by_machine("Order/Each")).is_empty());
    assert!(listed(&*store.reader(), &by_machine("Order")).is_empty());
    clean(&*store);
}

fn recovery_finds_what_is_not_settled(backend: &dyn Backend) {
    let mut store = backend.open();
    let mut scripts: Vec<Script> =
        (0..5).map(|index| begin(&mut *store, FRANKFURT, "Order", &format!("{index}"), 0)).collect();
    let abroad = begin(&mut *store, DUBLIN, "Order", "abroad", 0);
    // 1 has ended; 2 has ended, but a task is still to be cancelled; 3 has ended and was redriven.
    let batch = turns([
        scripts[1].failed().turn(Standing::Settled),
        scripts[2].aborted().turn(Standing::Open),
        scripts[3].failed().turn(Standing::Settled),
    ]);
    store.append(&batch).expect("a commit");
    store.append(&turns([scripts[3].redriven(1).turn(Standing::Open)])).expect("a commit");
    drop(store);
    let mut store = backend.open();
    let expected = [scripts[0].key, scripts[2].key, scripts[3].key, scripts[4].key, abroad.key];
    for limit in [1, 2, 10] {
        let mut found = Vec::new();
        loop {
            let page = store.reader().open(found.last().copied(), None, limit).expect("a page");
            if page.is_empty() {
                break;
            }
            assert!(page.iter().all(|open| open.owes_tasks && open.due.is_none()));
            found.extend(page.iter().map(|open| open.execution));
        }
        assert_eq!(found, expected);
    }
    clean(&*store);
    store.append(&turns([scripts[2].cancelled().turn(Standing::Settled)])).expect("a commit");
    let left = store.reader().open(None, None, 10).expect("a page");
    assert!(left.iter().all(|open| open.execution != scripts[2].key));
    clean(&*store);
}

fn parked_executions_are_found_when_due(backend: &dyn Backend) {
    let mut store = backend.open();
    let scripts: Vec<Script> =
        (0..4).map(|index| begin(&mut *store, FRANKFURT, "Order", &format!("{index}"), 0)).collect();
    let park = |index: usize, due, owes_tasks| Parked { execution: scripts[index].key, due, owes_tasks };
    let parked = vec![park(0, Some(at(100)), false), park(1, Some(at(50)), false), park(2, None, false)];
    store.append(&Batch { parked, ..Batch::default() }).expect("a commit");
    let due = |store: &dyn Store, until| -> Vec<_> {
        let open = store.reader().open(None, Some(at(until)), 10).expect("a page");
        open.into_iter().map(|open| open.execution).collect()
    };
    assert_eq!(due(&*store, 49), [scripts[3].key]);
    assert_eq!(due(&*store, 50), [scripts[1].key, scripts[3].key]);
    assert_eq!(due(&*store, 1000), [scripts[0].key, scripts[1].key, scripts[3].key]);
    assert_eq!(store.reader().open(None, None, 10).expect("a page").len(), 4);
    let parked = vec![park(1, None, true)];
    store.append(&Batch { parked, ..Batch::default() }).expect("a commit");
    assert_eq!(due(&*store, 0), [scripts[1].key, scripts[3].key]);
    clean(&*store);
}

fn a_quarantined_execution_is_remembered_until_released(backend: &dyn Backend) {
    let mut store = backend.open();
    let script = begin(&mut *store, FRANKFURT, "Order", "a", 0);
    let entry = Quarantined {
        execution: script.key,
        seq: 3,
        version: "0.1.0".into(),
        reason: "a slot was empty".into(),
    };
    let put = |write| Batch { quarantine: vec![write], ..Batch::default() };
    store.append(&put(QuarantineWrite::Put(entry.clone()))).expect("a commit");
    drop(store);
    let mut store = backend.open();
    assert_eq!(store.reader().quarantined(None, 10).expect("a page"), [entry]);
    assert_eq!(store.reader().quarantined(Some(script.key), 10).expect("a page"), []);
    store.append(&put(QuarantineWrite::Release(script.key))).expect("a commit");
    assert_eq!(store.reader().quarantined(None, 10).expect("a page"), []);
}
