//! A small AWS in memory: tables that refuse a taken name, queues that are what was asked last, and kept stacks. It can die
//! at any call, before or after the call had its effect, and refuse a name.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::client::{Client, Pending};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub tables: BTreeMap<String, Value>,
    pub queues: BTreeMap<String, Value>,
    pub stacks: BTreeMap<String, (i64, Value)>,
}

#[derive(Default)]
pub struct Server {
    pub world: Mutex<World>,
    /// Calls that are still answered; none: all of them.
    pub calls_left: Mutex<Option<usize>>,
    /// The call at which it dies has its effect all the same.
    pub dies_late: bool,
    /// Names that cannot be made.
    pub refused: Mutex<BTreeSet<String>>,
}

type Answer = Result<Value, (u16, &'static str, String)>;

impl Server {
    pub fn world(&self) -> World {
        self.world.lock().expect("no panic").clone()
    }

    fn answer(&self, request: &http::Request<Bytes>) -> Answer {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let mut world = self.world.lock().expect("no panic");
        match target.and_then(|target| target.split_once('.')) {
            Some(("DynamoDB_20120810", action)) => self.table(&mut world, action, &body),
            Some(("AmazonSQS", action)) => self.queue(&mut world, action, &body),
            _ if request.uri().path().starts_with("/local/stacks/") => stack(&mut world, request, body),
            _ => Ok(Value::Null),
        }
    }

    fn refuse(&self, name: &str) -> Result<(), (u16, &'static str, String)> {
        match self.refused.lock().expect("no panic").contains(name) {
            true => Err((400, "LimitExceededException", format!("no room for {name}"))),
            false => Ok(()),
        }
    }

    fn table(&self, world: &mut World, action: &str, body: &Value) -> Answer {
        let name = body["TableName"].as_str().unwrap_or_default().to_string();
        let is_there = world.tables.contains_key(&name);
        match (action, is_there) {
            ("CreateTable", true) => {
                Err((400, "ResourceInUseException", format!("Table already exists: {name}")))
            }
            ("CreateTable", false) => {
                self.refuse(&name)?;
                world.tables.insert(name.clone(), body.clone());
                Ok(json!({ "TableDescription": { "TableArn": format!("arn:{name}") } }))
            }
            (_, false) => Err((400, "ResourceNotFoundException", "no such table".into())),
            ("DeleteTable", true) => Ok(world.tables.remove(&name).unwrap_or_default()),
            ("UpdateTable", true) => {
                world
                    .tables
                    .entry(name)
                    .and_modify(|table| table["BillingMode"] = body["BillingMode"].clone());
                Ok(json!({}))
            }
            (_, true) => Ok(json!({})),
        }
    }

    fn queue(&self, world: &mut World, action: &str, body: &Value) -> Answer {
        let named =
            body["QueueName"].as_str().or(body["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()));
        let name = named.unwrap_or_default().to_string();
        let is_there = world.queues.contains_key(&name);
        match (action, is_there) {
            ("CreateQueue", _) => {
                self.refuse(&name)?;
                world.queues.insert(name.clone(), body["Attributes"].clone());
                Ok(json!({ "QueueUrl": format!("http://q/{name}") }))
            }
            (_, false) => Err((400, "AWS.SimpleQueueService.NonExistentQueue", "no such queue".into())),
            ("DeleteQueue", true) => Ok(world.queues.remove(&name).unwrap_or_default()),
            ("SetQueueAttributes", true) => {
                self.refuse(&name)?;
                world.queues.insert(name, body["Attributes"].clone());
                Ok(json!({}))
            }
            (_, true) => Ok(
                json!({ "QueueUrl": format!("http://q/{name}"), "Attributes": { "QueueArn": format!("arn:{name}") } }),
            ),
        }
    }
}

fn stack(world: &mut World, request: &http::Request<Bytes>, state: Value) -> Answer {
    let name = request.uri().path().trim_start_matches("/local/stacks/").to_string();
    let revision =
        request.uri().query().and_then(|query| query.strip_prefix("revision=")?.parse().ok()).unwrap_or(0);
    let held = world.stacks.get(&name).map_or(0, |(revision, _)| *revision);
    match request.method().as_str() {
        "GET" => match world.stacks.get(&name) {
            Some((revision, state)) => Ok(json!({ "revision": revision, "state": state })),
            None => Err((404, "ResourceNotFoundException", "no such stack".into())),
        },
        _ if held != revision => Err((409, "ConflictException", "another deployment has begun".into())),
        "PUT" => {
            world.stacks.insert(name, (held + 1, state));
            Ok(json!({ "revision": held + 1 }))
        }
        _ => Ok(world.stacks.remove(&name).map_or(Value::Null, |(_, state)| state)),
    }
}

impl Client for Server {
    fn send<'a>(&'a self, _service: &'a str, request: http::Request<Bytes>) -> Pending<'a> {
        Box::pin(async move {
            if self.dies() {
                if self.dies_late {
                    // The effect is there, the answer is not.
                    drop(self.answer(&request));
                }
                return std::future::pending().await;
            }
            let (status, body) = match self.answer(&request) {
                Ok(body) => (200, body),
                Err((status, code, message)) => (status, json!({ "__type": code, "message": message })),
            };
            let response = http::Response::builder().status(status);
            response.body(Bytes::from(body.to_string())).map_err(|error| error.to_string())
        })
    }
}

impl Server {
    /// Counts a call; true for the one that is not answered.
    fn dies(&self) -> bool {
        let mut calls_left = self.calls_left.lock().expect("no panic");
        let dies = *calls_left == Some(0);
        *calls_left = calls_left.map(|calls| calls.saturating_sub(1));
        dies
    }
}

/// Runs to the end, or to the point from which it never comes back: none.
pub fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
