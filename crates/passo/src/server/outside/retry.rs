//! When a call is made again: AWS's "standard" retry mode, with three attempts.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use services::Unreachable;

const ATTEMPTS_MAX: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_millis(1000);
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Codes by which services say that they are asked too much.
const THROTTLED: [&str; 14] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Codes of failures that pass.
const TRANSIENT: [&str; 2] = ["RequestTimeout", "RequestTimeoutException"];

/// The attempts of one call.
pub struct Attempts {
    made: u32,
}

impl Attempts {
    pub fn new() -> Attempts {
        Attempts { made: 0 }
    }

    /// How long to wait before the next attempt; none when the answer is to be given.
    pub fn pause_after(&mut self, answer: &Result<Response<Bytes>, Unreachable>) -> Option<Duration> {
        self.made += 1;
        if self.made >= ATTEMPTS_MAX || !is_passing(answer) {
            return None;
        }
        let bound = (PAUSE_FIRST * 2u32.pow(self.made - 1)).min(PAUSE_MAX);
        // Any time up to the bound, so that callers who were refused together do not come back together.
        Some(bound.mul_f64(chance()))
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX)
}

fn is_passing(answer: &Result<Response<Bytes>, Unreachable>) -> bool {
    let response = match answer {
        Err(Unreachable::Connection(_)) => return true,
        // The call may be at work; a second one beside it helps nobody.
        Err(Unreachable::TimedOut | Unreachable::TooLarge(_)) => return false,
        Ok(response) => response,
    };
    let status = response.status();
    if status.is_success() {
        return false;
    }
    let passes_by_status = matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
    );
    let code = code(response);
    passes_by_status || THROTTLED.contains(&code.as_str()) || TRANSIENT.contains(&code.as_str())
}

/// The error's code, in whichever protocol it came.
pub(super) fn code(response: &Response<Bytes>) -> String {
    let header = response.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let json = || {
        let body: serde_json::Value = serde_json::from_slice(response.body()).ok()?;
        let code = body.get("__type").or_else(|| body.get("code"))?.as_str()?;
        Some(code.to_string())
    };
    let xml = || {
        let text = String::from_utf8_lossy(response.body());
        let (_, rest) = text.split_once("<Code>")?;
        Some(rest.split('<').next()?.to_string())
    };
    let code = header.map(str::to_string).or_else(json).or_else(xml).unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    code.split(':').next().unwrap_or_default().to_string()
}
