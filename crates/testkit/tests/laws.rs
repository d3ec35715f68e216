//! The laws of the design over random machines, random outcomes and random interference, under `engine::step` alone.

use testkit::{Mode, Table, interpret};

/// Seeds that once broke a law here.
const SEEDS: &[u64] = &[0, 1, 42, 1_207, 1_460, 4_146];

fn seeds(first: u64, count: u64, mode: Mode) -> Table {
    let mut table = Table::default();
    for seed in first..first + count {
        match interpret(seed, mode, None) {
            Ok(run) => table.add(&run),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    table
}

#[test]
fn seeds_that_once_broke_a_law_keep_all_laws() {
    for seed in SEEDS {
        seeds(*seed, 1, Mode::Live);
        seeds(*seed, 1, Mode::RestartAfterEveryEvent);
    }
}

#[test]
fn random_machines_reach_every_kind_of_event_and_effect_but_an_aborted_map_run() {
    let table = seeds(0, 500, Mode::Live);
    assert_eq!(table.rarer_than(1), ["MapRunAborted"], "\n{table}");
}

#[test]
fn laws_hold_for_random_machines_that_restart_after_every_event() {
    seeds(1_000, 300, Mode::RestartAfterEveryEvent);
}
