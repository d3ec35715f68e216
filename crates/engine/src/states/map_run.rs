//! Map, distributed: the execution's side. The Map Run is an aggregate of its own; this execution only starts it, waits for
//! its end, stops it and redrives it.

use std::sync::Arc;

use asl::dynamic;
use asl::entropy::uuid_v4;
use asl::payload::Payload;
use asl::program::Map;

use crate::data_flow::Sight;
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

/// Evaluates what the Map Run will evaluate, so that a fault is the state's, in its words, and no Map Run begins.
pub(crate) fn check_fields<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    map: &'a Map,
    input: &Payload,
) -> Result<(), Fault> {
    let reader = map.item_reader.as_ref();
    let writer = map.result_writer.as_ref();
    let batcher = map.item_batcher.as_ref();
    let templates = [
        reader.and_then(|reader| reader.arguments.as_ref()),
        batcher.and_then(|batcher| batcher.batch_input.as_ref()),
        writer.and_then(|writer| writer.arguments.as_ref()),
    ];
    let numbers = [
        (reader.and_then(|reader| reader.max_items.as_ref()), "MaxItems"),
        (batcher.and_then(|batcher| batcher.max_items_per_batch.as_ref()), "MaxItemsPerBatch"),
        (batcher.and_then(|batcher| batcher.max_input_bytes_per_batch.as_ref()), "MaxInputBytesPerBatch"),
    ];
    for template in templates.into_iter().flatten() {
        turn.template(site, template, Sight::of(input))?;
    }
    for (dynamic, field) in numbers {
        let Some(dynamic) = dynamic else { continue };
        let number = turn.look(site, dynamic, Sight::of(input), |view, entropy| {
            dynamic::integer(dynamic, field, view, entropy)
        });
        match number {
            // Recorded: below zero it is the reader that fails, and with it the Map Run.
            Err(Fault::Runtime(text)) if field == "MaxItems" && text.ends_with("cannot be negative.") => {}
            number => {
                number?;
            }
        }
    }
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
