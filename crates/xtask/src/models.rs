//! Reads botocore's service models and packs them, stripped of prose, for the generic `aws-sdk:*` integrations.
//!
//! Pack: `PASSOMDL`, u32 count, then per service (sorted by key): u16 length + key, u32 offset, u32 length; then the blobs,
//! each raw-deflated JSON. The key is the serviceId in lower case without spaces, which is how `aws-sdk:` resources name it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::DeflateEncoder;
use serde_json::{Map, Value};

/// Members that only people read.
const PROSE: [&str; 4] = ["documentation", "documentationUrl", "examples", "sensitive"];

/// Every service's newest model by key.
pub fn read_all(data: &Path) -> Result<BTreeMap<String, Value>, String> {
    let mut services = BTreeMap::new();
    let entries = std::fs::read_dir(data).map_err(|error| format!("{}: {error}", data.display()))?;
    for entry in entries.flatten() {
        let Some(model) = newest_model(&entry.path())? else { continue };
        let id = model["metadata"]["serviceId"].as_str().unwrap_or_default();
        let key: String =
            id.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if !key.is_empty() {
            services.insert(key, model);
        }
    }
    if services.is_empty() { Err(format!("{}: no service models", data.display())) } else { Ok(services) }
}

fn newest_model(service: &Path) -> Result<Option<Value>, String> {
    let Ok(versions) = std::fs::read_dir(service) else { return Ok(None) };
    let mut versions: Vec<_> =
        versions.flatten().map(|v| v.path().join("service-2.json.gz")).filter(|p| p.is_file()).collect();
    versions.sort();
    let Some(path) = versions.pop() else { return Ok(None) };
    let file = std::fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

/// The pack described in the module's head.
pub fn pack(services: &BTreeMap<String, Value>) -> Result<Vec<u8>, String> {
    let mut index = Vec::new();
    let mut blobs: Vec<u8> = Vec::new();
    for (key, model) in services {
        let blob = deflate(strip(model).to_string().as_bytes())?;
        index.extend((key.len() as u16).to_le_bytes());
        index.extend(key.as_bytes());
        index.extend((blobs.len() as u32).to_le_bytes());
        index.extend((blob.len() as u32).to_le_bytes());
        blobs.extend(blob);
    }
    let mut pack = b"PASSOMDL".to_vec();
    pack.extend((services.len() as u32).to_le_bytes());
    pack.extend(index);
    pack.extend(blobs);
    Ok(pack)
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| error.to_string())
}

/// Drops prose where it is a string (a *member* may be called `documentation`; its value is then an object).
fn strip(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(strip_members(members)),
        Value::Array(items) => Value::Array(items.iter().map(strip).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn strip_members(members: &Map<String, Value>) -> Map<String, Value> {
    members
        .iter()
        .filter(|(name, value)| !PROSE.contains(&name.as_str()) || value.is_object())
        .map(|(name, value)| (name.clone(), strip(value)))
        .collect()
}
