//! ValidateStateMachineDefinition.

use asl::{CompileOptions, Severity};
use serde_json::{Value, json};

use super::machines::machine_type;
use super::{Answer, Shown};
use crate::Api;
use crate::fields::Fields;

/// The most findings of an answer; also what 0 means.
const RESULTS_MAX: usize = 100;

pub(super) fn validate(api: &Api, fields: &Fields<'_>) -> Answer {
    let options = CompileOptions {
        machine_type: machine_type(fields),
        catalog: &*api.surroundings.catalog,
        ..CompileOptions::default()
    };
    let validation = asl::validate(fields.text("definition"), &options);
    let warnings = fields.optional("severity") == Some("WARNING");
    let wanted = |severity: Severity| warnings || severity == Severity::Error;
    let found: Vec<Value> = validation
        .diagnostics
        .iter()
        .filter(|diagnostic| wanted(diagnostic.severity))
        .map(|diagnostic| {
            Shown::new()
                .with("severity", diagnostic.severity.as_str())
                .with("code", diagnostic.code.as_str())
                .with("message", diagnostic.message.as_str())
                .maybe("location", diagnostic.location.as_ref())
                .done()
        })
        .collect();
    let limit = match fields.number("maxResults") {
        None | Some(0) => RESULTS_MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(RESULTS_MAX).min(RESULTS_MAX),
    };
    let truncated = found.len() > limit;
    let diagnostics: Vec<Value> = found.into_iter().take(limit).collect();
    let result = if validation.is_ok() { "OK" } else { "FAIL" };
    Ok(json!({ "result": result, "diagnostics": diagnostics, "truncated": truncated }))
}
