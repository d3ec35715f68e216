//! Mutated texts for what reads texts of others: definitions, paths, intrinsic functions, expressions, templates.
//!
//! `fuzz TARGET [--seconds N] [--seed N] [--keep]`, `fuzz all …` for each in turn. It begins with the kept corpus
//! (`fuzz/corpus/TARGET.jsonl`, a text a line) and the texts of the tests, and mutates what ended in a new way or, with the
//! feature `coverage`, reached new code. The same seed makes the same mutants. Works on stable Rust, without sanitizers: our
//! code has no unsafe blocks for them to watch.
//!
//! A panic, a broken promise of a target or a run of a minute ends it: the text is told and written to
//! `fuzz/failures`. A text that aborts the process is found in `fuzz/failures/last-TARGET`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod corpus;
mod coverage;
mod mutate;
mod targets;

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use corpus::Corpus;
use coverage::Coverage;
use mutate::Mutator;
use targets::Target;

/// A text that takes longer is not mutated: others would have to wait for its kin.
const KEPT_TIME_MAX: Duration = Duration::from_millis(10);
/// A run that takes longer is a failure.
const RUN_MAX: Duration = Duration::from_secs(60);

struct Arguments {
    targets: Vec<Target>,
    time: Duration,
    seed: u64,
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            let names = Target::ALL.map(Target::name).join(" | ");
            eprintln!("{text}\nusage: fuzz {names} | all [--seconds N] [--seed N] [--keep]");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for target in &arguments.targets {
        if let Err(failure) = fuzz(*target, &arguments, &root) {
            eprintln!("{}: {}\n{}", target.name(), failure.why, failure.text);
            let name = format!("{}-{:016x}", target.name(), corpus::hash(&failure.text));
            let _ = std::fs::write(root.join("failures").join(name), &failure.text);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn arguments() -> Result<Arguments, String> {
    let mut words = std::env::args().skip(1);
    let name = words.next().ok_or("no target")?;
    let targets: Vec<Target> =
        Target::ALL.into_iter().filter(|target| name == "all" || name == target.name()).collect();
    if targets.is_empty() {
        return Err(format!("unknown target {name}"));
    }
    let mut arguments = Arguments { targets, time: Duration::from_secs(30), seed: 0, keep: false };
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|word| word.parse().ok()).ok_or(format!("{word} needs a number"));
        match word.as_str() {
            "--keep" => arguments.keep = true,
            "--seconds" => arguments.time = Duration::from_secs(number()?),
            "--seed" => arguments.seed = number()?,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(arguments)
}

/// A text that does what no text may.
struct Failure {
    text: String,
    why: String,
}

/// One target's runs.
struct Session {
    target: Target,
    corpus: Corpus,
    coverage: Coverage,
    endings: HashSet<u64>,
    last: Option<File>,
    runs: u64,
    /// Runs longer than [`KEPT_TIME_MAX`], and the longest with its text.
    slow: u64,
    slowest: (Duration, String),
}

fn fuzz(target: Target, arguments: &Arguments, root: &Path) -> Result<(), Failure> {
    let _ = std::fs::create_dir_all(root.join("failures"));
    let file = root.join("corpus").join(format!("{}.jsonl", target.name()));
    let last = root.join("failures").join(format!("last-{}", target.name()));
    let mut session = Session {
        target,
        corpus: Corpus::default(),
        coverage: Coverage::new(),
        endings: HashSet::new(),
        last: File::create(&last).ok(),
        runs: 0,
        slow: 0,
        slowest: (Duration::ZERO, String::new()),
    };
    let began = Instant::now();
    let mut texts = corpus::kept(&file);
    let kept = texts.len();
    texts.extend(target.seeds());
    let mut mutator = Mutator::new(arguments.seed, &texts);
    for text in texts {
        session.run(text)?;
    }
    let seeds = session.corpus.texts.len();
    while began.elapsed() < arguments.time {
        let mutant = mutator.mutant(&session.corpus.texts);
        session.run(mutant)?;
    }
    println!(
        "{}: {} runs in {} s from {kept} kept and {} texts in all; {} new, {} counters, {} endings",
        target.name(),
        session.runs,
        began.elapsed().as_secs(),
        seeds,
        session.corpus.texts.len() - seeds,
        session.coverage.reached(),
        session.endings.len(),
    );
    let (took, text) = &session.slowest;
    let text: String = text.chars().take(200).collect();
    println!("  {} slow, the slowest {} ms: {text:?}", session.slow, took.as_millis());
    let _ = std::fs::remove_file(&last);
    if arguments.keep {
        session.keep(&file)?;
    }
    Ok(())
}

impl Session {
    /// Runs a text, and adds it to the corpus if it is of a new kind.
    fn run(&mut self, text: String) -> Result<(), Failure> {
        self.runs += 1;
        // Whoever looks for the text that aborted the process looks here.
        self.note(&text);
        let began = Instant::now();
        self.coverage.begin();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.target.run(&text)));
        let took = began.elapsed();
        let reached_more = self.coverage.end();
        if took > KEPT_TIME_MAX {
            self.slow += 1;
        }
        if took > self.slowest.0 {
            self.slowest = (took, text.clone());
        }
        let why = match outcome {
            Ok(Ok(_)) if took > RUN_MAX => format!("took {took:?}"),
            Ok(Ok(ending)) => {
                let ended_anew = self.endings.insert(corpus::hash(&corpus::kind_of(&ending)));
                // With counters an ending tells nothing more.
                let anew = reached_more || (ended_anew && self.coverage.reached() == 0);
                if anew && took < KEPT_TIME_MAX && !self.corpus.has(&text) {
                    self.corpus.add(text);
                }
                return Ok(());
            }
            Ok(Err(broken)) => broken,
            Err(_) => "panicked".to_owned(),
        };
        Err(Failure { text, why })
    }

    /// Writes the text down before it runs. What an earlier, longer one left behind it is cut off by a NUL.
    fn note(&self, text: &str) {
        if let Some(last) = &self.last {
            let _ = last.write_all_at(format!("{text}\0").as_bytes(), 0);
        }
    }

    /// Writes the smallest texts that together reach all that was reached.
    fn keep(mut self, file: &Path) -> Result<(), Failure> {
        let mut texts = std::mem::take(&mut self.corpus).texts;
        texts.sort_by_key(String::len);
        self.coverage = Coverage::new();
        self.endings.clear();
        let seeds = self.target.seeds();
        for text in seeds.iter().cloned().chain(texts) {
            self.run(text)?;
        }
        let found = self.corpus.texts.into_iter().filter(|text| !seeds.contains(text));
        corpus::keep(file, found)
            .map_err(|error| Failure { text: file.display().to_string(), why: error.to_string() })
    }
}
