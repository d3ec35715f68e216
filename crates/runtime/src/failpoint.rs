//! Named points at which a crash test kills the process.
//!
//! Invariant: a point does nothing unless the binary armed it from `PASSO_FAILPOINT=name[:n]`; then its n-th passage ends
//! the process at once, without destructors, as `kill -9` would. The crate never reads the environment itself. [`NAMES`] is
//! the complete list: a name outside it cannot be armed, and every name in it is passed somewhere.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every point, in the order an execution passes them.
pub const NAMES: &[&str] = &[
    "admit.before",
    "commit.before",
    "commit.after",
    "answer.before",
    "answer.after",
    "task.run.before",
    "task.run.after",
    "task.observe.before",
    "task.observe.after",
    "task.cancel.before",
    "task.cancel.after",
    "activity.hand_out.before",
    "activity.hand_out.after",
    "child.start.before",
    "child.start.after",
    "map_run.commit.before",
    "map_run.commit.after",
    "map_run.results.before",
    "map_run.results.after",
    "parent.tell.before",
    "parent.tell.after",
    "observer.before",
    "observer.after",
    "cursor.after",
];

/// An armed point: dies at the n-th passage.
#[derive(Debug)]
pub struct Failpoint {
    name: &'static str,
    remaining: AtomicU64,
}

/// The text of `PASSO_FAILPOINT` names no point of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown failpoint `{0}`")]
pub struct UnknownFailpoint(pub String);

static ARMED: OnceLock<Failpoint> = OnceLock::new();

impl std::str::FromStr for Failpoint {
    type Err = UnknownFailpoint;

    /// `name` or `name:n`, n from 1.
    fn from_str(text: &str) -> Result<Failpoint, UnknownFailpoint> {
        let unknown = || UnknownFailpoint(text.to_owned());
        let (name, count) = match text.rsplit_once(':') {
            Some((name, count)) => (name, count.parse::<u64>().map_err(|_| unknown())?),
            None => (text, 1),
        };
        let name = NAMES.iter().copied().find(|known| *known == name).ok_or_else(unknown)?;
        if count == 0 {
            return Err(unknown());
        }
        Ok(Failpoint { name, remaining: AtomicU64::new(count) })
    }
}

/// Arms a point for the rest of the process's life. The second call has no effect.
pub fn arm(failpoint: Failpoint) {
    let _ = ARMED.set(failpoint);
}

/// Passes a point; does not return when it is the armed one's last passage.
#[inline]
pub fn pass(name: &'static str) {
    if let Some(armed) = ARMED.get() {
        debug_assert!(NAMES.contains(&name), "{name} is missing from NAMES");
        if armed.name == name && armed.remaining.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

/// Passes the named point. See [`crate::failpoint`].
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::pass($name)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_names_can_be_armed() {
        assert!("commit.before".parse::<Failpoint>().is_ok());
        assert_eq!("commit.after:3".parse::<Failpoint>().unwrap().remaining.into_inner(), 3);
        for bad in ["", "commit", "commit.before:", "commit.before:0", "commit.before:x", "nowhere:1"] {
            assert_eq!(bad.parse::<Failpoint>().unwrap_err(), UnknownFailpoint(bad.to_owned()));
        }
    }

    #[test]
    fn every_listed_point_is_passed_somewhere_in_the_crate() {
        let mut source = String::new();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the crate's sources") {
                let path = entry.expect("a directory entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    source.push_str(&std::fs::read_to_string(path).expect("a source file"));
                }
            }
        }
        for name in NAMES {
            assert!(source.contains(&format!("failpoint!(\"{name}\")")), "{name} is never passed");
        }
    }
}
