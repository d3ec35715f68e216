//! The same random work on both backends gives the same answers.

use store::{Batch, Direction, ExecutionsQuery, HistoryQuery, ListBy, Parked, Reader, Standing, Store};

use crate::samples::{self, DUBLIN, Dice, FRANKFURT, Script, at, payload_of};
use crate::{Backend, Memory, Sqlite};

#[test]
fn memory_and_sqlite_answer_alike() {
    for seed in 0..8 {
        let (sqlite, memory) = (Sqlite::new(), Memory::new());
        let (mut first, mut second) = (sqlite.open(), memory.open());
        let mut dice = Dice(seed);
        let mut scripts = Vec::new();
        for round in 0..30 {
            let batch = random_batch(&mut dice, &*first, &mut scripts, round);
            // Keys are drawn from the first; scopes get the same numbers since both see them in the same order.
            let (a, b) = (first.append(&batch).expect("a commit"), second.append(&batch).expect("a commit"));
            assert_eq!(a.position, b.position, "seed {seed}");
            let refused = |committed: &store::Committed| -> Vec<_> {
                committed
                    .conflicts
                    .iter()
                    .map(|conflict| (conflict.execution, conflict.existing.clone()))
                    .collect()
            };
            assert_eq!(refused(&a), refused(&b), "seed {seed}");
            scripts.retain(|script: &Script| {
                a.conflicts.iter().all(|conflict| conflict.execution != script.key)
            });
            if dice.roll(5) == 0 {
                drop((first, second));
                (first, second) = (sqlite.open(), memory.open());
            }
            compare(&*first.reader(), &*second.reader(), &scripts);
        }
        assert_eq!(first.verify().expect("verify reads"), []);
        assert_eq!(second.verify().expect("verify reads"), []);
    }
}

fn random_batch(dice: &mut Dice, store: &dyn Store, scripts: &mut Vec<Script>, round: i64) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..=dice.roll(4) {
        let region = if dice.roll(4) == 0 { DUBLIN } else { FRANKFURT };
        let machine = if dice.roll(3) == 0 { "Return" } else { "Order" };
        let name = dice.roll(60).to_string();
        let mut start = samples::start(region, machine, &name);
        start.input = payload_of(dice.roll(6000) as usize, round as u64);
        let mut script = Script::new(store, start, round * 10);
        script.started();
        if dice.roll(4) == 0 {
            script.failed();
            batch.turns.push(script.turn(Standing::Settled));
        } else {
            batch.turns.push(script.turn(Standing::Open));
            scripts.push(script);
        }
    }
    for _ in 0..dice.roll(6) {
        if scripts.is_empty() {
            break;
        }
        let index = dice.roll(scripts.len() as u64) as usize;
        let script = &mut scripts[index];
        match dice.roll(4) {
            0 => {
                script.failed();
                batch.turns.push(script.turn(Standing::Settled));
                script.redriven(1);
                batch.turns.push(script.turn(Standing::Open));
            }
            1 => {
                let due = Some(at(dice.roll(1000) as i64));
                batch.parked.push(Parked { execution: script.key, due, owes_tasks: dice.roll(2) == 0 });
            }
            _ => {
                script.passed(&payload_of(dice.roll(9000) as usize, round as u64));
                batch.turns.push(script.turn(Standing::Open));
            }
        }
    }
    batch
}

fn compare(first: &dyn Reader, second: &dyn Reader, scripts: &[Script]) {
    let open = |reader: &dyn Reader, until| reader.open(None, until, 100).expect("a page");
    assert_eq!(open(first, None), open(second, None));
    assert_eq!(open(first, Some(at(500))), open(second, Some(at(500))));
    for region in [FRANKFURT, DUBLIN] {
        for machine in ["Order", "Return"] {
            let by = ListBy::StateMachine(samples::machine_arn(region, machine).into());
            let query = ExecutionsQuery { by, status: None, redriven: None, after: None, limit: 7 };
            let page = |reader: &dyn Reader| reader.executions(&query).expect("a page");
            assert_eq!(page(first), page(second));
        }
    }
    for script in scripts.iter().take(5) {
        assert_eq!(first.events(script.key).expect("a read"), script.events);
        assert_eq!(second.events(script.key).expect("a read"), script.events);
        let query =
            HistoryQuery { execution: script.key, from: Some(6), direction: Direction::Backward, limit: 3 };
        let page = |reader: &dyn Reader| reader.history(&query).expect("a page");
        assert_eq!(page(first), page(second));
    }
}
