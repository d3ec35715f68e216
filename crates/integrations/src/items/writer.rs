//! ResultWriter: what became of a Map Run's children, as the Map's result or as files in S3.
//!
//! Invariant: the manifest is written last, so whoever sees it finds the files it names. Writing again overwrites the same keys.
//! Children come in pages, so that a page and one file of each kind are in memory, whatever their number.

use std::pin::Pin;
use std::sync::Arc;

use asl::payload::Payload;
use asl::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use super::Bucket;
use crate::failure::Failure;
use crate::task::attempt_uuid;
use crate::transport::{Identity, Transport};

/// A file is full from this length on (AWS: 5 GB). It is in memory, some times over, until it is written.
const FILE_BYTES: usize = 2 << 20;

/// Ended children in pages, in the order of their indexes.
pub trait ChildPages: Send {
    /// The next page, or why it cannot be read; an empty one is the last.
    fn next_page(&mut self) -> Pin<Box<dyn Future<Output = Result<Vec<ChildRecord>, String>> + Send + '_>>;
}

/// A child that ended.
#[derive(Clone, Debug)]
pub struct ChildRecord {
    /// Its ARN.
    pub execution_arn: Arc<str>,
    /// `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: Arc<str>,
    /// Its input, where it is known still.
    pub input: Option<Payload>,
    /// Its output, or `{"Error": …, "Cause": …}`.
    pub output: Option<Payload>,
    /// When it started and ended, where that is known still.
    pub times: Option<(Timestamp, Option<Timestamp>)>,
    /// How often it was redriven.
    pub redrive_count: u32,
}

/// How results look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transformation {
    None,
    Compact,
    Flatten,
}

impl Transformation {
    fn of(config: &Value, default: Transformation) -> Transformation {
        match config["Transformation"].as_str() {
            Some("NONE") => Transformation::None,
            Some("COMPACT") => Transformation::Compact,
            Some("FLATTEN") => Transformation::Flatten,
            _ => default,
        }
    }
}

impl ChildRecord {
    fn succeeded(&self) -> bool {
        &*self.status == "SUCCEEDED"
    }

    /// The record of transformation NONE.
    fn in_full(&self) -> Value {
        let mut record = Map::new();
        let mut put = |name: &str, value: Value| record.insert(name.to_owned(), value);
        let parts: Vec<&str> = self.execution_arn.splitn(9, ':').collect();
        put("ExecutionArn", json!(&*self.execution_arn));
        if let Some(input) = &self.input {
            put("Input", json!(input.text()));
        }
        put("InputDetails", json!({ "Included": self.input.is_some() }));
        put("Name", json!(parts.get(7)));
        if self.succeeded() {
            put("Output", json!(self.output.as_ref().map_or("null", Payload::text)));
            put("OutputDetails", json!({ "Included": true }));
        } else if let Some(failure) = &self.output {
            for name in ["Error", "Cause"] {
                if let Some(text) = failure.value().get(name) {
                    put(name, text.clone());
                }
            }
        }
        put("RedriveCount", json!(self.redrive_count));
        if self.succeeded() {
            put("RedriveStatus", json!("NOT_REDRIVABLE"));
            put("RedriveStatusReason", json!("Execution is SUCCEEDED and cannot be redriven"));
        } else {
            put("RedriveStatus", json!("REDRIVABLE_BY_MAP_RUN"));
        }
        if let Some((start, _)) = self.times {
            put("StartDate", json!(start.to_string()));
        }
        if let [arn, partition, states, region, account, _, machine, ..] = parts.as_slice() {
            let machine = format!("{arn}:{partition}:{states}:{region}:{account}:stateMachine:{machine}");
            put("StateMachineArn", json!(machine));
        }
        put("Status", json!(&*self.status));
        if let Some((_, Some(stop))) = self.times {
            put("StopDate", json!(stop.to_string()));
        }
        Value::Object(record)
    }

    /// Its part of the results. What did not succeed is always told in full.
    fn shown(&self, transformation: Transformation) -> Vec<Value> {
        let output = || self.output.as_ref().map_or(Value::Null, |output| output.value().clone());
        match (transformation, self.succeeded()) {
            (Transformation::None, _) | (_, false) => vec![self.in_full()],
            (Transformation::Compact, true) => vec![output()],
            (Transformation::Flatten, true) => match output() {
                Value::Array(parts) => parts,
                other => vec![other],
            },
        }
    }
}

/// The Map's result when a WriterConfig shapes it and nothing is exported. Recorded default: COMPACT.
async fn gathered(config: &Value, children: &mut dyn ChildPages, bytes_max: usize) -> Result<Value, Failure> {
    let transformation = Transformation::of(config, Transformation::Compact);
    let (mut all, mut bytes) = (Vec::new(), 0);
    loop {
        let page = children.next_page().await.map_err(unreadable)?;
        if page.is_empty() {
            return Ok(Value::Array(all));
        }
        let told = |child: &&ChildRecord| child.succeeded() || transformation == Transformation::None;
        for record in page.iter().filter(told).flat_map(|child| child.shown(transformation)) {
            bytes += record.to_string().len() + 1;
            if bytes_max > 0 && bytes >= bytes_max {
                let cause = "The result of the Map Run exceeds the maximum number of bytes service limit.";
                return Err(Failure::new("States.DataLimitExceeded", cause));
            }
            all.push(record);
        }
    }
}

fn unreadable(cause: String) -> Failure {
    Failure::new("States.ResultWriterFailed", cause)
}

/// The result of a Map with a ResultWriter (`{Arguments, WriterConfig}`, evaluated): the exported files' place, or, without a
/// bucket, what the children gave, which takes `bytes_max` bytes at most (0: no bound).
pub async fn results(
    transport: &Arc<dyn Transport>,
    identity: &Identity,
    map_run_arn: &str,
    writer: &Value,
    children: &mut dyn ChildPages,
    bytes_max: usize,
) -> Result<Value, Failure> {
    if writer["Arguments"].is_null() {
        return gathered(&writer["WriterConfig"], children, bytes_max).await;
    }
    write(transport, identity, map_run_arn, writer, children).await.map_err(unreadable)
}

/// Writes the files; the answer is the Map's result.
async fn write(
    transport: &Arc<dyn Transport>,
    identity: &Identity,
    map_run_arn: &str,
    writer: &Value,
    children: &mut dyn ChildPages,
) -> Result<Value, String> {
    let (arguments, config) = (&writer["Arguments"], &writer["WriterConfig"]);
    let prefix = arguments["Prefix"].as_str().unwrap_or_default().trim_end_matches('/');
    let id = map_run_arn.rsplit(':').next().unwrap_or_default();
    let export = Export {
        bucket: Bucket::new(transport, identity),
        arguments,
        folder: if prefix.is_empty() { id.to_owned() } else { format!("{prefix}/{id}") },
        lines: config["OutputType"] == "JSONL",
    };
    let mut succeeded = Files::new("SUCCEEDED", Transformation::of(config, Transformation::None));
    let mut failed = Files::new("FAILED", Transformation::None);
    loop {
        let page = children.next_page().await?;
        if page.is_empty() {
            break;
        }
        for child in page {
            let files = if child.succeeded() { &mut succeeded } else { &mut failed };
            export.add(files, &child).await?;
        }
    }
    for files in [&mut succeeded, &mut failed] {
        export.finish(files).await?;
    }
    let bucket = &arguments["Bucket"];
    let manifest = json!({
        "DestinationBucket": bucket,
        "MapRunArn": map_run_arn,
        "ResultFiles": { "FAILED": failed.written, "PENDING": [], "SUCCEEDED": succeeded.written },
    });
    let key = format!("{}/manifest.json", export.folder);
    export.put(&key, manifest.to_string()).await?;
    Ok(json!({ "MapRunArn": map_run_arn, "ResultWriterDetails": { "Bucket": bucket, "Key": key } }))
}

/// Files of one kind: those written, as the manifest names them, and the text of the next one.
struct Files {
    name: &'static str,
    transformation: Transformation,
    written: Vec<Value>,
    text: String,
}

impl Files {
    fn new(name: &'static str, transformation: Transformation) -> Files {
        Files { name, transformation, written: Vec::new(), text: String::new() }
    }
}

struct Export<'a> {
    bucket: Bucket<'a>,
    arguments: &'a Value,
    folder: String,
    lines: bool,
}

impl Export<'_> {
    /// Adds a child's records; a file that is full is written.
    async fn add(&self, files: &mut Files, child: &ChildRecord) -> Result<(), String> {
        for record in child.shown(files.transformation) {
            if !self.lines {
                files.text.push(if files.text.is_empty() { '[' } else { ',' });
            }
            files.text.push_str(&record.to_string());
            if self.lines {
                files.text.push('\n');
            }
        }
        if files.text.len() >= FILE_BYTES { self.finish(files).await } else { Ok(()) }
    }

    /// Writes what is there; no file for nothing.
    async fn finish(&self, files: &mut Files) -> Result<(), String> {
        if files.text.is_empty() {
            return Ok(());
        }
        let extension = if self.lines { "jsonl" } else { "json" };
        let mut body = std::mem::take(&mut files.text);
        if !self.lines {
            body.push(']');
        }
        let (name, number) = (files.name, files.written.len());
        let key = format!("{}/{name}_{number}.{extension}", self.folder);
        let size = body.len();
        self.put(&key, body).await?;
        files.written.push(json!({ "Key": key, "Size": size }));
        Ok(())
    }

    async fn put(&self, key: &str, body: String) -> Result<(), String> {
        let mut parameters = self.arguments.clone();
        if let Some(members) = parameters.as_object_mut() {
            members.shift_remove("Prefix");
        }
        parameters["Key"] = json!(key);
        // A receiver drops what comes again under the same id; every file is an effect of its own, and so is the same file with
        // other content after a redrive.
        let content = attempt_uuid(&body);
        let invocation_id = format!("{}/{key}/{content}", self.bucket.identity.invocation_id).into();
        let identity = Identity { invocation_id, ..self.bucket.identity.clone() };
        parameters["Body"] = Value::String(body);
        let bucket = Bucket::new(self.bucket.transport, &identity);
        bucket.call("putObject", &parameters).await?.members().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::pin::pin;
    use std::sync::{Mutex, PoisonError};
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::*;
    use crate::transport::Pending;

    /// Does what comes twice under one invocation id only once, as the embedded S3 does.
    #[derive(Default)]
    struct Receiver {
        seen: Mutex<BTreeSet<String>>,
        files: Mutex<BTreeMap<String, Bytes>>,
    }

    impl Receiver {
        fn names(&self) -> Vec<String> {
            let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.keys().map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect()
        }

        fn text(&self, name: &str) -> String {
            let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let found = files.iter().find(|(path, _)| path.ends_with(name));
            found.map(|(_, body)| String::from_utf8_lossy(body).into_owned()).unwrap_or_default()
        }
    }

    impl Transport for Receiver {
        fn call<'a>(
            &'a self,
            identity: &'a Identity,
            _: &'a str,
            request: http::Request<Bytes>,
        ) -> Pending<'a> {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.insert(identity.invocation_id.to_string()) {
                let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                files.insert(request.uri().path().to_owned(), request.into_body());
            }
            Box::pin(std::future::ready(Ok(http::Response::new(Bytes::new()))))
        }

        fn http<'a>(&'a self, _: http::Request<Bytes>) -> Pending<'a> {
            Box::pin(std::future::ready(Ok(http::Response::new(Bytes::new()))))
        }
    }

    struct Pages(Vec<Vec<ChildRecord>>);

    impl ChildPages for Pages {
        fn next_page(
            &mut self,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<ChildRecord>, String>> + Send + '_>> {
            Box::pin(std::future::ready(Ok(self.0.pop().unwrap_or_default())))
        }
    }

    fn child(status: &str, output: &str) -> ChildRecord {
        ChildRecord {
            execution_arn: format!("arn:aws:states:us-east-1:1:execution:m/l:{status}").into(),
            status: status.into(),
            input: None,
            output: Payload::parse(output.to_owned()).ok(),
            times: None,
            redrive_count: 0,
        }
    }

    fn write(receiver: &Arc<Receiver>, children: &[ChildRecord]) {
        let [role_arn, session_name, account, region] =
            [Arc::from("r"), Arc::from("s"), Arc::from("1"), Arc::from("e")];
        let identity = Identity { role_arn, session_name, account, region, invocation_id: "run".into() };
        let transport: Arc<dyn Transport> = Arc::<Receiver>::clone(receiver);
        let writer = json!({ "Arguments": { "Bucket": "b", "Prefix": "p" } });
        let mut pages = Pages(vec![children.to_vec()]);
        let written = pin!(results(
            &transport,
            &identity,
            "arn:aws:states:us-east-1:1:mapRun:m/l:id",
            &writer,
            &mut pages,
            0
        ));
        assert!(matches!(written.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
    }

    /// All files of a Map Run were written under its one invocation id: the second and the manifest were taken for
    /// repetitions of the first.
    #[test]
    fn a_receiver_that_drops_repetitions_gets_every_file_and_what_a_redrive_changed() {
        let receiver = Arc::new(Receiver::default());
        write(&receiver, &[child("SUCCEEDED", "1"), child("FAILED", "{\"Error\":\"E\"}")]);
        assert_eq!(receiver.names(), ["FAILED_0.json", "SUCCEEDED_0.json", "manifest.json"]);
        write(&receiver, &[child("SUCCEEDED", "1"), child("SUCCEEDED", "2")]);
        assert!(receiver.text("SUCCEEDED_0.json").contains("\"Output\":\"2\""));
        assert!(receiver.text("manifest.json").contains("\"FAILED\":[]"));
    }
}
