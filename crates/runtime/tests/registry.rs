//! State machines, versions, aliases, activities and tags.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::{
    CreateActivity, CreateAlias, Error, ExecutionStatus, PageRequest, Route, Scope, UpdateAlias,
    UpdateStateMachine,
};
use support::*;

#[tokio::test(start_paused = true)]
async fn creating_is_idempotent_by_everything_but_role_and_tags() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let first = runtime.create_state_machine(&scope(), request("m", PASS)).await.unwrap();
    assert_eq!(&*first.arn, "arn:aws:states:us-east-1:000000000000:stateMachine:m");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut again = request("m", PASS);
    again.role_arn = "arn:aws:iam::000000000000:role/other".into();
    let again = runtime.create_state_machine(&scope(), again).await.unwrap();
    assert_eq!(first.created_at, again.created_at);
    let spaced = request("m", &format!("{PASS} "));
    let refused = runtime.create_state_machine(&scope(), spaced).await.unwrap_err();
    assert_eq!(refused.code(), "StateMachineAlreadyExists");
    assert_eq!(refused.to_string(), format!("State Machine Already Exists: '{}'", first.arn));
    let elsewhere = Scope { region: "eu-west-1".into(), ..scope() };
    runtime.create_state_machine(&elsewhere, request("m", "{}")).await.unwrap_err();
    runtime.create_state_machine(&elsewhere, request("m", TASK)).await.unwrap();
    let listed = runtime.list_state_machines(&scope(), PageRequest::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1, "listings never cross regions");
    let mut described = request("m2", PASS);
    described.version_description = Some("v".into());
    let refused = runtime.create_state_machine(&scope(), described).await.unwrap_err();
    assert_eq!(refused.to_string(), "Version description can only be set when publish is true");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_definition_is_refused_with_awss_text() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let refused =
        runtime.create_state_machine(&scope(), request("m", r#"{"StartAt": "A"}"#)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: These fields are required: [States] at /'"
    );
    let missing =
        runtime.describe_state_machine("arn:aws:states:us-east-1:000000000000:stateMachine:m").await;
    assert!(matches!(missing, Err(Error::StateMachineDoesNotExist(_))));
}

#[tokio::test(start_paused = true)]
async fn an_update_gives_a_new_revision_and_running_executions_keep_theirs() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", WAIT).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    let nothing = runtime.update_state_machine(&machine, UpdateStateMachine::default()).await.unwrap_err();
    assert_eq!(nothing.code(), "MissingRequiredParameter");
    let change = UpdateStateMachine { definition: Some(PASS.into()), ..UpdateStateMachine::default() };
    let updated = runtime.update_state_machine(&machine, change.clone()).await.unwrap();
    assert!(updated.revision_id.is_some());
    let same = runtime.update_state_machine(&machine, change).await.unwrap();
    assert_eq!(same.revision_id, updated.revision_id, "a change of nothing is no revision");
    let now = runtime.describe_state_machine(&machine).await.unwrap();
    assert_eq!(&*now.definition, PASS);
    let pinned = runtime.describe_state_machine_for_execution(&execution).await.unwrap();
    assert_eq!(&*pinned.definition, WAIT);
    let row = ended(&runtime, &execution).await.row;
    assert_eq!(row.stop.unwrap().since(row.start).as_secs(), 3_600);
}

#[tokio::test(start_paused = true)]
async fn version_numbers_are_never_given_twice() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", PASS).await;
    let wrong = runtime.publish_version(&machine, Some("x"), None).await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "Failed to publish the State Machine version for revision x. The current State Machine revision is INITIAL."
    );
    let first = runtime.publish_version(&machine, Some("INITIAL"), Some("one".into())).await.unwrap();
    let again = runtime.publish_version(&machine, None, None).await.unwrap();
    assert_eq!(first.arn, again.arn, "one version a revision");
    runtime.delete_version(&first.arn).await.unwrap();
    runtime.delete_version(&first.arn).await.unwrap();
    let second = runtime.publish_version(&machine, None, None).await.unwrap();
    assert_eq!(*second.arn, *format!("{machine}:2"));
    let versions = runtime.list_versions(&machine, PageRequest::default()).await.unwrap();
    assert_eq!(versions.items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alias_routes_by_weight_and_its_executions_say_so() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", PASS).await;
    let one = runtime.publish_version(&machine, None, None).await.unwrap().arn;
    let change = UpdateStateMachine {
        definition: Some(PASS.replace("\"A\"", "\"B\"").into()),
        publish: true,
        ..UpdateStateMachine::default()
    };
    let two = runtime.update_state_machine(&machine, change).await.unwrap().version_arn.unwrap();
    let route = |arn: &Arc<str>, weight| Route { version_arn: Arc::clone(arn), weight };
    let alias = |routing| CreateAlias { name: "live".into(), description: None, routing };
    let refused = runtime.create_alias(alias(vec![route(&one, 70), route(&two, 29)])).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Sum of routing configuration weights must equal 100. Received: [70, 29]"
    );
    let created = runtime.create_alias(alias(vec![route(&one, 20), route(&two, 80)])).await.unwrap();
    runtime.create_alias(alias(vec![route(&one, 20), route(&two, 80)])).await.unwrap();
    let other = runtime.create_alias(alias(vec![route(&one, 100)])).await.unwrap_err();
    assert_eq!(other.code(), "ConflictException");
    let used = runtime.delete_version(&one).await.unwrap_err();
    assert!(used.to_string().ends_with("Current list of aliases referencing this version: [live]"), "{used}");
    let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
    for _ in 0..200 {
        let started = runtime.start_execution(start_request(&created.arn, None, "{}")).await.unwrap();
        let row = ended(&runtime, &started.execution_arn).await.row;
        assert_eq!(row.alias_arn.as_ref(), Some(&created.arn));
        *counts.entry(row.version_arn.unwrap()).or_default() += 1;
    }
    assert!(counts[&one] > 10 && counts[&two] > 120, "{counts:?}");
    let moved = UpdateAlias { description: None, routing: Some(vec![route(&two, 100)]) };
    runtime.update_alias(&created.arn, moved).await.unwrap();
    runtime.delete_version(&one).await.unwrap();
    assert_eq!(runtime.list_aliases(&two, PageRequest::default()).await.unwrap().items.len(), 1);
    runtime.delete_alias(&created.arn).await.unwrap();
    let gone = runtime.describe_alias(&created.arn).await.unwrap_err();
    assert_eq!(gone.to_string(), "Request references a resource that does not exist.");
}

#[tokio::test(start_paused = true)]
async fn deleting_a_machine_ends_what_runs_and_frees_its_name() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", WAIT).await;
    runtime.publish_version(&machine, None, None).await.unwrap();
    let execution = start(&runtime, &machine, "e", "{}").await;
    runtime.delete_state_machine(&machine).await.unwrap();
    let refused = runtime.start_execution(start_request(&machine, None, "{}")).await;
    assert!(refused.is_err());
    assert_eq!(ended(&runtime, &execution).await.row.status, ExecutionStatus::Aborted);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gone = runtime.describe_state_machine(&machine).await;
    assert!(matches!(gone, Err(Error::StateMachineDoesNotExist(_))));
    runtime.delete_state_machine(&machine).await.unwrap();
    create(&runtime, "m", PASS).await;
    let versions = runtime.list_versions(&machine, PageRequest::default()).await.unwrap();
    assert!(versions.items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_a_crash_interrupted_goes_on() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let machine = create(&runtime, "m", WAIT).await;
    let execution = start(&runtime, &machine, "e", "{}").await;
    runtime.delete_state_machine(&machine).await.unwrap();
    drop(runtime);
    let runtime = world.open().await;
    assert_eq!(ended(&runtime, &execution).await.row.status, ExecutionStatus::Aborted);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(runtime.describe_state_machine(&machine).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn tags_are_kept_in_order_and_bounded() {
    let world = World::new(Script::echo());
    let runtime = world.open().await;
    let request = CreateActivity { name: "a".into(), tags: vec![("k".into(), "v".into())], encryption: None };
    let activity = runtime.create_activity(&scope(), request).await.unwrap().arn;
    runtime.tag_resource(&activity, vec![("l".into(), "w".into()), ("k".into(), "x".into())]).await.unwrap();
    let tags = runtime.list_tags(&activity).await.unwrap();
    assert_eq!(tags, [("k".into(), "x".into()), ("l".into(), "w".into())]);
    let many = (0..49).map(|n| (format!("t{n}").into(), "".into())).collect();
    let refused = runtime.tag_resource(&activity, many).await.unwrap_err();
    assert_eq!(refused.code(), "TooManyTags");
    runtime.untag_resource(&activity, &["k".into()]).await.unwrap();
    assert_eq!(runtime.list_tags(&activity).await.unwrap().len(), 1);
    let missing = runtime.list_tags("arn:aws:states:us-east-1:000000000000:activity:none").await.unwrap_err();
    assert_eq!(missing.code(), "ResourceNotFound");
    runtime.delete_activity(&activity).await.unwrap();
    runtime.delete_activity(&activity).await.unwrap();
    assert!(matches!(runtime.describe_activity(&activity).await, Err(Error::ActivityDoesNotExist(_))));
}
