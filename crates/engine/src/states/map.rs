//! Map, inline: one processor over many items, each iteration a frame of its own. A distributed Map is handed on to
//! `map_run` once its items are known.

use std::sync::Arc;

use asl::dynamic;
use asl::payload::Payload;
use asl::program::{Items, Map, MapMode, QueryLanguage};
use asl::template;
use serde_json::{Value, json};

use crate::context::Moment;
use crate::data_flow::Sight;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::frame::Work;
use crate::ids::FrameId;
use crate::states::map_run;
use crate::turn::{Site, Turn};

/// Most iterations of an inline Map at a time (AWS's quota).
const INLINE_CONCURRENCY_MAX: u64 = 40;

pub(crate) fn begin<'a>(turn: &mut Turn<'a>, site: Site<'a>, map: &'a Map) -> Result<(), Fault> {
    let input = turn.effective_input(site)?;
    let max_concurrency = match &map.max_concurrency {
        None => 0,
        Some(dynamic) => turn.look(site, dynamic, Sight::of(&input), |view, entropy| {
            dynamic::integer(dynamic, "MaxConcurrency", view, entropy)
        })?,
    };
    turn.note(|inspection| inspection.max_concurrency = Some(max_concurrency));
    let items = match map.item_reader {
        Some(_) => None,
        None => Some(items_of(turn, site, map, &input)?),
    };
    turn.note(|inspection| inspection.after_items_path.clone_from(&items));
    let length = items.as_ref().map_or(0, length_of);
    let distributed = map.mode != MapMode::Inline;
    let max_concurrency = match (distributed, max_concurrency) {
        (true, number) => number,
        (false, 0) => INLINE_CONCURRENCY_MAX,
        (false, number) => number.min(INLINE_CONCURRENCY_MAX),
    };
    let kind = EventKind::MapStateStarted {
        length,
        items,
        input: input.clone(),
        max_concurrency: u32::try_from(max_concurrency).unwrap_or(u32::MAX),
        distributed,
    };
    turn.emit(site.frame, kind);
    // Only a Map Run tolerates failures, but AWS evaluates the fields of any Map, after its start
    // (`3<2 MapStateStarted; 4<3 ExecutionFailed`).
    check_tolerance(turn, site, map, &input)?;
    if !distributed {
        return Ok(());
    }
    map_run::check_fields(turn, site, map, &input)?;
    map_run::begin(turn, site, map)
}

fn check_tolerance<'a>(turn: &mut Turn<'a>, site: Site<'a>, map: &Map, input: &Payload) -> Result<(), Fault> {
    if let Some(dynamic) = &map.tolerated_failure_count {
        let count = turn.look(site, dynamic, Sight::of(input), |view, entropy| {
            dynamic::integer(dynamic, "ToleratedFailureCount", view, entropy)
        })?;
        turn.note(|inspection| inspection.tolerated_failure_count = Some(count));
    }
    if let Some(dynamic) = &map.tolerated_failure_percentage {
        let percentage = turn.look(site, dynamic, Sight::of(input), |view, entropy| {
            dynamic::percentage(dynamic, "ToleratedFailurePercentage", view, entropy)
        })?;
        turn.note(|inspection| inspection.tolerated_failure_percentage = Some(percentage));
    }
    Ok(())
}

/// The items: an array; of a distributed Map also an object, whose members are the items.
pub(crate) fn items_of<'a>(
    turn: &mut Turn<'a>,
    site: Site<'a>,
    map: &'a Map,
    input: &Payload,
) -> Result<Payload, Fault> {
    let items = match &map.items {
        None => input.clone(),
        Some(Items::Path(path)) => turn.look(site, path, Sight::of(input), |view, entropy| {
            if let Some(payload) = path.shared(&view.scope()) {
                return Ok(payload);
            }
            let found = template::path(path, "ItemsPath", path.text(), view, entropy)?;
            Ok(Payload::from_value(found.into_owned()))
        })?,
        Some(Items::Jsonata(template)) => turn.template(site, template, Sight::of(input))?,
    };
    match (items.value(), &map.items, site.state.query_language) {
        (Value::Array(_), _, _) => Ok(items),
        // Recorded: an inline Map takes arrays only.
        (Value::Object(_), _, _) if map.mode != MapMode::Inline => Ok(items),
        (value, Some(Items::Jsonata(asl::program::Template::Jsonata { field, source, .. })), _) => {
            Err(dynamic::unexpected(source, field, "array", value).into())
        }
        (value, _, QueryLanguage::Jsonata) => Err(Fault::Query {
            text: format!("Map state input must be an array but was: {value}"),
            location: None,
        }),
        (_, items, QueryLanguage::JsonPath) => {
            let path = match items {
                Some(Items::Path(path)) => path.text(),
                _ => "$",
            };
            Err(Fault::Runtime(format!("Reference path \"{path}\" must point to array.")))
        }
    }
}

fn length_of(items: &Payload) -> u32 {
    let length = match items.value() {
        Value::Array(items) => items.len(),
        Value::Object(items) => items.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Begins the next iteration.
pub(crate) fn next_iteration<'a>(turn: &mut Turn<'a>, site: Site<'a>, map: &'a Map) -> Result<(), Fault> {
    let Work::Fan(fan) = &turn.visit(site.frame).work else { return Ok(()) };
    let (index, effective) = (fan.next, fan.input.clone());
    let input = match &map.item_selector {
        Some(selector) => {
            let moment = Moment { nonce: None, item: Some(index) };
            turn.template(site, selector, Sight { moment, ..Sight::of(&effective) })?
        }
        None => item(fan.items.as_ref(), index),
    };
    turn.check_size(&input, &site.state.name)?;
    let workflow = turn.program.workflow(map.processor);
    let kind = EventKind::MapIterationStarted {
        parent: site.frame,
        name: Arc::clone(&site.state.name),
        index,
        first: Arc::clone(&turn.program.state(workflow.start_at).path),
        input,
    };
    let prev = turn.frame(site.frame).last;
    turn.emit_after(FrameId(turn.execution.frames.len() as u32), prev, kind);
    Ok(())
}

fn item(items: Option<&Payload>, index: u32) -> Payload {
    let index = index as usize;
    let value = match items.map(Payload::value) {
        Some(Value::Array(items)) => items.get(index).cloned(),
        Some(Value::Object(items)) => {
            items.iter().nth(index).map(|(key, value)| json!({ "Key": key, "Value": value }))
        }
        _ => None,
    };
    value.map_or_else(Payload::null, Payload::from_value)
}

/// An iteration's frame is at its end.
pub(crate) fn iteration_succeeded(turn: &mut Turn<'_>, id: FrameId) {
    let Some((parent, index)) = turn.frame(id).parent else { return };
    let name = Arc::clone(&turn.visit(parent).name);
    turn.emit(id, EventKind::MapIterationSucceeded { name, index });
}
