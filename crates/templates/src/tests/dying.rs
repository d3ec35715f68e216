//! Deployments that die at every single call, and those that fail: the next one completes, and nothing is left.

use std::path::Path;

use serde_json::json;

use super::server::{Server, World, run};
use crate::{Change, ChangeKind, Deployed, Options, Place, Stack, Template, TemplateError};

fn place() -> Place {
    Place { account: "123456789012".into(), region: "eu-west-1".into() }
}

fn template(text: &str) -> Template {
    let options = Options { stack: "demo".into(), place: place(), ..Options::default() };
    Template::parse("t.yaml", text, Path::new("."), &options).expect("a valid template")
}

const NOBODY: &(dyn Fn(&Change) + Send + Sync) = &|_| {};

/// None: it died.
fn deploy(server: &Server, text: &str) -> Option<Result<Deployed, TemplateError>> {
    run(async {
        let mut stack = Stack::load(server, "demo").await?;
        crate::deploy(&template(text), server, &mut stack, NOBODY).await
    })
}

fn delete(server: &Server) -> Option<Result<Deployed, TemplateError>> {
    run(async {
        let mut stack = Stack::load(server, "demo").await?;
        crate::delete(server, &mut stack, &place(), NOBODY).await
    })
}

fn kinds(deployed: &Deployed) -> Vec<(&str, ChangeKind)> {
    deployed.changes.iter().map(|change| (change.id.as_str(), change.kind)).collect()
}

const FIRST: &str = "
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties: {KeySchema: [a], BillingMode: PAY_PER_REQUEST}
  Queue:
    Type: AWS::SQS::Queue
    DependsOn: Table
    Properties: {DelaySeconds: 1}
  Old:
    Type: AWS::SQS::Queue
";

/// The table is replaced, a queue changed, one removed, one added.
const SECOND: &str = "
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties: {KeySchema: [b], BillingMode: PAY_PER_REQUEST}
  Queue:
    Type: AWS::SQS::Queue
    DependsOn: Table
    Properties: {DelaySeconds: 2}
  New:
    Type: AWS::SQS::Queue
    DependsOn: Queue
";

fn complete(server: &Server, text: &str) -> World {
    deploy(server, text).expect("alive").expect("deployed");
    let again = deploy(server, text).expect("alive").expect("deployed");
    assert_eq!(again.changes, [], "a second deployment changes nothing");
    server.world()
}

/// Names and properties, without the revisions of the kept state.
fn things(world: &World) -> (Vec<String>, Vec<(String, serde_json::Value)>) {
    let tables = world.tables.values().map(|table| table["KeySchema"].to_string()).collect();
    (tables, world.queues.clone().into_iter().collect())
}

#[test]
fn a_template_is_deployed_changed_and_deleted() {
    let server = Server::default();
    complete(&server, FIRST);
    let deployed = deploy(&server, SECOND).expect("alive").expect("deployed");
    assert_eq!(
        kinds(&deployed),
        [
            ("Table", ChangeKind::Replace),
            ("Queue", ChangeKind::Modify),
            ("New", ChangeKind::Add),
            ("Old", ChangeKind::Remove)
        ]
    );
    assert_eq!(deployed.changes[0].properties, ["KeySchema"]);
    assert_eq!(deployed.changes[1].properties, ["DelaySeconds"]);
    let world = server.world();
    assert_eq!(world.tables.len(), 1, "the table that was replaced is gone");
    assert_eq!(world.queues.len(), 2);
    delete(&server).expect("alive").expect("deleted");
    assert_eq!(server.world(), World::default());
}

#[test]
fn a_deployment_that_dies_at_any_call_is_completed_by_the_next_and_leaves_nothing() {
    for dies_late in [false, true] {
        for (before, text) in [("", FIRST), (FIRST, SECOND)] {
            let whole = Server::default();
            if !before.is_empty() {
                complete(&whole, before);
            }
            let expected = things(&complete(&whole, text));
            let mut calls = 0;
            loop {
                let server = Server { dies_late, ..Server::default() };
                if !before.is_empty() {
                    complete(&server, before);
                }
                *server.calls_left.lock().expect("no panic") = Some(calls);
                let outcome = deploy(&server, text);
                *server.calls_left.lock().expect("no panic") = None;
                let died_at = format!("call {calls}, late: {dies_late}");
                let deleted = Server::default();
                *deleted.world.lock().expect("no panic") = server.world();
                assert_eq!(things(&complete(&server, text)).0, expected.0, "{died_at}");
                assert_eq!(things(&server.world()).1, expected.1, "{died_at}");
                if !deleted.world().stacks.is_empty() {
                    delete(&deleted).expect("alive").expect("deleted");
                }
                assert_eq!(deleted.world(), World::default(), "{died_at}");
                if outcome.is_some() {
                    break;
                }
                calls += 1;
            }
            assert!(calls > 10, "it died at {calls} calls only");
        }
    }
}

#[test]
fn a_failed_deployment_goes_back_to_what_was_there() {
    let server = Server::default();
    let before = complete(&server, FIRST);
    let newest = {
        let other = Server::default();
        complete(&other, SECOND).queues.into_keys().find(|name| name.contains("New")).expect("a new queue")
    };
    server.refused.lock().expect("no panic").insert(newest.clone());
    let error = deploy(&server, SECOND).expect("alive").expect_err("refused");
    let text = error.to_string();
    assert!(matches!(&error, TemplateError::RolledBack { stuck, .. } if stuck.is_empty()), "{text}");
    assert!(text.contains("New: sqs CreateQueue: LimitExceededException: no room for"), "{text}");
    let after = server.world();
    assert_eq!((&after.tables, &after.queues), (&before.tables, &before.queues));
    let unchanged = deploy(&server, FIRST).expect("alive").expect("deployed");
    assert_eq!(unchanged.changes, []);
    server.refused.lock().expect("no panic").clear();
    deploy(&server, SECOND).expect("alive").expect("deployed");
}

#[test]
fn a_first_deployment_that_fails_leaves_nothing() {
    let server = Server::default();
    let name = complete(&Server::default(), FIRST).queues.into_keys().next_back().expect("a queue");
    server.refused.lock().expect("no panic").insert(name);
    deploy(&server, FIRST).expect("alive").expect_err("refused");
    assert_eq!(server.world(), World::default());
}

#[test]
fn what_is_somebody_elses_is_neither_taken_nor_deleted() {
    let server = Server::default();
    let name = complete(&Server::default(), FIRST).tables.into_keys().next().expect("a table");
    server.world.lock().expect("no panic").tables.insert(name.clone(), json!({ "precious": true }));
    let error = deploy(&server, FIRST).expect("alive").expect_err("refused").to_string();
    assert!(error.contains("AlreadyExists"), "{error}");
    assert_eq!(server.world().tables[&name], json!({ "precious": true }));
}

#[test]
fn of_two_deployments_the_later_goes_on_and_the_other_stops_without_undoing() {
    let server = Server::default();
    let mut first = run(Stack::load(&server, "demo")).expect("alive").expect("loaded");
    complete(&server, FIRST);
    let world = server.world();
    let outcome = run(crate::deploy(&template(SECOND), &server, &mut first, NOBODY)).expect("alive");
    assert!(matches!(outcome, Err(TemplateError::Unkept(_))), "{outcome:?}");
    assert_eq!(server.world(), world);
}

#[test]
fn retained_resources_stay() {
    let server = Server::default();
    let retained = FIRST.replace(
        "    Type: AWS::SQS::Queue\n    DependsOn",
        "    Type: AWS::SQS::Queue\n    DeletionPolicy: Retain\n    DependsOn",
    );
    complete(&server, &retained);
    let without = "Resources:\n  Table:\n    Type: AWS::DynamoDB::Table\n    Properties: {KeySchema: [a], BillingMode: PAY_PER_REQUEST}\n";
    let deployed = deploy(&server, without).expect("alive").expect("deployed");
    assert_eq!(kinds(&deployed), [("Queue", ChangeKind::Retain), ("Old", ChangeKind::Remove)]);
    assert_eq!(server.world().queues.len(), 1);
}

#[test]
fn a_resource_with_a_name_of_its_own_cannot_be_replaced_under_it() {
    let server = Server::default();
    let named = FIRST.replace("{KeySchema: [a]", "{TableName: mine, KeySchema: [a]");
    complete(&server, &named);
    let error =
        deploy(&server, &named.replace("[a]", "[b]")).expect("alive").expect_err("refused").to_string();
    assert!(
        error.starts_with("t.yaml:5:5: Table: CloudFormation cannot update a stack when a custom-named"),
        "{error}"
    );
}
