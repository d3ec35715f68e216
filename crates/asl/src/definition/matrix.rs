//! Which fields each state type has, and which of them only one query language knows.

const TASK: &str = "Resource Parameters Arguments Credentials TimeoutSeconds TimeoutSecondsPath HeartbeatSeconds \
                    HeartbeatSecondsPath InputPath OutputPath ResultPath ResultSelector Output Assign Retry Catch Next End";
const PARALLEL: &str = "Branches Parameters Arguments InputPath OutputPath ResultPath ResultSelector Output Assign Retry \
                        Catch Next End";
const MAP: &str = "ItemProcessor Iterator Parameters ItemsPath Items ItemSelector ItemReader ItemBatcher ResultWriter Label \
                   MaxConcurrency MaxConcurrencyPath ToleratedFailureCount ToleratedFailureCountPath \
                   ToleratedFailurePercentage ToleratedFailurePercentagePath InputPath OutputPath ResultPath \
                   ResultSelector Output Assign Retry Catch Next End";
const PASS: &str = "Result Parameters InputPath OutputPath ResultPath Output Assign Next End";
const WAIT: &str = "Seconds SecondsPath Timestamp TimestampPath InputPath OutputPath Output Assign Next End";
const CHOICE: &str = "Choices Default InputPath OutputPath Output Assign";
const SUCCEED: &str = "InputPath OutputPath Output";
const FAIL: &str = "Error ErrorPath Cause CausePath";

/// Fields that only JSONPath states have.
pub(super) const JSONPATH_ONLY: [&str; 16] = [
    "InputPath",
    "OutputPath",
    "ResultPath",
    "Parameters",
    "ResultSelector",
    "Result",
    "ItemsPath",
    "TimeoutSecondsPath",
    "HeartbeatSecondsPath",
    "SecondsPath",
    "TimestampPath",
    "MaxConcurrencyPath",
    "ToleratedFailurePercentagePath",
    "ToleratedFailureCountPath",
    "ErrorPath",
    "CausePath",
];

/// Fields that only JSONata states have.
pub(super) const JSONATA_ONLY: [&str; 3] = ["Arguments", "Output", "Items"];

/// The fields of a type, separated by blanks; none if there is no such type.
fn fields_of(state_type: &str) -> Option<&'static str> {
    Some(match state_type {
        "Task" => TASK,
        "Parallel" => PARALLEL,
        "Map" => MAP,
        "Pass" => PASS,
        "Wait" => WAIT,
        "Choice" => CHOICE,
        "Succeed" => SUCCEED,
        "Fail" => FAIL,
        _ => return None,
    })
}

/// Whether it is one of the eight.
pub(super) fn is_type(name: &str) -> bool {
    fields_of(name).is_some()
}

/// Whether states of a type have a field.
pub(super) fn has_field(state_type: &str, name: &str) -> bool {
    matches!(name, "Type" | "Comment" | "QueryLanguage")
        || fields_of(state_type)
            .is_some_and(|fields| fields.split_ascii_whitespace().any(|field| field == name))
}
