//! Schedule expressions: `cron(…)`, `rate(…)` and `at(…)`, and the moments they name. EventBridge's rules and Scheduler share
//! them. Pure: the time is given.
//!
//! Clocks that are set forward and back follow AWS's manual: a `cron` time that a zone skips is not run that day, and one
//! that it repeats is run once, the first time. A day of `rate` is 24 hours whatever the clocks do. An `at` time that a
//! zone skips is run as much later as the clocks were set, since a schedule that never runs would help nobody.

mod cron;
mod days;
mod field;

use cron::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// When something runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScheduleExpression {
    /// At the minutes that six fields name.
    Cron(Box<Cron>),
    /// Every so many seconds.
    Rate(i64),
    /// Once.
    At(DateTime),
}

/// Whose expression it is: they differ in what they accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Scheduler has `at(…)` and takes either number of a unit.
    Scheduler,
    /// Rules have no `at(…)`, and one is `minute` and two are `minutes`.
    Rule,
}

/// Years are cut off long before the arithmetic of timestamps is.
const RATE_MAX: i64 = 1 << 31;

impl ScheduleExpression {
    /// Reads an expression; AWS gives no reasons.
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Option<Self> {
        let (kind, rest) = text.split_once('(')?;
        let inside = rest.strip_suffix(')')?;
        match kind {
            "cron" => Cron::parse(inside).map(|cron| Self::Cron(Box::new(cron))),
            "rate" => rate(inside, dialect).map(Self::Rate),
            "at" if dialect == Dialect::Scheduler => at(inside).map(Self::At),
            _ => None,
        }
    }

    /// Whether it names a single moment.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self, Self::At(_))
    }
}

fn rate(inside: &str, dialect: Dialect) -> Option<i64> {
    let (value, unit) = inside.split_once(' ')?;
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i64 = value.parse().ok().filter(|value| (1..RATE_MAX).contains(value))?;
    let (single, seconds) = match unit {
        "minute" => (true, 60),
        "minutes" => (false, 60),
        "hour" => (true, 3_600),
        "hours" => (false, 3_600),
        "day" => (true, 86_400),
        "days" => (false, 86_400),
        _ => return None,
    };
    (dialect == Dialect::Scheduler || single == (value == 1)).then_some(value * seconds)
}

/// `yyyy-mm-ddThh:mm:ss`, nothing shorter and nothing longer.
fn at(inside: &str) -> Option<DateTime> {
    let pattern = "dddd-dd-ddTdd:dd:dd";
    let fits =
        |(letter, form): (char, char)| if form == 'd' { letter.is_ascii_digit() } else { letter == form };
    let is_whole = inside.len() == pattern.len() && inside.chars().zip(pattern.chars()).all(fits);
    inside.parse().ok().filter(|_| is_whole)
}

/// An IANA time zone by name, as `ScheduleExpressionTimezone` gives it.
pub(crate) fn time_zone(name: &str) -> Option<TimeZone> {
    // A zone without a name would be the offset of a longer text, such as `UTC+3`.
    TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some())
}

/// An expression in a time zone, between two dates.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    pub(crate) expression: ScheduleExpression,
    pub(crate) zone: TimeZone,
    /// From where a rate counts; its first moment.
    pub(crate) anchor: Timestamp,
    /// No earlier moment counts, for recurring expressions.
    pub(crate) start: Option<Timestamp>,
    /// No later moment counts, for recurring expressions.
    pub(crate) end: Option<Timestamp>,
}

/// What a cursor that was left behind is due.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CaughtUp {
    /// The moments to run now, in order.
    pub(crate) moments: Vec<Timestamp>,
    /// The next moment after them; none when there will be no more.
    pub(crate) cursor: Option<Timestamp>,
    /// The first moment that was dropped because it is too old.
    pub(crate) dropped: Option<Timestamp>,
}

impl Timetable {
    /// The one policy for what nobody ran while it was due, because the server was down or the clock was set forward: all
    /// moments from the cursor to now are run in order, but for those before `oldest`, which are dropped. Callers take for
    /// `oldest` what AWS allows a target that cannot be reached (`MaximumEventAgeInSeconds`). At most `room` at a time.
    pub(crate) fn catch_up(
        &self,
        cursor: Timestamp,
        oldest: Timestamp,
        now: Timestamp,
        room: usize,
    ) -> CaughtUp {
        let dropped = (cursor < oldest).then_some(cursor);
        let mut next = if dropped.is_some() { self.first_from(oldest) } else { Some(cursor) };
        let mut moments = Vec::new();
        while let Some(moment) = next.filter(|next| *next <= now && moments.len() < room) {
            moments.push(moment);
            next = self.next_after(moment);
        }
        CaughtUp { moments, cursor: next, dropped }
    }

    /// The first moment at or after `from`.
    pub(crate) fn first_from(&self, from: Timestamp) -> Option<Timestamp> {
        let bounded = self.start.map_or(from, |start| from.max(start));
        let found = match &self.expression {
            ScheduleExpression::At(local) => {
                return moment_or_later(&self.zone, *local).filter(|moment| *moment >= from);
            }
            ScheduleExpression::Rate(seconds) => self.slot_from(bounded, *seconds),
            ScheduleExpression::Cron(cron) => {
                let begin = self.zone.to_datetime(bounded);
                cron.days_from(begin.date())
                    .flat_map(|date| cron.times().map(move |(hour, minute)| date.at(hour, minute, 0, 0)))
                    .filter_map(|local| moment(&self.zone, local))
                    .find(|moment| *moment >= bounded)
            }
        };
        found.filter(|found| self.end.is_none_or(|end| *found <= end))
    }

    /// The first moment after `after`. All moments are whole seconds.
    pub(crate) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.first_from(after.checked_add(SignedDuration::from_secs(1)).ok()?)
    }

    fn slot_from(&self, from: Timestamp, seconds: i64) -> Option<Timestamp> {
        let passed = from.as_millisecond() - self.anchor.as_millisecond();
        let (period, begun) = (seconds * 1000, passed.max(0));
        let slots = begun.div_euclid(period) + i64::from(begun.rem_euclid(period) > 0);
        self.anchor.checked_add(SignedDuration::from_millis(slots.checked_mul(period)?)).ok()
    }
}

/// The moment of a local time: none if it is skipped, the first of two if it is repeated.
fn moment(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { .. } => None,
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
    }
}

fn moment_or_later(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(local).compatible().ok()
}

#[cfg(test)]
mod tests;
