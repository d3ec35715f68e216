//! Queues themselves: their names and addresses, and the operations on them.

use super::attributes::Attributes;
use super::{Call, errors};
use crate::wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const LISTED_MAX: usize = 1000;
const TAGS_MAX: usize = 50;

/// A queue's place: account, region and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) name: String,
}

/// A queue as stored.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) address: Address,
    created: i64,
    modified: i64,
    pub(super) attributes: Attributes,
    tags: Map<String, Value>,
}

impl Address {
    /// The queue that an input's `QueueUrl` means.
    pub(super) fn of_input(input: &Value, call: &Call) -> Result<Self, ServiceError> {
        let url = input.get("QueueUrl").and_then(Value::as_str).filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| errors::missing_parameter("QueueUrl"))?;
        Self::of_url(url, &call.region).ok_or_else(|| errors::invalid_address(url))
    }

    /// The queue that an input means by its URL, or by its name in the account and region of the call.
    pub(super) fn of_url_or_name(input: &Value, (account, region): (&str, &str)) -> Option<Self> {
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        if let Some(url) = text("QueueUrl") {
            return Self::of_url(url, region);
        }
        let account = text("QueueOwnerAWSAccountId").unwrap_or(account).to_owned();
        Some(Self { account, region: region.to_owned(), name: text("QueueName")?.to_owned() })
    }

    /// The queue with this ARN.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", _, "sqs", region, account, name] = parts[..] else { return None };
        Some(Self { account: account.to_owned(), region: region.to_owned(), name: name.to_owned() })
    }

    // Containers and processes reach the server by different names, so only the path of a URL counts.
    fn of_url(url: &str, region: &str) -> Option<Self> {
        let path =
            url.split_once("://").map_or(url, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        let mut segments = path.trim_matches('/').split('/');
        let (account, name) = (segments.next()?, segments.next()?);
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !is_account || name.is_empty() || segments.next().is_some() {
            return None;
        }
        Some(Self { account: account.to_owned(), region: region.to_owned(), name: name.to_owned() })
    }

    /// Its ARN.
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:sqs:{}:{}:{}", self.region, self.account, self.name)
    }

    fn url(&self, endpoint: &str) -> String {
        format!("{endpoint}/{}/{}", self.account, self.name)
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }
}

impl Queue {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let tags: String = row.get(7)?;
        Ok(Self {
            id: row.get(0)?,
            address: Address { account: row.get(1)?, region: row.get(2)?, name: row.get(3)? },
            created: row.get(4)?,
            modified: row.get(5)?,
            attributes: Attributes::stored(&row.get::<_, String>(6)?),
            tags: serde_json::from_str(&tags).unwrap_or_default(),
        })
    }

    /// Writes attributes and tags back.
    fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let update = "UPDATE queues SET modified = ?2, attributes = ?3, tags = ?4 WHERE id = ?1";
        let tags = Value::Object(self.tags.clone()).to_string();
        let values = params![self.id, self.modified, self.attributes.text(), tags];
        connection.prepare_cached(update)?.execute(values).map(|_| ())
    }
}

/// The queue at an address.
pub(super) fn find(connection: &Connection, address: &Address) -> rusqlite::Result<Option<Queue>> {
    let query = "SELECT id, account, region, name, created, modified, attributes, tags FROM queues
        WHERE account = ?1 AND region = ?2 AND name = ?3";
    let values = [&address.account, &address.region, &address.name];
    connection.prepare_cached(query)?.query_row(values, Queue::read).optional()
}

/// The queue that the call's `QueueUrl` means.
pub(super) fn required(connection: &Connection, call: &Call) -> Result<Queue, ServiceError> {
    let address = Address::of_input(&call.input, call)?;
    find(connection, &address)?.ok_or_else(errors::no_such_queue)
}

/// The queue's own policy.
pub(super) fn policy(connection: &Connection, address: &Address) -> rusqlite::Result<Option<Value>> {
    let queue = find(connection, address)?;
    let text = queue.and_then(|queue| queue.attributes.get("Policy"));
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateQueue {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: Map<String, Value>,
    #[serde(default, rename = "tags", alias = "Tags")]
    tags: Map<String, Value>,
}

pub(super) fn create(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let input: CreateQueue = call.input()?;
    let name = input
        .queue_name
        .filter(|name| !name.is_empty())
        .ok_or_else(|| errors::missing_parameter("QueueName"))?;
    let is_fifo = input.attributes.get("FifoQueue").and_then(Value::as_str) == Some("true");
    check_name(&name, is_fifo)?;
    let address = Address { account: call.account.clone(), region: call.region.clone(), name };
    let mut attributes = Attributes::default();
    attributes.change(&input.attributes, is_fifo)?;
    let url = json!({ "QueueUrl": address.url(&call.endpoint) });
    if let Some(queue) = find(connection, &address)? {
        return match queue.attributes.differs_from(&attributes) {
            Some(attribute) => Err(errors::queue_exists(&attribute)),
            None => Ok(url),
        };
    }
    check_dead_letter_queue(connection, &attributes, &address)?;
    check_tags(&input.tags)?;
    let insert = "INSERT INTO queues(account, region, name, created, modified, attributes, tags)
        VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)";
    let Address { account, region, name } = &address;
    let tags = Value::Object(input.tags).to_string();
    let values = params![account, region, name, call.now.as_second(), attributes.text(), tags];
    connection.prepare_cached(insert)?.execute(values)?;
    Ok(url)
}

pub(super) fn url(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let address = Address::of_url_or_name(&call.input, (&call.account, &call.region))
        .ok_or_else(|| errors::missing_parameter("QueueName"))?;
    let queue = find(connection, &address)?.ok_or_else(errors::no_such_queue)?;
    Ok(json!({ "QueueUrl": queue.address.url(&call.endpoint) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListQueues {
    #[serde(default)]
    queue_name_prefix: String,
    max_results: Option<usize>,
    next_token: Option<String>,
}

pub(super) fn list(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let input: ListQueues = call.input()?;
    let query = "SELECT name FROM queues WHERE account = ?1 AND region = ?2 AND name > ?3 ORDER BY name";
    let mut statement = connection.prepare_cached(query)?;
    // The token is the last name of the page before.
    let after = input.next_token.unwrap_or_default();
    let rows =
        statement.query_map(params![call.account, call.region, after], |row| row.get::<_, String>(0))?;
    let limit = input.max_results.unwrap_or(LISTED_MAX).clamp(1, LISTED_MAX);
    let mut names = Vec::new();
    for name in rows {
        let name = name?;
        if name.starts_with(&input.queue_name_prefix) {
            names.push(name);
        }
        if names.len() > limit {
            break;
        }
    }
    let has_more = names.len() > limit;
    names.truncate(limit);
    let mut output = Map::new();
    let address = |name: &String| {
        let (account, region) = (call.account.clone(), call.region.clone());
        Address { account, region, name: name.clone() }.url(&call.endpoint)
    };
    if !names.is_empty() {
        output.insert("QueueUrls".to_owned(), names.iter().map(address).collect());
    }
    if has_more && input.max_results.is_some() {
        output.insert("NextToken".to_owned(), json!(names.last()));
    }
    Ok(Value::Object(output))
}

pub(super) fn delete(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    connection.prepare_cached("DELETE FROM queues WHERE id = ?1")?.execute([queue.id])?;
    Ok(Value::Null)
}

/// AWS refuses a second purge within 60 seconds, since its purges take that long. Ours are done when answered.
pub(super) fn purge(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    connection.prepare_cached("DELETE FROM messages WHERE queue = ?1")?.execute([queue.id])?;
    Ok(Value::Null)
}

pub(super) fn set_attributes(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let mut queue = required(connection, call)?;
    let given = call.input.get("Attributes").and_then(Value::as_object);
    let given = given.ok_or_else(|| errors::missing_parameter("Attributes"))?;
    queue.attributes.change(given, queue.address.is_fifo())?;
    check_dead_letter_queue(connection, &queue.attributes, &queue.address)?;
    queue.modified = call.now.as_second();
    queue.store(connection)?;
    Ok(Value::Null)
}

pub(super) fn get_attributes(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    let names: Vec<String> = match call.input.get("AttributeNames") {
        Some(names) => serde_json::from_value(names.clone())
            .map_err(|error| ServiceError::serialization(error.to_string()))?,
        None => Vec::new(),
    };
    let mut all = queue.attributes.all(queue.address.is_fifo());
    all.insert("QueueArn".to_owned(), json!(queue.address.arn()));
    all.insert("CreatedTimestamp".to_owned(), json!(queue.created.to_string()));
    all.insert("LastModifiedTimestamp".to_owned(), json!(queue.modified.to_string()));
    all.extend(counts(connection, &queue, call.now_ms())?);
    let known =
        ["Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"];
    let fifo = ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];
    let is_known =
        |name: &str| name == "All" || all.contains_key(name) || known.contains(&name) || fifo.contains(&name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        return Err(errors::unknown_attribute(unknown));
    }
    if !names.iter().any(|name| name == "All") {
        all.retain(|name, _| names.contains(name));
    }
    Ok(if all.is_empty() { json!({}) } else { json!({ "Attributes": all }) })
}

pub(super) fn list_tags(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let queue = required(connection, call)?;
    Ok(if queue.tags.is_empty() { json!({}) } else { json!({ "Tags": queue.tags }) })
}

pub(super) fn tag(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let mut queue = required(connection, call)?;
    let tags = call.input.get("Tags").and_then(Value::as_object);
    queue.tags.extend(tags.ok_or_else(|| errors::missing_parameter("Tags"))?.clone());
    check_tags(&queue.tags)?;
    queue.store(connection)?;
    Ok(Value::Null)
}

pub(super) fn untag(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let mut queue = required(connection, call)?;
    let keys = call.input.get("TagKeys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| errors::missing_parameter("TagKeys"))?;
    queue.tags.retain(|name, _| !keys.iter().any(|key| key == name.as_str()));
    queue.store(connection)?;
    Ok(Value::Null)
}

/// The queues whose dead letters go to this one. Not paged: the answer holds at most a thousand.
pub(super) fn list_dead_letter_sources(connection: &Connection, call: &Call) -> Result<Value, ServiceError> {
    let arn = required(connection, call)?.address.arn();
    let query = "SELECT id, account, region, name, created, modified, attributes, tags FROM queues
        WHERE account = ?1 AND region = ?2 ORDER BY name";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map(params![call.account, call.region], Queue::read)?;
    let queues = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let is_source =
        |queue: &&Queue| queue.attributes.redrive().is_some_and(|redrive| redrive.target_arn == arn);
    let urls =
        queues.iter().filter(is_source).take(LISTED_MAX).map(|queue| queue.address.url(&call.endpoint));
    Ok(json!({ "queueUrls": urls.collect::<Vec<_>>() }))
}

/// Visible, in flight and delayed messages.
fn counts(connection: &Connection, queue: &Queue, now_ms: i64) -> rusqlite::Result<Map<String, Value>> {
    let query = "SELECT
            count(*) FILTER (WHERE visible <= ?2),
            count(*) FILTER (WHERE visible > ?2 AND receipt IS NOT NULL),
            count(*) FILTER (WHERE visible > ?2 AND receipt IS NULL)
        FROM messages WHERE queue = ?1 AND sent > ?3";
    let oldest = now_ms - queue.attributes.number("MessageRetentionPeriod") * 1000;
    let values = params![queue.id, now_ms, oldest];
    let names = ["", "NotVisible", "Delayed"];
    connection.prepare_cached(query)?.query_row(values, |row| {
        let count = |(at, name): (usize, &&str)| {
            let count: i64 = row.get(at)?;
            Ok((format!("ApproximateNumberOfMessages{name}"), json!(count.to_string())))
        };
        names.iter().enumerate().map(count).collect()
    })
}

fn check_name(name: &str, is_fifo: bool) -> Result<(), ServiceError> {
    let stem = if is_fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let is_valid =
        stem.is_some_and(|stem| !stem.is_empty() && name.len() <= 80 && stem.chars().all(is_allowed));
    match (is_valid, is_fifo) {
        (true, _) => Ok(()),
        (false, false) => Err(errors::invalid_parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )),
        (false, true) => Err(errors::invalid_parameter(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length.",
        )),
    }
}

fn check_tags(tags: &Map<String, Value>) -> Result<(), ServiceError> {
    let is_valid = |(key, value): (&String, &Value)| {
        (1..=128).contains(&key.chars().count())
            && value.as_str().is_some_and(|text| text.chars().count() <= 256)
    };
    if tags.len() > TAGS_MAX || !tags.iter().all(is_valid) {
        return Err(errors::invalid_parameter("Too many tags added for queue, or a tag is too long."));
    }
    Ok(())
}

fn check_dead_letter_queue(
    connection: &Connection,
    attributes: &Attributes,
    source: &Address,
) -> Result<(), ServiceError> {
    let Some(redrive) = attributes.redrive() else { return Ok(()) };
    let policy = attributes.get("RedrivePolicy").unwrap_or_default();
    let refused = |reason: &str| {
        let message = format!("Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}");
        Err(errors::invalid_parameter(message))
    };
    let Some(target) = Address::of_arn(&redrive.target_arn) else {
        return refused("Invalid value for deadLetterTargetArn.");
    };
    if target.is_fifo() != source.is_fifo() {
        return refused("Dead-letter queue must be same type of queue as the source.");
    }
    let Some(target) = find(connection, &target)? else {
        return refused("Dead letter target does not exist.");
    };
    if !target.attributes.takes_dead_letters_of(&source.arn()) {
        return refused("Dead letter target does not allow redrive from this queue.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_any_url_with_its_path() {
        let address = |url: &str| Address::of_url(url, "r").map(|address| address.arn());
        let expected = Some("arn:aws:sqs:r:000000000000:q".to_owned());
        for url in [
            "http://localhost:4566/000000000000/q",
            "https://sqs.r.amazonaws.com/000000000000/q",
            "/000000000000/q",
            "000000000000/q",
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
        for url in
            ["", "q", "http://localhost/q", "http://localhost/0/q", "http://localhost/000000000000/q/x"]
        {
            assert_eq!(address(url), None, "{url}");
        }
    }
}
