//! The bounded part of the simulation: enough machines for every run of the tests. `cargo run --release -p testkit --bin
//! simulate` runs more of them.

use std::path::Path;

use testkit::{Mutation, Table, caught_at, simulate, simulate_map_run};

/// Seeds of the bounded part; each is three machines on one shard.
const SEEDS: std::ops::Range<u64> = 0..670;
/// So many seeds are tried until a planted bug is noticed.
const SEEDS_OF_A_BUG: std::ops::Range<u64> = 0..200;

#[test]
fn executions_end_as_they_would_have_whatever_happens_to_the_process() {
    let mut table = Table::default();
    for seed in SEEDS.chain(kept_seeds()) {
        match simulate(seed) {
            Ok(run) => table.add(&run),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    assert_eq!(table.rarer_than(10), Vec::<&str>::new(), "\n{table}");
}

/// Seeds that once found a bug.
fn kept_seeds() -> Vec<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/seeds.txt");
    let text = std::fs::read_to_string(path).expect("the seeds");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn every_planted_bug_of_the_core_is_caught() {
    every_bug_is_caught(&Mutation::OF_THE_CORE);
}

#[test]
fn every_planted_bug_of_the_shell_is_caught() {
    every_bug_is_caught(&Mutation::OF_THE_SHELL);
}

#[test]
fn every_planted_bug_around_a_map_run_is_caught() {
    every_bug_is_caught(&Mutation::OF_MAP_RUNS);
}

#[test]
fn map_runs_end_as_they_would_have_whatever_happens_to_the_process() {
    let (mut succeeded, mut redriven) = (0, 0);
    // The others broke the simulation, or a law, once.
    for seed in (0..400).chain([3_159, 11_392, 13_464]) {
        match simulate_map_run(seed, None) {
            Ok(ending) => {
                succeeded += usize::from(ending.counts.starts_with("Succeeded"));
                redriven += usize::from(!ending.counts.ends_with(" 0"));
            }
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    assert!(succeeded > 300 && redriven > 100, "{succeeded} succeeded, {redriven} were redriven");
}

fn every_bug_is_caught(mutations: &[Mutation]) {
    let caught = |mutation: &&Mutation| caught_at(**mutation, SEEDS_OF_A_BUG).is_some();
    let missed: Vec<_> = mutations.iter().filter(|mutation| !caught(mutation)).collect();
    assert!(missed.is_empty(), "no law notices {missed:?}");
}
