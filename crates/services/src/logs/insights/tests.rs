//! Queries as callers send them, against rows that were worked out by hand.

use serde_json::{Value, json};

use crate::wire::{CallContext, Principal, ServiceError, ServiceRequest};
use crate::{Services, ServicesConfig};

/// 2026-11-22 09:00 UTC.
const START_MS: i64 = 1_795_338_000_000;

async fn call(services: &Services, operation: &str, input: Value) -> Result<Value, ServiceError> {
    let context = CallContext::of(Principal::Root { account: "123456789012".to_owned() }, "eu-west-1");
    let request = ServiceRequest::json_call(operation, &input);
    let body = services.call(&context, "logs", request).await?.body_bytes();
    Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("json") })
}

/// Ten lines, a minute apart.
async fn logged(services: &Services) {
    let line = |n: i64| {
        let level = ["INFO", "WARN", "ERROR"][n as usize % 3];
        let name = if n % 2 == 1 { "ana" } else { "rui" };
        let mut line =
            json!({"n": n, "level": level, "who": {"name": name}, "tags": ["a", "b"], "gone": null});
        if n == 4 {
            line["extra"] = "yes".into();
        }
        line["odd-name"] = n.into();
        (START_MS + n * 60_000, line.to_string())
    };
    let sink = services.environment().logs().expect("logs").clone();
    sink.put("123456789012", "eu-west-1", "/app/cases", "web", (0..10).map(line).collect())
        .await
        .expect("put");
}

async fn rows(services: &Services, query: &str) -> Vec<String> {
    let start = json!({"logGroupName": "/app/cases", "startTime": START_MS / 1000, "endTime": START_MS / 1000 + 3600,
                       "queryString": query});
    let id = call(services, "StartQuery", start).await.expect(query)["queryId"].clone();
    let found = loop {
        let found = call(services, "GetQueryResults", json!({"queryId": id})).await.expect(query);
        if found["status"] != "Running" {
            break found;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(found["status"], "Complete", "{query}");
    let shown = |row: &Value| {
        let fields = row.as_array().into_iter().flatten().filter(|field| field["field"] != "@ptr");
        let text = |field: &Value, name: &str| field[name].as_str().unwrap_or_default().to_owned();
        let pairs = fields.map(|field| format!("{}={}", text(field, "field"), text(field, "value")));
        pairs.collect::<Vec<_>>().join(" ; ")
    };
    found["results"].as_array().into_iter().flatten().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_give_the_rows_of_the_cases() {
    let directory = tempfile::tempdir().expect("directory");
    let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
    logged(&services).await;
    for case in include_str!("cases.txt").split("\n> ").skip(1) {
        let (query, expected) = case.split_once('\n').expect("rows");
        let expected: Vec<&str> =
            expected.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "-").collect();
        assert_eq!(rows(&services, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_cannot_read_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let services = Services::open(ServicesConfig::new(directory.path())).expect("open");
    logged(&services).await;
    let cases = [
        (json!({"queryString": "limit 1"}), "InvalidParameterException"),
        (json!({"queryString": "limit 1", "logGroupName": "/no"}), "ResourceNotFoundException"),
        (json!({"queryString": "lmt 1", "logGroupName": "/app/cases"}), "MalformedQueryException"),
        (
            json!({"queryString": "limit 1", "logGroupName": "/app/cases", "startTime": 9}),
            "InvalidParameterException",
        ),
        (
            json!({"queryString": "limit 1", "logGroupName": "/app/cases", "limit": 10_001}),
            "InvalidParameterException",
        ),
        (
            json!({"queryString": "limit 1", "logGroupName": "/app/cases", "queryLanguage": "SQL"}),
            "UnsupportedOperationException",
        ),
    ];
    for (mut input, code) in cases {
        for (name, value) in [("startTime", 0), ("endTime", 1)] {
            if input.get(name).is_none() {
                input[name] = value.into();
            }
        }
        let refused = call(&services, "StartQuery", input.clone()).await.expect_err("refused");
        assert_eq!(refused.code, code, "{input}");
    }
    let unknown = call(&services, "GetQueryResults", json!({"queryId": "x"})).await.expect_err("refused");
    assert_eq!(unknown.code, "ResourceNotFoundException");
}
