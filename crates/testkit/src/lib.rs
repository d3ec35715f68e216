//! Random machines, a scripted world, faults and the laws of the design: everything above the core, simulated.
//!
//! Invariant: one seed is one run, on every machine and for ever. Two drivers check the same laws: [`Interpreter`] drives one
//! execution under `engine::step`, [`Simulator`] drives the shard that ships (`runtime::shard::Shard`) over a store that
//! fails. Neither knows threads, sockets or clocks, and product code knows neither of them.

mod generate;
mod interpreter;
pub mod laws;
mod map_runs;
mod mutation;
mod outside;
mod run;
mod simulator;
mod stores;
mod table;
mod witness;

pub use generate::{Dice, Machine, Temper, nuisance, scripts};
pub use interpreter::{BEGINNING, Interpreter, Mode, Script, start_of};
pub use laws::{Checked, Law, Violation};
pub use map_runs::MapRunEnding;
pub use mutation::Mutation;
pub use run::{caught_at, interpret, simulate, simulate_map_run, simulate_mutated};
pub use simulator::{Ending, Faults, Simulator};
pub use table::{EFFECTS, EVENTS, Table};
