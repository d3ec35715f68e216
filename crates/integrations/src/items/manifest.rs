//! Manifests: objects that name the objects which hold the items.
//!
//! `S3_INVENTORY`: the `manifest.json` that S3 writes; its files are CSV, compressed, with the columns of `fileSchema`.
//! `ATHENA_DATA`: the `…-manifest.csv` of an UNLOAD, an `s3://` address on each line.

use serde_json::{Value, json};

use super::Bucket;

/// The longest manifest.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// What a manifest names.
pub(super) struct Manifest {
    /// Arguments of getObject, one for each file.
    pub files: Vec<Value>,
    /// How the files are read.
    pub config: Value,
}

/// Whether items come from the objects that a manifest names.
pub(super) fn is_asked_for(config: &Value) -> bool {
    config["InputType"] == "MANIFEST" || config["ManifestType"].is_string()
}

/// Reads the manifest.
pub(super) async fn read(bucket: Bucket<'_>, arguments: &Value, config: &Value) -> Result<Manifest, String> {
    let mut parameters = arguments.clone();
    parameters["Range"] = json!(format!("bytes=0-{}", MANIFEST_BYTES_MAX - 1));
    let answered = bucket.call("getObject", &parameters).await?;
    if !answered.response.status().is_success() {
        answered.members()?;
        return Err(format!("S3 answered {}.", answered.response.status()));
    }
    let range = answered.response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let total = range.and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
    if total.is_some_and(|total| total > MANIFEST_BYTES_MAX) {
        return Err(format!("The manifest is longer than {MANIFEST_BYTES_MAX} bytes."));
    }
    let text = std::str::from_utf8(answered.response.body()).map_err(|_| "The manifest is not UTF-8.")?;
    let manifest =
        if config["ManifestType"] == "ATHENA_DATA" { athena(text, config) } else { inventory(text, config) };
    let mut manifest = manifest?;
    if let Some(owner) = arguments.get("ExpectedBucketOwner") {
        manifest.files.iter_mut().for_each(|file| file["ExpectedBucketOwner"] = owner.clone());
    }
    Ok(manifest)
}

fn athena(text: &str, config: &Value) -> Result<Manifest, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let files = lines.map(|line| {
        let address = line.trim_matches('"');
        let place = address.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let (bucket, key) =
            place.ok_or_else(|| format!("The manifest holds '{address}', which is no s3:// address."))?;
        Ok(json!({ "Bucket": bucket, "Key": key }))
    });
    Ok(Manifest { files: files.collect::<Result<_, String>>()?, config: without_manifest(config) })
}

fn inventory(text: &str, config: &Value) -> Result<Manifest, String> {
    let manifest: Value =
        serde_json::from_str(text).map_err(|error| format!("The manifest is not valid JSON: {error}"))?;
    if let Some(format) = manifest["fileFormat"].as_str().filter(|format| *format != "CSV") {
        return Err(format!("The manifest's files are {format}; only CSV is read."));
    }
    let bucket = manifest["destinationBucket"].as_str().unwrap_or_default();
    let bucket = bucket.rsplit(":::").next().unwrap_or_default();
    let (Some(schema), Some(files)) = (manifest["fileSchema"].as_str(), manifest["files"].as_array()) else {
        return Err("The manifest lacks fileSchema or files.".into());
    };
    let columns: Vec<&str> = schema.split(',').map(str::trim).collect();
    let files = files.iter().filter_map(|file| file["key"].as_str());
    let mut config = without_manifest(config);
    config["InputType"] = json!("CSV");
    config["CSVHeaderLocation"] = json!("GIVEN");
    config["CSVHeaders"] = json!(columns);
    Ok(Manifest { files: files.map(|key| json!({ "Bucket": bucket, "Key": key })).collect(), config })
}

fn without_manifest(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(members) = config.as_object_mut() {
        members.remove("ManifestType");
    }
    config
}
