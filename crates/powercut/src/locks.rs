//! SQLite's locks between the connections of one process, and the memory they share in WAL mode.
//!
//! Invariant: the same answers as the locks of SQLite's own VFS give between processes. They end with the power.

use rusqlite::ffi;

/// The five-step lock of a database file.
#[derive(Default)]
pub(crate) struct MainLock {
    shared: u32,
    reserved: bool,
    pending: bool,
    exclusive: bool,
}

impl MainLock {
    /// Raises a connection's lock; whether it could. `held` is changed when it could, or got as far as pending.
    pub(crate) fn raise(&mut self, held: &mut i32, wanted: i32) -> bool {
        if wanted <= *held {
            return true;
        }
        if wanted == ffi::SQLITE_LOCK_SHARED {
            if self.pending || self.exclusive {
                return false;
            }
            self.shared += 1;
            *held = wanted;
            return true;
        }
        if *held < ffi::SQLITE_LOCK_RESERVED {
            if self.reserved {
                return false;
            }
            self.reserved = true;
            *held = ffi::SQLITE_LOCK_RESERVED;
        }
        if wanted == ffi::SQLITE_LOCK_EXCLUSIVE {
            self.pending = true;
            *held = ffi::SQLITE_LOCK_PENDING;
            if self.shared > 1 {
                return false;
            }
            self.exclusive = true;
            *held = wanted;
        }
        true
    }

    /// Lowers it to shared or none.
    pub(crate) fn lower(&mut self, held: &mut i32, wanted: i32) {
        if *held >= ffi::SQLITE_LOCK_RESERVED {
            (self.reserved, self.pending, self.exclusive) = (false, false, false);
        }
        if *held >= ffi::SQLITE_LOCK_SHARED && wanted == ffi::SQLITE_LOCK_NONE {
            self.shared = self.shared.saturating_sub(1);
        }
        *held = (*held).min(wanted);
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved
    }
}

/// What connections in WAL mode share.
#[derive(Default)]
pub(crate) struct SharedMemory {
    /// Of 64-bit words, so that SQLite's structures are aligned. A region stays where it is while anybody maps it.
    regions: Vec<Box<[u64]>>,
    mapped_by: u32,
    slots: [Slot; ffi::SQLITE_SHM_NLOCK as usize],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    shared: u32,
    exclusive: bool,
}

/// What one connection holds of it.
#[derive(Default)]
pub(crate) struct SharedMemoryUse {
    mapped: bool,
    shared: u8,
    exclusive: u8,
}

impl SharedMemory {
    /// Address of a region, made if wanted; null if it is not there.
    pub(crate) fn map(
        &mut self,
        own: &mut SharedMemoryUse,
        region: usize,
        size: usize,
        extend: bool,
    ) -> *mut u64 {
        if !own.mapped {
            own.mapped = true;
            self.mapped_by += 1;
        }
        if extend {
            while self.regions.len() <= region {
                self.regions.push(vec![0; size.div_ceil(8)].into_boxed_slice());
            }
        }
        self.regions.get_mut(region).map_or(std::ptr::null_mut(), |region| region.as_mut_ptr())
    }

    pub(crate) fn unmap(&mut self, own: &mut SharedMemoryUse) {
        for slot in 0..self.slots.len() {
            self.release(own, slot);
        }
        if std::mem::take(&mut own.mapped) {
            self.mapped_by = self.mapped_by.saturating_sub(1);
        }
        if self.mapped_by == 0 {
            self.regions.clear();
        }
    }

    /// Takes or gives back a range of slots; whether it could.
    pub(crate) fn lock(
        &mut self,
        own: &mut SharedMemoryUse,
        slots: std::ops::Range<usize>,
        flags: i32,
    ) -> bool {
        let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            slots.for_each(|slot| self.release(own, slot));
            return true;
        }
        let free = slots.clone().all(|slot| {
            let mine = own.holds(slot);
            let others = self.slots[slot].shared - u32::from(mine.0);
            let taken = self.slots[slot].exclusive && !mine.1;
            !taken && (!exclusive || others == 0)
        });
        if free {
            slots.for_each(|slot| self.take(own, slot, exclusive));
        }
        free
    }

    fn take(&mut self, own: &mut SharedMemoryUse, slot: usize, exclusive: bool) {
        self.release(own, slot);
        if exclusive {
            self.slots[slot].exclusive = true;
            own.exclusive |= 1 << slot;
        } else {
            self.slots[slot].shared += 1;
            own.shared |= 1 << slot;
        }
    }

    fn release(&mut self, own: &mut SharedMemoryUse, slot: usize) {
        let (shared, exclusive) = own.holds(slot);
        if shared {
            self.slots[slot].shared -= 1;
        }
        if exclusive {
            self.slots[slot].exclusive = false;
        }
        own.shared &= !(1 << slot);
        own.exclusive &= !(1 << slot);
    }
}

impl SharedMemoryUse {
    fn holds(&self, slot: usize) -> (bool, bool) {
        (self.shared & (1 << slot) != 0, self.exclusive & (1 << slot) != 0)
    }
}
