//! The whole simulation: `simulate --machines 20000 --seed 0`. Prints the planted bugs with the law that noticed each, the
//! table, and every seed that broke a law with how to run it again; how far it is goes to the standard error.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use testkit::{Mode, Mutation, Table, caught_at, interpret, simulate, simulate_map_run};

/// So many seeds are tried until a planted bug is noticed.
const SEEDS_OF_A_BUG: u64 = 1_000;

/// Machines of a seed: a run on the shard has three, one under the interpreter has one. A Map Run comes on top.
const MACHINES_OF_A_SEED: u64 = 4;

fn main() -> ExitCode {
    let (machines, first) = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}\nusage: simulate [--machines N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    // A panic is a broken law like others, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    // A single seed is run to look at it.
    let missed = if machines > MACHINES_OF_A_SEED { planted_bugs(first) } else { 0 };
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let last = first + machines.div_ceil(MACHINES_OF_A_SEED);
    let step = ((last - first) / 20).max(100);
    let table = Mutex::new(Table::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    if seed > first && (seed - first).is_multiple_of(step) {
                        let done = (seed - first) * MACHINES_OF_A_SEED;
                        eprintln!(
                            "{done} of {machines} machines, {} broke a law",
                            failed.load(Ordering::Relaxed)
                        );
                    }
                    let interpreted = interpret(seed, Mode::Live, None)
                        .and_then(|_| interpret(seed, Mode::RestartAfterEveryEvent, None));
                    let map_run = simulate_map_run(seed, None).map(|_| Table::default());
                    for outcome in [interpreted, simulate(seed), map_run] {
                        match outcome {
                            Ok(run) => table.lock().expect("no panic holds it").add(&run),
                            Err(violation) => {
                                failed.fetch_add(1, Ordering::Relaxed);
                                println!("seed {seed}: {violation}");
                                println!("again: simulate --machines {MACHINES_OF_A_SEED} --seed {seed}\n");
                            }
                        }
                    }
                }
            });
        }
    });
    println!("{}", table.into_inner().expect("no panic holds it"));
    let failed = failed.into_inner();
    println!("{machines} machines from seed {first}: {failed} broke a law");
    if failed == 0 && missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plants each bug in turn; how many were not noticed.
fn planted_bugs(first: u64) -> usize {
    let mutations = Mutation::OF_THE_CORE.iter().chain(&Mutation::OF_THE_SHELL).chain(&Mutation::OF_MAP_RUNS);
    let caught = mutations.map(|mutation| (mutation, caught_at(*mutation, first..first + SEEDS_OF_A_BUG)));
    let missed = caught.filter(|(mutation, caught)| {
        match caught {
            Some((seed, violation)) => println!("{mutation:?}: {:?} at seed {seed}", violation.law),
            None => println!("{mutation:?}: NOT NOTICED"),
        }
        caught.is_none()
    });
    missed.count()
}

fn arguments() -> Result<(u64, u64), String> {
    let (mut machines, mut seed) = (20_000, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        let value = value.parse().map_err(|_| format!("{value} is not a number"))?;
        match word.as_str() {
            "--machines" => machines = value,
            "--seed" => seed = value,
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok((machines, seed))
}
