//! How the bytes of an object are cut into items, piece by piece.
//!
//! Invariant: what a cut consumed is never looked at again, so a format can go on from any item's end ([`Format::resumed`]).

use std::sync::Arc;

use asl::payload::Payload;
use serde_json::{Value, json};

use super::csv;
use super::json::{Located, locate, skip_space, tokens, value_end};

/// Greatest item that is read (AWS's bound; ItemSelector has to cut it to the size of an input).
const ITEM_BYTES_MAX: usize = 8 << 20;
/// The array that `ItemsPointer` names begins within these bytes (AWS's bound).
const POINTER_BYTES_MAX: usize = 16 << 20;

/// The next thing in the text.
pub(super) enum Cut {
    /// An item, after so many bytes.
    Item(Payload, usize),
    /// Something that is no item, so many bytes long.
    Passed(usize),
    /// More text is needed.
    More,
    /// There are no more items.
    End,
}

/// How items lie in an object.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// A JSON array, found by a pointer.
    Json { tokens: Vec<String>, place: Place },
    /// A JSON value on each line.
    Lines,
    /// CSV; headers are known or in the first row.
    Csv { delimiter: u8, headers: Option<Vec<Arc<str>>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    First,
    Rest,
}

impl Format {
    /// From an evaluated ReaderConfig.
    pub fn new(config: &Value) -> Result<Format, String> {
        match config["InputType"].as_str() {
            None | Some("JSON") => {
                let pointer = config["ItemsPointer"].as_str().unwrap_or_default();
                let tokens = tokens(pointer)
                    .ok_or_else(|| format!("The ItemsPointer '{pointer}' is not a JSON Pointer."))?;
                Ok(Format::Json { tokens, place: Place::Before })
            }
            Some("JSONL") => Ok(Format::Lines),
            Some("CSV") => {
                let delimiter = match config["CSVDelimiter"].as_str() {
                    Some("PIPE") => b'|',
                    Some("SEMICOLON") => b';',
                    Some("SPACE") => b' ',
                    Some("TAB") => b'\t',
                    _ => b',',
                };
                let given =
                    config["CSVHeaders"].as_array().filter(|_| config["CSVHeaderLocation"] == "GIVEN");
                let name = |name: &Value| name.as_str().unwrap_or_default().to_owned();
                let headers =
                    given.map(|given| csv::headers(given.iter().map(name).collect())).transpose()?;
                Ok(Format::Csv { delimiter, headers })
            }
            Some(other) => Err(format!("InputType {other} is not supported by this server.")),
        }
    }

    /// What a cursor needs to go on after an item.
    pub fn state(&self) -> Value {
        match self {
            Format::Json { place, .. } => json!({ "Within": *place == Place::Rest }),
            Format::Csv { headers: Some(headers), .. } => {
                json!({ "Headers": headers.iter().map(|name| &**name).collect::<Vec<_>>() })
            }
            Format::Lines | Format::Csv { headers: None, .. } => json!({}),
        }
    }

    /// The format as it was when [`Format::state`] was taken.
    pub fn resumed(mut self, state: &Value) -> Format {
        match &mut self {
            Format::Json { place, .. } if state["Within"] == true => *place = Place::Rest,
            Format::Csv { headers, .. } => {
                if let Some(names) = state["Headers"].as_array() {
                    *headers = Some(names.iter().filter_map(|name| name.as_str().map(Arc::from)).collect());
                }
            }
            Format::Json { .. } | Format::Lines => {}
        }
        self
    }

    /// Cuts the next item off the text.
    pub fn cut(&mut self, text: &[u8], no_more: bool) -> Result<Cut, String> {
        let cut = match self {
            Format::Json { tokens, place: place @ Place::Before } => {
                open_array(text, tokens, place, no_more)?
            }
            Format::Json { place, .. } => array_item(text, place, no_more)?,
            Format::Lines => line(text, no_more)?,
            Format::Csv { delimiter, headers } => row(text, *delimiter, headers, no_more)?,
        };
        match cut {
            Cut::More if no_more => Err("The object is not complete: its end comes within an item.".into()),
            Cut::More if text.len() > POINTER_BYTES_MAX => {
                Err("The items do not begin within the first 16 MB of the object.".into())
            }
            Cut::More if text.len() > ITEM_BYTES_MAX && !self.is_before() => Err(too_large()),
            cut => Ok(cut),
        }
    }

    fn is_before(&self) -> bool {
        matches!(self, Format::Json { place: Place::Before, .. })
    }
}

fn too_large() -> String {
    "An item is larger than 8 MB.".into()
}

fn open_array(text: &[u8], tokens: &[String], place: &mut Place, no_more: bool) -> Result<Cut, String> {
    match locate(text, 0, tokens) {
        None if no_more && skip_space(text, 0).is_none() => Err("The object is empty.".into()),
        None => Ok(Cut::More),
        Some(Located::At(at)) if text[at] == b'[' => {
            *place = Place::First;
            Ok(Cut::Passed(at + 1))
        }
        // Recorded: an object is not iterated, though the documentation of Map says so of its input.
        Some(Located::At(_) | Located::Nowhere) => Err("Attempting to map over non-iterable node.".into()),
    }
}

fn array_item(text: &[u8], place: &mut Place, no_more: bool) -> Result<Cut, String> {
    let Some(mut at) = skip_space(text, 0) else { return Ok(Cut::More) };
    if text[at] == b']' {
        return Ok(Cut::End);
    }
    if *place == Place::Rest {
        if text[at] != b',' {
            return Err(format!("Unexpected character '{}' between items.", char::from(text[at])));
        }
        let Some(after) = skip_space(text, at + 1) else { return Ok(Cut::More) };
        at = after;
    }
    let Some(end) = value_end(text, at, no_more) else { return Ok(Cut::More) };
    let item = parse(&text[at..end])?;
    *place = Place::Rest;
    Ok(Cut::Item(item, end))
}

fn line(text: &[u8], no_more: bool) -> Result<Cut, String> {
    if text.is_empty() && no_more {
        return Ok(Cut::End);
    }
    let newline = text.iter().position(|byte| *byte == b'\n');
    let (end, used) = match newline {
        Some(at) => (at, at + 1),
        None if no_more => (text.len(), text.len()),
        None => return Ok(Cut::More),
    };
    let line = text[..end].trim_ascii();
    if line.is_empty() { Ok(Cut::Passed(used)) } else { Ok(Cut::Item(parse(line)?, used)) }
}

fn row(
    text: &[u8],
    delimiter: u8,
    headers: &mut Option<Vec<Arc<str>>>,
    no_more: bool,
) -> Result<Cut, String> {
    if text.is_empty() && no_more {
        return Ok(Cut::End);
    }
    let Some((fields, used)) = csv::record(text, delimiter, no_more) else { return Ok(Cut::More) };
    let blank = fields.len() == 1 && fields[0].is_empty();
    match headers {
        None => {
            *headers = Some(csv::headers(fields)?);
            Ok(Cut::Passed(used))
        }
        Some(_) if blank => Ok(Cut::Passed(used)),
        Some(headers) => Ok(Cut::Item(Payload::from_value(csv::item(headers, fields)), used)),
    }
}

fn parse(text: &[u8]) -> Result<Payload, String> {
    if text.len() > ITEM_BYTES_MAX {
        return Err(too_large());
    }
    let text = std::str::from_utf8(text).map_err(|_| "An item is not UTF-8.")?;
    Payload::parse(text).map_err(|error| format!("An item is not valid JSON: {error}"))
}
