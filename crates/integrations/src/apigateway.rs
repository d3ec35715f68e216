//! `arn:aws:states:::apigateway:invoke`: a REST API of API Gateway is called.
//!
//! Source: "Call API Gateway with Step Functions" of the AWS developer guide, and recorded histories for the shape of
//! results, of `ApiGateway.403`, and of headers in a wrong shape. APIs of this server are called inside the process, whatever
//! host their endpoint names; other endpoints are called outside, without a signature.

use asl::diagnostic::Code;
use asl::payload::Payload;
use asl::program::Pattern;
use asl::resource::Problem;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::task::{Call, Integrations, Report, Stage};
use crate::transport::TransportError;

const FIELDS: [&str; 9] = [
    "AllowNullValues",
    "ApiEndpoint",
    "AuthType",
    "Headers",
    "Method",
    "Path",
    "QueryParameters",
    "RequestBody",
    "Stage",
];
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
const AUTH_TYPES: [&str; 3] = ["IAM_ROLE", "NO_AUTH", "RESOURCE_POLICY"];
/// Headers that a state may not set.
const FORBIDDEN: [&str; 14] = [
    "authorization",
    "connection",
    "content-md5",
    "expect",
    "host",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
];
const FORBIDDEN_PREFIXES: [&str; 3] = ["x-forwarded", "x-amz", "x-amzn"];
/// Says, inside the process, that the caller wants to be nobody.
const ANONYMOUS: &str = "x-passo-anonymous";
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/').remove(b'%').remove(b':').remove(b'@').remove(b'+');

/// What is wrong with parameters as they are written, with `.$` keys or expressions.
pub(crate) fn problems(written: &Value) -> Vec<Problem> {
    let Some(given) = written.as_object() else { return Vec::new() };
    let plain: Vec<&str> = given.keys().map(|key| key.strip_suffix(".$").unwrap_or(key)).collect();
    let unknown = plain.iter().filter(|key| !FIELDS.contains(key));
    let mut problems: Vec<Problem> =
        unknown.map(|key| Problem::unsupported_field(key, "Parameters")).collect();
    for field in ["ApiEndpoint", "Method"].iter().filter(|field| !plain.contains(field)) {
        let message = format!("The field '{field}' is required but was missing");
        problems.push(Problem {
            code: Code::SchemaValidationFailed,
            message,
            field: Some("Parameters".into()),
        });
    }
    problems
}

/// What a state asks for.
struct Invocation {
    method: Method,
    endpoint: String,
    stage: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
    is_anonymous: bool,
}

/// Why arguments cannot be used.
pub(crate) fn check(arguments: &Payload) -> Result<(), Vec<String>> {
    Invocation::read(arguments.value()).map(drop)
}

impl Invocation {
    fn read(arguments: &Value) -> Result<Invocation, Vec<String>> {
        let mut wrong = Vec::new();
        let mut text = |field: &str, required: bool| match &arguments[field] {
            Value::String(text) => text.clone(),
            Value::Null if required => {
                wrong.push(format!("The field '{field}' is required but was missing"));
                String::new()
            }
            Value::Null => String::new(),
            _ => {
                wrong.push(format!("The value of the field '{field}' has an invalid format"));
                String::new()
            }
        };
        let (endpoint, name) = (text("ApiEndpoint", true), text("Method", true));
        let (stage, path, auth) = (text("Stage", false), text("Path", false), text("AuthType", false));
        let invalid = |field: &str| format!("The value of the field '{field}' has an invalid format");
        if !name.is_empty() && !METHODS.contains(&name.as_str()) {
            wrong.push(invalid("Method"));
        }
        if !auth.is_empty() && !AUTH_TYPES.contains(&auth.as_str()) {
            wrong.push(invalid("AuthType"));
        }
        let keeps_nulls = arguments["AllowNullValues"] == true;
        let mut headers = Vec::new();
        match lists(&arguments["Headers"], keeps_nulls) {
            Some(pairs) => {
                for (name, value) in pairs {
                    match header(&name, &value) {
                        Some(pair) => headers.push(pair),
                        None => wrong.push(invalid("Headers")),
                    }
                }
            }
            None => wrong.push(invalid("Headers")),
        }
        let query = lists(&arguments["QueryParameters"], keeps_nulls);
        if query.is_none() {
            wrong.push(invalid("QueryParameters"));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let has_body = matches!(name.as_str(), "PATCH" | "POST" | "PUT");
        let body = arguments.get("RequestBody").filter(|body| has_body && !body.is_null());
        Ok(Invocation {
            method: name.parse().map_err(|_| vec![invalid("Method")])?,
            endpoint,
            stage,
            path,
            query: query.unwrap_or_default(),
            headers,
            body: body.map(Value::to_string),
            is_anonymous: auth != "IAM_ROLE" && auth != "RESOURCE_POLICY",
        })
    }

    /// `/STAGE/PATH?QUERY`.
    fn target(&self) -> String {
        let part = |text: &str| utf8_percent_encode(text.trim_matches('/'), PATH).to_string();
        let parts: Vec<String> = [&self.stage, &self.path].iter().map(|text| part(text)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let query: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("/{}{query}", parts.join("/"))
    }

    fn request(&self, uri: &str) -> Result<Request<Bytes>, Failure> {
        let body = self.body.clone().unwrap_or_default();
        let mut request = Request::builder().method(self.method.clone()).uri(uri);
        if !self.headers.iter().any(|(name, _)| name == http::header::CONTENT_TYPE) && !body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.body(Bytes::from(body)).map_err(|error| Failure::new("States.Runtime", error.to_string()))
    }
}

/// The API that an endpoint names, if it is one of API Gateway's, or in the path style of local servers.
fn api(endpoint: &str) -> Option<&str> {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    if let Some((id, _)) = host.split_once(".execute-api.") {
        return Some(id);
    }
    rest.split_once("/restapis/")?.1.split('/').next().filter(|id| !id.is_empty())
}

/// `{name: [values]}` as pairs; none if it has another shape.
fn lists(value: &Value, keeps_nulls: bool) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let members = match value {
        Value::Null => return Some(pairs),
        Value::Object(members) => members,
        _ => return None,
    };
    for (name, values) in members {
        for value in values.as_array()? {
            match value {
                Value::Null if keeps_nulls => pairs.push((name.clone(), String::new())),
                Value::Null => {}
                Value::String(text) => pairs.push((name.clone(), text.clone())),
                Value::Bool(_) | Value::Number(_) => pairs.push((name.clone(), value.to_string())),
                Value::Array(_) | Value::Object(_) => return None,
            }
        }
    }
    Some(pairs)
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let lower = name.to_ascii_lowercase();
    let is_forbidden = FORBIDDEN.contains(&lower.as_str())
        || FORBIDDEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if is_forbidden {
        return None;
    }
    Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
}

impl Integrations {
    pub(crate) async fn run_apigateway(&self, call: &Call, pattern: Pattern) -> Report {
        let stage = if pattern == Pattern::RequestResponse { Stage::Run } else { Stage::Submit };
        match self.invoke_api(call).await {
            Ok(output) if pattern == Pattern::WaitForTaskToken => {
                Report::Submitted { output, handle: Value::Null }
            }
            Ok(output) => Report::Succeeded(output),
            Err(failure) => Report::Failed(failure, stage),
        }
    }

    async fn invoke_api(&self, call: &Call) -> Result<Value, Failure> {
        let invocation = Invocation::read(call.arguments.value())
            .map_err(|wrong| Failure::new("States.Runtime", wrong.join(", ")))?;
        let answer = match api(&invocation.endpoint) {
            Some(id) => {
                let mut request = invocation.request(&invocation.target())?;
                let host = format!("{id}.execute-api.{}.amazonaws.com", call.identity.region);
                let host = HeaderValue::try_from(host)
                    .map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
                request.headers_mut().insert(http::header::HOST, host);
                if invocation.is_anonymous {
                    request.headers_mut().insert(ANONYMOUS, HeaderValue::from_static("true"));
                }
                self.transport().call(&call.identity, "execute-api", request).await
            }
            None => {
                let base = match invocation.endpoint.split_once("://") {
                    Some(_) => invocation.endpoint.clone(),
                    None => format!("https://{}", invocation.endpoint),
                };
                let uri = format!("{}{}", base.trim_end_matches('/'), invocation.target());
                self.transport().http(invocation.request(&uri)?).await
            }
        };
        result(&answer.map_err(|error| unanswered(&error))?)
    }
}

fn unanswered(error: &TransportError) -> Failure {
    let name = match error {
        TransportError::AssumeRole { .. } => "States.TaskFailed",
        _ => "ApiGateway.SdkClientException",
    };
    Failure::new(name, error.to_string())
}

/// Headers as AWS spells them (recorded); others keep the spelling in which they come.
const SPELLING: [(&str, &str); 11] = [
    ("connection", "Connection"),
    ("content-length", "Content-Length"),
    ("content-type", "Content-Type"),
    ("date", "Date"),
    ("via", "Via"),
    ("x-amz-apigw-id", "x-amz-apigw-id"),
    ("x-amz-cf-id", "X-Amz-Cf-Id"),
    ("x-amz-cf-pop", "X-Amz-Cf-Pop"),
    ("x-amzn-requestid", "x-amzn-RequestId"),
    ("x-amzn-trace-id", "X-Amzn-Trace-Id"),
    ("x-cache", "X-Cache"),
];

fn result(answer: &Response<Bytes>) -> Result<Value, Failure> {
    let text = String::from_utf8_lossy(answer.body());
    let status = answer.status();
    if !status.is_success() {
        return Err(Failure::new(format!("ApiGateway.{}", status.as_u16()), text));
    }
    let mut headers: Map<String, Value> = Map::new();
    let mut add = |name: &str, value: &str| {
        let spelt = SPELLING.iter().find(|(lower, _)| *lower == name).map_or(name, |(_, spelt)| spelt);
        match headers.get_mut(spelt).and_then(Value::as_array_mut) {
            Some(values) => values.push(value.into()),
            None => drop(headers.insert(spelt.to_string(), json!([value]))),
        }
    };
    for (name, value) in answer.headers() {
        add(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    // Inside the process there is no connection that would say these.
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [
        ("connection", "keep-alive"),
        ("content-length", &*answer.body().len().to_string()),
        ("date", &*date),
    ] {
        if !answer.headers().contains_key(name) {
            add(name, value);
        }
    }
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text));
    Ok(json!({ "Headers": headers, "ResponseBody": body, "StatusCode": status.as_u16(),
        "StatusText": status.canonical_reason().unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_known_by_their_endpoint() {
        for (endpoint, expected) in [
            ("a1b2.execute-api.us-east-1.amazonaws.com", Some("a1b2")),
            ("https://a1b2.execute-api.us-east-1.amazonaws.com/", Some("a1b2")),
            ("http://localhost:4566/restapis/a1b2", Some("a1b2")),
            ("api.example.com", None),
        ] {
            assert_eq!(api(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn arguments_become_a_request() {
        let arguments = json!({ "ApiEndpoint": "a.execute-api.x.amazonaws.com", "Method": "POST", "Stage": "dev", "Path": "/pets/7",
            "QueryParameters": { "p": ["a b", 1, null] }, "Headers": { "h": ["1", "2"] }, "RequestBody": { "a": 1 } });
        let invocation = Invocation::read(&arguments).expect("good arguments");
        assert_eq!(invocation.target(), "/dev/pets/7?p=a%20b&p=1");
        let request = invocation.request(&invocation.target()).expect("a request");
        assert_eq!(request.headers().get_all("h").iter().count(), 2);
        assert_eq!(request.body().as_ref(), br#"{"a":1}"#);
        for (field, value) in [
            ("Headers", json!({ "h": "text" })),
            ("Headers", json!({ "Host": ["x"] })),
            ("QueryParameters", json!([])),
            ("Method", json!("TRACE")),
        ] {
            let mut arguments = arguments.clone();
            arguments[field] = value;
            let wrong = Invocation::read(&arguments).err().expect("refused");
            assert_eq!(wrong, [format!("The value of the field '{field}' has an invalid format")]);
        }
    }
}
