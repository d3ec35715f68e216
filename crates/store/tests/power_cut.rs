//! The power goes: whatever was acknowledged is there afterwards, and nothing is there by half.
//!
//! The disk is `powercut`'s, below SQLite. The last two tests take the sync away and expect the loss to be noticed.

mod samples;

use std::path::Path;
use std::time::Duration;

use powercut::{Disk, Syncs};
use samples::{Dice, FRANKFURT, Script, payload_of, turns};
use store::{Batch, CursorMove, Durability, SqliteOptions, SqliteStore, Standing, Store, StoreError};

const BATCHES: u64 = 24;

/// What the workload knows when the power goes.
#[derive(Default)]
struct Told {
    scripts: Vec<Script>,
    /// Events of each script, and the position, after each acknowledged batch.
    acknowledged: (Vec<usize>, u64),
    /// The same if the batch under way made it, too.
    under_way: (Vec<usize>, u64),
}

fn options(disk: &Disk, durability: Durability) -> SqliteOptions {
    SqliteOptions { durability, vfs: Some(disk.vfs().into()), busy_timeout: Duration::ZERO }
}

/// Works until the power goes or the work is done; every few batches the log is moved into the file.
fn work(directory: &Path, disk: &Disk, durability: Durability) -> Told {
    let mut told = Told::default();
    let Ok(mut store) = SqliteStore::open(directory, &options(disk, durability)) else { return told };
    let mut dice = Dice(7);
    for round in 0..BATCHES {
        let batch = next_batch(&store, &mut told, &mut dice, round);
        match store.append(&batch) {
            Ok(committed) => {
                assert_eq!(committed.position, told.under_way.1);
                told.acknowledged = told.under_way.clone();
            }
            Err(_) => return told,
        }
        if round % 5 == 4 && store.checkpoint().is_err() {
            return told;
        }
    }
    told
}

fn next_batch(store: &dyn Store, told: &mut Told, dice: &mut Dice, round: u64) -> Batch {
    let mut batch = Batch::default();
    for index in 0..=dice.roll(3) {
        let start = samples::start(FRANKFURT, "Order", &format!("{round}-{index}"));
        let mut script = Script::new(store, start, round as i64 * 10);
        batch.turns.push(script.started().turn(Standing::Open));
        told.scripts.push(script);
    }
    for _ in 0..dice.roll(4) {
        let index = dice.roll(told.scripts.len() as u64) as usize;
        let script = &mut told.scripts[index];
        script.passed(&payload_of(dice.roll(9000) as usize, round));
        batch.turns.push(script.turn(Standing::Open));
    }
    batch.cursors.push(CursorMove { name: "logs".into(), position: Some(round + 1) });
    let lengths = told.scripts.iter().map(|script| script.events.len()).collect();
    told.under_way = (lengths, told.under_way.1 + batch.turns.len() as u64);
    batch
}

/// What became of the batch under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    Lost,
    Kept,
}

/// What is wrong after the power came back, if anything.
fn check(directory: &Path, disk: &Disk, told: &Told) -> Result<UnderWay, String> {
    let store =
        SqliteStore::open(directory, &options(disk, Durability::Full)).map_err(|error| error.to_string())?;
    let reader = store.reader();
    let journal = reader.journal(0, 10_000).map_err(|error| error.to_string())?;
    let position = journal.last().map_or(0, |turn| turn.position);
    let (lengths, under_way) = match position {
        position if position == told.acknowledged.1 => (&told.acknowledged.0, UnderWay::Lost),
        position if position == told.under_way.1 => (&told.under_way.0, UnderWay::Kept),
        position => {
            return Err(format!("journal ends at {position}, acknowledged was {}", told.acknowledged.1));
        }
    };
    for (index, script) in told.scripts.iter().enumerate() {
        let length = lengths.get(index).copied().unwrap_or(0);
        let events = reader.events(script.key).map_err(|error| error.to_string())?;
        if events[..] != script.events[..length] {
            return Err(format!("{} has {} events, not {length}", script.arn(), events.len()));
        }
    }
    match store.verify() {
        Ok(differences) if differences.is_empty() => Ok(under_way),
        Ok(differences) => Err(format!("{differences:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// One life: work, lose power at an operation, come back with what survived, check, and work on.
fn live(disk: &Disk, durability: Durability, cut_at: u64, seed: u64) -> Result<UnderWay, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    disk.format();
    disk.cut_at(cut_at);
    let told = work(directory.path(), disk, durability);
    disk.cut();
    disk.reboot(seed);
    check(directory.path(), disk, &told)
}

/// How many operations the whole work takes, and which are syncs.
fn rehearse(disk: &Disk, durability: Durability) -> (u64, Vec<u64>) {
    let directory = tempfile::tempdir().expect("a directory");
    disk.format();
    let told = work(directory.path(), disk, durability);
    assert_eq!(told.acknowledged, told.under_way, "without a cut everything is acknowledged");
    assert!(told.acknowledged.1 > 50, "the work is worth its name");
    (disk.operations(), disk.sync_points())
}

#[test]
fn nothing_acknowledged_is_lost_at_any_sync() {
    let disk = Disk::new();
    let (_, syncs) = rehearse(&disk, Durability::Full);
    assert!(syncs.len() as u64 > BATCHES, "each commit syncs");
    let mut kept = 0;
    for sync in syncs {
        // Just before it is done, with nothing, all and some of what it would have saved; and just after.
        for (cut_at, seed) in [(sync, 0), (sync, 1), (sync, 2 + sync), (sync + 1, 3 + sync)] {
            let lived = live(&disk, Durability::Full, cut_at, seed);
            let under_way = lived.unwrap_or_else(|lost| panic!("{cut_at} {seed}: {lost}"));
            kept += u64::from(under_way == UnderWay::Kept);
        }
    }
    assert!(kept >= BATCHES, "a batch whose sync was cut short may be kept, but only {kept} were");
}

#[test]
fn nothing_acknowledged_is_lost_at_any_write() {
    let disk = Disk::new();
    let (operations, _) = rehearse(&disk, Durability::Full);
    let mut dice = Dice(11);
    let mut kept = 0;
    for seed in 0..150 {
        let cut_at = 1 + dice.roll(operations);
        let lived = live(&disk, Durability::Full, cut_at, seed);
        let under_way = lived.unwrap_or_else(|lost| panic!("{cut_at} {seed}: {lost}"));
        kept += usize::from(under_way == UnderWay::Kept);
    }
    assert!((1..150).contains(&kept), "a batch under way may be kept or lost; {kept} of 150 were kept");
}

/// How many of the lives lose something.
fn losses(disk: &Disk, durability: Durability) -> usize {
    let (operations, _) = rehearse(disk, durability);
    let mut dice = Dice(13);
    (0..40).filter(|seed| live(disk, durability, 1 + dice.roll(operations), *seed).is_err()).count()
}

#[test]
fn a_disk_that_ignores_syncs_is_noticed() {
    let disk = Disk::new();
    disk.set_syncs(Syncs::Ignored);
    let lost = losses(&disk, Durability::Full);
    assert!(lost >= 20, "only {lost} of 40 cuts without syncs were noticed");
}

#[test]
fn a_store_that_does_not_sync_is_noticed() {
    let lost = losses(&Disk::new(), Durability::ProcessCrashOnly);
    assert!(lost >= 20, "only {lost} of 40 cuts without syncs were noticed");
}

#[test]
fn a_full_disk_refuses_the_batch_and_the_store_goes_on_when_there_is_room() {
    let disk = Disk::new();
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = SqliteStore::open(directory.path(), &options(&disk, Durability::Full)).expect("a store");
    let mut first = Script::new(&store, samples::start(FRANKFURT, "Order", "first"), 0);
    store.append(&turns([first.started().turn(Standing::Open)])).expect("a commit");
    disk.set_bytes_max(disk.bytes() + 100_000);
    let mut second = Script::new(&store, samples::start(FRANKFURT, "Order", "second"), 0);
    second.started().passed(&payload_of(250_000, 1));
    let batch = turns([second.turn(Standing::Open)]);
    let full = store.append(&batch).expect_err("there is no room");
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert_eq!(store.reader().execution(second.arn()).expect("a read"), None);
    disk.set_bytes_max(usize::MAX);
    store.append(&batch).expect("a commit");
    drop(store);
    disk.cut();
    disk.reboot(0);
    let store = SqliteStore::open(directory.path(), &options(&disk, Durability::Full)).expect("a store");
    for script in [&first, &second] {
        assert_eq!(store.reader().events(script.key).expect("a read"), script.events);
    }
    assert_eq!(store.verify().expect("verify reads"), []);
}
