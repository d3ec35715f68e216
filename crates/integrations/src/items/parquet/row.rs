//! Rows put together from the entries of their columns.
//!
//! Invariant: every column gives as many entries as its levels say; a row that leaves one over or lacks one is not valid.

use serde_json::{Map, Value};

use super::column::Column;
use super::schema::{Content, Field, Repetition, Schema};
use super::thrift::Broken;

/// The row whose entries the columns hold.
pub(super) fn assemble(schema: &Schema, columns: &mut [Column]) -> Result<Value, String> {
    let row = members(&schema.fields, columns)?;
    if columns.iter().any(|column| !column.record.is_empty()) {
        return Err(Broken::Wrong("its levels do not fit its schema").into());
    }
    Ok(row)
}

fn members(fields: &[Field], columns: &mut [Column]) -> Result<Value, Broken> {
    let mut members = Map::with_capacity(fields.len());
    for field in fields {
        members.insert(field.name.clone(), value(field, columns)?);
    }
    Ok(Value::Object(members))
}

fn value(field: &Field, columns: &mut [Column]) -> Result<Value, Broken> {
    match field.repetition {
        Repetition::Required => content(field, columns),
        Repetition::Optional if is_there(field, columns)? => content(field, columns),
        Repetition::Optional => {
            pass(field, columns)?;
            Ok(Value::Null)
        }
        Repetition::Repeated => Ok(Value::Array(elements(field, columns, content)?)),
    }
}

fn content(field: &Field, columns: &mut [Column]) -> Result<Value, Broken> {
    match &field.content {
        Content::Leaf => {
            let entry = columns[field.first_leaf].record.pop_front().ok_or(MISFIT)?;
            entry.value.ok_or(MISFIT)
        }
        Content::Group(fields) => members(fields, columns),
        Content::List(repeated) => {
            let element = |field: &Field, columns: &mut [Column]| match &field.content {
                Content::Group(fields) => {
                    fields.first().map_or(Ok(Value::Null), |field| value(field, columns))
                }
                Content::Leaf | Content::List(_) | Content::Map(_) => content(field, columns),
            };
            Ok(Value::Array(elements(repeated, columns, element)?))
        }
        Content::Map(repeated) => {
            let pair = |field: &Field, columns: &mut [Column]| match &field.content {
                Content::Group(fields) => {
                    fields.iter().map(|field| value(field, columns)).collect::<Result<Vec<_>, _>>()
                }
                Content::Leaf | Content::List(_) | Content::Map(_) => Err(MISFIT),
            };
            let pairs = elements(repeated, columns, pair)?;
            let entry = |pair: Vec<Value>| {
                let mut pair = pair.into_iter();
                let key = match pair.next()? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                Some((key, pair.next()?))
            };
            Ok(Value::Object(pairs.into_iter().filter_map(entry).collect()))
        }
    }
}

/// What a repeated field holds.
fn elements<T>(
    field: &Field,
    columns: &mut [Column],
    mut element: impl FnMut(&Field, &mut [Column]) -> Result<T, Broken>,
) -> Result<Vec<T>, Broken> {
    let mut elements = Vec::new();
    if !is_there(field, columns)? {
        pass(field, columns)?;
        return Ok(elements);
    }
    loop {
        elements.push(element(field, columns)?);
        let next = columns[field.first_leaf].record.front();
        if next.is_none_or(|next| next.repetition != field.repeats) {
            return Ok(elements);
        }
    }
}

const MISFIT: Broken = Broken::Wrong("its levels do not fit its schema");

fn is_there(field: &Field, columns: &[Column]) -> Result<bool, Broken> {
    let entry = columns[field.first_leaf].record.front().ok_or(MISFIT)?;
    Ok(entry.definition >= field.definition)
}

/// Takes from each column below the entry that says that nothing is there.
fn pass(field: &Field, columns: &mut [Column]) -> Result<(), Broken> {
    for column in &mut columns[field.first_leaf..field.leaves_end] {
        column.record.pop_front().ok_or(MISFIT)?;
    }
    Ok(())
}
