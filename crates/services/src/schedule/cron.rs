//! `cron(minutes hours day-of-month month day-of-week year)`.

use super::days::Days;
use super::field::{HOURS, MINUTES, MONTHS, YEARS};
use jiff::civil::Date;

/// Six fields, as AWS reads them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cron {
    minutes: Vec<i16>,
    hours: Vec<i16>,
    days: Days,
    months: Vec<i16>,
    years: Vec<i16>,
}

impl Cron {
    /// Reads what stands between the brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minutes, hours, of_month, months, of_week, years] = fields.as_slice() else { return None };
        Some(Self {
            minutes: MINUTES.list(minutes)?,
            hours: HOURS.list(hours)?,
            days: Days::parse(of_month, of_week)?,
            months: MONTHS.list(months)?,
            years: YEARS.list(years)?,
        })
    }

    /// The days it means from `from` on, in order; they end with the last year.
    pub(super) fn days_from(&self, from: Date) -> impl Iterator<Item = Date> + '_ {
        let years = self.years.iter().copied().filter(move |year| *year >= from.year());
        let months = years.flat_map(|year| self.months.iter().map(move |month| (year, *month)));
        let begin = (from.year(), i16::from(from.month()));
        months.filter(move |month| *month >= begin).flat_map(move |(year, month)| {
            let first = i8::try_from(month).ok().and_then(|month| Date::new(year, month, 1).ok());
            let days = first.map_or(0, Date::days_in_month);
            let of_month = (1..=days).filter_map(move |day| Date::new(year, first?.month(), day).ok());
            of_month.filter(move |date| *date >= from && self.days.contains(*date))
        })
    }

    /// Hours and minutes of each day, in order.
    pub(super) fn times(&self) -> impl Iterator<Item = (i8, i8)> + '_ {
        let hours = self.hours.iter().filter_map(|hour| i8::try_from(*hour).ok());
        hours.flat_map(|hour| {
            self.minutes.iter().filter_map(move |minute| Some((hour, i8::try_from(*minute).ok()?)))
        })
    }
}
