//! Law L9: what is derived equals what the journal says. Rebuilds and compares; repairs nothing.

use crate::turn::{self, TurnError};
use crate::{ExecutionKey, ExecutionRow, ExecutionStatus, StoreError, row};

/// So many differences are told.
pub(crate) const DIFFERENCES_MAX: usize = 100;

/// A place where something derived is not what the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The execution.
    pub execution: ExecutionKey,
    /// What is wrong.
    pub reason: String,
}

/// Everything stored about one execution.
pub(crate) struct Stored {
    pub execution: ExecutionKey,
    /// The `seq` of each journal row's key and its blob, in order.
    pub turns: Vec<(u64, Vec<u8>)>,
    pub row: Option<ExecutionRow>,
    pub open: bool,
}

/// Rebuilds one execution and compares.
pub(crate) fn compare(
    stored: &Stored,
    fetch: &mut dyn FnMut(ExecutionKey, u64) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    let mut differ = |reason: String| differences.push(Difference { execution: stored.execution, reason });
    match rebuild(stored, fetch)? {
        Err(reason) => differ(reason),
        Ok(rebuilt) => {
            if stored.row.as_ref() != Some(&rebuilt) {
                differ(format!("row is {:?}, the journal says {rebuilt:?}", stored.row));
            }
            // A settled execution that still owes a cancellation may be open; one that goes on must be.
            if rebuilt.status == ExecutionStatus::Running && !stored.open {
                differ("it goes on, but recovery would not find it".into());
            }
        }
    }
    Ok(differences)
}

/// The row that the journal says, or what is wrong with the journal.
fn rebuild(
    stored: &Stored,
    fetch: &mut dyn FnMut(ExecutionKey, u64) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Result<ExecutionRow, String>, StoreError> {
    let mut rebuilt: Option<ExecutionRow> = None;
    let mut next_seq = 1;
    for (seq, blob) in &stored.turns {
        let decoded = match turn::decode(blob, fetch) {
            Ok(decoded) => decoded,
            Err(TurnError::Store(error)) => return Err(error),
            Err(error) => return Ok(Err(format!("turn at {seq}: {error}"))),
        };
        if decoded.execution != stored.execution || decoded.events[0].seq != *seq {
            return Ok(Err(format!("turn at {seq} belongs elsewhere")));
        }
        if *seq != next_seq {
            return Ok(Err(format!("turn at {seq} should begin at {next_seq}")));
        }
        next_seq += decoded.events.len() as u64;
        let events = &decoded.events;
        if let Some((start, at)) = row::start_of(events) {
            rebuilt = Some(ExecutionRow::started(stored.execution, at, start));
        }
        if let (Some(rebuilt), Some(change)) = (&mut rebuilt, row::change_of(events)) {
            rebuilt.apply(&change);
        }
    }
    Ok(rebuilt.ok_or_else(|| "no turn begins with ExecutionStarted".to_owned()))
}
