//! `LookupEvents`: the records of an account in a region, the newest first.

use super::resources;
use crate::service_file::Call;
use crate::wire::ServiceError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// AWS's largest page.
const PAGE_MAX: i64 = 50;
/// Records that one call looks at; an answer may have few or no events and a token.
const SCANNED_MAX: usize = 20_000;
const ATTRIBUTES: [&str; 8] = [
    "EventId",
    "EventName",
    "ReadOnly",
    "Username",
    "ResourceType",
    "ResourceName",
    "EventSource",
    "AccessKeyId",
];

/// What is looked for.
struct Wanted<'a> {
    attribute: Option<(&'a str, &'a str)>,
    from_ms: i64,
    to_ms: i64,
    page: usize,
    /// Time and number of the last record that was looked at.
    after: (i64, i64),
}

/// One record.
struct Found {
    id: i64,
    at_ms: i64,
    event_id: String,
    name: String,
    source: String,
    username: Option<String>,
    access_key: Option<String>,
    is_read_only: bool,
    arns: Vec<String>,
    event: String,
}

pub(super) fn events(connection: &Connection, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let wanted = Wanted::read(input)?;
    let sql = "SELECT id, at, event_id, name, source, username, access_key, read_only, resources, event FROM records
               WHERE account = ?1 AND region = ?2 AND at BETWEEN ?3 AND ?4 AND (at, id) < (?5, ?6)
               ORDER BY at DESC, id DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let (at, id) = wanted.after;
    let mut rows =
        statement.query(params![call.account, call.region, wanted.from_ms, wanted.to_ms, at, id])?;
    let mut events = Vec::new();
    let (mut last, mut scanned) = (wanted.after, 0);
    let mut is_over = true;
    while let Some(row) = rows.next()? {
        if events.len() == wanted.page || scanned == SCANNED_MAX {
            is_over = false;
            break;
        }
        let found = Found::read(row)?;
        (last, scanned) = ((found.at_ms, found.id), scanned + 1);
        if wanted.takes(&found) {
            events.push(found.shown());
        }
    }
    let mut answer = json!({ "Events": events });
    if !is_over {
        answer["NextToken"] = token(input, last).into();
    }
    Ok(answer)
}

impl<'a> Wanted<'a> {
    fn read(input: &'a Value) -> Result<Self, ServiceError> {
        let page = match &input["MaxResults"] {
            Value::Null => PAGE_MAX,
            value => value.as_i64().filter(|page| (1..=PAGE_MAX).contains(page)).ok_or_else(|| {
                refusal("InvalidMaxResultsException", "A value for MaxResults must be between 1 and 50.")
            })?,
        };
        let millis = |name: &str| -> Result<Option<i64>, ServiceError> {
            match &input[name] {
                Value::Null => Ok(None),
                value => value.as_f64().map(|seconds| Some((seconds * 1000.0) as i64)).ok_or_else(|| {
                    ServiceError::serialization(format!("{name} must be a number of seconds"))
                }),
            }
        };
        let (from_ms, to_ms) = (millis("StartTime")?.unwrap_or(0), millis("EndTime")?.unwrap_or(i64::MAX));
        if from_ms > to_ms {
            let message = "The start time must be before the end time.";
            return Err(refusal("InvalidTimeRangeException", message));
        }
        if input["EventCategory"].as_str().is_some_and(|category| category != "management") {
            let message = "The event category is not valid; only management events are kept.";
            return Err(refusal("InvalidEventCategoryException", message));
        }
        let after = match &input["NextToken"] {
            Value::Null => (i64::MAX, i64::MAX),
            token => token.as_str().and_then(|token| place(input, token)).ok_or_else(|| {
                refusal("InvalidNextTokenException", "The token is not valid for this request.")
            })?,
        };
        let page = usize::try_from(page).unwrap_or_default();
        Ok(Self { attribute: attribute(&input["LookupAttributes"])?, from_ms, to_ms, page, after })
    }

    fn takes(&self, found: &Found) -> bool {
        let Some((name, value)) = self.attribute else { return true };
        match name {
            "EventId" => found.event_id == value,
            "EventName" => found.name == value,
            "ReadOnly" => found.is_read_only == (value == "true"),
            "Username" => found.username.as_deref() == Some(value),
            "ResourceType" => found.arns.iter().any(|arn| resources::kind(arn) == value),
            "ResourceName" => found.arns.iter().any(|arn| resources::is_named(arn, value)),
            "EventSource" => found.source == value,
            _ => found.access_key.as_deref() == Some(value),
        }
    }
}

impl Found {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, ServiceError> {
        let resources: String = row.get(8)?;
        Ok(Self {
            id: row.get(0)?,
            at_ms: row.get(1)?,
            event_id: row.get(2)?,
            name: row.get(3)?,
            source: row.get(4)?,
            username: row.get(5)?,
            access_key: row.get(6)?,
            is_read_only: row.get(7)?,
            arns: serde_json::from_str(&resources).map_err(ServiceError::internal)?,
            event: row.get(9)?,
        })
    }

    fn shown(self) -> Value {
        let mut event = json!({
            "EventId": self.event_id, "EventName": self.name, "ReadOnly": self.is_read_only.to_string(),
            "EventTime": self.at_ms.div_euclid(1000), "EventSource": self.source,
            "Resources": resources::listed(&self.arns), "CloudTrailEvent": self.event });
        for (name, value) in [("AccessKeyId", self.access_key), ("Username", self.username)] {
            if let Some(value) = value {
                event[name] = value.into();
            }
        }
        event
    }
}

/// AWS takes one attribute at most.
fn attribute(given: &Value) -> Result<Option<(&str, &str)>, ServiceError> {
    let invalid = |message: &str| Err(refusal("InvalidLookupAttributesException", message));
    let attributes = match given {
        Value::Null => return Ok(None),
        Value::Array(attributes) => attributes,
        _ => return Err(ServiceError::serialization("LookupAttributes must be a list")),
    };
    match attributes.as_slice() {
        [] => Ok(None),
        [one] => match (one["AttributeKey"].as_str(), one["AttributeValue"].as_str()) {
            (Some(key), Some(value)) if ATTRIBUTES.contains(&key) => Ok(Some((key, value))),
            _ => invalid("The lookup attribute is not valid."),
        },
        _ => invalid("Only one lookup attribute can be specified."),
    }
}

/// Holds for the same question alone.
fn question(input: &Value) -> String {
    let asked = [&input["LookupAttributes"], &input["StartTime"], &input["EndTime"], &input["EventCategory"]];
    super::Audit::digest(&json!(asked).to_string())[..16].to_owned()
}

fn token(input: &Value, (at, id): (i64, i64)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at} {id} {}", question(input)))
}

fn place(input: &Value, token: &str) -> Option<(i64, i64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let mut words = text.split(' ');
    let place = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next()? == question(input)).then_some(place)
}

fn refusal(code: &'static str, message: &str) -> ServiceError {
    ServiceError::client(code, message)
}
