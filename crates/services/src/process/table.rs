//! The system's process table: start times, sessions, environments and signals.
//!
//! On Linux it is read from `/proc`; elsewhere the start time comes from `ps` and descendants are not searched for.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// The identity of this boot of the machine.
pub(super) fn boot() -> String {
    #[cfg(target_os = "linux")]
    return std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    #[cfg(not(target_os = "linux"))]
    return ps(&["-o", "lstart=", "-p", "1"]).unwrap_or_default();
}

/// When a process started, in the system's own notation; `None` when there is no such process or it is a zombie.
pub(super) fn start_time(pid: u32) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let stat = Stat::read(pid)?;
        (!matches!(stat.state, 'Z' | 'X')).then_some(stat.start_time)
    }
    #[cfg(not(target_os = "linux"))]
    ps(&["-o", "lstart=", "-p", &pid.to_string()])
}

/// A lock file that is held.
#[derive(Debug)]
pub(super) struct Lock(std::fs::File);

impl Drop for Lock {
    /// Unlocks for every copy of the descriptor: a child that is being started has one until it becomes its program.
    fn drop(&mut self) {
        use std::os::fd::AsRawFd;
        // SAFETY: flock takes an open descriptor and a flag.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// How long a server waits for the lock of one that was killed: a child that it was just starting has the lock until it
/// becomes its program, and the system tells nobody of that moment.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Takes a lock file that the system gives back when this process ends, however it ends.
pub(super) fn lock(path: &std::path::Path, data_directory: &std::path::Path) -> std::io::Result<Lock> {
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let end = Instant::now() + LOCK_WAIT;
    loop {
        if try_lock(&file) {
            return Ok(Lock(file));
        }
        if Instant::now() >= end {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let data_directory = data_directory.display();
    Err(std::io::Error::other(format!("another server is using the data directory {data_directory}")))
}

/// Locks an open file, unless another has locked it. The lock goes on to forked children that keep the file open.
pub(super) fn try_lock(file: &std::fs::File) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: flock takes an open descriptor and a flag.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Waits until a child has ended, without taking its exit status: until that is taken, its id and its group's id
/// cannot be given to another process, so what is left of the group can be killed safely.
pub(super) fn await_end(pid: u32) {
    // SAFETY: waitid writes into one zeroed struct that lives through the call.
    unsafe {
        let mut information: libc::siginfo_t = std::mem::zeroed();
        while libc::waitid(libc::P_PID, pid, &raw mut information, libc::WEXITED | libc::WNOWAIT) == -1
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
}

/// The largest resident size of a process so far, in bytes.
pub(crate) fn resident_bytes_max(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

pub(super) fn kill(pid: u32, signal: i32) {
    if let Ok(pid @ 2..) = libc::pid_t::try_from(pid) {
        // SAFETY: kill only takes integers; a pid that is gone is an error we do not need.
        unsafe { libc::kill(pid, signal) };
    }
}

pub(super) fn kill_group(pid: u32, signal: i32) {
    if let Ok(pid @ 2..) = libc::pid_t::try_from(pid) {
        // SAFETY: as above; never 0 or 1, which would mean our own group or everybody.
        unsafe { libc::kill(-pid, signal) };
    }
}

/// The processes whose environment holds `name=value`.
pub(super) fn with_variable(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}").into_bytes();
    pids()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == wanted))
                && start_time(*pid).is_some()
        })
        .collect()
}

/// The processes of a user in a session.
pub(super) fn in_session(session: u32, uid: u32) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;
    pids()
        .filter(|pid| {
            Stat::read(*pid).is_some_and(|stat| stat.session == session && !matches!(stat.state, 'Z' | 'X'))
                && std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|metadata| metadata.uid() == uid)
        })
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let own = std::process::id();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(move |pid| *pid != own)
}

struct Stat {
    state: char,
    session: u32,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    start_time: String,
}

impl Stat {
    /// `/proc/PID/stat`: the command is in parentheses and may itself hold any character, so we read after the last.
    fn read(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: (*fields.get(19)?).to_owned(),
        })
    }
}

#[cfg(not(target_os = "linux"))]
fn ps(arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("/bin/ps").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
