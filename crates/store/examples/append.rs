//! Measures `append`: turns a second and CPU a turn, durably, in the given shapes.
//!
//! `cargo run --release -p store --example append -- [EXECUTIONS] [DIRECTORY]`. Walls move on a busy machine; CPU a turn
//! is the number to keep.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use samples::{FRANKFURT, Script, payload_of};
use store::{Batch, SqliteOptions, SqliteStore, Standing, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let executions: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let directory = arguments.next().map(PathBuf::from);
    println!("{:<34} {:>6} {:>9} {:>12} {:>10}", "shape", "batch", "turns/s", "CPU us/turn", "bytes/turn");
    for (per_commit, states, bytes) in
        [(1, 3, 50), (64, 3, 50), (256, 3, 50), (256, 10, 50), (256, 10, 400), (64, 1, 20_000)]
    {
        let temporary = tempfile::tempdir()?;
        let directory =
            directory.as_deref().unwrap_or(temporary.path()).join(format!("{per_commit}-{states}-{bytes}"));
        let count = if per_commit == 1 {
            executions.min(2000)
        } else if bytes > 4096 {
            executions / 10
        } else {
            executions
        };
        let mut store = SqliteStore::open(&directory, &SqliteOptions::default())?;
        one_turn_each(&mut store, count, per_commit, states, bytes)?;
    }
    let temporary = tempfile::tempdir()?;
    let mut store = SqliteStore::open(temporary.path(), &SqliteOptions::default())?;
    many_turns_each(&mut store, executions / 10, 256)?;
    Ok(())
}

/// Executions that start and end in their first turn.
fn one_turn_each(
    store: &mut SqliteStore,
    executions: u64,
    per_commit: u64,
    states: u64,
    bytes: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let payloads: Vec<_> = (0..states).map(|seed| payload_of(bytes, seed)).collect();
    let mut clock = Clock::default();
    let mut size = 0;
    for first in (0..executions).step_by(per_commit as usize) {
        let mut batch = Batch::default();
        for number in first..(first + per_commit).min(executions) {
            let name = format!("3f2b7a9c-0d1e-4f5a-8b6c-{number:012}");
            let mut script = Script::new(store, samples::start(FRANKFURT, "Order", &name), number as i64);
            script.started();
            for payload in &payloads {
                script.passed(payload);
            }
            script.succeeded(&payloads[0]);
            batch.turns.push(script.turn(Standing::Settled));
        }
        size = store::turn::encode(batch.turns[0].execution, &batch.turns[0].events)?.blob.len();
        clock.measure(|| store.append(&batch))?;
    }
    clock.print(&format!("start to end, {states} states of {bytes} B"), per_commit, executions, size);
    Ok(())
}

/// Executions that wait for the world between states: most turns belong to one that is there already.
fn many_turns_each(
    store: &mut SqliteStore,
    executions: u64,
    per_commit: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let payload = payload_of(50, 1);
    let mut clock = Clock::default();
    let (mut turns, mut size) = (0, 0);
    let start = |number: u64| samples::start(FRANKFURT, "Order", &format!("{number:012}"));
    let mut scripts: Vec<Script> =
        (0..executions).map(|number| Script::new(store, start(number), 0)).collect();
    for round in 0..12 {
        for chunk in scripts.chunks_mut(per_commit) {
            let mut batch = Batch::default();
            for script in chunk {
                let standing = match round {
                    0 => script.started().turn(Standing::Open),
                    11 => script.succeeded(&payload).turn(Standing::Settled),
                    _ => script.passed(&payload).turn(Standing::Open),
                };
                script.events.clear();
                batch.turns.push(standing);
            }
            turns += batch.turns.len() as u64;
            size =
                size.max(store::turn::encode(batch.turns[0].execution, &batch.turns[0].events)?.blob.len());
            clock.measure(|| store.append(&batch))?;
        }
    }
    clock.print("12 turns an execution", per_commit as u64, turns, size);
    Ok(())
}

/// Adds up wall and CPU time of what is measured, and of nothing else.
#[derive(Default)]
struct Clock {
    wall: Duration,
    cpu: Duration,
}

impl Clock {
    fn measure<T, E>(&mut self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let done = work();
        self.wall += wall.elapsed();
        self.cpu += cpu_time().saturating_sub(cpu);
        done
    }

    fn print(&self, shape: &str, per_commit: u64, turns: u64, size: usize) {
        let a_second = turns as f64 / self.wall.as_secs_f64();
        let micros = self.cpu.as_secs_f64() * 1e6 / turns as f64;
        println!("{shape:<34} {per_commit:>6} {a_second:>9.0} {micros:>12.1} {size:>10}");
    }
}

/// CPU time of this thread so far (Linux: nanoseconds from the scheduler), zero where the system does not tell.
fn cpu_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}
