//! Law L9: what is derived equals what the journal says. Rebuilds and compares; repairs nothing.

use engine::map_run::{MapRun, MapRunEvent};

use crate::turn::{self, TurnError};
use crate::{ExecutionKey, ExecutionRow, ExecutionStatus, ScopeId, StoreError, row};

/// So many differences are told.
pub(crate) const DIFFERENCES_MAX: usize = 100;

/// A place where something derived is not what the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The execution; number 0 for a Map Run, which the reason names.
    pub execution: ExecutionKey,
    /// What is wrong.
    pub reason: String,
}

/// A Map Run's counters are those of its children's rows: (status, children, items).
pub(crate) fn compare_map_run(
    scope: ScopeId,
    arn: &str,
    events: &Result<Vec<MapRunEvent>, StoreError>,
    counted: &[(ExecutionStatus, u64, u64)],
) -> Option<Difference> {
    let differ = |reason: String| Difference { execution: ExecutionKey { scope, number: 0 }, reason };
    let events = match events {
        Ok(events) => events,
        Err(error) => return Some(differ(error.to_string())),
    };
    let (executions, items) = MapRun::replay(events).all_counts();
    let expected = [
        (ExecutionStatus::Running, executions.running, items.running),
        (ExecutionStatus::Succeeded, executions.succeeded, items.succeeded),
        (ExecutionStatus::Failed, executions.failed, items.failed),
        (ExecutionStatus::TimedOut, executions.timed_out, items.timed_out),
        (ExecutionStatus::Aborted, executions.aborted, items.aborted),
    ];
    let found =
        |status| counted.iter().find(|(of, ..)| *of == status).map_or((0, 0), |(_, n, items)| (*n, *items));
    let wrong = expected.into_iter().find(|(status, n, items)| found(*status) != (*n, *items))?;
    Some(differ(format!("{arn} counts {wrong:?}, the rows of its children {:?}", found(wrong.0))))
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
