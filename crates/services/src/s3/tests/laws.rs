//! Listings, ranges and conditions against naive models of them.

use super::super::conditions::{Verdict, for_read};
use super::super::get::parse_range;
use super::super::list::{next_token, position};
use super::super::page::{Entry, Page, Position, Query, Rows};
use super::super::schema::MIGRATIONS;
use super::super::text::http_date;
use super::super::versions::{self, NewObject, Object, find_bucket};
use crate::wire::ServiceRequest;
use bytes::Bytes;
use http::{HeaderValue, Method};
use proptest::prelude::*;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// A bucket with these keys, in memory.
fn bucket_of(keys: &BTreeSet<String>) -> (Connection, i64) {
    let connection = Connection::open_in_memory().unwrap();
    MIGRATIONS.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
    let sql = "INSERT INTO buckets(account, name, region, created) VALUES ('1', 'bucket', 'us-east-1', 0)";
    connection.execute(sql, []).unwrap();
    let bucket = find_bucket(&connection, "1", "bucket").unwrap();
    for key in keys {
        let object = NewObject { key: key.clone(), ..NewObject::default() };
        versions::insert(&connection, &bucket, &object).unwrap();
    }
    (connection, bucket.id)
}

fn shown(page: &Page) -> Vec<String> {
    let shown = |entry: &Entry| match entry {
        Entry::Object(object) => format!("key {}", object.key),
        Entry::CommonPrefix(prefix) => format!("prefix {prefix}"),
    };
    page.entries.iter().map(shown).collect()
}

/// What a listing shows, from first to last, said as simply as can be.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str) -> Vec<String> {
    let mut shown = Vec::new();
    for key in keys.iter().filter(|key| key.as_str() > after) {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let entry = match rest.split_once(delimiter) {
            Some((folder, _)) if !delimiter.is_empty() => format!("prefix {prefix}{folder}{delimiter}"),
            _ => format!("key {key}"),
        };
        if shown.last() != Some(&entry) {
            shown.push(entry);
        }
    }
    shown
}

/// Short keys of few characters, so that prefixes and folders are common; among them the last character of all.
fn key() -> impl Strategy<Value = String> {
    let character =
        prop_oneof![Just('a'), Just('b'), Just('/'), Just('é'), Just('\u{d7ff}'), Just(char::MAX)];
    proptest::collection::vec(character, 0..6).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_put_together_are_the_listing_and_all_but_the_last_are_full(
        keys in proptest::collection::btree_set(key().prop_filter("a key", |key| !key.is_empty()), 0..14),
        prefix in key(), delimiter in prop_oneof![Just(""), Just("/"), Just("a"), Just("b/")],
        after in key(), count_max in 1_usize..5,
    ) {
        let (connection, bucket) = bucket_of(&keys);
        let query = Query { rows: Rows::Objects, prefix: &prefix, delimiter, count_max };
        let mut begin = Position::after(&after);
        let mut found = Vec::new();
        loop {
            let page = query.page(&connection, bucket, begin).unwrap();
            found.extend(shown(&page));
            let Some(last) = page.entries.last().filter(|_| page.is_truncated) else { break };
            prop_assert_eq!(page.entries.len(), count_max);
            begin = position(&next_token(last)).unwrap();
        }
        prop_assert_eq!(found, model(&keys, &prefix, delimiter, &after));
    }

    #[test]
    fn the_markers_of_the_older_listing_lead_through_all_of_it(
        keys in proptest::collection::btree_set(key().prop_filter("a key", |key| !key.is_empty()), 0..14),
        prefix in key(), delimiter in prop_oneof![Just(""), Just("/")], count_max in 1_usize..5,
    ) {
        let (connection, bucket) = bucket_of(&keys);
        let query = Query { rows: Rows::Objects, prefix: &prefix, delimiter, count_max };
        let (mut marker, mut found) = (String::new(), Vec::new());
        loop {
            let page = query.page(&connection, bucket, query.after_marker(&marker)).unwrap();
            found.extend(shown(&page));
            match page.entries.last().filter(|_| page.is_truncated) {
                Some(Entry::Object(object)) => marker = object.key.clone(),
                Some(Entry::CommonPrefix(prefix)) => marker = prefix.clone(),
                None => break,
            }
        }
        prop_assert_eq!(found, model(&keys, &prefix, delimiter, ""));
    }

    #[test]
    fn a_range_is_the_bytes_that_it_names(size in 0_u64..12, from in 0_u64..14, to in 0_u64..14, form in 0..3) {
        let (header, named): (String, Box<dyn Fn(u64) -> bool>) = match form {
            0 => (format!("bytes={from}-{to}"), Box::new(move |at| from <= at && at <= to)),
            1 => (format!("bytes={from}-"), Box::new(move |at| from <= at)),
            _ => (format!("bytes=-{to}"), Box::new(move |at| at + to >= size)),
        };
        let bytes: Vec<u64> = (0..size).filter(|at| named(*at)).collect();
        match parse_range(&header, size) {
            None => prop_assert!(form == 0 && to < from),
            Some(None) => prop_assert!(bytes.is_empty()),
            Some(Some(range)) => prop_assert_eq!(range.collect::<Vec<_>>(), bytes),
        }
    }

    #[test]
    fn a_conditional_read_is_judged_as_rfc_9110_says(
        if_match in proptest::option::of(0..3), if_none_match in proptest::option::of(0..3),
        modified_since in proptest::option::of(0_i64..3), unmodified_since in proptest::option::of(0_i64..3),
    ) {
        let tags = ["\"same\"", "\"other\"", "\"x\", \"same\""];
        let is_same = |tag: i32| tag != 1;
        let mut request = ServiceRequest::rest(Method::GET, "/bucket/key", Bytes::new());
        let mut set = |name: &'static str, value: Option<String>| {
            if let Some(value) = value {
                request.headers.insert(name, HeaderValue::from_str(&value).unwrap());
            }
        };
        let tag = |index: i32| tags[usize::try_from(index).unwrap()].to_owned();
        set("if-match", if_match.map(tag));
        set("if-none-match", if_none_match.map(tag));
        set("if-modified-since", modified_since.map(|second| http_date(second * 1000)));
        set("if-unmodified-since", unmodified_since.map(|second| http_date(second * 1000)));
        // The object was modified in second 1.
        let object = Object { etag: "same".to_owned(), modified: 1500, ..Object::nothing() };
        let judged = for_read(&request, "", &object).map_err(|error| error.status.as_u16());
        let is_refused = match if_match {
            Some(tag) => !is_same(tag),
            None => unmodified_since.is_some_and(|second| second < 1),
        };
        let is_unchanged = match if_none_match {
            Some(tag) => is_same(tag),
            None => modified_since.is_some_and(|second| second >= 1),
        };
        let expected = match (is_refused, is_unchanged) {
            (true, _) => Err(412),
            (false, true) => Ok(Verdict::NotModified),
            (false, false) => Ok(Verdict::Send),
        };
        prop_assert_eq!(judged, expected);
    }
}
