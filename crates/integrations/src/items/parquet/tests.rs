//! Files that another writer (PyArrow) made: `flat` holds every type, written in every encoding and codec; `nested` lists, groups and
//! maps within each other, in pages of a few bytes so that rows span pages.

use super::encoding::Raw;
use super::footer::Footer;
use super::schema::Physical;
use super::schema::{Leaf, Meaning};
use super::value;
use crate::items::tests::{check, items, reader};
use serde_json::{Value, json};

const FLAT: &str = include_str!("testdata/flat.json");
const NESTED: &str = include_str!("testdata/nested.json");
const SNAPPY: &[u8] = include_bytes!("testdata/flat-snappy.parquet");
const GZIP: &[u8] = include_bytes!("testdata/flat-gzip-v2.parquet");
const ZSTD: &[u8] = include_bytes!("testdata/flat-zstd-encodings.parquet");
const INT96: &[u8] = include_bytes!("testdata/flat-plain-int96.parquet");
const NESTED_V1: &[u8] = include_bytes!("testdata/nested.parquet");
const NESTED_V2: &[u8] = include_bytes!("testdata/nested-v2.parquet");

fn rows(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

fn parquet(key: &str) -> Value {
    reader("getObject", json!({ "Bucket": "b", "Key": key }), json!({ "InputType": "PARQUET" }))
}

#[track_caller]
fn check_file(file: &[u8], expected: &str) {
    check(&[("b/x.parquet", file.to_vec())], &parquet("x.parquet"), &rows(expected));
}

#[test]
fn rows_are_items_whatever_codec_and_encoding_they_lie_in() {
    check_file(SNAPPY, FLAT);
    check_file(GZIP, FLAT);
    check_file(ZSTD, FLAT);
    check_file(INT96, FLAT);
}

#[test]
fn lists_groups_and_maps_nest() {
    check_file(NESTED_V1, NESTED);
    check_file(NESTED_V2, NESTED);
}

#[test]
fn a_file_without_rows_has_no_items() {
    check_file(include_bytes!("testdata/empty.parquet"), "[]");
}

#[test]
fn files_of_a_listing_and_of_a_manifest_are_read_one_after_the_other() {
    let all = [rows(FLAT), rows(NESTED)].map(|rows| rows.as_array().cloned().unwrap_or_default()).concat();
    let objects = [
        ("b/1.parquet", INT96.to_vec()),
        ("b/2.parquet", NESTED_V2.to_vec()),
        ("m/m.csv", b"s3://b/1.parquet\ns3://b/2.parquet\n".to_vec()),
    ];
    let listed = json!({ "InputType": "PARQUET", "Transformation": "LOAD_AND_FLATTEN" });
    check(&objects, &reader("listObjectsV2", json!({ "Bucket": "b" }), listed), &json!(all));
    let named = json!({ "InputType": "PARQUET", "ManifestType": "ATHENA_DATA" });
    check(&objects, &reader("getObject", json!({ "Bucket": "m", "Key": "m.csv" }), named), &json!(all));
}

#[test]
fn max_items_ends_within_a_row_group() {
    let mut reader = parquet("x");
    reader["MaxItems"] = json!(13);
    let expected = rows(FLAT).as_array().map(|rows| rows[..13].to_vec());
    check(&[("b/x", SNAPPY.to_vec())], &reader, &json!(expected));
}

#[test]
fn what_cannot_be_read_is_told() {
    let encrypted = [&b"PARE"[..], &[0; 8], &[1, 0, 0, 0], b"PARE"].concat();
    let long_footer = [&b"PAR1"[..], &[0; 8], &[0, 0, 0x51, 0], b"PAR1"].concat();
    let cut = SNAPPY[..SNAPPY.len() - 10].to_vec();
    let cases = [
        (b"a,b\n1,2\n".to_vec(), "The object is not a Parquet file."),
        (Vec::new(), "The object is not a Parquet file."),
        (cut, "The object is not a Parquet file."),
        (encrypted, "The Parquet file is encrypted."),
        (long_footer, "The footer of the Parquet file is larger than 5 MB."),
        (
            include_bytes!("testdata/lz4.parquet").to_vec(),
            "compression LZ4 is not supported; GZIP, SNAPPY and ZSTD are.",
        ),
    ];
    for (object, expected) in cases {
        let told = items(&[("b/x", object)], &parquet("x"), 1, false).expect_err(expected);
        assert!(told.contains(expected), "{told}");
    }
}

/// Bytes of small files changed: an answer each time.
#[test]
fn a_broken_file_gives_rows_or_a_failure() {
    for file in [ZSTD, NESTED_V1, INT96] {
        let mut refused = 0;
        for at in (0..file.len()).step_by(29) {
            let mut broken = file.to_vec();
            broken[at] = broken[at].wrapping_add(1 + (at % 250) as u8);
            let mut reader = parquet("x");
            reader["MaxItems"] = json!(100);
            let told = items(&[("b/x", broken)], &reader, usize::MAX, false);
            refused += usize::from(told.is_err());
        }
        assert!(refused > 5, "{refused}");
    }
}

#[test]
fn values_become_what_json_has_for_them() {
    let leaf = |physical, meaning| Leaf { physical, meaning, definition_max: 0, repetition_max: 0 };
    let bytes = |bytes: &[u8]| Raw::Bytes(bytes.to_vec().into());
    let decimal = |scale| leaf(Physical::Bytes, Meaning::Decimal { scale });
    let half = leaf(Physical::Fixed(2), Meaning::Float16);
    let cases = [
        (bytes(&[0xFF, 0x85]), decimal(1), json!(-12.3)),
        (bytes(&[0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), decimal(0), json!(i64::MAX)),
        (bytes(&[5]), decimal(4), json!(0.0005)),
        (bytes(&[0x00, 0x3C]), half, json!(1.0)),
        (bytes(&[0x00, 0xFC]), half, json!("-Infinity")),
        (Raw::Double(f64::NAN), leaf(Physical::Double, Meaning::Plain), json!("NaN")),
        (Raw::Float(0.1), leaf(Physical::Float, Meaning::Plain), json!(0.1)),
        (Raw::Integer(-1), leaf(Physical::Int32, Meaning::Unsigned), json!(u32::MAX)),
        (Raw::Integer(-1), leaf(Physical::Int64, Meaning::Timestamp { units: 1_000_000_000 }), json!(-1)),
        (Raw::Integer(i64::MAX), leaf(Physical::Int64, Meaning::Date), json!("9223372036854775807")),
        (
            bytes(&[1; 16]),
            leaf(Physical::Fixed(16), Meaning::Uuid),
            json!("01010101-0101-0101-0101-010101010101"),
        ),
    ];
    for (raw, leaf, expected) in cases {
        assert_eq!(value::json(raw, leaf), expected, "{leaf:?}");
    }
}

#[test]
fn footers_of_old_writers_name_their_lists_otherwise() {
    assert!(Footer::parse(&[]).is_err_and(|told| told.contains("ends within its metadata")));
}
