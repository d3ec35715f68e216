//! Why a request was refused, in AWS's words.
//!
//! Invariant: each variant is one AWS error code ([`Error::code`]) and its `Display` is AWS's message, recorded from the
//! live service where a recording exists. No internals in a message: [`Error::Internal`] says only that it was us. Model
//! constraints (lengths, patterns, enums) are checked by the API before it calls us.

use std::sync::Arc;

use asl::arn::{Arn, ArnError};
use asl::diagnostic::Diagnostic;

impl From<ArnError> for Error {
    fn from(error: ArnError) -> Error {
        Error::InvalidArn(error.to_string())
    }
}

/// A refusal.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// `ActivityAlreadyExists`: same name, other encryption configuration.
    #[error("Activity Already Exists: '{0}'")]
    ActivityAlreadyExists(Arc<str>),
    /// `ActivityDoesNotExist`.
    #[error("Activity Does Not Exist: '{0}'")]
    ActivityDoesNotExist(Arc<str>),
    /// `ActivityLimitExceeded`.
    #[error("The maximum number of activities has been reached.")]
    ActivityLimitExceeded,
    /// `ActivityWorkerLimitExceeded`.
    #[error("The maximum number of workers concurrently polling for activity tasks has been reached.")]
    ActivityWorkerLimitExceeded,
    /// `ConflictException`.
    #[error("{0}")]
    Conflict(String),
    /// `ExecutionAlreadyExists`.
    #[error("Execution Already Exists: '{0}'")]
    ExecutionAlreadyExists(Arc<str>),
    /// `ExecutionDoesNotExist`.
    #[error("Execution Does Not Exist: '{0}'")]
    ExecutionDoesNotExist(Arc<str>),
    /// `ExecutionLimitExceeded`.
    #[error("The maximum number of running executions has been reached.")]
    ExecutionLimitExceeded,
    /// `ExecutionNotRedrivable`.
    #[error("{0}")]
    ExecutionNotRedrivable(String),
    /// `InvalidArn`, with the whole message.
    #[error("{0}")]
    InvalidArn(String),
    /// `InvalidDefinition`, with everything that was found.
    #[error("Invalid State Machine Definition: '{}'", asl::diagnostic::joined(.0))]
    InvalidDefinition(Vec<Diagnostic>),
    /// `InvalidEncryptionConfiguration`, with the whole message.
    #[error("{0}")]
    InvalidEncryptionConfiguration(String),
    /// `InvalidExecutionInput`.
    #[error("Invalid State Machine Execution Input: '{0}'")]
    InvalidExecutionInput(String),
    /// `InvalidLoggingConfiguration`.
    #[error("Invalid Logging Configuration: {0}")]
    InvalidLoggingConfiguration(String),
    /// `InvalidName`.
    #[error("Invalid Name: '{0}'")]
    InvalidName(String),
    /// `InvalidOutput`.
    #[error("Invalid Output: '{0}'")]
    InvalidOutput(String),
    /// `InvalidToken`, of a page or of a task.
    #[error("Invalid Token: 'Invalid token'")]
    InvalidToken,
    /// `MissingRequiredParameter`.
    #[error("{0}")]
    MissingRequiredParameter(String),
    /// `ResourceNotFound`.
    #[error("{message}")]
    ResourceNotFound {
        /// AWS's text.
        message: String,
        /// `resourceName`.
        resource: Option<Arc<str>>,
    },
    /// `ServiceQuotaExceededException`.
    #[error("{0}")]
    ServiceQuotaExceeded(String),
    /// `StateMachineAlreadyExists`.
    #[error("State Machine Already Exists: '{0}'")]
    StateMachineAlreadyExists(Arc<str>),
    /// `StateMachineDeleting`.
    #[error("State Machine Deleting: '{0}'")]
    StateMachineDeleting(Arc<str>),
    /// `StateMachineDoesNotExist`.
    #[error("State Machine Does Not Exist: '{0}'")]
    StateMachineDoesNotExist(Arc<str>),
    /// `StateMachineLimitExceeded`.
    #[error("The maximum number of state machines has been reached.")]
    StateMachineLimitExceeded,
    /// `StateMachineTypeNotSupported`.
    #[error("This operation is not supported by this type of state machine")]
    StateMachineTypeNotSupported,
    /// `TaskDoesNotExist`.
    #[error("Task does not exist.")]
    TaskDoesNotExist,
    /// `TaskTimedOut`.
    #[error("Task Timed Out: 'Provided task does not exist anymore'")]
    TaskTimedOut,
    /// `TooManyTags`.
    #[error("The number of tags exceeds the limit of 50 for the resource '{0}'.")]
    TooManyTags(Arc<str>),
    /// `ValidationException`.
    #[error("{message}")]
    Validation {
        /// AWS's text.
        message: String,
        /// `reason`, one of the model's enum.
        reason: Option<&'static str>,
    },
    /// `ThrottlingException`: admission is bounded; the caller's SDK tries again.
    #[error("Rate exceeded")]
    Throttling,
    /// `ServiceUnavailable`: the process is ending; the request had no effect, or an unknown one.
    #[error("Service is shutting down")]
    Stopping,
    /// `InternalFailure`. The reason is in the log, under the execution's ARN where there is one.
    #[error("Internal failure")]
    Internal,
}

impl Error {
    /// AWS's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Error::ActivityAlreadyExists(_) => "ActivityAlreadyExists",
            Error::ActivityDoesNotExist(_) => "ActivityDoesNotExist",
            Error::ActivityLimitExceeded => "ActivityLimitExceeded",
            Error::ActivityWorkerLimitExceeded => "ActivityWorkerLimitExceeded",
            Error::Conflict(_) => "ConflictException",
            Error::ExecutionAlreadyExists(_) => "ExecutionAlreadyExists",
            Error::ExecutionDoesNotExist(_) => "ExecutionDoesNotExist",
            Error::ExecutionLimitExceeded => "ExecutionLimitExceeded",
            Error::ExecutionNotRedrivable(_) => "ExecutionNotRedrivable",
            Error::InvalidArn(_) => "InvalidArn",
            Error::InvalidDefinition(_) => "InvalidDefinition",
            Error::InvalidEncryptionConfiguration(_) => "InvalidEncryptionConfiguration",
            Error::InvalidExecutionInput(_) => "InvalidExecutionInput",
            Error::InvalidLoggingConfiguration(_) => "InvalidLoggingConfiguration",
            Error::InvalidName(_) => "InvalidName",
            Error::InvalidOutput(_) => "InvalidOutput",
            Error::InvalidToken => "InvalidToken",
            Error::MissingRequiredParameter(_) => "MissingRequiredParameter",
            Error::ResourceNotFound { .. } => "ResourceNotFound",
            Error::ServiceQuotaExceeded(_) => "ServiceQuotaExceededException",
            Error::StateMachineAlreadyExists(_) => "StateMachineAlreadyExists",
            Error::StateMachineDeleting(_) => "StateMachineDeleting",
            Error::StateMachineDoesNotExist(_) => "StateMachineDoesNotExist",
            Error::StateMachineLimitExceeded => "StateMachineLimitExceeded",
            Error::StateMachineTypeNotSupported => "StateMachineTypeNotSupported",
            Error::TaskDoesNotExist => "TaskDoesNotExist",
            Error::TaskTimedOut => "TaskTimedOut",
            Error::TooManyTags(_) => "TooManyTags",
            Error::Validation { .. } => "ValidationException",
            Error::Throttling => "ThrottlingException",
            Error::Stopping => "ServiceUnavailable",
            Error::Internal => "InternalFailure",
        }
    }

    /// `InvalidArn` of a text that names nothing of the wanted kind.
    pub(crate) fn invalid_arn(text: &str) -> Error {
        match Arn::parse(text) {
            Ok(arn) => Error::from(arn.wrong_type()),
            Err(error) => Error::from(error),
        }
    }

    /// `InvalidArn` of an ARN whose kind does not fit.
    pub(crate) fn resource_type(kind: &str) -> Error {
        Error::from(ArnError::ResourceType(kind.to_owned()))
    }

    /// A `ValidationException` without a reason.
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation { message: message.into(), reason: None }
    }

    /// AWS's `ResourceNotFound` for a version or alias that is not there.
    pub fn reference_not_found(resource: &Arc<str>) -> Error {
        Error::ResourceNotFound {
            message: "Request references a resource that does not exist.".to_owned(),
            resource: Some(Arc::clone(resource)),
        }
    }

    /// Logs what went wrong inside and gives the caller the little that concerns it.
    pub(crate) fn internal(what: &str, error: &dyn std::fmt::Display) -> Error {
        tracing::error!(%error, "{what}");
        Error::Internal
    }
}
