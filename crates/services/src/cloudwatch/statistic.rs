//! The statistics of a bucket, by AWS's names.

use super::bucket::Bucket;

/// One statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    Percentile(f64),
}

impl Statistic {
    /// Reads a name; trimmed means and their like are not known here.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            other => {
                let percent: f64 = other.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Percentile(percent))?
            }
        })
    }

    pub(super) fn of(self, bucket: &Bucket) -> Option<f64> {
        match self {
            Self::SampleCount => Some(bucket.count),
            Self::Average => Some(bucket.sum / bucket.count),
            Self::Sum => Some(bucket.sum),
            Self::Minimum => Some(bucket.minimum),
            Self::Maximum => Some(bucket.maximum),
            Self::Percentile(percent) => bucket.percentile(percent),
        }
        .filter(|value| value.is_finite())
    }
}
