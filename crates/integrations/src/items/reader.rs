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

/// Readers kept open.
const OPEN_MAX: usize = 32;
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

/// Items from a place on.
#[derive(Clone, Debug)]
pub struct Page {
    /// The items.
    pub items: Vec<Payload>,
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
    max_items: u64,
    /// Index of the page's first item.
    first: u64,
    page: Vec<Payload>,
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

    fn keep(&self, map_run_arn: Arc<str>, reader: Reader) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.remove(0);
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
        Ok(Reader { origin, max_items, first, page: Vec::new(), position, end })
    }

    fn passed(&self) -> u64 {
        self.first + self.page.len() as u64
    }

    fn holds(&self, item: u64) -> bool {
        self.first <= item && item <= self.passed()
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
            Origin::Object(object) => object.page(bucket, left).await?,
            Origin::Files(files) => files.page(bucket, left).await?,
            Origin::Listing(listing) => listing.page(bucket, left).await?,
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
