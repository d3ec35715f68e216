//! One seed, one verdict: what is run for it and what its runs are held against.

use std::panic::{AssertUnwindSafe, catch_unwind};

use asl::program::StateMachineType;
use engine::{Failure, InputKind};

use crate::Mutation;
use crate::generate::{Dice, Machine, Temper, nuisance, scripts};
use crate::interpreter::{Interpreter, Mode, start_of};
use crate::laws::{Checked, Law, Violation, hold};
use crate::map_runs::{self, MapRunEnding};
use crate::simulator::{Faults, Simulator};
use crate::table::Table;

/// Machines of one run on one shard.
pub const MACHINES: usize = 3;

/// Runs a random machine under `engine::step` alone, with random results and random interference.
pub fn interpret(seed: u64, mode: Mode, mutation: Option<Mutation>) -> Checked<Table> {
    contained(|| {
        let mut dice = Dice::new(seed);
        let machine = Machine::random(&mut dice, Temper::Wild);
        let program = asl::compile_stored(&machine.definition, StateMachineType::Standard)
            .unwrap_or_else(|problems| panic!("{}: {problems:?}", machine.definition));
        let scripts = scripts(&mut dice, machine.states);
        let mut start = start_of(machine.input(), StateMachineType::Standard);
        start.limits.events_max = machine.events_max;
        let interpreter = Interpreter::new(&program, start, scripts, mode);
        let mut interpreter = interpreter.with_interference().with_mutation(mutation);
        if let Some(stop_after) = machine.stop_after {
            interpreter.send(stop_after / 1_000, InputKind::StopRequested { failure: Failure::default() });
        }
        for _ in 0..dice.below(8) {
            let (after, kind) = (dice.below(8), nuisance(&mut dice, 30));
            interpreter.send(after, kind);
        }
        interpreter.run(5_000)?;
        for _ in &machine.redrive_after {
            interpreter.send(10, InputKind::Redriven { client_token: None });
            interpreter.run(5_000)?;
        }
        interpreter.check_end()?;
        Ok(interpreter.table)
    })
}

/// Runs the machines of a seed on a shard, without faults and with them, and compares how they ended.
pub fn simulate(seed: u64) -> Checked<Table> {
    simulate_mutated(seed, None)
}

/// The same with a planted bug in the run with faults.
pub fn simulate_mutated(seed: u64, mutation: Option<Mutation>) -> Checked<Table> {
    contained(|| {
        let mut dice = Dice::new(seed);
        let temper = match seed % 4 {
            0 | 1 => Temper::Ordered,
            2 => Temper::Sequential,
            _ => Temper::Wild,
        };
        let machines: Vec<_> = (0..MACHINES).map(|_| Machine::random(&mut dice, temper)).collect();
        let mut faulted = Simulator::new(seed, machines.clone(), Faults::On, mutation);
        let ends = faulted.run()?;
        let mut table = faulted.table;
        if temper != Temper::Wild {
            let mut undisturbed = Simulator::new(seed, machines.clone(), Faults::Off, None);
            let expected = undisturbed.run()?;
            table.add(&undisturbed.table);
            for (n, (end, expected)) in ends.iter().zip(&expected).enumerate() {
                hold(Law::SameEnd, end == expected, || {
                    format!("e{n} {}\nwith faults {end:?}\nwithout {expected:?}", machines[n].definition)
                })?;
            }
        }
        Ok(table)
    })
}

/// Runs the Map Run of a seed, without faults and with them, and compares how they ended.
pub fn simulate_map_run(seed: u64, mutation: Option<Mutation>) -> Checked<MapRunEnding> {
    contained(|| map_runs::simulate(seed, mutation))
}

/// The first of these seeds at which a planted bug is noticed, and by what.
pub fn caught_at(mutation: Mutation, seeds: std::ops::Range<u64>) -> Option<(u64, Violation)> {
    let run = |seed| {
        if Mutation::OF_THE_CORE.contains(&mutation) {
            let live = interpret(seed, Mode::Live, Some(mutation));
            live.and_then(|_| interpret(seed, Mode::RestartAfterEveryEvent, Some(mutation)))
        } else if Mutation::OF_MAP_RUNS.contains(&mutation) {
            simulate_map_run(seed, Some(mutation)).map(|_| Table::default())
        } else {
            simulate_mutated(seed, Some(mutation))
        }
    };
    seeds.into_iter().find_map(|seed| run(seed).err().map(|violation| (seed, violation)))
}

/// A panic is a broken invariant, and the seed goes on to the next one.
fn contained<T>(run: impl FnOnce() -> Checked<T>) -> Checked<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { law: Law::Panic, text: text.unwrap_or_default() })
    })
}
