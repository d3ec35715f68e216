//! Definitions, state machines, versions, aliases, activities, tags.

use std::sync::Arc;

use engine::{DefinitionHash, StateMachineType};
use store::{
    ActivityRecord, AliasRecord, Batch, Definition, Direction, RegistryKey, RegistryKind, RegistryQuery,
    RegistryRecord, RegistryWrite, Route, StateMachineRecord, StateMachineStatus, Store, StoreError,
    TagsRecord, VersionRecord,
};

use crate::samples::{self, DUBLIN, FRANKFURT, at};
use crate::{Backend, conformance};

conformance!(
    records_are_read_back_as_they_were_written,
    versions_are_listed_newest_first,
    listings_never_cross_regions,
    a_definition_is_immutable_and_stays_in_its_region,
    a_record_with_a_strange_arn_is_refused,
);

fn machine(region: &str, name: &str) -> StateMachineRecord {
    StateMachineRecord {
        arn: samples::machine_arn(region, name).into(),
        name: name.into(),
        machine_type: StateMachineType::Standard,
        status: StateMachineStatus::Active,
        definition: DefinitionHash([9; 32]),
        role_arn: "arn:aws:iam::000000000000:role/order".into(),
        revision_id: Some("6b3b".into()),
        created_at: at(0),
        updated_at: at(1),
        last_version: 12,
        logging: Some(serde_json::json!({"level": "ALL", "includeExecutionData": true})),
        tracing: None,
        encryption: None,
    }
}

fn version(name: &str, number: u64) -> RegistryRecord {
    RegistryRecord::Version(Arc::new(VersionRecord {
        arn: samples::machine_arn(FRANKFURT, &format!("{name}:{number}")).into(),
        description: None,
        created_at: at(number as i64),
        machine: machine(FRANKFURT, name),
    }))
}

fn put(store: &mut dyn Store, records: impl IntoIterator<Item = RegistryRecord>) {
    let registry = records.into_iter().map(RegistryWrite::Put).collect();
    store.append(&Batch { registry, ..Batch::default() }).expect("a commit");
}

fn records_are_read_back_as_they_were_written(backend: &dyn Backend) {
    let mut store = backend.open();
    let express =
        StateMachineRecord { machine_type: StateMachineType::Express, ..machine(FRANKFURT, "Fast") };
    let alias = AliasRecord {
        arn: samples::machine_arn(FRANKFURT, "Order:live").into(),
        name: "live".into(),
        description: Some("what customers get".into()),
        routing: vec![Route { version_arn: samples::machine_arn(FRANKFURT, "Order:12").into(), weight: 100 }],
        created_at: at(2),
        updated_at: at(3),
    };
    let activity = ActivityRecord {
        arn: "arn:aws:states:eu-central-1:000000000000:activity:pack".into(),
        name: "pack".into(),
        created_at: at(4),
        encryption: None,
    };
    let tags = TagsRecord {
        resource_arn: samples::machine_arn(FRANKFURT, "Order").into(),
        tags: vec![("team".into(), "a".into()), ("cost".into(), "ü".into())],
    };
    let records = [
        RegistryRecord::StateMachine(Arc::new(machine(FRANKFURT, "Order"))),
        RegistryRecord::StateMachine(Arc::new(express)),
        version("Order", 12),
        RegistryRecord::Alias(Arc::new(alias)),
        RegistryRecord::Activity(Arc::new(activity)),
        RegistryRecord::Tags(Arc::new(tags)),
    ];
    put(&mut *store, records.clone());
    drop(store);
    let mut store = backend.open();
    for record in &records {
        let key = record.key().expect("a key");
        assert_eq!(store.reader().registry(&key).expect("a read").as_ref(), Some(record));
    }
    let updated = RegistryRecord::StateMachine(Arc::new(StateMachineRecord {
        status: StateMachineStatus::Deleting,
        revision_id: None,
        ..machine(FRANKFURT, "Order")
    }));
    put(&mut *store, [updated.clone()]);
    let key = updated.key().expect("a key");
    assert_eq!(store.reader().registry(&key).expect("a read"), Some(updated));
    let registry = vec![RegistryWrite::Delete(key.clone()), RegistryWrite::Delete(key.clone())];
    store.append(&Batch { registry, ..Batch::default() }).expect("a commit");
    assert_eq!(store.reader().registry(&key).expect("a read"), None);
}

fn names(store: &dyn Store, mut query: RegistryQuery) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = store.reader().registry_page(&query).expect("a page");
        assert!(page.items.len() <= query.limit as usize);
        found.extend(
            page.items.iter().map(|record| record.arn().rsplit(':').next().unwrap_or_default().to_owned()),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

fn query(kind: RegistryKind, prefix: &str) -> RegistryQuery {
    let scope = samples::scope(FRANKFURT);
    RegistryQuery { scope, kind, prefix: prefix.into(), after: None, direction: Direction::Forward, limit: 2 }
}

fn versions_are_listed_newest_first(backend: &dyn Backend) {
    let mut store = backend.open();
    put(&mut *store, [1, 2, 9, 10, 11].map(|number| version("Order", number)));
    put(&mut *store, [version("Orders", 3), version("Orde", 4)]);
    let count = |kind| store.reader().registry_count(&samples::scope(FRANKFURT), kind).expect("a count");
    assert_eq!((count(RegistryKind::Version), count(RegistryKind::Alias)), (7, 0));
    let backward = RegistryQuery { direction: Direction::Backward, ..query(RegistryKind::Version, "Order:") };
    assert_eq!(names(&*store, backward), ["11", "10", "9", "2", "1"]);
    assert_eq!(names(&*store, query(RegistryKind::Version, "Order:")), ["1", "2", "9", "10", "11"]);
    assert!(names(&*store, query(RegistryKind::Alias, "Order:")).is_empty());
}

fn listings_never_cross_regions(backend: &dyn Backend) {
    let mut store = backend.open();
    for (region, name) in [(FRANKFURT, "b"), (DUBLIN, "x"), (FRANKFURT, "c"), (FRANKFURT, "a_%")] {
        put(&mut *store, [RegistryRecord::StateMachine(Arc::new(machine(region, name)))]);
    }
    assert_eq!(names(&*store, query(RegistryKind::StateMachine, "")), ["a_%", "b", "c"]);
    assert_eq!(names(&*store, query(RegistryKind::StateMachine, "a_")), ["a_%"]);
    let elsewhere =
        RegistryQuery { scope: samples::scope("us-east-1"), ..query(RegistryKind::StateMachine, "") };
    assert!(names(&*store, elsewhere).is_empty());
}

fn a_definition_is_immutable_and_stays_in_its_region(backend: &dyn Backend) {
    let mut store = backend.open();
    let hash = DefinitionHash([3; 32]);
    let definition =
        |region: &str, text: &str| Definition { scope: samples::scope(region), hash, text: text.into() };
    for text in ["{}", "{ }"] {
        let definitions = vec![definition(FRANKFURT, text)];
        store.append(&Batch { definitions, ..Batch::default() }).expect("a commit");
    }
    drop(store);
    let store = backend.open();
    let read = |region: &str, hash| store.reader().definition(&samples::scope(region), hash).expect("a read");
    assert_eq!(read(FRANKFURT, hash).as_deref(), Some("{}"));
    assert_eq!(read(FRANKFURT, DefinitionHash([4; 32])), None);
    assert_eq!(read(DUBLIN, hash), None);
}

fn a_record_with_a_strange_arn_is_refused(backend: &dyn Backend) {
    let mut store = backend.open();
    for arn in [
        "",
        "order",
        "arn:aws:states:eu-central-1:000000000000:activity:pack",
        "a:b:c:d:e:stateMachine:x:y:z",
    ] {
        let record = StateMachineRecord { arn: arn.into(), ..machine(FRANKFURT, "Order") };
        let registry = vec![RegistryWrite::Put(RegistryRecord::StateMachine(Arc::new(record)))];
        let refused = store.append(&Batch { registry, ..Batch::default() }).expect_err(arn);
        assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    }
    assert_eq!(RegistryKey::of_arn("arn:aws:states:eu-central-1:000000000000:execution:Order:a"), None);
}
