//! Wait: a delay. The resolved time travels in a private event, since AWS's history does not tell it.

use std::time::Duration;

use asl::dynamic;
use asl::program::Wait;

use crate::data_flow::Sight;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::turn::{Site, Turn};

/// AWS's longest wait.
const DELAY_MAX: Duration = Duration::from_secs(2_147_483_647);

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, wait: &Wait) -> Result<(), Fault> {
    let effective = turn.effective_input(site)?;
    let until = match wait {
        Wait::Seconds(seconds) => {
            let seconds = turn.look(site, seconds, Sight::of(&effective), |view, entropy| {
                dynamic::wait_seconds(seconds, view, entropy)
            })?;
            turn.at.plus(Duration::from_secs(seconds))
        }
        Wait::Timestamp(timestamp) => {
            turn.look(site, timestamp, Sight::of(&effective), |view, entropy| {
                dynamic::wait_timestamp(timestamp, view, entropy)
            })?
        }
    };
    if until.since(turn.at) > DELAY_MAX {
        return Err(Fault::Runtime("Wait state delay is too long.".into()));
    }
    if until <= turn.at {
        return over(turn, site);
    }
    turn.emit(site.frame, EventKind::WaitScheduled { until });
    Ok(())
}

/// The delay is over.
pub(crate) fn over<'a>(turn: &mut Turn<'a>, site: Site<'a>) -> Result<(), Fault> {
    let effective = turn.effective_input(site)?;
    turn.finish(site, effective)
}
