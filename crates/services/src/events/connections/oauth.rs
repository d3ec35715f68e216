//! OAuth 2.0, grant type client credentials: one request to the authorization endpoint, and the token it answers.
//!
//! Id and secret go into the form (or, by GET, the query), with the parameters that the connection names for it.

use super::super::text;
use super::parameters::pairs;
use crate::front::Unreachable;
use crate::outside::WayOut;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Attempts, where the endpoint does not answer or is at fault itself, and the pauses between them.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// No more of an endpoint's own words are repeated.
const WORDS_MAX: usize = 200;

/// A token.
pub(super) struct Token {
    pub(super) text: String,
    /// How long it lasts, if that was said.
    pub(super) seconds: Option<i64>,
}

/// Why there is none.
pub(super) enum Unfetched {
    /// The endpoint says no.
    Refused(String),
    /// It says nothing.
    Unreachable(String),
}

/// Asks for a token.
pub(super) async fn fetch(outside: &dyn WayOut, parameters: &Value) -> Result<Token, Unfetched> {
    let mut pauses = PAUSES.iter();
    loop {
        let request = request(&parameters["OAuthParameters"]).map_err(Unfetched::Refused)?;
        let answer = outside.send(request).await;
        let is_worth_another = answer.as_ref().map_or(true, |answer| is_passing(answer.status()));
        match pauses.next().filter(|_| is_worth_another) {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return read(answer),
        }
    }
}

fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

fn request(oauth: &Value) -> Result<Request<Bytes>, String> {
    let client = &oauth["ClientParameters"];
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let more = &oauth["OAuthHttpParameters"];
    let mut form = vec![
        own("grant_type", "client_credentials"),
        own("client_id", text(client, "ClientID").unwrap_or("")),
        own("client_secret", text(client, "ClientSecret").unwrap_or("")),
    ];
    let given = pairs(more, "BodyParameters");
    form.retain(|(name, _)| !given.iter().any(|(other, _)| other == name));
    form.extend(given);
    let mut query = pairs(more, "QueryStringParameters");
    let method = Method::from_bytes(text(oauth, "HttpMethod").unwrap_or("POST").as_bytes());
    let method = method.map_err(|error| error.to_string())?;
    let is_form = method != Method::GET;
    if !is_form {
        query.append(&mut form);
    }
    let mut uri = text(oauth, "AuthorizationEndpoint").unwrap_or("").to_owned();
    if !query.is_empty() {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(&encoded(&query));
    }
    let mut request = Request::builder().method(method).uri(uri).header(header::ACCEPT, "application/json");
    if is_form {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    for (name, value) in pairs(more, "HeaderParameters") {
        request = request.header(name, value);
    }
    // The error may repeat the address, and by GET the secret is in it.
    request
        .body(Bytes::from(if is_form { encoded(&form) } else { String::new() }))
        .map_err(|_| "the authorization endpoint is not a valid URL".to_owned())
}

/// Whether the endpoint may answer otherwise later: a refusal takes the authorization for good.
fn is_passing(status: http::StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, http::StatusCode::REQUEST_TIMEOUT | http::StatusCode::TOO_MANY_REQUESTS)
}

fn read(answer: Result<Response<Bytes>, Unreachable>) -> Result<Token, Unfetched> {
    let answer = answer.map_err(|error| Unfetched::Unreachable(error.to_string()))?;
    let status = answer.status();
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let said = format!("The authorization endpoint answered {}", status.as_u16());
    if is_passing(status) {
        return Err(Unfetched::Unreachable(said));
    }
    match text(&body, "access_token").filter(|token| !token.is_empty()) {
        Some(token) if status.is_success() && http::HeaderValue::from_str(token).is_ok() => {
            let seconds = &body["expires_in"];
            let seconds = seconds.as_i64().or_else(|| seconds.as_str()?.parse().ok());
            Ok(Token { text: token.to_owned(), seconds: seconds.filter(|seconds| *seconds > 0) })
        }
        _ if status.is_success() => Err(Unfetched::Refused(format!("{said} without an access_token."))),
        // OAuth's own error codes hold nothing that was sent.
        _ => match text(&body, "error") {
            Some(code) => {
                let code: String =
                    code.chars().filter(|letter| !letter.is_control()).take(WORDS_MAX).collect();
                Err(Unfetched::Refused(format!("{said}: {code}.")))
            }
            None => Err(Unfetched::Refused(format!("{said}."))),
        },
    }
}
