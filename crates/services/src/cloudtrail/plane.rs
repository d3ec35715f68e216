//! Which calls are recorded: those that change something, by the names of their operations, as CloudTrail's management
//! events do. The data of queues, tables, buckets and streams is not recorded; the list says which calls those are.

/// What a record counts towards. Each class has a bound of its own, so that no flood of one pushes out the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A change of a resource.
    Change = 0,
    /// Work: executions, sessions of roles, tasks.
    Work = 1,
    /// A call that was refused.
    Refused = 2,
}

/// Words that operations begin with that only read.
const READING: [&str; 15] = [
    "BatchGet", "Check", "Describe", "Download", "Estimate", "Filter", "Get", "Head", "List", "Lookup",
    "Query", "Scan", "Simulate", "Test", "Validate",
];

/// Operations on data.
const DATA: [(&str, &[&str]); 9] = [
    (
        "dynamodb",
        &[
            "PutItem",
            "UpdateItem",
            "DeleteItem",
            "BatchWriteItem",
            "TransactWriteItems",
            "TransactGetItems",
            "ExecuteStatement",
            "BatchExecuteStatement",
            "ExecuteTransaction",
        ],
    ),
    ("events", &["PutEvents"]),
    ("execute-api", &["Invoke"]),
    ("lambda", &["InvokeFunction"]),
    ("logs", &["PutLogEvents", "StartQuery", "StopQuery"]),
    ("monitoring", &["PutMetricData"]),
    ("sns", &["Publish", "PublishBatch", "ConfirmSubscription"]),
    (
        "sqs",
        &[
            "SendMessage",
            "SendMessageBatch",
            "ReceiveMessage",
            "DeleteMessage",
            "DeleteMessageBatch",
            "ChangeMessageVisibility",
            "ChangeMessageVisibilityBatch",
        ],
    ),
    // A heartbeat moves a deadline in memory, and a poll hands out what the journal records.
    ("states", &["SendTaskHeartbeat", "GetActivityTask"]),
];

const WORK: [(&str, &[&str]); 3] = [
    (
        "states",
        &[
            "StartExecution",
            "StartSyncExecution",
            "StopExecution",
            "RedriveExecution",
            "SendTaskSuccess",
            "SendTaskFailure",
            "TestState",
        ],
    ),
    ("ecs", &["RunTask", "StopTask"]),
    (
        "sts",
        &[
            "AssumeRole",
            "AssumeRoleWithWebIdentity",
            "AssumeRoleWithSAML",
            "GetSessionToken",
            "GetFederationToken",
        ],
    ),
];

/// Lambda's events bear the versions of its API.
const LAMBDA: [(&str, &str); 17] = [
    ("CreateFunction", "CreateFunction20150331"),
    ("DeleteFunction", "DeleteFunction20150331"),
    ("UpdateFunctionCode", "UpdateFunctionCode20150331v2"),
    ("UpdateFunctionConfiguration", "UpdateFunctionConfiguration20150331v2"),
    ("PublishVersion", "PublishVersion20150331"),
    ("CreateAlias", "CreateAlias20150331"),
    ("UpdateAlias", "UpdateAlias20150331"),
    ("DeleteAlias", "DeleteAlias20150331"),
    ("CreateEventSourceMapping", "CreateEventSourceMapping20150331"),
    ("UpdateEventSourceMapping", "UpdateEventSourceMapping20150331"),
    ("DeleteEventSourceMapping", "DeleteEventSourceMapping20150331"),
    ("AddPermission", "AddPermission20150331v2"),
    ("RemovePermission", "RemovePermission20150331v2"),
    ("PutFunctionConcurrency", "PutFunctionConcurrency20171031"),
    ("DeleteFunctionConcurrency", "DeleteFunctionConcurrency20171031"),
    ("TagResource", "TagResource20170331v2"),
    ("UntagResource", "UntagResource20170331v2"),
];

/// What a call counts towards; none when it is not recorded.
pub(super) fn class(service: &str, name: &str) -> Option<Class> {
    if has(&WORK, service, name) {
        return Some(Class::Work);
    }
    let is_reading = READING.iter().any(|word| name.starts_with(word));
    (!name.is_empty() && !is_reading && !has(&DATA, service, name)).then_some(Class::Change)
}

/// CloudTrail takes what hands out a session for reading.
pub(super) fn is_read_only(service: &str) -> bool {
    service == "sts"
}

/// `eventName`.
pub(super) fn event_name<'n>(service: &str, name: &'n str) -> &'n str {
    let listed = LAMBDA.iter().find(|(plain, _)| service == "lambda" && *plain == name);
    listed.map_or(name, |(_, event)| event)
}

fn has(table: &[(&str, &[&str])], service: &str, name: &str) -> bool {
    table.iter().any(|(of, names)| *of == service && names.contains(&name))
}
