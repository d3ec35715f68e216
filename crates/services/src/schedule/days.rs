//! Which days of a month a schedule means: by day of the month or by day of the week.

use super::field::{Bounds, DAYS_OF_MONTH, DAYS_OF_WEEK, number};
use jiff::civil::Date;

/// Days of a month. AWS lets an expression say one of the two and wants `?` for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    OfMonth(Vec<DayOfMonth>),
    OfWeek(Vec<DayOfWeek>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DayOfMonth {
    /// These days.
    Any(Vec<i16>),
    /// `L`, or `L-3`: so many days before the last.
    Last { before: i16 },
    /// `15W`: the weekday nearest to the day, in the same month.
    NearestWeekday(i16),
    /// `LW`.
    LastWeekday,
}

/// Sunday is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DayOfWeek {
    /// These days.
    Any(Vec<i16>),
    /// `6L`: the last Friday.
    Last(i16),
    /// `3#2`: the second Tuesday.
    Nth { day: i16, n: i16 },
}

impl Days {
    pub(super) fn parse(of_month: &str, of_week: &str) -> Option<Self> {
        match (of_month, of_week) {
            ("?", "?") => None,
            (of_month, "?") => {
                of_month.split(',').map(DayOfMonth::parse).collect::<Option<_>>().map(Self::OfMonth)
            }
            ("?", of_week) => {
                let days: Vec<DayOfWeek> = of_week.split(',').map(DayOfWeek::parse).collect::<Option<_>>()?;
                let is_alone = days.len() == 1;
                let has_nth = days.iter().any(|day| matches!(day, DayOfWeek::Nth { .. }));
                (is_alone || !has_nth).then_some(Self::OfWeek(days))
            }
            _ => None,
        }
    }

    /// Whether a date is among them.
    pub(super) fn contains(&self, date: Date) -> bool {
        match self {
            Self::OfMonth(days) => days.iter().any(|day| day.is(date)),
            Self::OfWeek(days) => days.iter().any(|day| day.is(date)),
        }
    }
}

/// Sunday is 1.
fn day_of_week(date: Date) -> i16 {
    i16::from(date.weekday().to_sunday_one_offset())
}

impl DayOfMonth {
    fn parse(text: &str) -> Option<Self> {
        if let Some(before) = text.strip_prefix("L-") {
            return number(before)
                .filter(|before| (1..=30).contains(before))
                .map(|before| Self::Last { before });
        }
        match text {
            "L" => Some(Self::Last { before: 0 }),
            "LW" => Some(Self::LastWeekday),
            _ => match text.strip_suffix('W') {
                Some(day) => DAYS_OF_MONTH.value(day).map(Self::NearestWeekday),
                None => DAYS_OF_MONTH.item(text).map(Self::Any),
            },
        }
    }

    fn is(&self, date: Date) -> bool {
        let (day, last) = (i16::from(date.day()), i16::from(date.days_in_month()));
        match self {
            Self::Any(days) => days.contains(&day),
            Self::Last { before } => day == last - before,
            Self::NearestWeekday(wanted) => *wanted <= last && day == nearest_weekday(date, *wanted),
            Self::LastWeekday => day == nearest_weekday(date, last),
        }
    }
}

/// The day of `date`'s month that is a weekday and nearest to `wanted`, which the month has.
fn nearest_weekday(date: Date, wanted: i16) -> i16 {
    let last = i16::from(date.days_in_month());
    // The month has the day, so there is such a date.
    let on = |day: i16| i8::try_from(day).ok().and_then(|day| Date::new(date.year(), date.month(), day).ok());
    match on(wanted).map(day_of_week) {
        Some(7) if wanted > 1 => wanted - 1,
        Some(7) => wanted + 2,
        Some(1) if wanted < last => wanted + 1,
        Some(1) => wanted - 2,
        Some(_) | None => wanted,
    }
}

impl DayOfWeek {
    fn parse(text: &str) -> Option<Self> {
        const WEEK: Bounds = DAYS_OF_WEEK;
        if let Some((day, n)) = text.split_once('#') {
            let n = number(n).filter(|n| (1..=5).contains(n))?;
            return WEEK.value(day).map(|day| Self::Nth { day, n });
        }
        if text == "L" {
            // The last day of the week, as Quartz, from which AWS's expressions come, has it.
            return Some(Self::Any(vec![WEEK.most]));
        }
        match text.strip_suffix('L').filter(|day| !day.is_empty()) {
            Some(day) => WEEK.value(day).map(Self::Last),
            None => WEEK.item(text).map(Self::Any),
        }
    }

    fn is(&self, date: Date) -> bool {
        let (day, last) = (i16::from(date.day()), i16::from(date.days_in_month()));
        match self {
            Self::Any(days) => days.contains(&day_of_week(date)),
            Self::Last(wanted) => *wanted == day_of_week(date) && day > last - 7,
            Self::Nth { day: wanted, n } => *wanted == day_of_week(date) && (day - 1) / 7 + 1 == *n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_weekday_is_a_weekday_of_the_same_month() {
        for (month, last) in [(2, 28), (3, 31), (5, 31), (8, 31), (11, 30)] {
            for day in 1..=last {
                let nearest = nearest_weekday(Date::constant(2026, month, 1), day);
                let date = Date::constant(2026, month, i8::try_from(nearest).unwrap());
                assert!(![1, 7].contains(&day_of_week(date)), "{month} {day}");
                assert!((nearest - day).abs() <= 2, "{month} {day}");
            }
        }
    }
}
