//! SQS's errors: each has a code for JSON, and an older one that SDKs still show.

use crate::wire::ServiceError;

fn shaped(code: &'static str, query_code: &'static str, message: impl Into<String>) -> ServiceError {
    ServiceError::client(format!("com.amazonaws.sqs#{code}"), message).with_query_code(query_code)
}

fn unshaped(code: &'static str, query_code: &'static str, message: impl Into<String>) -> ServiceError {
    ServiceError::client(format!("com.amazon.coral.service#{code}"), message).with_query_code(query_code)
}

pub(super) fn no_such_queue() -> ServiceError {
    shaped(
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "The specified queue does not exist.",
    )
}

pub(super) fn queue_exists(attribute: &str) -> ServiceError {
    let message =
        format!("A queue already exists with the same name and a different value for attribute {attribute}");
    shaped("QueueNameExists", "QueueAlreadyExists", message)
}

pub(super) fn invalid_address(url: &str) -> ServiceError {
    shaped("InvalidAddress", "InvalidAddress", format!("The address {url} is not valid for this endpoint."))
}

// cases/error_handling/test_task_service_sqs: an empty body is a missing one.
pub(super) fn missing_parameter(name: &str) -> ServiceError {
    let message = format!("The request must contain the parameter {name}.");
    unshaped("MissingRequiredParameterException", "MissingParameter", message)
}

pub(super) fn invalid_parameter(message: impl Into<String>) -> ServiceError {
    unshaped("InvalidParameterValueException", "InvalidParameterValue", message)
}

pub(super) fn unknown_attribute(name: &str) -> ServiceError {
    shaped("InvalidAttributeName", "InvalidAttributeName", format!("Unknown Attribute {name}."))
}

pub(super) fn invalid_attribute(name: &str) -> ServiceError {
    let message = format!("Invalid value for the parameter {name}.");
    shaped("InvalidAttributeValue", "InvalidAttributeValue", message)
}

pub(super) fn invalid_characters() -> ServiceError {
    shaped(
        "InvalidMessageContents",
        "InvalidMessageContents",
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | \
         #x10000 to #x10FFFF",
    )
}

pub(super) fn invalid_receipt(handle: &str) -> ServiceError {
    let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
    shaped("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", message)
}

pub(super) fn not_in_flight(handle: &str) -> ServiceError {
    let message = format!(
        "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available \
         for visibility timeout change."
    );
    shaped("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", message)
}

pub(super) fn empty_batch(entry: &str) -> ServiceError {
    let message = format!("There should be at least one {entry} in the request.");
    shaped("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", message)
}

pub(super) fn too_many_entries(count: usize) -> ServiceError {
    let message = format!("Maximum number of entries per request are 10. You have sent {count}.");
    shaped("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", message)
}

pub(super) fn repeated_entry(id: &str) -> ServiceError {
    shaped(
        "BatchEntryIdsNotDistinct",
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        format!("Id {id} repeated."),
    )
}

pub(super) fn invalid_entry_id() -> ServiceError {
    shaped(
        "InvalidBatchEntryId",
        "AWS.SimpleQueueService.InvalidBatchEntryId",
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
         It can be at most 80 letters long.",
    )
}

pub(super) fn batch_too_long(bytes_max: usize, bytes: usize) -> ServiceError {
    let message =
        format!("Batch requests cannot be longer than {bytes_max} bytes. You have sent {bytes} bytes.");
    shaped("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", message)
}
