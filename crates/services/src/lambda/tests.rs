//! Functions through the service's own door: create, invoke, fail, time out, log, come again. Python 3 is all they need.

use crate::wire::{CallContext, Principal, ServiceError, ServiceRequest, ServiceResponse};
use crate::{Enforce, Services, ServicesConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::io::Write;
use tempfile::TempDir;

struct Server {
    services: Services,
    context: CallContext,
    _directory: TempDir,
}

impl Server {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = ServicesConfig::new(directory.path());
        config.enforce = Enforce::Off;
        let services = Services::open(config).unwrap();
        let context = CallContext::of(Principal::Root { account: "000000000000".into() }, "us-east-1");
        Self { services, context, _directory: directory }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<ServiceResponse, ServiceError> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        self.services.call(&self.context, "lambda", ServiceRequest::rest(method, path, body)).await
    }

    async fn create(&self, name: &str, code: &str, settings: Value) -> Value {
        let mut input = json!({
            "FunctionName": name, "Runtime": "python3.12", "Handler": "handler.handler",
            "Role": "arn:aws:iam::000000000000:role/function", "Code": {"ZipFile": zip(code)},
        });
        for (name, value) in settings.as_object().into_iter().flatten() {
            input[name.as_str()] = value.clone();
        }
        let created = self.call(Method::POST, "/2015-03-31/functions", input).await.unwrap();
        serde_json::from_slice(&created.body_bytes()).unwrap()
    }

    /// The payload, and whether it is an error's.
    async fn invoke(&self, name: &str, payload: Value) -> (Value, bool) {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answer = self.call(Method::POST, &path, payload).await.unwrap();
        let is_error = answer.headers.contains_key("x-amz-function-error");
        (serde_json::from_slice(&answer.body_bytes()).unwrap(), is_error)
    }

    async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, String, String) {
        let error = self.call(method, path, body).await.unwrap_err();
        (error.status.as_u16(), error.short_code().to_owned(), error.message)
    }
}

fn zip(code: &str) -> String {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("handler.py", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(code.as_bytes()).unwrap();
    STANDARD.encode(writer.finish().unwrap().into_inner())
}

#[tokio::test]
async fn a_function_sees_its_event_its_context_and_no_environment_of_the_server() {
    let server = Server::open();
    let code = "import os\n\
                def handler(event, context):\n    \
                    return {'event': event, 'name': context.function_name, 'left': context.get_remaining_time_in_millis(),\n            \
                    'arn': context.invoked_function_arn, 'memory': context.memory_limit_in_mb,\n            \
                    'own': os.environ['OWN'], 'server': os.environ.get('CARGO_MANIFEST_DIR'),\n            \
                    'metadata': os.environ['AWS_EC2_METADATA_DISABLED'], 'size': os.path.getsize(os.environ['AWS_CONFIG_FILE'])}\n";
    let created =
        server.create("f", code, json!({"Environment": {"Variables": {"OWN": "x"}}, "Timeout": 20})).await;
    assert_eq!(created["State"], "Active");
    assert_eq!(created["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f");
    let (answer, is_error) = server.invoke("f", json!({"a": [1, "é"]})).await;
    assert!(!is_error, "{answer}");
    assert_eq!(answer["event"], json!({"a": [1, "é"]}));
    assert_eq!(answer["arn"], created["FunctionArn"]);
    assert_eq!(
        (&answer["name"], &answer["memory"], &answer["own"]),
        (&json!("f"), &json!("128"), &json!("x"))
    );
    assert_eq!(
        (&answer["server"], &answer["metadata"], &answer["size"]),
        (&json!(null), &json!("true"), &json!(0))
    );
    assert!((1..=20_000).contains(&answer["left"].as_i64().unwrap()));
    server.services.shutdown().await;
}

#[tokio::test]
async fn errors_have_the_words_of_aws() {
    let server = Server::open();
    // cases: the payload recorded from AWS for this handler.
    let raises = "def handler(event, context):\n    raise Exception(\"Some exception was raised.\")\n";
    let trace = "  File \"/var/task/handler.py\", line 2, in handler\n    raise Exception(\"Some exception was raised.\")\n";
    for (code, settings, kind, message, stack) in [
        (raises, json!({}), "Exception", "Some exception was raised.", json!([trace])),
        (
            "x = 1\n",
            json!({}),
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'handler'",
            json!([]),
        ),
        (
            "import not_there\n",
            json!({}),
            "Runtime.ImportModuleError",
            "Unable to import module 'handler': No module named 'not_there'",
            json!([]),
        ),
        (
            "def handler(event, context):\n    return {1}\n",
            json!({}),
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type set is not JSON serializable",
            json!([]),
        ),
        (
            "",
            json!({"Handler": "handler"}),
            "Runtime.MalformedHandlerName",
            "Bad handler 'handler'",
            json!([]),
        ),
        (
            "import os\ndef handler(event, context):\n    os._exit(3)\n",
            json!({}),
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 3",
            json!(null),
        ),
        (
            "import time\ndef handler(event, context):\n    time.sleep(60)\n",
            json!({"Timeout": 1}),
            "Sandbox.Timedout",
            "Error: Task timed out after 1.00 seconds",
            json!(null),
        ),
    ] {
        server.create("g", code, settings).await;
        let (answer, is_error) = server.invoke("g", json!({})).await;
        assert!(is_error, "{answer}");
        assert_eq!(answer["errorType"], kind);
        assert!(answer["errorMessage"].as_str().unwrap().contains(message), "{answer}");
        assert_eq!(answer.get("stackTrace").cloned().unwrap_or_default(), stack);
        server.call(Method::DELETE, "/2015-03-31/functions/g", Value::Null).await.unwrap();
    }
    server.services.shutdown().await;
}

#[tokio::test]
async fn refusals_have_the_codes_and_messages_of_aws() {
    let server = Server::open();
    server.create("h", "def handler(event, context): pass\n", json!({})).await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function";
    let function = |change: Value| {
        let mut input = json!({"FunctionName": "h", "Runtime": "python3.12", "Handler": "h.h",
            "Role": "arn:aws:iam::000000000000:role/r", "Code": {"ZipFile": zip("")}});
        for (name, value) in change.as_object().into_iter().flatten() {
            input[name.as_str()] = value.clone();
        }
        input
    };
    let functions = "/2015-03-31/functions";
    for (method, path, body, status, code, message) in [
        (Method::GET, "/none", json!(null), 404, "ResourceNotFoundException", format!("Function not found: {arn}:none")),
        (
            Method::POST,
            "/h:9/invocations",
            json!({}),
            404,
            "ResourceNotFoundException",
            format!("Function not found: {arn}:h:9"),
        ),
        (Method::POST, "", function(json!({})), 409, "ResourceConflictException", "Function already exist: h".into()),
        (
            Method::POST,
            "",
            function(json!({"Layers": ["arn:x"]})),
            400,
            "InvalidParameterValueException",
            "Layers is not supported by this server.".into(),
        ),
        (
            Method::POST,
            "",
            function(json!({"Environment": {"Variables": {"AWS_REGION": "x"}}})),
            400,
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: AWS_REGION"
                .into(),
        ),
    ] {
        let refused = server.refused(method, &format!("{functions}{path}"), body).await;
        assert_eq!(refused, (status, code.to_owned(), message));
    }
    server.services.shutdown().await;
}

#[tokio::test]
async fn a_redelivery_joins_the_run_under_way_or_gets_its_answer() {
    let mut server = Server::open();
    let code = "import time, uuid\ndef handler(event, context):\n    time.sleep(0.2)\n    return str(uuid.uuid4())\n";
    server.create("j", code, json!({})).await;
    server.context.invocation_id = Some("i-1".to_owned());
    let (first, second) = tokio::join!(server.invoke("j", json!({})), server.invoke("j", json!({})));
    assert_eq!(first, second);
    server.context.invocation_id = Some("i-2".to_owned());
    assert_ne!(server.invoke("j", json!({})).await, first);
    server.services.shutdown().await;
}

#[tokio::test]
async fn an_alias_stays_on_its_version_while_the_code_changes() {
    let server = Server::open();
    server.create("v", "def handler(event, context): return 1\n", json!({"Publish": true})).await;
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    server.call(Method::POST, "/2015-03-31/functions/v/aliases", alias).await.unwrap();
    let code = json!({"ZipFile": zip("def handler(event, context): return 2\n")});
    server.call(Method::PUT, "/2015-03-31/functions/v/code", code).await.unwrap();
    assert_eq!(server.invoke("v", json!({})).await, (json!(2), false));
    assert_eq!(server.invoke("v:live", json!({})).await, (json!(1), false));
    server.services.shutdown().await;
}

#[tokio::test]
async fn what_a_function_prints_is_in_cloudwatch_logs_between_start_and_end() {
    let server = Server::open();
    server.create("l", "def handler(event, context): print('hello')\n", json!({})).await;
    server.invoke("l", json!({})).await;
    server.services.shutdown().await;
    let request = ServiceRequest::json_call("FilterLogEvents", &json!({"logGroupName": "/aws/lambda/l"}));
    let answer = server.services.call(&server.context, "logs", request).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.body_bytes()).unwrap();
    let lines: Vec<&str> =
        answer["events"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap()).collect();
    let starts = ["START RequestId: ", "hello", "END RequestId: ", "REPORT RequestId: "];
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
    assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
}

#[tokio::test]
async fn an_asynchronous_invocation_is_answered_at_once_and_run_later() {
    let server = Server::open();
    server.create("e", "def handler(event, context): print('ran', event['n'])\n", json!({})).await;
    let mut request = ServiceRequest::rest(
        Method::POST,
        "/2015-03-31/functions/e/invocations",
        Bytes::from_static(b"{\"n\": 7}"),
    );
    request.headers.insert("x-amz-invocation-type", "Event".parse().unwrap());
    let answer = server.services.call(&server.context, "lambda", request).await.unwrap();
    assert_eq!(answer.status, 202);
    let filter = json!({"logGroupName": "/aws/lambda/e", "filterPattern": "ran"});
    loop {
        let request = ServiceRequest::json_call("FilterLogEvents", &filter);
        let found = server.services.call(&server.context, "logs", request).await;
        if found.is_ok_and(|found| String::from_utf8_lossy(&found.body_bytes()).contains("ran 7")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.services.shutdown().await;
}
