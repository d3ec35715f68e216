//! What a connection is authorized with: checked as given, shown without its secrets, and as what it adds to a request.

use super::super::{required, text, validation};
use crate::wire::ServiceError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
#[cfg(test)]
use serde_json::json;
use serde_json::{Map, Value};

/// The authorization types, with the member of `AuthParameters` that each needs.
const TYPES: [(&str, &str); 3] = [
    ("BASIC", "BasicAuthParameters"),
    ("OAUTH_CLIENT_CREDENTIALS", "OAuthParameters"),
    ("API_KEY", "ApiKeyAuthParameters"),
];
/// Members of each kind that must be there.
const NEEDED: [(&str, &[&str]); 3] = [
    ("BasicAuthParameters", &["Username", "Password"]),
    ("OAuthParameters", &["ClientParameters", "AuthorizationEndpoint", "HttpMethod"]),
    ("ApiKeyAuthParameters", &["ApiKeyName", "ApiKeyValue"]),
];
/// Parameters that go with every request, and where.
pub(super) const PLACES: [&str; 3] = ["HeaderParameters", "QueryStringParameters", "BodyParameters"];
/// AWS's bounds.
const TEXT_MAX: usize = 512;
const ENDPOINT_MAX: usize = 2048;
const PARAMETERS_MAX: usize = 100;
/// Members that hold a secret, wherever they stand.
const SECRETS: [&str; 3] = ["Password", "ClientSecret", "ApiKeyValue"];

/// What a connection adds to a request. Never shown: it holds the secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Of the query string.
    pub query: Vec<(String, String)>,
    /// Members of the body.
    pub body: Vec<(String, String)>,
    /// Which token is among the headers; none where there is no token that could be renewed.
    pub token: Option<i64>,
}

impl std::fmt::Debug for Additions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().map(|(name, _)| name.clone()).collect()
        };
        let mut shown = formatter.debug_struct("Additions");
        shown.field("headers", &names(&self.headers)).field("query", &names(&self.query));
        shown.field("body", &names(&self.body)).finish_non_exhaustive()
    }
}

/// The member of `AuthParameters` that a type needs.
pub(super) fn member_of(kind: &str) -> Result<&'static str, ServiceError> {
    TYPES.iter().find(|(name, _)| *name == kind).map(|(_, member)| *member).ok_or_else(|| {
        let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        validation(format!(
            "1 validation error detected: Value '{kind}' at 'authorizationType' failed to satisfy constraint: Member must \
             satisfy enum value set: [{}]",
            names.join(", ")
        ))
    })
}

/// Checks whole parameters of a type.
pub(super) fn check(kind: &str, parameters: &Value) -> Result<(), ServiceError> {
    let member = member_of(kind)?;
    let refused =
        |reason: String| Err(validation(format!("Parameter AuthParameters is not valid. Reason: {reason}")));
    let Some(own) = parameters.get(member).filter(|own| own.is_object()) else {
        return refused(format!("{member} must be specified for the authorization type {kind}."));
    };
    for (_, other) in TYPES.iter().filter(|(_, other)| *other != member) {
        if parameters.get(other).is_some() {
            return refused(format!("{other} must not be specified for the authorization type {kind}."));
        }
    }
    for needed in NEEDED.iter().filter(|(name, _)| *name == member).flat_map(|(_, needed)| needed.iter()) {
        match own.get(needed) {
            Some(Value::Object(_)) => {}
            _ => fits(needed, required(own, needed)?)?,
        }
    }
    if let Some(client) = own.get("ClientParameters") {
        fits("ClientID", required(client, "ClientID")?)?;
        fits("ClientSecret", required(client, "ClientSecret")?)?;
        let method = required(own, "HttpMethod")?;
        if !["GET", "POST", "PUT"].contains(&method) {
            return refused(format!("the HTTP method {method} is not one of GET, POST, PUT."));
        }
    }
    if parameters.get("ConnectivityParameters").is_some() || own.get("ConnectivityParameters").is_some() {
        return refused("connections to private APIs are not implemented by this server.".to_owned());
    }
    http_parameters(&own["OAuthHttpParameters"])?;
    http_parameters(&parameters["InvocationHttpParameters"])
}

fn fits(name: &str, value: &str) -> Result<(), ServiceError> {
    let most = if name == "AuthorizationEndpoint" { ENDPOINT_MAX } else { TEXT_MAX };
    let is_plain = value.chars().all(|letter| letter == '\t' || !letter.is_control());
    if value.is_empty() || value.len() > most || !is_plain {
        // The value is not repeated: it may be the secret.
        return Err(validation(format!(
            "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must have length less \
             than or equal to {most} and no control characters"
        )));
    }
    Ok(())
}

fn http_parameters(parameters: &Value) -> Result<(), ServiceError> {
    for place in PLACES {
        let given = parameters[place].as_array().map_or(&[] as &[Value], Vec::as_slice);
        if given.len() > PARAMETERS_MAX {
            return Err(validation(format!("{place} holds more than {PARAMETERS_MAX} parameters.")));
        }
        for parameter in given {
            let (key, value) = (text(parameter, "Key").unwrap_or(""), text(parameter, "Value").unwrap_or(""));
            let is_header = place == "HeaderParameters";
            let is_sound = !is_header
                || (http::HeaderName::from_bytes(key.as_bytes()).is_ok()
                    && http::HeaderValue::from_str(value).is_ok());
            let is_short = place == "BodyParameters" || (key.len() <= TEXT_MAX && value.len() <= TEXT_MAX);
            if key.is_empty() || !is_sound || !is_short {
                return Err(validation(format!("{place} holds a parameter that is not valid: '{key}'.")));
            }
        }
    }
    Ok(())
}

/// Parameters of an update over those that are there: members that are given take the place of old ones.
pub(super) fn merged(old: Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(mut old), Value::Object(new)) => {
            for (name, value) in new {
                let before = old.remove(name).unwrap_or(Value::Null);
                old.insert(name.clone(), merged(before, value));
            }
            Value::Object(old)
        }
        (_, new) => new.clone(),
    }
}

/// As DescribeConnection shows them.
pub(super) fn shown(parameters: &Value) -> Value {
    match parameters {
        Value::Object(members) => {
            let is_secret = members.get("IsValueSecret").and_then(Value::as_bool).unwrap_or(false);
            let hides = |name: &str| SECRETS.contains(&name) || (is_secret && name == "Value");
            let kept = members.iter().filter(|(name, _)| !hides(name));
            Value::Object(kept.map(|(name, value)| (name.clone(), shown(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(shown).collect()),
        other => other.clone(),
    }
}

/// The pairs that go to one place.
pub(super) fn pairs(parameters: &Value, place: &str) -> Vec<(String, String)> {
    let parameters = parameters[place].as_array().into_iter().flatten();
    let pair = |parameter: &Value| {
        Some((text(parameter, "Key")?.to_owned(), text(parameter, "Value").unwrap_or("").to_owned()))
    };
    parameters.filter_map(pair).collect()
}

/// What a connection of this type adds to a request; `token` is that of OAuth.
pub(super) fn additions(kind: &str, parameters: &Value, token: Option<(i64, &str)>) -> Additions {
    let common = &parameters["InvocationHttpParameters"];
    let [headers, query, body] = PLACES.map(|place| pairs(common, place));
    let mut additions = Additions { headers, query, body, token: token.map(|(generation, _)| generation) };
    let own = member_of(kind).map_or(&Value::Null, |member| &parameters[member]);
    let of = |member: &str| text(own, member).unwrap_or("");
    let header = match kind {
        "BASIC" => {
            let pair = STANDARD.encode(format!("{}:{}", of("Username"), of("Password")));
            Some(("Authorization".to_owned(), format!("Basic {pair}")))
        }
        "API_KEY" => Some((of("ApiKeyName").to_owned(), of("ApiKeyValue").to_owned())),
        _ => token.map(|(_, token)| ("Authorization".to_owned(), format!("Bearer {token}"))),
    };
    additions.headers.splice(0..0, header);
    additions
}

/// An example of each kind, for tests of this service.
#[cfg(test)]
pub(super) fn example(kind: &str) -> Value {
    match kind {
        "BASIC" => json!({"BasicAuthParameters": {"Username": "ada", "Password": "p4ss"}}),
        "API_KEY" => json!({"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "k3y"}}),
        _ => {
            json!({"OAuthParameters": {"AuthorizationEndpoint": "https://id.example.com/token", "HttpMethod": "POST",
            "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"}}})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_their_type() {
        for kind in ["BASIC", "API_KEY", "OAUTH_CLIENT_CREDENTIALS"] {
            assert!(check(kind, &example(kind)).is_ok(), "{kind}");
        }
        let both = merged(example("BASIC"), &example("API_KEY"));
        let long = json!({"BasicAuthParameters": {"Username": "a".repeat(600), "Password": "b"}});
        let header =
            json!({"InvocationHttpParameters": {"HeaderParameters": [{"Key": "a b", "Value": "c"}]}});
        for wrong in [json!({}), example("API_KEY"), both, long, merged(example("BASIC"), &header)] {
            let refusal = check("BASIC", &wrong).expect_err("refused");
            assert_eq!(refusal.code, "ValidationException");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let http = json!({"InvocationHttpParameters": {"BodyParameters": [
            {"Key": "open", "Value": "seen", "IsValueSecret": false},
            {"Key": "hidden", "Value": "unseen", "IsValueSecret": true}]}});
        for kind in ["BASIC", "API_KEY", "OAUTH_CLIENT_CREDENTIALS"] {
            let shown = shown(&merged(example(kind), &http)).to_string();
            for secret in ["p4ss", "k3y", "s3cret", "unseen"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(shown.contains("seen") && shown.contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn an_update_replaces_what_it_names() {
        let update = json!({"BasicAuthParameters": {"Password": "new"}});
        let merged = merged(example("BASIC"), &update);
        assert_eq!(merged, json!({"BasicAuthParameters": {"Username": "ada", "Password": "new"}}));
        let additions = additions("BASIC", &merged, None);
        assert_eq!(additions.headers, [("Authorization".to_owned(), "Basic YWRhOm5ldw==".to_owned())]);
        assert!(!format!("{additions:?}").contains("YWRh"));
    }
}
