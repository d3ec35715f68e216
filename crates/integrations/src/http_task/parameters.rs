//! What an HTTP Task is asked for, and the request that it becomes together with what the connection adds.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

use asl::diagnostic::Code;
use asl::resource::Problem;

use super::encoding::{ArrayFormat, form, joined, text_of};
use super::listed;
use crate::failure::Failure;
use crate::transport::Additions;

const FIELDS: [&str; 8] = [
    "ApiEndpoint",
    "Authentication",
    "Headers",
    "InvocationConfig",
    "Method",
    "QueryParameters",
    "RequestBody",
    "Transform",
];
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// Headers that a state may not set.
const FORBIDDEN: [&str; 33] = [
    "a-im",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authorization",
    "referer",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "warning",
];
const FORBIDDEN_PREFIXES: [&str; 3] = ["x-forwarded-", "x-amz-", "x-amzn-"];
/// Step Functions' own headers take the place of any other.
const OWN: [&str; 2] = ["user-agent", "range"];

/// What is wrong with parameters as they are written, with `.$` keys or expressions.
pub(crate) fn problems(written: &Value) -> Vec<Problem> {
    let Some(given) = written.as_object() else { return Vec::new() };
    let plain = |key: &str| key.strip_suffix(".$").unwrap_or(key).to_string();
    let has = |field: &str| given.keys().any(|key| plain(key) == field);
    let unknown = given.keys().map(|key| plain(key)).filter(|key| !FIELDS.contains(&key.as_str()));
    let mut problems: Vec<Problem> =
        unknown.map(|key| Problem::unsupported_field(&key, "Parameters")).collect();
    let mut found = |message: String| {
        let (code, field) = (Code::SchemaValidationFailed, Some("Parameters".to_string()));
        problems.push(Problem { code, message, field });
    };
    for field in ["ApiEndpoint", "Method"] {
        if !has(field) {
            found(format!("The field '{field}' is required but was missing"));
        }
    }
    match (has("InvocationConfig"), has("Authentication")) {
        (false, false) => found("The field 'InvocationConfig' is required but was missing".into()),
        (true, true) => {
            found("Only one of the fields 'InvocationConfig' and 'Authentication' may be given".into());
        }
        _ => {}
    }
    let literal = |text: &&str| !text.starts_with("{%");
    if let Some(method) = given.get("Method").and_then(Value::as_str).filter(literal)
        && !METHODS.contains(&method)
    {
        found(format!("The value for the field 'Method' must be one of [{}]", METHODS.join(", ")));
    }
    problems
}

/// A task as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Invocation {
    pub url: String,
    pub method: Method,
    pub connection_arn: String,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Option<Value>,
    form: Option<ArrayFormat>,
}

/// A request, ready to be sent.
#[derive(Clone, PartialEq)]
pub(super) struct Prepared {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    content_type: Option<&'static str>,
    body: String,
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new("States.Runtime", message)
}

impl Invocation {
    pub fn read(parameters: &Value) -> Result<Invocation, Failure> {
        let text = |field: &str| parameters[field].as_str().filter(|text| !text.is_empty());
        let url =
            text("ApiEndpoint").ok_or_else(|| wrong("The field 'ApiEndpoint' must be a non-empty string"))?;
        let uri: http::Uri = url.parse().map_err(|_| wrong(format!("'{url}' is not a valid URL")))?;
        // Credentials belong to the connection, and not into histories.
        let is_sound = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !is_sound {
            return Err(wrong(format!("'{url}' is not a valid HTTPS URL")));
        }
        let method = text("Method").filter(|method| METHODS.contains(method));
        let method =
            method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()).ok_or_else(|| {
                wrong(format!("The value for the field 'Method' must be one of [{}]", METHODS.join(", ")))
            })?;
        let connection = |field: &str| parameters[field]["ConnectionArn"].as_str();
        let connection_arn = connection("InvocationConfig")
            .or_else(|| connection("Authentication"))
            .ok_or_else(|| wrong("The field 'ConnectionArn' must be a non-empty string"))?;
        Ok(Invocation {
            url: url.to_string(),
            method,
            connection_arn: connection_arn.to_string(),
            headers: headers(&parameters["Headers"])?,
            query: query(&parameters["QueryParameters"])?,
            body: parameters.get("RequestBody").filter(|body| !body.is_null()).cloned(),
            form: form_of(&parameters["Transform"])?,
        })
    }

    /// The request with what the connection adds.
    pub fn prepare(&self, additions: &Additions, region: &str) -> Result<Prepared, Failure> {
        let mut headers = self.headers.clone();
        let own = [
            ("User-Agent".to_string(), format!("Amazon|StepFunctions|HttpInvoke|{region}")),
            ("Range".to_string(), "bytes=0-262144".to_string()),
        ];
        let adds = |name: &str| additions.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        headers.retain(|(name, _)| !adds(name) && !OWN.contains(&name.to_ascii_lowercase().as_str()));
        let added =
            additions.headers.iter().filter(|(name, _)| !OWN.contains(&name.to_ascii_lowercase().as_str()));
        headers.extend(added.cloned());
        headers.extend(own);
        let body = self.merged_body(additions)?;
        let is_typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let content_type = match self.form {
            Some(_) => "application/x-www-form-urlencoded",
            None => "application/json; charset=UTF-8",
        };
        Ok(Prepared {
            method: self.method.clone(),
            url: self.merged_url(additions),
            headers,
            content_type: Some(content_type).filter(|_| !is_typed && body.is_some()),
            body: body.unwrap_or_default(),
        })
    }

    fn merged_url(&self, additions: &Additions) -> String {
        let adds = |name: &str| additions.query.iter().any(|(other, _)| other == name);
        let mut query: Vec<(String, String)> =
            self.query.iter().filter(|(name, _)| !adds(name)).cloned().collect();
        query.extend(additions.query.iter().cloned());
        if query.is_empty() {
            return self.url.clone();
        }
        let (address, fragment) =
            self.url.split_once('#').map_or((&*self.url, ""), |(url, rest)| (url, rest));
        let joint = if address.contains('?') { '&' } else { '?' };
        let fragment = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
        format!("{address}{joint}{}{fragment}", joined(&query))
    }

    fn merged_body(&self, additions: &Additions) -> Result<Option<String>, Failure> {
        let added = additions.body.iter().map(|(name, value)| (name.clone(), json!(value)));
        let body = match (&self.body, additions.body.is_empty()) {
            (body, true) => body.clone(),
            (None, false) => Some(Value::Object(added.collect())),
            (Some(Value::Object(members)), false) => {
                let mut members: Map<String, Value> = members.clone();
                members.extend(added);
                Some(Value::Object(members))
            }
            (Some(_), false) => {
                let message = "The RequestBody is no JSON object, so the body parameters of the connection cannot be \
                               merged into it";
                return Err(wrong(message));
            }
        };
        Ok(body.map(|body| match (&body, self.form) {
            (Value::String(text), _) => text.clone(),
            (body, Some(format)) => joined(&form(body, format)),
            (body, None) => body.to_string(),
        }))
    }
}

impl Prepared {
    pub fn request(&self) -> Result<http::Request<Bytes>, Failure> {
        let mut request = http::Request::builder().method(self.method.clone()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(content_type) = self.content_type {
            request = request.header("content-type", content_type);
        }
        // The library's error may repeat a value.
        let request = request.body(Bytes::from(self.body.clone()));
        request.map_err(|_| wrong("The parameters make no valid HTTP request"))
    }

    /// As TestState shows it.
    pub fn traced(&self) -> Value {
        let protocol = self.url.split("://").next().unwrap_or_default();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut shown = json!({ "protocol": protocol, "method": self.method.as_str(), "url": self.url,
            "headers": listed(headers) });
        if !self.body.is_empty() {
            shown["body"] = json!(self.body);
        }
        shown
    }
}

fn headers(given: &Value) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = Vec::new();
    let members = match given {
        Value::Null => return Ok(headers),
        Value::Object(members) => members,
        _ => return Err(wrong("The field 'Headers' must be a JSON object")),
    };
    for (name, value) in members {
        let lower = name.to_ascii_lowercase();
        let forbidden = FORBIDDEN.contains(&lower.as_str())
            || FORBIDDEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
        if forbidden {
            return Err(wrong(format!("The header '{name}' is not supported in an HTTP Task")));
        }
        let values = value
            .as_array()
            .map_or_else(|| vec![text_of(value)], |values| values.iter().map(text_of).collect());
        for value in values {
            let is_sound = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && http::HeaderValue::from_str(&value).is_ok();
            if !is_sound {
                return Err(wrong(format!("The header '{name}' is not valid")));
            }
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

fn query(given: &Value) -> Result<Vec<(String, String)>, Failure> {
    let members = match given {
        Value::Null => return Ok(Vec::new()),
        Value::Object(members) => members,
        _ => return Err(wrong("The field 'QueryParameters' must be a JSON object")),
    };
    let pairs = members.iter().flat_map(|(name, value)| match value {
        Value::Array(values) => values.iter().map(|value| (name.clone(), text_of(value))).collect(),
        value => vec![(name.clone(), text_of(value))],
    });
    Ok(pairs.collect())
}

fn form_of(transform: &Value) -> Result<Option<ArrayFormat>, Failure> {
    let refused = |field: &str, values: &str| {
        wrong(format!("The value for the field '{field}' must be one of [{values}]"))
    };
    match transform["RequestBodyEncoding"].as_str() {
        None | Some("NONE") => Ok(None),
        Some("URL_ENCODED") => {
            let name = transform["RequestEncodingOptions"]["ArrayFormat"].as_str().unwrap_or("INDICES");
            let format = ArrayFormat::read(name);
            format.map(Some).ok_or_else(|| refused("ArrayFormat", "BRACKETS, COMMAS, INDICES, REPEAT"))
        }
        Some(_) => Err(refused("RequestBodyEncoding", "NONE, URL_ENCODED")),
    }
}
