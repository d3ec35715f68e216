//! `nextToken`: where the next page of a listing begins.
//!
//! Invariant: a token is good for the arguments it was given for and for 24 hours, as with AWS; anything else is
//! `InvalidToken`. It holds no secret and needs no memory on our side, so it survives a restart.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use asl::timestamp::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Error;

/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// AWS's default, and what 0 means.
const RESULTS_DEFAULT: u32 = 100;

/// AWS's bound of a page.
const RESULTS_MAX: u32 = 1_000;

/// Which page of a listing.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// `maxResults`: none and 0 are 100.
    pub max_results: Option<u32>,
    /// `nextToken` of the page before.
    pub next_token: Option<String>,
}

impl PageRequest {
    /// Size of the page.
    pub(crate) fn limit(&self) -> u32 {
        match self.max_results {
            None | Some(0) => RESULTS_DEFAULT,
            Some(wanted) => wanted.min(RESULTS_MAX),
        }
    }

    /// The place that the token names, if it was given for the same arguments.
    pub(crate) fn place(&self, arguments: impl Hash, now: Timestamp) -> Result<Option<String>, Error> {
        let Some(token) = &self.next_token else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::InvalidToken)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::InvalidToken)?;
        let mut parts = text.splitn(3, '|');
        let (Some(digest), Some(issued), Some(place)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::InvalidToken);
        };
        let issued = issued.parse().map_err(|_| Error::InvalidToken)?;
        let fresh = now.since(Timestamp::from_epoch_millis(issued)) <= LIFETIME;
        if digest != self::digest(arguments) || !fresh {
            return Err(Error::InvalidToken);
        }
        Ok(Some(place.to_owned()))
    }
}

/// A token for a place in the listing with these arguments.
pub(crate) fn token(place: &str, arguments: impl Hash, now: Timestamp) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}|{}|{place}", digest(arguments), now.epoch_millis()))
}

fn digest(arguments: impl Hash) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    arguments.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_arguments_and_for_a_day() {
        let now = Timestamp::from_epoch_millis(1_000);
        let token = token("a|b:7", ("machines", "us-east-1"), now);
        let request = PageRequest { next_token: Some(token), ..PageRequest::default() };
        let place = |arguments, now| request.place(arguments, now).ok().flatten();
        assert_eq!(place(("machines", "us-east-1"), now).as_deref(), Some("a|b:7"));
        assert_eq!(place(("machines", "eu-west-1"), now), None);
        assert_eq!(place(("machines", "us-east-1"), now.plus(LIFETIME + Duration::from_secs(1))), None);
        for bad in ["", "x", "AAAA", "!"] {
            let request = PageRequest { next_token: Some(bad.to_owned()), ..PageRequest::default() };
            assert!(matches!(request.place((), now), Err(Error::InvalidToken)), "{bad}");
        }
    }
}
