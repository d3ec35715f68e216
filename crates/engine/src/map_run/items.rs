//! From items to the input of a child: ItemSelector per item, then ItemBatcher, over the data of the Map state.

use std::sync::Arc;

use asl::arn::Arn;
use asl::dynamic;
use asl::entropy::{SeededEntropy, uuid_v4};
use asl::payload::Payload;
use asl::program::{Dynamic, Map, MapMode, Program, StateKind, StateMachineType, Template};
use asl::scope::Variables;
use asl::template::{self, TemplateError, View};
use asl::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::map_run::event::{MapRunStart, Thresholds};
use crate::start::{Failure, MapRunLink, Start};

/// Most children at a time when MaxConcurrency is absent or 0 (AWS's quota).
const CONCURRENCY_MAX: u64 = 10_000;
/// Most items that a batch may hold when only its bytes are bounded.
pub(crate) const BATCH_ITEMS_MAX: u64 = 10_000;

/// The Map state, with the data that its expressions look at.
pub(crate) struct MapState<'a> {
    pub program: &'a Program,
    pub start: Arc<MapRunStart>,
    pub map: &'a Map,
    pub at: Timestamp,
    pub entropy: SeededEntropy,
}

/// `Map.Item.Source` of items that come from the state's data.
const STATE_DATA: &str = "STATE_DATA";

/// An item that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The item.
    pub value: Payload,
    /// Where it comes from, as `Map.Item.Source` says it: the object it was read from, or the bucket that was listed.
    pub source: Arc<str>,
}

/// An item as ItemSelector sees it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Its name, if it is a member of an object.
    pub key: Option<&'a str>,
    pub value: &'a Value,
    pub source: &'a str,
}

impl<'a> Seen<'a> {
    /// Of an array in the state's data.
    pub fn element(value: &'a Value) -> Seen<'a> {
        Seen { key: None, value, source: STATE_DATA }
    }

    /// Of an object in the state's data.
    pub fn member((key, value): (&'a String, &'a Value)) -> Seen<'a> {
        Seen { key: Some(key), value, source: STATE_DATA }
    }

    pub fn read(item: &'a Item) -> Seen<'a> {
        Seen { key: None, value: item.value.value(), source: &item.source }
    }

    /// `Map.Item` of the context object.
    fn context(&self, index: u64) -> Value {
        let Seen { key, value, source } = self;
        match key {
            Some(key) => json!({ "Index": index, "Key": key, "Value": value, "Source": source }),
            None => json!({ "Index": index, "Value": value, "Source": source }),
        }
    }

    /// What a child takes where no ItemSelector says it.
    fn input(&self) -> Value {
        match self.key {
            Some(key) => json!({ "Key": key, "Value": self.value }),
            None => self.value.clone(),
        }
    }
}

/// A child's input and how many items it takes.
pub(crate) struct Batch {
    pub input: Payload,
    pub items: u64,
}

/// One batch of the items at hand: as many as its bytes let in, but at least one.
pub(crate) fn grouped<E>(
    batch_input: Option<&Payload>,
    bytes_max: u64,
    items: impl Iterator<Item = Result<Payload, E>>,
) -> Result<Batch, E> {
    // What stands around the items: their names, brackets and braces.
    let around = batch_input.map_or(r#"{"Items":[]}"#.len(), |batch_input| {
        batch_input.len() + r#"{"BatchInput":,"Items":[]}"#.len()
    });
    let (mut bytes, mut chosen) = (around, Vec::new());
    for item in items {
        let item = item?;
        bytes += item.len() + usize::from(!chosen.is_empty());
        if bytes as u64 > bytes_max && !chosen.is_empty() {
            break;
        }
        chosen.push(item.value().clone());
    }
    let number = chosen.len() as u64;
    let input = match batch_input {
        Some(batch_input) => json!({ "BatchInput": batch_input.value(), "Items": chosen }),
        None => json!({ "Items": chosen }),
    };
    Ok(Batch { input: Payload::from_value(input), items: number })
}

struct Known<'a>(&'a [(Arc<str>, Payload)]);

impl Variables for Known<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| value.value())
    }
}

impl<'a> MapState<'a> {
    /// # Panics
    /// If the definition has no such Map: a broken invariant, since the Map Run pins its definition.
    pub fn new(
        program: &'a Program,
        start: &Arc<MapRunStart>,
        at: Timestamp,
        entropy: SeededEntropy,
    ) -> MapState<'a> {
        let state = program.find(&start.state).unwrap_or_else(|| panic!("no state {}", start.state));
        let StateKind::Map(map) = &state.kind else { panic!("{} is no Map", start.state) };
        MapState { program, start: Arc::clone(start), map, at, entropy }
    }

    fn look<R>(
        &mut self,
        item: Option<(u64, Seen<'_>)>,
        evaluate: impl FnOnce(&View<'_>, &mut SeededEntropy) -> Result<R, TemplateError>,
    ) -> Result<R, Failure> {
        let start = Arc::clone(&self.start);
        let with_item;
        let context = match item {
            None => start.context.value(),
            Some((index, item)) => {
                let mut context = start.context.value().clone();
                context["Map"] = json!({ "Item": item.context(index) });
                with_item = context;
                &with_item
            }
        };
        let variables = Known(&start.variables);
        let view = View::new(&start.input, context, &variables, self.at);
        evaluate(&view, &mut self.entropy).map_err(|error| Failure::new(error.error, error.cause))
    }

    fn number(&mut self, dynamic: Option<&Dynamic<u64>>, field: &str) -> Result<Option<u64>, Failure> {
        dynamic
            .map(|dynamic| self.look(None, |view, entropy| dynamic::integer(dynamic, field, view, entropy)))
            .transpose()
    }

    fn template(&mut self, template: Option<&Template>) -> Result<Option<Payload>, Failure> {
        template
            .map(|template| self.look(None, |view, entropy| template::evaluate(template, view, entropy)))
            .transpose()
    }

    /// Concurrency and tolerance, evaluated.
    pub fn thresholds(&mut self) -> Result<Thresholds, Failure> {
        let map = self.map;
        let max_concurrency = self.number(map.max_concurrency.as_ref(), "MaxConcurrency")?.unwrap_or(0);
        let percentage = map.tolerated_failure_percentage.as_ref().map(|dynamic| {
            self.look(None, |view, entropy| {
                dynamic::percentage(dynamic, "ToleratedFailurePercentage", view, entropy)
            })
        });
        Ok(Thresholds {
            max_concurrency: if max_concurrency == 0 {
                CONCURRENCY_MAX
            } else {
                max_concurrency.min(CONCURRENCY_MAX)
            },
            tolerated_failure_count: self
                .number(map.tolerated_failure_count.as_ref(), "ToleratedFailureCount")?,
            tolerated_failure_millionths: percentage
                .transpose()?
                .map(|percentage| (percentage * 1e6).round() as u64),
        })
    }

    /// The ItemReader as the shell needs it: action, arguments, configuration and MaxItems.
    pub fn reader(&mut self) -> Result<Option<Payload>, Failure> {
        let Some(reader) = &self.map.item_reader else { return Ok(None) };
        let arguments = self.template(reader.arguments.as_ref())?;
        let max_items = self.number(reader.max_items.as_ref(), "MaxItems").map_err(|failure| {
            // Recorded: below zero the reader fails, not the state.
            let negative = failure.cause.as_deref() == Some("MaxItems cannot be negative.");
            if negative {
                Failure::new("States.ItemReaderFailed", "field MaxItems must be positive")
            } else {
                failure
            }
        })?;
        let arguments = arguments.map_or(Value::Null, |arguments| arguments.value().clone());
        Ok(Some(Payload::from_value(json!({
            "Action": &*reader.action, "Arguments": arguments, "ReaderConfig": reader.config, "MaxItems": max_items,
        }))))
    }

    /// The ResultWriter as the shell needs it.
    pub fn writer(&mut self) -> Result<Option<Payload>, Failure> {
        let Some(writer) = &self.map.result_writer else { return Ok(None) };
        let arguments = self.template(writer.arguments.as_ref())?;
        let arguments = arguments.map_or(Value::Null, |arguments| arguments.value().clone());
        Ok(Some(Payload::from_value(json!({ "Arguments": arguments, "WriterConfig": writer.config }))))
    }

    /// Most items that one child takes.
    pub fn items_per_child(&mut self) -> Result<u64, Failure> {
        let Some(batcher) = &self.map.item_batcher else { return Ok(1) };
        let items_max = self.number(batcher.max_items_per_batch.as_ref(), "MaxItemsPerBatch")?;
        Ok(items_max.filter(|number| *number > 0).unwrap_or(BATCH_ITEMS_MAX).min(BATCH_ITEMS_MAX))
    }

    /// The next child's input from the items at hand, of which there is at least one.
    pub fn batch(&mut self, first: u64, items_max: u64, items: &[Seen<'_>]) -> Result<Batch, Failure> {
        let Some(batcher) = &self.map.item_batcher else {
            let item = items.first().copied().unwrap_or(Seen::element(&Value::Null));
            return Ok(Batch { input: self.selected(first, item)?, items: 1 });
        };
        let bytes_max = self.number(batcher.max_input_bytes_per_batch.as_ref(), "MaxInputBytesPerBatch")?;
        let batch_input = self.template(batcher.batch_input.as_ref())?;
        let payload_max = self.start.parent.limits.payload_max;
        let bytes_max = bytes_max.filter(|number| *number > 0).unwrap_or(payload_max).min(payload_max);
        let selected = items.iter().enumerate().take(items_max as usize);
        let selected = selected.map(|(offset, item)| self.selected(first + offset as u64, *item));
        let Batch { input, items } = grouped(batch_input.as_ref(), bytes_max, selected)?;
        // Items lie two levels deeper in a batch, and no input may nest deeper than others.
        let input = Payload::parse(input.text())
            .map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
        Ok(Batch { input, items })
    }

    fn selected(&mut self, index: u64, item: Seen<'_>) -> Result<Payload, Failure> {
        match &self.map.item_selector {
            None => Ok(Payload::from_value(item.input())),
            Some(selector) => {
                self.look(Some((index, item)), |view, entropy| template::evaluate(selector, view, entropy))
            }
        }
    }

    /// Whether the children are Express.
    pub fn is_express(&self) -> bool {
        self.map.mode == MapMode::Distributed(StateMachineType::Express)
    }

    /// The start of a new child.
    pub fn child(&mut self, index: u64, input: Payload) -> Start {
        let parent = Arc::clone(&self.start.parent);
        let name = uuid_v4(&mut self.entropy);
        let machine = labelled(&parent, &self.start.label);
        let execution = machine.as_ref().and_then(|machine| match self.is_express() {
            false => machine.execution(&name),
            true => machine.express(&name, None),
        });
        let execution_arn = match execution {
            Some(arn) => arn.to_string(),
            None => format!("{}/{}:execution:{name}", parent.state_machine_arn, self.start.label),
        };
        child_start(self.program, &self.start, index, execution_arn.into(), input)
    }
}

fn labelled(parent: &Start, label: &str) -> Option<Arn> {
    Arn::parse(&parent.state_machine_arn).ok().and_then(|arn| arn.labelled(label))
}

/// The start of a child that is known by its ARN and its input, also if it was made long ago.
///
/// # Panics
/// If the definition has no such Map: a broken invariant, since the Map Run pins its definition.
pub fn child_start(
    program: &Program,
    start: &Arc<MapRunStart>,
    index: u64,
    execution_arn: Arc<str>,
    input: Payload,
) -> Start {
    let MapState { map, .. } =
        MapState::new(program, start, Timestamp::from_epoch_millis(0), SeededEntropy::new(0));
    let parent = &start.parent;
    let machine_type = match map.mode {
        MapMode::Distributed(machine_type) => machine_type,
        MapMode::Inline => StateMachineType::Standard,
    };
    let state_machine_arn = match labelled(parent, &start.label) {
        Some(arn) => arn.to_string(),
        None => format!("{}/{}:stateMachine", parent.state_machine_arn, start.label),
    };
    let name = execution_arn.split(':').nth(7).unwrap_or_default().into();
    Start {
        execution_arn,
        state_machine_arn: state_machine_arn.into(),
        state_machine_name: format!("{}/{}", parent.state_machine_name, start.label).into(),
        name,
        workflow: Arc::clone(&program.workflow(map.processor).path),
        input,
        machine_type,
        map_run: Some(MapRunLink {
            map_run_arn: Arc::clone(&start.map_run_arn),
            index,
            label: Arc::clone(&start.label),
        }),
        limits: crate::start::Limits {
            events_max: if machine_type == StateMachineType::Express { 0 } else { parent.limits.events_max },
            ..parent.limits
        },
        ..Start::clone(parent)
    }
}
