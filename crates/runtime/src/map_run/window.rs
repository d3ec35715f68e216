//! Items that were read and no child took yet.
//!
//! Invariant: a window holds what one child may take and one page at most, wherever the reader's pages end. It is a cache: a
//! Map Run that lost it reads again from its cursor.

use std::collections::VecDeque;
use std::sync::Arc;

use asl::payload::Payload;
use engine::map_run::{Cursor, Item, MapRunInputKind, ReadItems};

use crate::dispatch::ItemsReport;

/// A child's input can hold no more; so much text is always enough for the next one.
const ENOUGH_BYTES: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Index of the first item.
    first: u64,
    items: VecDeque<Item>,
    bytes: usize,
    /// Where one may begin to read: the index of the item there, and the position.
    positions: VecDeque<(u64, Payload)>,
    version: Option<Arc<str>>,
    end: bool,
    /// Index of the first item of the page that is being fetched.
    fetching: Option<u64>,
}

/// What a window has to say to a request for items.
pub(super) enum Served {
    /// Here they are.
    Items(MapRunInputKind),
    /// This page is needed first.
    Fetch(ReadItems),
    /// The page is being fetched already.
    UnderWay,
}

impl Window {
    fn end_of_items(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Items from the cursor on, for so many children.
    pub fn serve(&mut self, read: &ReadItems, room: u64) -> Served {
        self.move_to(&read.cursor);
        let enough = self.items.len() as u64 >= read.at_least || self.bytes >= ENOUGH_BYTES || self.end;
        if enough {
            return Served::Items(self.items(read, room));
        }
        let next_item = self.end_of_items();
        if self.fetching == Some(next_item) {
            return Served::UnderWay;
        }
        self.fetching = Some(next_item);
        let passed = self.positions.back().map(|(_, position)| position.clone());
        let position = passed.or_else(|| read.cursor.position.clone());
        let version = self.version.clone().or_else(|| read.cursor.version.clone());
        Served::Fetch(ReadItems { cursor: Cursor { next_item, position, version }, ..read.clone() })
    }

    fn items(&self, read: &ReadItems, room: u64) -> MapRunInputKind {
        let most = room.max(1).saturating_mul(read.at_least);
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.items.len());
        let passed = self.first + count as u64;
        let positions = self.positions.iter().filter(|(item, _)| *item <= passed);
        MapRunInputKind::ItemsRead {
            from: self.first,
            items: self.items.iter().take(count).cloned().collect(),
            positions: positions.cloned().collect(),
            version: self.version.clone().or_else(|| read.cursor.version.clone()),
            end: self.end && count == self.items.len(),
        }
    }

    /// Forgets what lies before the cursor, or everything if the cursor lies elsewhere.
    fn move_to(&mut self, cursor: &Cursor) {
        if cursor.next_item < self.first || cursor.next_item > self.end_of_items() {
            *self = Window { first: cursor.next_item, fetching: self.fetching, ..Window::default() };
            return;
        }
        while self.first < cursor.next_item {
            let passed = self.items.pop_front();
            self.bytes -= passed.map_or(0, |item| item.value.len());
            self.first += 1;
        }
        // The last position at or before the first item is where reading would begin again.
        while self.positions.get(1).is_some_and(|(item, _)| *item <= self.first) {
            self.positions.pop_front();
        }
    }

    /// A page came. One that does not follow is of an earlier request, and forgotten.
    pub fn fill(&mut self, page: ItemsReport) {
        if self.fetching.take() != Some(self.end_of_items()) {
            return;
        }
        self.end = page.end || page.items.is_empty();
        self.bytes += page.items.iter().map(|item| item.value.len()).sum::<usize>();
        self.items.extend(page.items);
        self.version = page.version;
        let passed = self.end_of_items();
        self.positions.extend(page.position.map(|position| (passed, position)));
    }
}
