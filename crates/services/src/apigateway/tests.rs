//! APIs made through the front as AWS's SDKs make them, and called by host and by path.

use crate::configuration::Enforce;
use crate::fixture::{Fixture, signed, text};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

async fn control(fixture: &Fixture, method: &str, path: &str, body: Value) -> (u16, Value) {
    let request = signed("apigateway", "test", None).method(method).uri(path);
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let (status, body) = text(&fixture.services.handle(request).await);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// An API with a mock at `/pets/{id}`, deployed as `dev`.
async fn pets(fixture: &Fixture) -> String {
    let (status, api) = control(fixture, "POST", "/restapis", json!({ "name": "pets" })).await;
    assert_eq!(status, 201, "{api}");
    let base = format!("/restapis/{}", api["id"].as_str().unwrap());
    let root = api["rootResourceId"].as_str().unwrap();
    let (_, pets) =
        control(fixture, "POST", &format!("{base}/resources/{root}"), json!({ "pathPart": "pets" })).await;
    let below = format!("{base}/resources/{}", pets["id"].as_str().unwrap());
    let (_, pet) = control(fixture, "POST", &below, json!({ "pathPart": "{id}" })).await;
    assert_eq!(pet["path"], "/pets/{id}");
    let method = format!("{base}/resources/{}/methods/GET", pet["id"].as_str().unwrap());
    control(fixture, "PUT", &method, json!({ "authorizationType": "NONE" })).await;
    let template = r#"{"statusCode": 201}"#;
    let integration = json!({ "type": "MOCK", "requestTemplates": { "application/json": template } });
    control(fixture, "PUT", &format!("{method}/integration"), integration).await;
    let answer = json!({ "selectionPattern": "2..",
        "responseTemplates": { "application/json": "{\"id\": \"$input.params('id')\", \"stage\": \"$context.stage\"}" } });
    let (status, _) = control(fixture, "PUT", &format!("{method}/integration/responses/201"), answer).await;
    assert_eq!(status, 201);
    let (status, deployed) =
        control(fixture, "POST", &format!("{base}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(status, 201, "{deployed}");
    api["id"].as_str().unwrap().to_owned()
}

async fn called(fixture: &Fixture, host: &str, path: &str) -> (u16, String) {
    let request = Request::get(path).header("host", host).body(Bytes::new()).unwrap();
    text(&fixture.services.handle(request).await)
}

#[tokio::test]
async fn what_is_deployed_answers_by_host_and_by_path_and_outlives_a_restart() {
    let fixture = Fixture::open(Enforce::On);
    let id = pets(&fixture).await;
    let fixture = fixture.reopened().await;
    let host = format!("{id}.execute-api.us-east-1.amazonaws.com");
    let expected = (201, r#"{"id": "7", "stage": "dev"}"#.to_owned());
    assert_eq!(called(&fixture, &host, "/dev/pets/7").await, expected);
    let by_path = format!("/restapis/{id}/dev/_user_request_/pets/7");
    assert_eq!(called(&fixture, "localhost", &by_path).await, expected);
    let (status, body) = called(&fixture, &host, "/dev/nothing").await;
    assert_eq!((status, body.as_str()), (403, r#"{"message":"Missing Authentication Token"}"#));
    let (status, body) = called(&fixture, &host, "/prod/pets/7").await;
    assert_eq!((status, body.as_str()), (403, r#"{"message":"Forbidden"}"#));
}

#[tokio::test]
async fn a_deployment_is_a_copy_and_parts_are_refused_in_the_words_of_aws() {
    let fixture = Fixture::open(Enforce::Off);
    let id = pets(&fixture).await;
    let base = format!("/restapis/{id}");
    let (_, resources) = control(&fixture, "GET", &format!("{base}/resources"), Value::Null).await;
    let resources = resources["item"].as_array().unwrap();
    assert_eq!(resources.len(), 3);
    let pets = resources.iter().find(|resource| resource["path"] == "/pets").unwrap();
    let pets = pets["id"].as_str().unwrap();
    assert_eq!(control(&fixture, "DELETE", &format!("{base}/resources/{pets}"), Value::Null).await.0, 202);
    let host = format!("{id}.execute-api.us-east-1.amazonaws.com");
    assert_eq!(called(&fixture, &host, "/dev/pets/7").await.0, 201);
    let (status, error) = control(&fixture, "POST", &format!("{base}/deployments"), json!({})).await;
    assert_eq!(
        (status, error["message"].as_str().unwrap()),
        (400, "The REST API doesn't contain any methods")
    );
    assert_eq!(error.get("Message"), None);
    assert_eq!(control(&fixture, "GET", "/restapis/nothing", Value::Null).await.0, 404);
    assert_eq!(control(&fixture, "DELETE", &base, Value::Null).await.0, 202);
    assert_eq!(called(&fixture, &host, "/dev/pets/7").await.0, 403);
}

#[tokio::test]
async fn a_call_sees_the_deployment_that_was_answered_for_and_deployments_are_bounded() {
    let fixture = Fixture::open(Enforce::Off);
    let id = pets(&fixture).await;
    let base = format!("/restapis/{id}");
    let host = format!("{id}.execute-api.us-east-1.amazonaws.com");
    assert_eq!(called(&fixture, &host, "/dev/pets/7").await.0, 201);
    let (_, all) = control(&fixture, "GET", &format!("{base}/resources?embed=methods"), Value::Null).await;
    let pet = all["item"].as_array().unwrap().iter().find(|one| one["path"] == "/pets/{id}").unwrap();
    let method = format!("{base}/resources/{}/methods/GET", pet["id"].as_str().unwrap());
    for text in ["one", "two"] {
        let answer = json!({ "selectionPattern": "2..", "responseTemplates": { "application/json": text } });
        control(&fixture, "PUT", &format!("{method}/integration/responses/201"), answer).await;
        assert_ne!(called(&fixture, &host, "/dev/pets/7").await.1, text, "it is not deployed yet");
        let stage = json!({ "stageName": "dev" });
        assert_eq!(control(&fixture, "POST", &format!("{base}/deployments"), stage).await.0, 201);
        assert_eq!(called(&fixture, &host, "/dev/pets/7").await, (201, text.to_owned()));
    }
    let mut last = (201, Value::Null);
    for _ in 0..200 {
        last = control(&fixture, "POST", &format!("{base}/deployments"), json!({})).await;
    }
    assert_eq!(
        (last.0, &last.1["message"]),
        (429, &json!("Maximum number of deployments for this API has been reached"))
    );
}
