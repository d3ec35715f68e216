//! What happens in the child between fork and exec: session, supervisor, private `/tmp`, limits, user.
//!
//! Only async-signal-safe calls on values prepared before the fork: the child of a process with threads may hold
//! any lock, so it must not allocate. This file is unsafe because `fork` is; nothing else in the crate needs it.
#![allow(unsafe_code)]

use super::launch::Limits;
use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How the child is confined before it becomes the user's program.
pub(super) struct Confinement {
    pub uid: Option<u32>,
    pub limits: Limits,
    /// Where the supervisor writes the exit code; without it there is no supervisor and the child ends with us.
    pub exit_file: Option<RawFd>,
    /// A directory to lie on `/tmp` for this process alone, where the system allows it.
    pub private_tmp: Option<CString>,
    pub server_pid: u32,
}

pub(super) fn confine(command: &mut Command, confinement: Confinement) {
    // SAFETY: `enter` keeps to async-signal-safe calls and does not allocate.
    unsafe { command.pre_exec(move || enter(&confinement)) };
}

fn enter(confinement: &Confinement) -> io::Result<()> {
    // SAFETY: plain system calls on integers and on a string that outlives them.
    unsafe {
        check(libc::setsid())?;
        let mut parent = confinement.server_pid.cast_signed();
        if let Some(exit_file) = confinement.exit_file {
            parent = libc::getpid();
            match libc::fork() {
                -1 => return Err(io::Error::last_os_error()),
                0 => {}
                child => supervise(child, exit_file),
            }
        }
        if let Some(directory) = &confinement.private_tmp {
            private_tmp(directory);
        }
        limit(&confinement.limits)?;
        if let Some(uid) = confinement.uid {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setgid(uid))?;
            check(libc::setuid(uid))?;
        }
        libc::umask(0o077);
        end_with(parent);
    }
    Ok(())
}

/// Asks the kernel to kill us when the parent dies. Set after setuid, which clears it.
#[cfg(target_os = "linux")]
unsafe fn end_with(parent: libc::pid_t) {
    // SAFETY: prctl with these options only takes integers.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        if libc::getppid() != parent {
            libc::_exit(137);
        }
    }
}

#[cfg(not(target_os = "linux"))]
unsafe fn end_with(_parent: libc::pid_t) {}

/// Gives the process a `/tmp` of its own; where mount namespaces are not allowed, the shared one stays.
#[cfg(target_os = "linux")]
unsafe fn private_tmp(directory: &CString) {
    let none = std::ptr::null();
    // SAFETY: the strings are NUL-terminated and live through the calls.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
        {
            libc::mount(directory.as_ptr(), c"/tmp".as_ptr(), none, libc::MS_BIND, none.cast());
        }
    }
}

#[cfg(not(target_os = "linux"))]
unsafe fn private_tmp(_directory: &CString) {}

unsafe fn limit(limits: &Limits) -> io::Result<()> {
    // SAFETY: setrlimit reads one struct that lives through the call.
    unsafe {
        let pair = |value: u64| libc::rlimit { rlim_cur: value, rlim_max: value };
        check(libc::setrlimit(libc::RLIMIT_CORE, &pair(0)))?;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &pair(limits.open_files_max)))?;
        if let Some(bytes) = limits.memory_bytes_max {
            check(libc::setrlimit(libc::RLIMIT_DATA, &pair(bytes)))?;
        }
    }
    Ok(())
}

/// The supervisor: waits for the program, writes its exit code, ends what is left of the group. It outlives the
/// server, so a task found again after a crash still has its exit code. It never executes another program.
unsafe fn supervise(child: libc::pid_t, exit_file: RawFd) -> ! {
    // SAFETY: async-signal-safe calls only; the buffer is on the stack.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::dup2(exit_file, 0);
        close_from(1);
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) == -1 {
            if *errno() != libc::EINTR {
                libc::_exit(255);
            }
        }
        let code =
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
        let digit = |n: i32| b'0' + u8::try_from(n % 10).unwrap_or(0);
        let text = [digit(code / 100), digit(code / 10), digit(code), b'\n'];
        libc::write(0, text.as_ptr().cast(), text.len());
        libc::kill(0, libc::SIGKILL);
        libc::_exit(0)
    }
}

/// Closes every descriptor from `first` on, so that the server's files and sockets do not stay open in here.
unsafe fn close_from(first: libc::c_int) {
    // SAFETY: closing descriptors of this forked copy touches no memory.
    unsafe {
        #[cfg(target_os = "linux")]
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 {
            return;
        }
        for descriptor in first..65_536 {
            libc::close(descriptor);
        }
    }
}

#[cfg(target_os = "linux")]
unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: returns this thread's own errno.
    unsafe { libc::__errno_location() }
}

#[cfg(not(target_os = "linux"))]
unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: returns this thread's own errno.
    unsafe { libc::__error() }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
