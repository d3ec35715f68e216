//! The events of a query, the newest first, over all its log groups.
//!
//! Pages are read one by one, so the connection for reading is free in between, and a query can be stopped.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use rusqlite::params;

use super::super::events::Position;
use super::Scope;
use super::discover::Event;
use crate::storage::Database;

/// Events of one page; short ones are many, long ones are bounded by the size that a page may have.
const PAGE_EVENTS: usize = 1_000;
const PAGE_BYTES: usize = 4 << 20;

/// Reads events in order.
pub(super) struct Scan<'a> {
    database: &'a Database,
    start: i64,
    groups: Vec<Group>,
}

struct Group {
    id: i64,
    log: Rc<str>,
    streams: HashMap<i64, Rc<str>>,
    /// Where the next page begins, downwards; none when there is no more.
    before: Option<Position>,
    page: VecDeque<Event>,
}

impl<'a> Scan<'a> {
    pub fn new(database: &'a Database, scope: &Scope) -> Scan<'a> {
        let group = |(id, name): &(i64, String)| Group {
            id: *id,
            log: format!("{}:{name}", scope.account).into(),
            streams: HashMap::new(),
            before: Some((scope.end, i64::MAX)),
            page: VecDeque::new(),
        };
        Scan { database, start: scope.start, groups: scope.groups.iter().map(group).collect() }
    }

    /// The next event.
    pub fn next(&mut self) -> rusqlite::Result<Option<Event>> {
        for group in &mut self.groups {
            if group.page.is_empty() {
                group.read(self.database, self.start)?;
            }
        }
        let newest = |group: &&mut Group| group.page.front().map(|event| (event.at, event.seq));
        let group =
            self.groups.iter_mut().filter(|group| !group.page.is_empty()).max_by_key(|group| newest(group));
        Ok(group.and_then(|group| group.page.pop_front()))
    }
}

impl Group {
    fn read(&mut self, database: &Database, start: i64) -> rusqlite::Result<()> {
        let Some(before) = self.before.take() else { return Ok(()) };
        let sql = "SELECT at, seq, ingested, message, stream_id FROM events
                   WHERE group_id = ?1 AND (at, seq) < (?2, ?3) AND at >= ?4 ORDER BY at DESC, seq DESC LIMIT ?5";
        database.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows =
                statement.query(params![self.id, before.0, before.1, start, PAGE_EVENTS as i64])?;
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                let (at, seq): Position = (row.get(0)?, row.get(1)?);
                let (message, stream): (String, i64) = (row.get(3)?, row.get(4)?);
                bytes += message.len();
                let stream = match self.streams.get(&stream) {
                    Some(name) => Rc::clone(name),
                    None => {
                        let sql = "SELECT name FROM streams WHERE id = ?1";
                        let name = connection
                            .prepare_cached(sql)?
                            .query_row([stream], |row| row.get::<_, String>(0));
                        let name: Rc<str> = name.unwrap_or_default().into();
                        self.streams.insert(stream, Rc::clone(&name));
                        name
                    }
                };
                self.page.push_back(Event::new(at, seq, row.get(2)?, message, stream, Rc::clone(&self.log)));
                self.before = Some((at, seq));
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            Ok(())
        })
    }
}
