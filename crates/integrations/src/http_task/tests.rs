//! HTTP Tasks against a transport that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use asl::payload::Payload;
use asl::resource::{Resource, ResourceCatalog};
use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::catalog::Catalog;
use crate::transport::{Adding, Identity, Pending, Refusal, Transport};

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<http::Response<Bytes>>>,
    sent: Mutex<Vec<http::Request<Bytes>>>,
    additions: Additions,
    asked: Mutex<Vec<(Endpoint, Option<i64>)>>,
}

impl Transport for Script {
    fn call<'a>(&'a self, _: &'a Identity, _: &'a str, _: http::Request<Bytes>) -> Pending<'a> {
        Box::pin(async { Err(TransportError::TimedOut) })
    }

    fn additions<'a>(&'a self, _: &'a Identity, endpoint: &'a Endpoint, refused: Option<i64>) -> Adding<'a> {
        self.asked.lock().expect("lock").push((endpoint.clone(), refused));
        let additions = match endpoint.connection_arn.as_str() {
            "missing" => {
                Err(Refusal { error: "Events.ConnectionResource.ResourceNotFound".into(), cause: "?".into() })
            }
            _ => Ok(self.additions.clone()),
        };
        Box::pin(async move { additions })
    }

    fn http<'a>(&'a self, request: http::Request<Bytes>) -> Pending<'a> {
        self.sent.lock().expect("lock").push(request);
        let answer = self.answers.lock().expect("lock").pop_front();
        Box::pin(async move { answer.ok_or(TransportError::TimedOut) })
    }
}

fn answer(status: u16, kind: &str, body: &'static [u8]) -> http::Response<Bytes> {
    let answer = http::Response::builder().status(status).header("content-type", kind);
    answer.body(Bytes::from_static(body)).expect("an answer")
}

/// What becomes of parameters, a connection's additions, and these answers.
fn invoked(
    parameters: Value,
    additions: Additions,
    answers: Vec<http::Response<Bytes>>,
) -> (Report, Arc<Script>) {
    let script = Arc::new(Script { answers: Mutex::new(answers.into()), additions, ..Script::default() });
    let transport: Arc<dyn Transport> = script.clone();
    let call = call(parameters);
    let report = ready(Integrations::new(transport).run(&call));
    (report, script)
}

fn call(parameters: Value) -> Call {
    let identity = Identity {
        role_arn: "role".into(),
        session_name: "e".into(),
        account: "000000000000".into(),
        region: "us-east-2".into(),
        invocation_id: "i".into(),
    };
    Call {
        identity,
        execution_arn: "e".into(),
        state_machine_arn: "machine".into(),
        resource: Resource::parse("arn:aws:states:::http:invoke").expect("resource"),
        arguments: Payload::from_value(parameters),
    }
}

/// The futures of these tests never wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a scripted future waits"),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_string(), value.to_string())
}

fn guide_parameters() -> Value {
    json!({
        "InvocationConfig": { "ConnectionArn": "c" }, "ApiEndpoint": "https://example.com/path", "Method": "POST",
        "Headers": { "Request-Id": "my_request_id", "Header-Param": "state_machine_header_param", "user-agent": "me" },
        "RequestBody": { "Job": "Engineer", "BodyParam": "state_machine_body_param" },
        "QueryParameters": { "QueryParam": "state_machine_query_param", "q": ["a b", 2] }
    })
}

fn guide_additions() -> Additions {
    Additions {
        headers: vec![pair("ApiKey", "key_value"), pair("header-param", "connection_header_param")],
        query: vec![pair("QueryParam", "connection_query_param")],
        body: vec![pair("BodyParam", "connection_body_param")],
        token: None,
    }
}

#[test]
fn what_the_connection_says_wins() {
    let answers = vec![answer(200, "application/json", br#"{"paid":true}"#)];
    let (report, script) = invoked(guide_parameters(), guide_additions(), answers);
    let sent = script.sent.lock().expect("lock");
    assert_eq!(sent[0].uri(), "https://example.com/path?q=a%20b&q=2&QueryParam=connection_query_param");
    assert_eq!(&sent[0].body()[..], br#"{"Job":"Engineer","BodyParam":"connection_body_param"}"#);
    let header = |name: &str| sent[0].headers()[name].to_str().expect("text").to_string();
    assert_eq!(header("header-param"), "connection_header_param");
    assert_eq!(header("apikey"), "key_value");
    assert_eq!(header("request-id"), "my_request_id");
    assert_eq!(header("content-type"), "application/json; charset=UTF-8");
    assert_eq!(header("user-agent"), "Amazon|StepFunctions|HttpInvoke|us-east-2");
    assert_eq!(header("range"), "bytes=0-262144");
    let expected = json!({ "Headers": { "content-type": ["application/json"] }, "ResponseBody": { "paid": true },
        "StatusCode": 200, "StatusText": "OK" });
    assert_eq!(report, Report::Succeeded(expected));
    let asked = script.asked.lock().expect("lock");
    assert_eq!((asked[0].0.method.as_str(), asked[0].0.url.as_str()), ("POST", "https://example.com/path"));
}

#[test]
fn a_form_encodes_lists_as_it_is_told() {
    let cases = [
        (json!({}), "a%5B0%5D=x&a%5B1%5D=y%20z&m%5Bk%5D=true"),
        (json!({ "ArrayFormat": "REPEAT" }), "a=x&a=y%20z&m%5Bk%5D=true"),
        (json!({ "ArrayFormat": "COMMAS" }), "a=x%2Cy%20z&m%5Bk%5D=true"),
        (json!({ "ArrayFormat": "BRACKETS" }), "a%5B%5D=x&a%5B%5D=y%20z&m%5Bk%5D=true"),
    ];
    for (options, expected) in cases {
        let mut parameters = guide_parameters();
        parameters["RequestBody"] = json!({ "a": ["x", "y z"], "m": { "k": true } });
        parameters["Transform"] =
            json!({ "RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": options });
        let (_, script) = invoked(parameters, Additions::default(), vec![answer(200, "text/plain", b"ok")]);
        let sent = script.sent.lock().expect("lock");
        assert_eq!(String::from_utf8_lossy(sent[0].body()), expected);
        assert_eq!(sent[0].headers()["content-type"], "application/x-www-form-urlencoded");
    }
}

fn error(report: &Report) -> String {
    match report {
        Report::Failed(failure, _) => failure.error.clone().unwrap_or_default(),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_asked_or_read_has_its_error() {
    let changed = |name: &str, value: Value| {
        let mut parameters = guide_parameters();
        parameters[name] = value;
        parameters
    };
    let cases = [
        (changed("Headers", json!({ "X-Amz-Date": "x" })), answer(200, "", b""), "States.Runtime"),
        (changed("Headers", json!({ "Authorization": "x" })), answer(200, "", b""), "States.Runtime"),
        (changed("RequestBody", json!("text")), answer(200, "", b""), "States.Runtime"),
        (changed("ApiEndpoint", json!("ftp://example.com")), answer(200, "", b""), "States.Runtime"),
        (changed("ApiEndpoint", json!("https://a:b@example.com")), answer(200, "", b""), "States.Runtime"),
        (changed("Method", json!("TRACE")), answer(200, "", b""), "States.Runtime"),
        (
            changed("InvocationConfig", json!({ "ConnectionArn": "missing" })),
            answer(200, "", b""),
            "Events.ConnectionResource.ResourceNotFound",
        ),
        (guide_parameters(), answer(404, "text/plain", b"no"), "States.Http.StatusCode.404"),
        (guide_parameters(), answer(302, "text/plain", b""), "States.Http.StatusCode.302"),
        (guide_parameters(), answer(200, "image/png", b"x"), "States.Runtime"),
        (guide_parameters(), answer(200, "text/plain", b"\xff"), "States.Runtime"),
    ];
    for (parameters, answer, expected) in cases {
        let (report, _) = invoked(parameters.clone(), guide_additions(), vec![answer]);
        assert_eq!(error(&report), expected, "{parameters}");
    }
    let (report, _) = invoked(guide_parameters(), guide_additions(), Vec::new());
    assert_eq!(error(&report), "States.Http.Socket");
}

#[test]
fn a_refused_token_is_renewed_once() {
    let additions = Additions { token: Some(7), ..Additions::default() };
    let answers = vec![answer(401, "", b""), answer(401, "", b""), answer(200, "", b"")];
    let (report, script) = invoked(guide_parameters(), additions, answers);
    assert_eq!(error(&report), "States.Http.StatusCode.401");
    let asked = script.asked.lock().expect("lock");
    assert_eq!(asked.iter().map(|(_, refused)| *refused).collect::<Vec<_>>(), [None, Some(7)]);
}

#[test]
fn a_trace_hides_what_the_connection_adds_unless_told_otherwise() {
    for (secrets, is_shown) in [(Secrets::Shown, true), (Secrets::Omitted, false)] {
        let script = Script {
            answers: Mutex::new(vec![answer(200, "text/plain", b"ok")].into()),
            additions: guide_additions(),
            ..Script::default()
        };
        let (_, trace) =
            ready(Integrations::new(Arc::new(script)).run_traced(&call(guide_parameters()), secrets));
        let trace = trace.expect("an exchange");
        let text = trace.request.to_string();
        for added in ["key_value", "connection_query_param", "connection_body_param"] {
            assert_eq!(text.contains(added), is_shown, "{text}");
        }
        assert!(text.contains("my_request_id"));
        assert_eq!(trace.response.expect("an answer")["statusCode"], "200");
    }
}

#[test]
fn a_definition_says_what_an_http_task_needs() {
    let resource = Resource::parse("arn:aws:states:::http:invoke").expect("resource");
    let messages = |parameters: Value| -> Vec<String> {
        Catalog.check(&resource, Some(&parameters)).into_iter().map(|problem| problem.message).collect()
    };
    assert_eq!(messages(guide_parameters()), Vec::<String>::new());
    let dynamic = json!({ "ApiEndpoint.$": "$.url", "Method.$": "$.m", "Authentication": { "ConnectionArn.$": "$.c" } });
    assert_eq!(messages(dynamic), Vec::<String>::new());
    let wrong = messages(json!({ "Method": "TRACE", "Nonsense": 1 }));
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    let other = Resource::parse("arn:aws:states:::http:invoke.waitForTaskToken").expect("resource");
    assert!(Catalog.check(&other, None)[0].message.contains("is not recognized"));
}
