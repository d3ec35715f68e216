//! Objects of a bucket as items: `s3:listObjectsV2`.

use asl::payload::Payload;
use asl::timestamp::Timestamp;
use serde_json::{Value, json};

use super::Bucket;

/// A listing being read.
pub(super) struct Listing {
    arguments: Value,
    token: Option<String>,
}

impl Listing {
    /// From the beginning, or from a position on.
    pub fn open(arguments: &Value, position: Option<&Value>) -> Listing {
        let token = position.and_then(|position| position["Token"].as_str()).map(str::to_owned);
        Listing { arguments: arguments.clone(), token }
    }

    /// Where to go on.
    pub fn position(&self) -> Option<Value> {
        self.token.as_ref().map(|token| json!({ "Token": token }))
    }

    /// The next items, and whether they are the last.
    pub async fn page(&mut self, bucket: Bucket<'_>, most: u64) -> Result<(Vec<Payload>, bool), String> {
        let mut parameters = self.arguments.clone();
        if let Some(token) = &self.token {
            parameters["ContinuationToken"] = json!(token);
        }
        let listed = bucket.call("listObjectsV2", &parameters).await?.members()?;
        let contents = listed["Contents"].as_array().map(Vec::as_slice).unwrap_or_default();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let items = contents.iter().take(most).map(item).collect();
        self.token = listed["NextContinuationToken"].as_str().map(str::to_owned);
        Ok((items, listed["IsTruncated"] != true || self.token.is_none()))
    }
}

/// Recorded: these five members in this order, the time in seconds.
fn item(object: &Value) -> Payload {
    let modified = object["LastModified"].as_str().and_then(|text| Timestamp::parse(text).ok());
    let storage_class = object["StorageClass"].as_str().unwrap_or("STANDARD");
    Payload::from_value(json!({
        "Etag": object["ETag"],
        "LastModified": modified.map(|at| at.epoch_seconds().trunc() as i64),
        "Key": object["Key"],
        "Size": object["Size"],
        "StorageClass": storage_class,
    }))
}
