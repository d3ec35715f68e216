//! What a Map under test would begin its iterations or children with: its items, selected and batched. Nothing begins.

use asl::dynamic;
use asl::payload::Payload;
use asl::program::{Dynamic, ItemBatcher, Map, StateKind, Template};
use serde_json::Value;

use crate::context::Moment;
use crate::data_flow::Sight;
use crate::fault::Fault;
use crate::ids::FrameId;
use crate::map_run::items::{BATCH_ITEMS_MAX, grouped};
use crate::start::Failure;
use crate::states::map;
use crate::turn::{Site, Turn};

/// Works out what the iterations or children would begin with: items, selected, batched.
pub(super) fn prepare(turn: &mut Turn<'_>) {
    let site = turn.site(FrameId::ROOT);
    let StateKind::Map(map) = &site.state.kind else { return };
    if let Err(fault) = inputs(turn, site, map) {
        turn.settle(site, Err(fault));
    }
}

fn inputs<'a>(turn: &mut Turn<'a>, site: Site<'a>, map: &'a Map) -> Result<(), Fault> {
    let effective = {
        let noted = turn.trial.as_ref().and_then(|notes| notes.inspection.after_input_path.clone());
        noted.unwrap_or_else(|| turn.visit(FrameId::ROOT).input.clone())
    };
    let Some(items) = items_of(turn, site, map, &effective)? else { return Ok(()) };
    let selected = match &map.item_selector {
        None => items,
        Some(selector) => {
            let selected = select(turn, site, selector, &items, &effective)?;
            turn.note(|inspection| inspection.after_item_selector = Some(selected.clone()));
            selected
        }
    };
    if let Some(batcher) = &map.item_batcher {
        let batched = batch(turn, site, batcher, &selected, &effective)?;
        turn.note(|inspection| inspection.after_item_batcher = Some(batched));
    }
    Ok(())
}

/// The items: as a reader is to have read them, else those in the state's input (where a test that names no data has them).
fn items_of<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    map: &'a Map,
    effective: &Payload,
) -> Result<Option<Payload>, Fault> {
    let Some(reader) = &map.item_reader else {
        return Ok(turn.trial.as_ref().and_then(|notes| notes.inspection.after_items_path.clone()));
    };
    let Some(read) = turn.trial.as_ref().and_then(|notes| notes.items.clone()) else {
        let found = map::items_of(turn, site, map, effective).ok();
        turn.note(|inspection| inspection.after_items_path.clone_from(&found));
        return Ok(found);
    };
    let Some(pointer) = reader.config.get("ItemsPointer").and_then(Value::as_str) else {
        return Ok(Some(read));
    };
    let Some(found) = read.value().pointer(pointer).filter(|found| found.is_array()) else {
        let cause = "Attempting to map over non-iterable node.";
        return Err(Fault::Bare(Failure::new("States.ItemReaderFailed", cause)));
    };
    let found = Payload::from_value(found.clone());
    turn.note(|inspection| inspection.after_items_pointer = Some(found.clone()));
    if let Some(notes) = &mut turn.trial {
        notes.items = Some(found.clone());
    }
    Ok(Some(found))
}

fn select<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    selector: &Template,
    items: &Payload,
    effective: &Payload,
) -> Result<Payload, Fault> {
    let length = items.value().as_array().map_or(0, Vec::len);
    let mut selected = Vec::new();
    for index in 0..u32::try_from(length).unwrap_or(u32::MAX) {
        let moment = Moment { nonce: None, item: Some(index) };
        let input = turn.template(site, selector, Sight { moment, ..Sight::of(effective) })?;
        selected.push(input.value().clone());
    }
    Ok(Payload::from_value(Value::Array(selected)))
}

fn batch<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    batcher: &'a ItemBatcher,
    items: &Payload,
    effective: &Payload,
) -> Result<Payload, Fault> {
    let payload_max = turn.start().limits.payload_max;
    let mut number = |dynamic: &'a Option<Dynamic<u64>>, field: &str, number_max: u64| {
        let Some(dynamic) = dynamic else { return Ok(number_max) };
        let number = turn.look(site, dynamic, Sight::of(effective), |view, entropy| {
            dynamic::integer(dynamic, field, view, entropy)
        })?;
        Ok::<u64, Fault>(if number == 0 { number_max } else { number.min(number_max) })
    };
    let items_max = number(&batcher.max_items_per_batch, "MaxItemsPerBatch", BATCH_ITEMS_MAX)?;
    let bytes_max = number(&batcher.max_input_bytes_per_batch, "MaxInputBytesPerBatch", payload_max)?;
    let batch_input = match &batcher.batch_input {
        Some(template) => Some(turn.template(site, template, Sight::of(effective))?),
        None => None,
    };
    let mut rest = items.value().as_array().map_or(&[][..], Vec::as_slice);
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let next = rest.iter().take(items_max as usize).map(|item| Ok(Payload::from_value(item.clone())));
        let batch = grouped::<Fault>(batch_input.as_ref(), bytes_max, next)?;
        rest = &rest[batch.items as usize..];
        batches.push(batch.input.value().clone());
    }
    Ok(Payload::from_value(Value::Array(batches)))
}
