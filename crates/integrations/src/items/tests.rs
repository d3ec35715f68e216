//! Readers over a bucket in memory: every page read on from the place before it, with the reader kept and with it lost.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use super::{Item, ItemReaders, Place};
use crate::transport::{Answer, Identity, Pending, Transport};

/// The objects of all buckets, by `bucket/key`.
struct Memory(BTreeMap<String, Vec<u8>>);

/// Keys of a listing's page, so few that most listings have several.
const KEYS_PER_PAGE: usize = 3;

impl Memory {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let path = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let path = path.trim_start_matches('/').trim_end_matches('/');
        let query = request.uri().query().unwrap_or_default();
        if query.contains("list-type=2") {
            return Ok(Response::new(self.listing(path, query).into()));
        }
        let Some(object) = self.0.get(path) else {
            let fault =
                "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>";
            return Ok(respond(StatusCode::NOT_FOUND, &[], fault.as_bytes()));
        };
        let range = request.headers().get("range").and_then(|range| range.to_str().ok()).unwrap_or_default();
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap_or(("0", "0"));
        let (first, last) = match (first, last.parse::<usize>()) {
            ("", Ok(length)) if !object.is_empty() => (object.len().saturating_sub(length), ""),
            (first, _) => (first.parse().unwrap_or(0), last),
        };
        let last: usize = last.parse().unwrap_or(usize::MAX);
        if first >= object.len() {
            return Ok(respond(StatusCode::RANGE_NOT_SATISFIABLE, &[], b""));
        }
        let end = object.len().min(last.saturating_add(1));
        let told = format!("bytes {first}-{}/{}", end - 1, object.len());
        let heads = [("content-range", told.as_str()), ("etag", "\"e\"")];
        Ok(respond(StatusCode::PARTIAL_CONTENT, &heads, &object[first..end]))
    }

    fn listing(&self, bucket: &str, query: &str) -> String {
        let parameter = |name: &str| {
            let value = query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default();
            percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned()
        };
        let (prefix, after) = (parameter("prefix"), parameter("start-after"));
        let keys: Vec<_> = self
            .0
            .iter()
            .filter_map(|(path, object)| Some((path.strip_prefix(bucket)?.strip_prefix('/')?, object)))
            .collect();
        let keys = keys.into_iter().filter(|(key, _)| key.starts_with(&prefix) && *key > after.as_str());
        let mut left = keys.collect::<Vec<_>>();
        let truncated = left.len() > KEYS_PER_PAGE;
        left.truncate(KEYS_PER_PAGE);
        let contents: Vec<String> = left
            .iter()
            .map(|(key, object)| {
                format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", object.len())
            })
            .collect();
        format!(
            "<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{}</ListBucketResult>",
            contents.concat()
        )
    }
}

fn respond(status: StatusCode, heads: &[(&'static str, &str)], body: &[u8]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(body));
    *response.status_mut() = status;
    for (name, value) in heads {
        response.headers_mut().insert(*name, value.parse().expect("a head"));
    }
    response
}

impl Transport for Memory {
    fn call<'a>(&'a self, _: &'a Identity, _: &'a str, request: Request<Bytes>) -> Pending<'a> {
        Box::pin(async move { self.answer(&request) })
    }

    fn http<'a>(&'a self, request: Request<Bytes>) -> Pending<'a> {
        Box::pin(async move { self.answer(&request) })
    }
}

/// Nothing here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the bucket answers at once"),
    }
}

/// All items, or why there are none; `step`: how many are taken of a page before reading on. With `lost` every page is read
/// by a reader that knows nothing of those before.
pub(super) fn items(
    objects: &[(&str, Vec<u8>)],
    reader: &Value,
    step: usize,
    lost: bool,
) -> Result<Vec<Value>, String> {
    let items = read(objects, reader, step, lost)?;
    Ok(items.iter().map(|item| item.value.value().clone()).collect())
}

fn read(objects: &[(&str, Vec<u8>)], reader: &Value, step: usize, lost: bool) -> Result<Vec<Item>, String> {
    let objects = objects.iter().map(|(path, object)| ((*path).to_owned(), object.clone()));
    let memory: Arc<dyn Transport> = Arc::new(Memory(objects.collect()));
    let word = |text: &str| Arc::<str>::from(text);
    let identity = Identity {
        role_arn: word("role"),
        session_name: word("s"),
        account: word("000000000000"),
        region: word("us-east-1"),
        invocation_id: word("i"),
    };
    let mut readers = ItemReaders::new(Arc::clone(&memory));
    let (mut place, mut all) = (Place::default(), Vec::new());
    loop {
        if lost {
            readers = ItemReaders::new(Arc::clone(&memory));
        }
        let page = now(readers.read(&identity, &word("run"), reader, &place))
            .map_err(|failure| failure.cause.unwrap_or_default())?;
        let taken = page.items.len().min(step);
        all.extend_from_slice(&page.items[..taken]);
        if taken == page.items.len() {
            if page.end {
                return Ok(all);
            }
            place.position = Some(page.position);
        }
        place = Place { next_item: all.len() as u64, version: page.version, ..place };
    }
}

#[track_caller]
pub(super) fn check(objects: &[(&str, Vec<u8>)], reader: &Value, expected: &Value) {
    for step in [1, 2, 7, usize::MAX] {
        for lost in [false, true] {
            let found = items(objects, reader, step, lost).map(Value::Array);
            assert_eq!(found.as_ref(), Ok(expected), "step {step}, lost {lost}");
        }
    }
}

pub(super) fn reader(action: &str, arguments: Value, config: Value) -> Value {
    json!({ "Action": action, "Arguments": arguments, "ReaderConfig": config })
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zstd(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

#[test]
fn load_and_flatten_reads_the_objects_of_a_listing_one_after_the_other() {
    let objects = [
        ("b/in/", Vec::new()),
        ("b/in/1.jsonl", b"1\n2\n3\n".to_vec()),
        ("b/in/2.jsonl.gz", gzip("4\n5\n")),
        ("b/in/3.jsonl", b"\n".to_vec()),
        ("b/in/4.jsonl.zst", zstd("6\n7\n8")),
        ("b/in/5.jsonl", b"9".to_vec()),
        ("b/out/x.jsonl", b"10\n".to_vec()),
    ];
    let config = json!({ "InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN" });
    let reader = reader("listObjectsV2", json!({ "Bucket": "b", "Prefix": "in/" }), config);
    check(&objects, &reader, &json!([1, 2, 3, 4, 5, 6, 7, 8, 9]));
}

#[test]
fn each_file_of_a_listing_has_its_own_header() {
    let objects = [("b/1.csv", b"x,y\n1,2\n".to_vec()), ("b/2.csv", b"y\n3\n4\n".to_vec())];
    let config =
        json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", "Transformation": "LOAD_AND_FLATTEN" });
    let reader = reader("listObjectsV2", json!({ "Bucket": "b" }), config);
    check(&objects, &reader, &json!([{"x": "1", "y": "2"}, {"y": "3"}, {"y": "4"}]));
}

#[test]
fn an_inventory_gives_the_rows_of_its_files_by_the_columns_of_its_schema() {
    let manifest = json!({
        "sourceBucket": "src", "destinationBucket": "arn:aws:s3:::inv", "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "data/1.csv.gz", "size": 1, "MD5checksum": "x"}, {"key": "data/2.csv.gz", "size": 1}],
    });
    let objects = [
        ("m/manifest.json", manifest.to_string().into_bytes()),
        ("inv/data/1.csv.gz", gzip("\"src\",\"a\",\"1\"\n\"src\",\"b%20c\",\"2\"\n")),
        ("inv/data/2.csv.gz", gzip("\"src\",\"d\",\"3\"\n")),
    ];
    let rows = json!([
        {"Bucket": "src", "Size": "1", "Key": "a"}, {"Bucket": "src", "Size": "2", "Key": "b%20c"}, {"Bucket": "src", "Size": "3", "Key": "d"}
    ]);
    for config in [json!({ "InputType": "MANIFEST" }), json!({ "ManifestType": "S3_INVENTORY" })] {
        check(
            &objects,
            &reader("getObject", json!({ "Bucket": "m", "Key": "manifest.json" }), config),
            &rows,
        );
    }
}

#[test]
fn a_manifest_of_athena_names_files_by_address() {
    let objects = [
        ("m/q-manifest.csv", b"s3://data/one\ns3://data/dir/two.gz\n".to_vec()),
        ("data/one", b"{\"n\":1}\n{\"n\":2}\n".to_vec()),
        ("data/dir/two.gz", gzip("{\"n\":3}\n")),
    ];
    let config = json!({ "ManifestType": "ATHENA_DATA", "InputType": "JSONL" });
    let reader = reader("getObject", json!({ "Bucket": "m", "Key": "q-manifest.csv" }), config);
    check(&objects, &reader, &json!([{"n": 1}, {"n": 2}, {"n": 3}]));
}

#[test]
fn an_item_tells_the_object_it_was_read_from() {
    let inventory = json!({ "destinationBucket": "arn:aws:s3:::b", "fileFormat": "CSV", "fileSchema": "n", "files": [{"key": "in/1"}] });
    let objects = [
        ("b/in/1", b"1\n".to_vec()),
        ("b/in/2", b"2\n3\n".to_vec()),
        ("b/athena.csv", b"s3://b/in/2\ns3://b/in/1\n".to_vec()),
        ("b/manifest.json", inventory.to_string().into_bytes()),
    ];
    let (one, two) = ("S3://b/in/1", "S3://b/in/2");
    let lines = |more: Value| {
        let mut config = json!({ "InputType": "JSONL" });
        config.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        config
    };
    let (get, list) = ("getObject", "listObjectsV2");
    let cases = [
        (get, json!({ "Bucket": "b", "Key": "in/2" }), lines(json!({})), vec![two, two]),
        (list, json!({ "Bucket": "b", "Prefix": "in/" }), json!({}), vec!["S3://b", "S3://b"]),
        (
            list,
            json!({ "Bucket": "b", "Prefix": "in/" }),
            lines(json!({ "Transformation": "LOAD_AND_FLATTEN" })),
            vec![one, two, two],
        ),
        (
            get,
            json!({ "Bucket": "b", "Key": "athena.csv" }),
            lines(json!({ "ManifestType": "ATHENA_DATA" })),
            vec![two, two, one],
        ),
        (
            get,
            json!({ "Bucket": "b", "Key": "manifest.json" }),
            json!({ "InputType": "MANIFEST" }),
            vec![one],
        ),
    ];
    for (action, arguments, config, expected) in cases {
        let reader = reader(action, arguments, config);
        for (step, lost) in [(1, false), (1, true), (usize::MAX, false)] {
            let items = read(&objects, &reader, step, lost).expect("items");
            let sources: Vec<&str> = items.iter().map(|item| &*item.source).collect();
            assert_eq!(sources, expected, "{reader} {step} {lost}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_what_it_stands_before() {
    let marked = |text: &str| [b"\xEF\xBB\xBF", text.as_bytes()].concat();
    let first = json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW" });
    let given = json!({ "InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a"] });
    let cases = [
        ("1.csv", marked("\"a\",b\r\n1,2\r\n"), first, json!([{ "a": "1", "b": "2" }])),
        ("2.csv", marked("1\n\u{feff}2\n"), given, json!([{ "a": "1" }, { "a": "\u{feff}2" }])),
        ("3.json", marked(" [1, 2]"), json!({ "InputType": "JSON" }), json!([1, 2])),
        ("4.jsonl.gz", gzip("\u{feff}1\n2\n"), json!({ "InputType": "JSONL" }), json!([1, 2])),
    ];
    for (key, object, config, expected) in cases {
        let reader = reader("getObject", json!({ "Bucket": "b", "Key": key }), config);
        check(&[(&format!("b/{key}"), object)], &reader, &expected);
    }
}

#[test]
fn max_items_counts_over_all_files() {
    let objects = [("b/1.json", b"[1, 2]".to_vec()), ("b/2.json", b"[3, 4]".to_vec())];
    let config = json!({ "InputType": "JSON", "Transformation": "LOAD_AND_FLATTEN" });
    let mut reader = reader("listObjectsV2", json!({ "Bucket": "b" }), config);
    reader["MaxItems"] = json!(3);
    check(&objects, &reader, &json!([1, 2, 3]));
}

#[test]
fn what_cannot_be_read_is_told() {
    let athena = json!({ "ManifestType": "ATHENA_DATA", "InputType": "JSONL" });
    let orc = json!({ "destinationBucket": "arn:aws:s3:::inv", "fileFormat": "ORC", "fileSchema": "Key", "files": [] });
    let cases = [
        (athena.clone(), "not an address", "The manifest holds 'not an address', which is no s3:// address."),
        (athena, "s3://b/missing", "The specified key does not exist."),
        (json!({ "InputType": "MANIFEST" }), "{", "The manifest is not valid JSON"),
        (json!({ "InputType": "MANIFEST" }), "{}", "The manifest lacks fileSchema or files."),
        (json!({ "InputType": "MANIFEST" }), &orc.to_string(), "The manifest's files are ORC"),
    ];
    for (config, manifest, expected) in cases {
        let reader = reader("getObject", json!({ "Bucket": "b", "Key": "m" }), config);
        let told = items(&[("b/m", manifest.as_bytes().to_vec())], &reader, 1, false).expect_err(manifest);
        assert!(told.contains(expected), "{told}");
    }
}
