//! What the data of the last periods say about an alarm. Pure.

/// How missing periods count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Unknown,
    Breaching,
    NotBreaching,
    Ignore,
}

impl Missing {
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("breaching") => Self::Breaching,
            Some("notBreaching") => Self::NotBreaching,
            Some("ignore") => Self::Ignore,
            _ => Self::Unknown,
        }
    }
}

/// Whether a value breaches the threshold.
pub(super) fn breaches(comparison: &str, value: f64, threshold: f64) -> bool {
    match comparison {
        "GreaterThanOrEqualToThreshold" => value >= threshold,
        "GreaterThanThreshold" => value > threshold,
        "LessThanThreshold" => value < threshold,
        _ => value <= threshold,
    }
}

/// The new state from the periods, each breaching or not or without data; nothing when the state stays as it is.
pub(super) fn state_of(periods: &[Option<bool>], needed: usize, missing: Missing) -> Option<&'static str> {
    let known = periods.iter().flatten().count();
    if known == 0 && matches!(missing, Missing::Unknown) {
        return Some("INSUFFICIENT_DATA");
    }
    if known == 0 && missing == Missing::Ignore {
        return None;
    }
    let breaching = periods.iter().filter(|period| period.unwrap_or(missing == Missing::Breaching)).count();
    if breaching >= needed {
        return Some("ALARM");
    }
    // Data that are missing or ignored cannot prove that all is well while they could still breach.
    let open = periods.len() - known;
    if missing == Missing::Ignore && breaching + open >= needed { None } else { Some("OK") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_the_manual() {
        let (yes, no, none) = (Some(true), Some(false), None);
        let cases = [
            (vec![yes, yes, yes], 3, Missing::Unknown, Some("ALARM")),
            (vec![yes, no, yes], 3, Missing::Unknown, Some("OK")),
            (vec![yes, no, yes], 2, Missing::Unknown, Some("ALARM")),
            (vec![none, none, none], 2, Missing::Unknown, Some("INSUFFICIENT_DATA")),
            (vec![none, none, none], 2, Missing::Breaching, Some("ALARM")),
            (vec![none, none, none], 2, Missing::NotBreaching, Some("OK")),
            (vec![none, none, none], 2, Missing::Ignore, None),
            (vec![none, yes, none], 1, Missing::Ignore, Some("ALARM")),
            (vec![none, yes, none], 2, Missing::Ignore, None),
        ];
        for (periods, needed, missing, expected) in cases {
            assert_eq!(state_of(&periods, needed, missing), expected, "{periods:?} {needed} {missing:?}");
        }
    }
}
