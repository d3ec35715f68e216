//! A file as three things: what is safe, what was done since, and what a reader sees.
//!
//! Invariant: `current` = `durable` with `since` applied in order. After a cut, any subset of the sectors written
//! since may be there; each sector as one of its versions.

/// What a disk writes at once.
const SECTOR: usize = 512;

#[derive(Default)]
pub(crate) struct Image {
    durable: Vec<u8>,
    current: Vec<u8>,
    since: Vec<Change>,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl Image {
    pub(crate) fn current(&self) -> &[u8] {
        &self.current
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.current, offset, bytes);
        self.since.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.current.truncate(length);
        self.since.push(Change::Truncate { length });
    }

    /// Everything so far is safe.
    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.since) {
            change.apply(&mut self.durable);
        }
    }

    /// The power came back.
    pub(crate) fn survive(&mut self, survival: &mut Survival) {
        for change in std::mem::take(&mut self.since) {
            match change {
                Change::Truncate { length } if survival.survives() => self.durable.truncate(length),
                Change::Truncate { .. } => {}
                Change::Write { offset, bytes } => {
                    for (at, sector) in sectors(offset, &bytes) {
                        if survival.survives() {
                            put(&mut self.durable, at, sector);
                        }
                    }
                }
            }
        }
        self.current = self.durable.clone();
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes: written } => put(bytes, *offset, written),
            Change::Truncate { length } => bytes.truncate(*length),
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// The parts of a write that lie in one sector of the file each.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    std::iter::from_fn(move || {
        let start = at - offset;
        if start >= bytes.len() {
            return None;
        }
        let length = (SECTOR - at % SECTOR).min(bytes.len() - start);
        let part = (at, &bytes[start..start + length]);
        at += length;
        Some(part)
    })
}

/// Decides by seed what survives: nothing (seeds 0, 5, 10 …), everything (1, 6, 11 …), or more or less of it.
pub(crate) struct Survival {
    state: u64,
    percent: u64,
}

impl Survival {
    pub(crate) fn new(seed: u64) -> Survival {
        let percent = [0, 100, 50, 90, 99][(seed % 5) as usize];
        Survival { state: seed, percent }
    }

    /// One splitmix64 step.
    fn survives(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100 < self.percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_sector_by_sector() {
        for seed in 0..50 {
            let mut image = Image::default();
            image.write(0, &[1; 2000]);
            image.sync();
            image.write(700, &[2; 1000]);
            image.write(700, &[3; 1000]);
            image.survive(&mut Survival::new(seed));
            assert_eq!(image.current().len(), 2000);
            assert!(image.current()[..700].iter().chain(&image.current()[1700..]).all(|byte| *byte == 1));
            for sector in [700..1024, 1024..1536, 1536..1700] {
                let first = image.current()[sector.start];
                assert!(image.current()[sector].iter().all(|byte| *byte == first), "a sector is never torn");
            }
            let expected = [1, 3].get(seed as usize);
            assert!(expected.is_none_or(|byte| image.current()[700] == *byte));
        }
    }
}
