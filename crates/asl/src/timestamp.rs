//! Points in time, in milliseconds since the epoch, as AWS writes and reads them.
//!
//! There is no clock here: every timestamp comes from an input. Parsing is as strict as AWS's
//! (ISO-8601 extended offset date-time with upper-case `T` and `Z`, seconds given).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_epoch_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn epoch_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch with the milliseconds as a fraction, as AWS's JSON protocols send it.
    pub fn epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The same point without its fraction of a second; AWS's Wait truncates so.
    pub const fn truncated_to_seconds(self) -> Timestamp {
        Timestamp(self.0 - self.0.rem_euclid(1000))
    }

    /// A later point; saturates.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time since an earlier point; zero if it is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads an ISO-8601 extended offset date-time such as `2026-11-22T04:31:53.5+01:00`.
    pub fn parse(text: &str) -> Result<Timestamp, InvalidTimestamp> {
        parse(text).ok_or(InvalidTimestamp)
    }
}

/// The text is not an ISO-8601 extended offset date-time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid ISO-8601 extended offset date-time format string")]
pub struct InvalidTimestamp;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(MILLIS_PER_DAY));
        let time = self.0.rem_euclid(MILLIS_PER_DAY);
        let (hour, minute, second) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match time % 1000 {
            0 => f.write_str("Z"),
            millis => write!(f, ".{millis:03}Z"),
        }
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let fixed = |at: usize, byte: u8| (bytes.get(at) == Some(&byte)).then_some(());
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = bytes.get(range)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        Some(digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        fixed(at, byte)?;
    }
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    in_range.then_some(())?;
    let mut at = 19;
    let mut millis = 0;
    if fixed(at, b'.').is_some() {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (1..=9).contains(&digits).then_some(())?;
        let shown = digits.min(3);
        millis = number(at + 1..at + 1 + shown)? * [100, 10, 1][shown - 1];
        at += 1 + digits;
    }
    let offset_minutes = match *bytes.get(at)? {
        b'Z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 => {
            fixed(at + 3, b':')?;
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            (hours <= 18 && minutes < 60).then_some(())?;
            let minutes = hours * 60 + minutes;
            if sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some(Timestamp((minutes * 60 + second) * 1000 + millis))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a Gregorian date, counting years from March so that a leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The Gregorian date of a day since the epoch: the inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fraction_is_written_only_when_there_is_one() {
        assert_eq!(Timestamp::from_epoch_millis(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_epoch_millis(1_709_251_199_050).to_string(), "2024-02-29T23:59:59.050Z");
        assert_eq!(Timestamp::from_epoch_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn offset_date_times_are_read_and_everything_else_is_refused() {
        let read = |text| Timestamp::parse(text).map(|timestamp| timestamp.to_string());
        for (text, meaning) in [
            ("2026-11-22T04:31:53.000000Z", "2026-11-22T04:31:53Z"),
            ("2016-03-05T21:29:29.243167252Z", "2016-03-05T21:29:29.243Z"),
            ("2026-11-22T04:31:56.5+01:30", "2026-11-22T03:01:56.500Z"),
            ("2024-02-29T00:00:00-00:30", "2024-02-29T00:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meaning), "{text}");
        }
        for text in [
            "2026-11-22T04:31:59",
            "2026-11-22T04:32:01.000000",
            "2026-11-22",
            "2026-11-22t04:31:59Z",
            "2026-11-22T04:31:59z",
            "2026-11-22 04:31:59Z",
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T04:31:59.Z",
            "2026-11-22T04:31:59+0100",
            "",
            "2026-11-22T04:31Z",
            "２026-11-22T04:31:59Z",
        ] {
            assert_eq!(read(text), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in -80_000..80_000 {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }
}
