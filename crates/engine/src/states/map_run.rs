//! Map, distributed: the execution's side. The Map Run is an aggregate of its own; this execution only starts it, waits for
//! its end, stops it and redrives it.

use std::sync::Arc;

use asl::entropy::uuid_v4;
use asl::program::Map;

use crate::event::EventKind;
use crate::fault::Fault;
use crate::frame::Work;
use crate::input::MapRunResult;
use crate::start::Failure;
use crate::turn::{Site, Turn};

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, map: &Map) -> Result<(), Fault> {
    let start = turn.start();
    let label = label_of(map, &site.state.name);
    let machine = start.state_machine_arn.replacen(":stateMachine:", ":mapRun:", 1);
    let id = uuid_v4(&mut turn.entropy);
    turn.emit(site.frame, EventKind::MapRunStarted { map_run_arn: format!("{machine}/{label}:{id}").into() });
    Ok(())
}

/// The label in the ARN of a Map Run: as written, or made of the state's name.
pub fn label_of(map: &Map, name: &str) -> Arc<str> {
    /// AWS's longest label.
    const LABEL_MAX: usize = 40;
    match &map.label {
        Some(label) => Arc::clone(label),
        None => name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
            .take(LABEL_MAX)
            .collect::<String>()
            .into(),
    }
}

/// The Map Run ended.
pub(crate) fn ended<'a>(turn: &mut Turn<'a>, site: Site<'a>, result: MapRunResult) {
    let failure = match result {
        MapRunResult::Succeeded(output) => {
            turn.emit(site.frame, EventKind::MapRunSucceeded { output: output.clone() });
            turn.emit(site.frame, EventKind::MapStateSucceeded {});
            let result = turn.finish(site, output);
            return turn.settle(site, result);
        }
        MapRunResult::Failed(failure) => {
            turn.emit(site.frame, EventKind::MapRunFailed { failure: failure.clone() });
            failure
        }
        MapRunResult::Aborted => {
            turn.emit(site.frame, EventKind::MapRunAborted {});
            Failure::named("States.TaskFailed")
        }
    };
    turn.fail_below(site.frame, failure);
}

/// After a redrive of the execution the same Map Run goes on.
pub(crate) fn redrive<'a>(turn: &mut Turn<'a>, site: Site<'a>) {
    let Work::MapRun(run) = &turn.visit(site.frame).work else { return };
    let kind =
        EventKind::MapRunRedriven { map_run_arn: Arc::clone(&run.map_run_arn), count: run.redrive + 1 };
    turn.emit(site.frame, kind);
}
