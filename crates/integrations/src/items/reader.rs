//! ItemReader: pages of items, from any place on.
//!
//! Invariant: an answer depends on the place alone. What was read last is kept for some Map Runs only so that the next page
//! need not begin anew; losing it costs time.

use std::sync::{Arc, Mutex, PoisonError};

use asl::payload::Payload;
use serde_json::{Value, json};

use super::Bucket;
use super::files::Files;
use super::listing::Listing;
use super::object::Object;
use crate::failure::Failure;
use crate::transport::{Identity, Transport};

/// Readers kept open, and what they may hold together.
const OPEN_MAX: usize = 32;
const OPEN_BYTES_MAX: usize = 256 << 20;
/// AWS's greatest MaxItems, and what absence means.
const ITEMS_MAX: u64 = 100_000_000;

/// From where items are wanted.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Index of the first item wanted.
    pub next_item: u64,
    /// [`Page::position`] of an earlier page; none: the beginning.
    pub position: Option<Value>,
    /// [`Page::version`] of the earlier page.
    pub version: Option<Arc<str>>,
}

/// An item.
#[derive(Clone, Debug)]
pub struct Item {
    /// What was read.
    pub value: Payload,
    /// The object it lies in, or the bucket that was listed, as `Map.Item.Source` says it.
    pub source: Arc<str>,
}

/// Items from a place on.
#[derive(Clone, Debug)]
pub struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// Where to read on after all of them.
    pub position: Value,
    /// ETag of the object.
    pub version: Option<Arc<str>>,
    /// Whether nothing follows.
    pub end: bool,
}

/// Reads items over a [`Transport`].
pub struct ItemReaders {
    transport: Arc<dyn Transport>,
    /// By Map Run; the one used last is the last.
    open: Mutex<Vec<(Arc<str>, Reader)>>,
}

/// Where the items come from.
enum Origin {
    Object(Box<Object>),
    Files(Box<Files>),
    Listing(Listing),
}

/// A reader with the page it read last.
struct Reader {
    origin: Origin,
    /// What the arguments name: an object or a bucket.
    source: Arc<str>,
    max_items: u64,
    /// Index of the page's first item.
    first: u64,
    page: Vec<Item>,
    position: Value,
    end: bool,
}

impl ItemReaders {
    /// Over this transport.
    pub fn new(transport: Arc<dyn Transport>) -> ItemReaders {
        ItemReaders { transport, open: Mutex::default() }
    }

    /// Items of a Map Run from a place on. `reader` is `{Action, Arguments, ReaderConfig, MaxItems}`, evaluated.
    pub async fn read(
        &self,
        identity: &Identity,
        map_run_arn: &Arc<str>,
        reader: &Value,
        place: &Place,
    ) -> Result<Page, Failure> {
        let failed = |cause| Failure::new("States.ItemReaderFailed", cause);
        let bucket = Bucket::new(&self.transport, identity);
        let kept = self.take(map_run_arn).filter(|kept| kept.holds(place.next_item));
        let mut open = match kept {
            Some(kept) => kept,
            None => Reader::open(reader, place).map_err(failed)?,
        };
        while open.passed() <= place.next_item && !open.end {
            open.turn(bucket).await.map_err(failed)?;
        }
        let skipped = usize::try_from(place.next_item - open.first).unwrap_or(usize::MAX);
        let page = Page {
            items: open.page.get(skipped..).unwrap_or_default().to_vec(),
            position: open.position.clone(),
            version: open.version().or_else(|| place.version.clone()),
            end: open.end,
        };
        self.keep(Arc::clone(map_run_arn), open);
        Ok(page)
    }

    fn take(&self, map_run_arn: &str) -> Option<Reader> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|(arn, _)| **arn == *map_run_arn)?;
        Some(open.remove(at).1)
    }

    /// Keeps a reader that has more to give, in place of those used longest ago.
    fn keep(&self, map_run_arn: Arc<str>, reader: Reader) {
        if reader.end {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: usize = open.iter().map(|(_, reader)| reader.held()).sum();
        while !open.is_empty() && (open.len() >= OPEN_MAX || held + reader.held() > OPEN_BYTES_MAX) {
            let (_, oldest) = open.remove(0);
            held -= oldest.held();
        }
        open.push((map_run_arn, reader));
    }
}

impl Reader {
    fn open(reader: &Value, place: &Place) -> Result<Reader, String> {
        let (arguments, config) = (&reader["Arguments"], &reader["ReaderConfig"]);
        let position = place.position.as_ref();
        let action = reader["Action"].as_str();
        let listing = action == Some("listObjectsV2");
        let origin = match listing {
            _ if Files::are_asked_for(action, config) => {
                Origin::Files(Box::new(Files::open(listing, arguments, config, position)))
            }
            true => Origin::Listing(Listing::open(arguments, position)),
            false => {
                Origin::Object(Box::new(Object::open(arguments, config, position, place.version.as_ref())?))
            }
        };
        let first = position.and_then(|position| position["Item"].as_u64()).unwrap_or(0);
        // Recorded: with MaxItems 0 all items are read.
        let max_items = reader["MaxItems"].as_u64().filter(|max| *max > 0).unwrap_or(ITEMS_MAX);
        let position = position.cloned().unwrap_or_else(|| json!({ "Item": 0 }));
        let end = position["End"] == true;
        let source = source(arguments);
        Ok(Reader { origin, source, max_items, first, page: Vec::new(), position, end })
    }

    fn passed(&self) -> u64 {
        self.first + self.page.len() as u64
    }

    fn holds(&self, item: u64) -> bool {
        self.first <= item && item <= self.passed()
    }

    fn held(&self) -> usize {
        let waiting = match &self.origin {
            Origin::Object(object) => object.held(),
            Origin::Files(files) => files.held(),
            Origin::Listing(_) => 0,
        };
        waiting + self.page.iter().map(|item| item.value.len()).sum::<usize>()
    }

    fn version(&self) -> Option<Arc<str>> {
        match &self.origin {
            Origin::Object(object) => object.version(),
            Origin::Files(_) | Origin::Listing(_) => None,
        }
    }

    /// Reads the next page.
    async fn turn(&mut self, bucket: Bucket<'_>) -> Result<(), String> {
        let first = self.passed();
        let left = self.max_items.saturating_sub(first);
        let (page, last) = match &mut self.origin {
            _ if left == 0 => (Vec::new(), true),
            Origin::Files(files) => files.page(bucket, left).await?,
            Origin::Object(object) => from(&self.source, object.page(bucket, left).await?),
            Origin::Listing(listing) => from(&self.source, listing.page(bucket, left).await?),
        };
        (self.first, self.page) = (first, page);
        self.end = last || self.passed() >= self.max_items;
        // Where no place between items can be named, reading on begins before them.
        let (position, behind) = match &self.origin {
            Origin::Object(object) => object.position().map_or((json!({}), self.passed()), |at| (at, 0)),
            Origin::Files(files) => files.position(),
            Origin::Listing(listing) => listing.position().map_or((json!({}), self.passed()), |at| (at, 0)),
        };
        self.position = position;
        self.position["Item"] = json!(self.passed() - behind);
        if self.end {
            self.position = json!({ "Item": self.passed(), "End": true });
        }
        Ok(())
    }
}

/// What arguments of S3 name, as AWS writes it in `Map.Item.Source`.
pub(super) fn source(arguments: &Value) -> Arc<str> {
    let bucket = arguments["Bucket"].as_str().unwrap_or_default();
    let key = arguments["Key"].as_str().map(|key| format!("/{key}")).unwrap_or_default();
    format!("S3://{bucket}{key}").into()
}

/// Items that all come from one place.
pub(super) fn from(source: &Arc<str>, (page, last): (Vec<Payload>, bool)) -> (Vec<Item>, bool) {
    let item = |value| Item { value, source: Arc::clone(source) };
    (page.into_iter().map(item).collect(), last)
}
