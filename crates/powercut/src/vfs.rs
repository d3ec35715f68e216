//! The table of C functions that SQLite calls.
//!
//! Why the unsafe code is sound: SQLite calls a file's functions only between a successful `xOpen`, which boxes an
//! [`Open`] into its [`Handle`], and `xClose`, which takes it out again, and never two at a time for one file.
//! Pointers for results are valid for the call by SQLite's contract. The [`State`] and the tables are leaked, so they
//! live as long as SQLite may call. Shared memory is read and written by SQLite alone, under its own locks.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use rusqlite::ffi;

use crate::locks::SharedMemoryUse;
use crate::{File, State, Syncs};

/// SQLite allocates `szOsFile` bytes, in which this must fit.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

/// An open file.
struct Open {
    state: Arc<Mutex<State>>,
    name: String,
    delete_on_close: bool,
    lock: c_int,
    shared_memory: SharedMemoryUse,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Makes a disk known to SQLite for the rest of the process.
pub(crate) fn register(name: CString, state: Arc<Mutex<State>>) {
    let vfs = Box::new(ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: 1024,
        pNext: std::ptr::null_mut(),
        zName: name.into_raw(),
        pAppData: Box::into_raw(Box::new(state)).cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    });
    // SAFETY: the structure is complete, leaked, and its name unique.
    unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_vfs_register(Box::into_raw(vfs), 0);
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// SAFETY: `vfs` is one of ours.
unsafe fn state_of<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Arc<Mutex<State>> {
    unsafe { &*(*vfs).pAppData.cast::<Arc<Mutex<State>>>() }
}

/// SAFETY: `file` was opened by [`open`] and not closed.
unsafe fn open_of<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    unsafe { &mut *(*file.cast::<Handle>()).open }
}

/// SAFETY: `name` is null or ends in a zero byte.
unsafe fn name_of(name: *const c_char) -> Option<String> {
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives szOsFile bytes; a null table says that there is nothing to close.
    unsafe { (*handle).base.pMethods = std::ptr::null() };
    let shared = unsafe { state_of(vfs) };
    let mut state = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let name = unsafe { name_of(name) }.unwrap_or_else(|| format!("temporary-{}", state.operations));
    let known = state.files.contains_key(&name);
    if !state.power || (!known && flags & ffi::SQLITE_OPEN_CREATE == 0) {
        return ffi::SQLITE_CANTOPEN;
    }
    state.files.entry(name.clone()).or_default();
    drop(state);
    let open = Open {
        state: shared.clone(),
        name,
        delete_on_close: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
        lock: ffi::SQLITE_LOCK_NONE,
        shared_memory: SharedMemoryUse::default(),
    };
    unsafe {
        (*handle).open = Box::into_raw(Box::new(open));
        (*handle).base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _sync_directory: c_int,
) -> c_int {
    let mut state = unsafe { state_of(vfs) }.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !state.operate() {
        return ffi::SQLITE_IOERR_DELETE;
    }
    match unsafe { name_of(name) }.and_then(|name| state.files.remove(&name)) {
        Some(_) => ffi::SQLITE_OK,
        None => ffi::SQLITE_IOERR_DELETE_NOENT,
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    result: *mut c_int,
) -> c_int {
    let state = unsafe { state_of(vfs) }.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let exists = unsafe { name_of(name) }.is_some_and(|name| state.files.contains_key(&name));
    unsafe { *result = exists.into() };
    if state.power { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_ACCESS }
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if bytes.len() > size as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    unsafe { std::ptr::write_bytes(out, 0x5a, size as usize) };
    size
}

unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    std::thread::sleep(Duration::from_micros(microseconds.unsigned_abs().into()));
    microseconds
}

/// Milliseconds since the beginning of the Julian calendar.
fn julian_millis() -> i64 {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    210_866_760_000_000 + since_epoch.as_millis() as i64
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    unsafe { *out = julian_millis() as f64 / 86_400_000.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_int64(_vfs: *mut ffi::sqlite3_vfs, out: *mut ffi::sqlite3_int64) -> c_int {
    unsafe { *out = julian_millis() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let mut open = unsafe { Box::from_raw((*file.cast::<Handle>()).open) };
    unsafe { (*file).pMethods = std::ptr::null() };
    let Open { state, name, delete_on_close, lock, shared_memory } = &mut *open;
    let mut state = state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(file) = state.files.get_mut(name.as_str()) {
        file.lock.lower(lock, ffi::SQLITE_LOCK_NONE);
        file.shared_memory.unmap(shared_memory);
    }
    if *delete_on_close {
        state.files.remove(name.as_str());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    size: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let open = unsafe { open_of(file) };
    let state = open.lock();
    let Some(file) = state.files.get(&open.name).filter(|_| state.power) else {
        return ffi::SQLITE_IOERR_READ;
    };
    let current = file.image.current();
    let start = (offset as usize).min(current.len());
    let end = (offset as usize + size as usize).min(current.len());
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), size as usize) };
    out[..end - start].copy_from_slice(&current[start..end]);
    out[end - start..].fill(0);
    if end - start < size as usize { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_OK }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    size: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let open = unsafe { open_of(file) };
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size as usize) };
    let mut state = open.lock();
    let used: usize = state.files.values().map(|file| file.image.current().len()).sum();
    if !state.power {
        return ffi::SQLITE_IOERR_WRITE;
    }
    let power = state.operate();
    let bytes_max = state.bytes_max;
    let Some(file) = state.files.get_mut(&open.name) else { return ffi::SQLITE_IOERR_WRITE };
    let end = offset as usize + bytes.len();
    if used + end.saturating_sub(file.image.current().len()) > bytes_max {
        return ffi::SQLITE_FULL;
    }
    // The write under way when the power goes may reach the disk in parts.
    file.image.write(offset as usize, bytes);
    if power { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_WRITE }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let open = unsafe { open_of(file) };
    let mut state = open.lock();
    if !state.operate() {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    let Some(file) = state.files.get_mut(&open.name) else { return ffi::SQLITE_IOERR_TRUNCATE };
    file.image.truncate(size as usize);
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let open = unsafe { open_of(file) };
    let mut state = open.lock();
    let power = state.operate();
    let operation = state.operations;
    state.sync_points.push(operation);
    if !power {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    let syncs = state.syncs;
    if let Some(file) = state.files.get_mut(&open.name).filter(|_| syncs == Syncs::Honoured) {
        file.image.sync();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    let open = unsafe { open_of(file) };
    let state = open.lock();
    let length = state.files.get(&open.name).map_or(0, |file| file.image.current().len());
    unsafe { *size = length as ffi::sqlite3_int64 };
    if state.power { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_FSTAT }
}

/// Runs something on an open file and what its connection holds.
fn with_file<T>(
    open: &mut Open,
    run: impl FnOnce(&mut File, &mut c_int, &mut SharedMemoryUse) -> T,
) -> Option<T> {
    let Open { state, name, lock, shared_memory, .. } = open;
    let mut state = state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    state.files.get_mut(name.as_str()).map(|file| run(file, lock, shared_memory))
}

fn busy_unless(done: Option<bool>) -> c_int {
    match done {
        Some(true) => ffi::SQLITE_OK,
        Some(false) => ffi::SQLITE_BUSY,
        None => ffi::SQLITE_IOERR_LOCK,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    busy_unless(with_file(unsafe { open_of(file) }, |file, held, _| file.lock.raise(held, level)))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    with_file(unsafe { open_of(file) }, |file, held, _| file.lock.lower(held, level));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, result: *mut c_int) -> c_int {
    let reserved = with_file(unsafe { open_of(file) }, |file, _, _| file.lock.is_reserved());
    unsafe { *result = reserved.unwrap_or(false).into() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _op: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// What SQLite's own VFS says of Linux's file systems.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let address = with_file(unsafe { open_of(file) }, |file, _, own| {
        file.shared_memory.map(own, region as usize, size as usize, extend != 0)
    });
    unsafe { *out = address.unwrap_or(std::ptr::null_mut()).cast() };
    if address.is_some() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHMMAP }
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    let slots = offset as usize..(offset + n) as usize;
    busy_unless(with_file(unsafe { open_of(file) }, |file, _, own| {
        file.shared_memory.lock(own, slots, flags)
    }))
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    with_file(unsafe { open_of(file) }, |file, _, own| file.shared_memory.unmap(own));
    ffi::SQLITE_OK
}
