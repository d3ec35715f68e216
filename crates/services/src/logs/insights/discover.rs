//! The fields of a log event: those that every event has, those of JSON in its message, and those of a function's REPORT.

use std::cell::OnceCell;
use std::rc::Rc;

use serde_json::Value;

use super::value::Datum;

/// An event as it is stored, with what was found in its message so far.
pub(super) struct Event {
    pub at: i64,
    pub seq: i64,
    pub ingested: i64,
    pub message: String,
    pub stream: Rc<str>,
    /// `account:group`.
    pub log: Rc<str>,
    document: OnceCell<Option<Value>>,
}

impl Event {
    pub fn new(at: i64, seq: i64, ingested: i64, message: String, stream: Rc<str>, log: Rc<str>) -> Event {
        Event { at, seq, ingested, message, stream, log, document: OnceCell::new() }
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<Datum> {
        match name {
            "@timestamp" => Some(Datum::Time(self.at)),
            "@ingestionTime" => Some(Datum::Time(self.ingested)),
            "@message" => Some(Datum::Text(self.message.clone())),
            "@logStream" => Some(Datum::Text(self.stream.to_string())),
            "@log" => Some(Datum::Text(self.log.to_string())),
            "@ptr" => Some(Datum::Text(self.pointer())),
            _ => match name.strip_prefix('@') {
                Some(own) if self.log.contains(":/aws/lambda/") => of_function(&self.message, own),
                Some(_) => None,
                None => self.discovered(name),
            },
        }
    }

    /// Names the event for GetLogRecord.
    pub fn pointer(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("{}@{}.{}", self.log, self.at, self.seq))
    }

    /// `a.b.0.c` in the first JSON object of the message.
    fn discovered(&self, name: &str) -> Option<Datum> {
        let document = self.document.get_or_init(|| document(&self.message)).as_ref()?;
        datum(find(document, name)?)
    }
}

fn document(message: &str) -> Option<Value> {
    let text = &message[message.find('{')?..];
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next()?.ok()
}

/// The longest key first: keys may contain points themselves.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let of = |key: &str| match value {
        Value::Object(members) => members.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = of(path) {
        return Some(found);
    }
    path.rmatch_indices('.').find_map(|(at, _)| find(of(&path[..at])?, &path[at + 1..]))
}

fn datum(value: &Value) -> Option<Datum> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(Datum::Text(truth.to_string())),
        Value::Number(number) => number.as_f64().map(Datum::Number),
        Value::String(text) => Some(Datum::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => Some(Datum::Text(value.to_string())),
    }
}

/// What Lambda says about a call at its beginning and end.
fn of_function(message: &str, name: &str) -> Option<Datum> {
    let kind = message.split_whitespace().next()?;
    let line = ["START", "END", "REPORT"].contains(&kind) && message.contains(" RequestId: ");
    let after = |label: &str| {
        let rest = message.split_once(label)?.1;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let number = |label: &str, factor: f64| {
        let number: f64 = after(label)?.parse().ok()?;
        Some(Datum::Number(number * factor))
    };
    match name {
        "requestId" if line => after("RequestId: ").map(Datum::Text),
        // Lines of the functions themselves: time, id, level.
        "requestId" => {
            let id = message.split('\t').nth(1)?;
            (id.len() == 36).then(|| Datum::Text(id.to_owned()))
        }
        "type" if line => Some(Datum::Text(kind.to_owned())),
        _ if kind != "REPORT" => None,
        "duration" => number("\tDuration: ", 1.0),
        "billedDuration" => number("Billed Duration: ", 1.0),
        "initDuration" => number("Init Duration: ", 1.0),
        "memorySize" => number("Memory Size: ", 1_000_000.0),
        "maxMemoryUsed" => number("Max Memory Used: ", 1_000_000.0),
        _ => None,
    }
}
