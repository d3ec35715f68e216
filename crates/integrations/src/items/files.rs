//! Items of many objects, one after the other: those of a listing (`LOAD_AND_FLATTEN`) or of a manifest.
//!
//! Invariant: at most one object is open. A position names the object by its key or its place in the manifest, so reading on
//! finds it again; the ETag of the object being read is part of the position.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::manifest::{self, Manifest};
use super::object::Object;
use super::reader::{Item, from, source};
use super::{BYTES_PER_PAGE, Bucket, ITEMS_PER_PAGE};

/// Objects being read one after the other.
pub(super) struct Files {
    source: Source,
    config: Value,
    current: Option<Current>,
    /// Where a position said the first object is to be read on.
    resumed: Option<Value>,
}

/// Where the objects are named.
enum Source {
    /// A listing, read page by page.
    Listing { arguments: Value, after: Option<String>, keys: VecDeque<String>, listed: bool },
    /// A manifest, read when it is first needed.
    Manifest { arguments: Value, files: Option<Vec<Value>>, next: usize },
}

/// The object being read.
struct Current {
    object: Object,
    source: Arc<str>,
    /// Its name in a position.
    name: Value,
    /// Items of it given since its last position.
    given: u64,
}

impl Files {
    /// Whether a reader asks for the items of many objects.
    pub fn are_asked_for(action: Option<&str>, config: &Value) -> bool {
        match action {
            Some("listObjectsV2") => config["Transformation"] == "LOAD_AND_FLATTEN",
            _ => manifest::is_asked_for(config),
        }
    }

    /// From the beginning, or from a position on.
    pub fn open(listing: bool, arguments: &Value, config: &Value, position: Option<&Value>) -> Files {
        let (arguments, mut config) = (arguments.clone(), config.clone());
        let source = if listing {
            if let Some(members) = config.as_object_mut() {
                members.remove("Transformation");
            }
            let after = position.and_then(|position| position["After"].as_str()).map(str::to_owned);
            Source::Listing { arguments, after, keys: VecDeque::new(), listed: false }
        } else {
            let next = position.and_then(|position| position["File"].as_u64()).unwrap_or(0);
            Source::Manifest { arguments, files: None, next: usize::try_from(next).unwrap_or(usize::MAX) }
        };
        let resumed = position.filter(|position| position["Within"].is_object()).cloned();
        Files { source, config, current: None, resumed }
    }

    /// Where to go on, and how many items were given since then.
    pub fn position(&self) -> (Value, u64) {
        let Some(current) = &self.current else {
            return (self.source.position(), 0);
        };
        let mut position = current.name.clone();
        let Some(within) = current.object.position() else { return (position, current.given) };
        position["Within"] = within;
        position["ETag"] = json!(current.object.version().as_deref());
        (position, 0)
    }

    /// Bytes that wait for the next page.
    pub fn held(&self) -> usize {
        self.current.as_ref().map_or(0, |current| current.object.held())
    }

    /// The next items, and whether they are the last.
    pub async fn page(&mut self, bucket: Bucket<'_>, most: u64) -> Result<(Vec<Item>, bool), String> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(ITEMS_PER_PAGE);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < most && bytes < BYTES_PER_PAGE {
            if self.current.is_none() {
                self.current = self.next(bucket).await?;
            }
            let Some(current) = &mut self.current else { return Ok((items, true)) };
            let page = current.object.page(bucket, (most - items.len()) as u64).await?;
            let (page, last) = from(&current.source, page);
            current.given += page.len() as u64;
            bytes += page.iter().map(|item| item.value.len()).sum::<usize>();
            items.extend(page);
            if last {
                self.current = None;
            }
        }
        Ok((items, false))
    }

    async fn next(&mut self, bucket: Bucket<'_>) -> Result<Option<Current>, String> {
        let name = self.source.position();
        let Some(arguments) = self.source.next(bucket, &mut self.config).await? else { return Ok(None) };
        let resumed = self.resumed.take();
        let within = resumed.as_ref().map(|position| &position["Within"]);
        let etag = resumed.as_ref().and_then(|position| position["ETag"].as_str()).map(Arc::from);
        let object = Object::open(&arguments, &self.config, within, etag.as_ref())?;
        Ok(Some(Current { object, source: source(&arguments), name, given: 0 }))
    }
}

impl Source {
    /// The place of the object that comes next.
    fn position(&self) -> Value {
        match self {
            Source::Listing { after, .. } => json!({ "After": after }),
            Source::Manifest { next, .. } => json!({ "File": next }),
        }
    }

    /// Arguments of getObject for the next object. A manifest tells how its files are read, too.
    async fn next(&mut self, bucket: Bucket<'_>, config: &mut Value) -> Result<Option<Value>, String> {
        match self {
            Source::Manifest { arguments, files, next } => {
                if files.is_none() {
                    let Manifest { files: named, config: told } =
                        manifest::read(bucket, arguments, config).await?;
                    *config = told;
                    *files = Some(named);
                }
                let file = files.as_ref().and_then(|files| files.get(*next)).cloned();
                *next += 1;
                Ok(file)
            }
            Source::Listing { arguments, after, keys, listed } => {
                while keys.is_empty() && !*listed {
                    let mut parameters = arguments.clone();
                    if let Some(after) = &*after {
                        parameters["StartAfter"] = json!(after);
                    }
                    let answer = bucket.call("listObjectsV2", &parameters).await?.members()?;
                    let contents = answer["Contents"].as_array().map(Vec::as_slice).unwrap_or_default();
                    // An object without content is what consoles make of a folder.
                    let filled = contents.iter().filter(|object| object["Size"] != 0);
                    keys.extend(filled.filter_map(|object| object["Key"].as_str().map(str::to_owned)));
                    *listed = answer["IsTruncated"] != true || contents.is_empty();
                    if keys.is_empty() {
                        *after = contents.last().and_then(|last| last["Key"].as_str()).map(str::to_owned);
                    }
                }
                let Some(key) = keys.pop_front() else { return Ok(None) };
                *after = Some(key.clone());
                let mut file = json!({ "Bucket": arguments["Bucket"], "Key": key });
                if let Some(owner) = arguments.get("ExpectedBucketOwner") {
                    file["ExpectedBucketOwner"] = owner.clone();
                }
                Ok(Some(file))
            }
        }
    }
}
