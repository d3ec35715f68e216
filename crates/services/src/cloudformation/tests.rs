//! Kept states through the front, as a deployer writes them and as AWS's clients read them.

use crate::configuration::Enforce;
use crate::fixture::{Fixture, signed, text};
use bytes::Bytes;
use serde_json::{Value, json};

async fn kept(fixture: &Fixture, method: &str, path: &str, body: Value) -> (u16, Value) {
    let request = signed("cloudformation", "test", None).method(method).uri(path);
    let request =
        request.header("content-type", "application/json").body(Bytes::from(body.to_string())).unwrap();
    let (status, body) = text(&fixture.services.handle(request).await);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

fn state() -> Value {
    json!({ "name": "shop", "id": "arn:aws:cloudformation:us-east-1:000000000000:stack/shop/1", "status": "CREATE_COMPLETE",
            "order": ["Table"], "resources": { "Table": { "kind": "AWS::DynamoDB::Table", "reference": "shop-t" } },
            "parameters": { "Stage": { "value": "dev" }, "Key": { "value": "s3cret", "no_echo": true } },
            "imports": ["net-id"],
            "outputs": { "Name": { "value": "shop-t", "description": "the table", "export": "shop-table" } } })
}

#[tokio::test]
async fn a_state_is_replaced_only_by_one_made_from_it_and_outlives_a_restart() {
    let fixture = Fixture::open(Enforce::Off);
    let path = "/local/stacks/shop";
    assert_eq!(kept(&fixture, "GET", path, Value::Null).await.0, 404);
    assert_eq!(kept(&fixture, "PUT", path, state()).await, (200, json!({ "revision": 1 })));
    assert_eq!(kept(&fixture, "PUT", path, state()).await.0, 409, "made from nothing, but there is one");
    let second = format!("{path}?revision=1");
    assert_eq!(kept(&fixture, "PUT", &second, state()).await, (200, json!({ "revision": 2 })));
    assert_eq!(kept(&fixture, "PUT", "/local/stacks/no_name", state()).await.0, 400);
    let fixture = fixture.reopened().await;
    let (_, found) = kept(&fixture, "GET", path, Value::Null).await;
    assert_eq!(found, json!({ "revision": 2, "state": state() }));
    assert_eq!(kept(&fixture, "DELETE", &second, Value::Null).await.0, 409);
    assert_eq!(kept(&fixture, "DELETE", &format!("{path}?revision=2"), Value::Null).await.0, 200);
    assert_eq!(kept(&fixture, "GET", path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_is_kept_of_a_stack_is_sealed_and_what_an_older_server_kept_is_read() {
    let fixture = Fixture::open(Enforce::Off);
    let path = "/local/stacks/shop";
    kept(&fixture, "PUT", path, state()).await;
    let directory = fixture.services.environment().directory();
    for file in ["cloudformation.db", "cloudformation.db-wal"] {
        let bytes = std::fs::read(directory.join(file)).unwrap_or_default();
        assert!(!bytes.windows(6).any(|part| part == b"s3cret"), "{file}");
    }
    let database = rusqlite::Connection::open(directory.join("cloudformation.db")).unwrap();
    database.execute("UPDATE stacks SET state = ?1", [state().to_string()]).unwrap();
    assert_eq!(kept(&fixture, "GET", path, Value::Null).await.1["state"], state());
}

#[tokio::test]
async fn stacks_are_described_as_aws_describes_them_and_secrets_stay_hidden() {
    let fixture = Fixture::open(Enforce::Off);
    kept(&fixture, "PUT", "/local/stacks/shop", state()).await;
    let ask = async |action: &str, name: &str, value: &str| {
        fixture.query("cloudformation", &[("Action", action), (name, value)]).await
    };
    let stacks = ask("DescribeStacks", "StackName", "shop").await;
    for part in [
        "<StackName>shop</StackName>",
        "<OutputValue>shop-t</OutputValue>",
        "<ExportName>shop-table</ExportName>",
        "<ParameterValue>dev</ParameterValue>",
        "<ParameterValue>****</ParameterValue>",
    ] {
        assert!(stacks.contains(part), "{part} in {stacks}");
    }
    assert!(!stacks.contains("s3cret"));
    let resources = ask("ListStackResources", "StackName", "shop").await;
    assert!(resources.contains("<PhysicalResourceId>shop-t</PhysicalResourceId>"), "{resources}");
    assert!(
        ask("ListExports", "NextToken", "").await.contains("<Name>shop-table</Name><Value>shop-t</Value>")
    );
    assert!(ask("ListImports", "ExportName", "net-id").await.contains("<member>shop</member>"));
}
