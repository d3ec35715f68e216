//! What is kept of the values of one metric in one minute (or second): count, sum, extremes, and how often each value.
//!
//! Values are exact up to a number of different ones; beyond it they are kept to fewer significant digits, so that
//! percentiles stay right within a percent and a bucket stays small.

/// Different values kept exactly.
const VALUES_MAX: usize = 400;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bucket {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    /// Values in rising order, with their counts.
    values: Vec<(f64, f64)>,
    /// A statistic set came in, whose single values nobody knows.
    is_opaque: bool,
}

impl Bucket {
    pub(super) fn empty() -> Self {
        Self {
            count: 0.0,
            sum: 0.0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
            values: Vec::new(),
            is_opaque: false,
        }
    }

    /// Adds a value that was seen `count` times.
    pub(super) fn add(&mut self, value: f64, count: f64) {
        self.widen(value * count, count, value, value);
        self.insert(value, count);
    }

    /// Adds a statistic set.
    pub(super) fn add_set(&mut self, count: f64, sum: f64, minimum: f64, maximum: f64) {
        self.widen(sum, count, minimum, maximum);
        // AWS: percentiles stay available when the set can only mean one value.
        if minimum == maximum || count == 1.0 {
            self.insert(minimum, count);
        } else {
            self.is_opaque = true;
        }
    }

    /// Joins another bucket to this one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.widen(other.sum, other.count, other.minimum, other.maximum);
        self.is_opaque |= other.is_opaque;
        for (value, count) in &other.values {
            self.insert(*value, *count);
        }
    }

    fn widen(&mut self, sum: f64, count: f64, minimum: f64, maximum: f64) {
        self.sum += sum;
        self.count += count;
        self.minimum = self.minimum.min(minimum);
        self.maximum = self.maximum.max(maximum);
    }

    fn insert(&mut self, value: f64, count: f64) {
        match self.values.binary_search_by(|(known, _)| known.total_cmp(&value)) {
            Ok(at) => self.values[at].1 += count,
            Err(at) => self.values.insert(at, (value, count)),
        }
        for digits in [3, 2, 1] {
            if self.values.len() <= VALUES_MAX {
                return;
            }
            self.round(digits);
        }
    }

    fn round(&mut self, digits: i32) {
        let mut rounded: Vec<(f64, f64)> = Vec::with_capacity(VALUES_MAX);
        for (value, count) in self.values.drain(..) {
            let value = significant(value, digits);
            match rounded.last_mut() {
                Some((last, total)) if *last == value => *total += count,
                _ => rounded.push((value, count)),
            }
        }
        self.values = rounded;
    }

    /// The value below which `percent` of the values lie, if the single values are known.
    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        if self.is_opaque || self.values.is_empty() {
            return None;
        }
        let wanted = percent / 100.0 * self.count;
        let mut seen = 0.0;
        for (value, count) in &self.values {
            seen += count;
            if seen >= wanted {
                return Some(*value);
            }
        }
        Some(self.maximum)
    }

    /// The bytes kept in the file: four numbers, a flag, then pairs.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let flag = if self.is_opaque { 1.0 } else { 0.0 };
        let head = [self.count, self.sum, self.minimum, self.maximum, flag];
        let pairs = self.values.iter().flat_map(|(value, count)| [*value, *count]);
        head.into_iter().chain(pairs).flat_map(f64::to_le_bytes).collect()
    }

    /// Reads [`Bucket::to_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers: Vec<f64> = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.try_into().map(f64::from_le_bytes))
            .collect::<Result<_, _>>()
            .ok()?;
        let (head, pairs) = numbers.split_at_checked(5)?;
        Some(Self {
            count: head[0],
            sum: head[1],
            minimum: head[2],
            maximum: head[3],
            is_opaque: head[4] != 0.0,
            values: pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
        })
    }
}

fn significant(value: f64, digits: i32) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_for_few_values_and_close_for_many() {
        let mut few = Bucket::empty();
        (1..=100).for_each(|value| few.add(f64::from(value), 1.0));
        assert_eq!(
            (few.percentile(50.0), few.percentile(99.0), few.percentile(100.0)),
            (Some(50.0), Some(99.0), Some(100.0))
        );
        let mut many = Bucket::empty();
        (1..=20_000).for_each(|value| many.add(f64::from(value) / 7.0, 1.0));
        let exact = 0.9 * 20_000.0 / 7.0;
        let found = many.percentile(90.0).expect("percentile");
        assert!((found - exact).abs() / exact < 0.02, "{found} for {exact}");
        assert!(many.to_bytes().len() < 8_000);
        assert_eq!(Bucket::from_bytes(&many.to_bytes()), Some(many));
    }

    #[test]
    fn a_statistic_set_hides_its_values() {
        let mut bucket = Bucket::empty();
        bucket.add_set(10.0, 55.0, 1.0, 10.0);
        assert_eq!((bucket.sum, bucket.count, bucket.percentile(50.0)), (55.0, 10.0, None));
    }
}
