//! One field of numbers: values, names, ranges, steps and lists of them.

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) least: i16,
    pub(super) most: i16,
    /// Names of the values from `least` on.
    pub(super) names: &'static [&'static str],
}

pub(super) const MINUTES: Bounds = Bounds { least: 0, most: 59, names: &[] };
pub(super) const HOURS: Bounds = Bounds { least: 0, most: 23, names: &[] };
pub(super) const DAYS_OF_MONTH: Bounds = Bounds { least: 1, most: 31, names: &[] };
pub(super) const MONTHS: Bounds = Bounds {
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
pub(super) const DAYS_OF_WEEK: Bounds =
    Bounds { least: 1, most: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };
pub(super) const YEARS: Bounds = Bounds { least: 1970, most: 2199, names: &[] };

impl Bounds {
    /// A number or a name.
    pub(super) fn value(self, text: &str) -> Option<i16> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(index) = named {
            return Some(self.least + i16::try_from(index).ok()?);
        }
        let value = number(text)?;
        (self.least..=self.most).contains(&value).then_some(value)
    }

    /// A list, sorted.
    pub(super) fn list(self, text: &str) -> Option<Vec<i16>> {
        let mut values = Vec::new();
        for item in text.split(',') {
            values.extend(self.item(item)?);
        }
        values.sort_unstable();
        values.dedup();
        Some(values)
    }

    /// `*`, `a`, `a-b`, and each of them with `/step`.
    pub(super) fn item(self, text: &str) -> Option<Vec<i16>> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| (1..=self.most).contains(step))?)),
            None => (text, None),
        };
        let values = match range.split_once('-') {
            Some((first, last)) => self.range(self.value(first)?, self.value(last)?)?,
            None if range == "*" => (self.least..=self.most).collect(),
            None if step.is_some() => (self.value(range)?..=self.most).collect(),
            None => vec![self.value(range)?],
        };
        Some(values.into_iter().step_by(usize::try_from(step.unwrap_or(1)).ok()?).collect())
    }

    /// A range may go over the end (`FRI-MON`, `22-2`), except for years.
    fn range(self, first: i16, last: i16) -> Option<Vec<i16>> {
        if first <= last {
            return Some((first..=last).collect());
        }
        let wraps = self.least != YEARS.least;
        wraps.then(|| (first..=self.most).chain(self.least..=last).collect())
    }
}

/// Digits and nothing else, so no sign.
pub(super) fn number(text: &str) -> Option<i16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
