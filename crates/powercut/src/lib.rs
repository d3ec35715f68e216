//! A disk that loses power: an SQLite VFS in memory, for tests only.
//!
//! Invariant: what a successful sync covered survives a cut; of everything written since, any subset of 512-byte
//! sectors does, so writes are lost, torn and reordered as a real disk may. Bytes outside a write are never harmed
//! (what SQLite calls powersafe overwrite, which its own VFS assumes, too). Creating and deleting a file is durable at
//! once: SQLite and the store sync directories, which is outside this layer. It can also lie about syncs, to show
//! that a test would notice, and be full.

mod image;
mod locks;
mod vfs;

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::image::{Image, Survival};
use crate::locks::{MainLock, SharedMemory};

/// A disk in memory, known to SQLite as a VFS. Clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    name: Arc<str>,
    state: Arc<Mutex<State>>,
}

/// What a disk does when SQLite asks for a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// Its duty.
    Honoured,
    /// Says that it did.
    Ignored,
}

/// The whole disk.
pub(crate) struct State {
    files: std::collections::BTreeMap<String, File>,
    operations: u64,
    sync_points: Vec<u64>,
    cut_at: Option<u64>,
    syncs: Syncs,
    bytes_max: usize,
    power: bool,
}

#[derive(Default)]
struct File {
    image: Image,
    lock: MainLock,
    shared_memory: SharedMemory,
}

impl Disk {
    /// A new, empty disk under a VFS name of its own. The registration (some hundred bytes) lasts as long as the process.
    pub fn new() -> Disk {
        static DISKS: AtomicU64 = AtomicU64::new(0);
        let name = format!("powercut-{}", DISKS.fetch_add(1, Ordering::Relaxed));
        let state = Arc::new(Mutex::new(State::new()));
        let c_name = CString::new(name.as_str()).unwrap_or_default();
        vfs::register(c_name, state.clone());
        Disk { name: name.into(), state }
    }

    /// The VFS to open databases with.
    pub fn vfs(&self) -> &str {
        &self.name
    }

    /// Whether syncs are honoured.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.lock().syncs = syncs;
    }

    /// How many bytes fit.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.lock().bytes_max = bytes_max;
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.lock().files.values().map(|file| file.image.current().len()).sum()
    }

    /// Cuts the power at the operation of that number (from 1: writes, truncations, syncs, deletions): it and all
    /// later ones fail.
    pub fn cut_at(&self, operation: u64) {
        self.lock().cut_at = Some(operation);
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.lock().power = false;
    }

    /// Whether there is power.
    pub fn has_power(&self) -> bool {
        self.lock().power
    }

    /// How many operations there were since the disk was made or formatted.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Which of them were syncs.
    pub fn sync_points(&self) -> Vec<u64> {
        self.lock().sync_points.clone()
    }

    /// Turns the power on again with what survived, chosen by the seed. All connections must be closed.
    pub fn reboot(&self, seed: u64) {
        let mut survival = Survival::new(seed);
        let mut state = self.lock();
        for file in state.files.values_mut() {
            file.image.survive(&mut survival);
            file.lock = MainLock::default();
            file.shared_memory = SharedMemory::default();
        }
        (state.power, state.cut_at) = (true, None);
    }

    /// Makes it new: empty, counting from 1, without a cut to come.
    pub fn format(&self) {
        let syncs = self.lock().syncs;
        *self.lock() = State { syncs, ..State::new() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

impl State {
    fn new() -> State {
        State {
            files: Default::default(),
            operations: 0,
            sync_points: Vec::new(),
            cut_at: None,
            syncs: Syncs::Honoured,
            bytes_max: usize::MAX,
            power: true,
        }
    }

    /// Counts an operation that changes the disk; whether there is power for it.
    fn operate(&mut self) -> bool {
        self.operations += 1;
        if self.cut_at.is_some_and(|cut_at| self.operations >= cut_at) {
            self.power = false;
        }
        self.power
    }
}
