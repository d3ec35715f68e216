//! Does a mocked result look like what the resource would answer? TestState asks before it believes a mock.
//!
//! The model decides: types and bounds of the members that are there, and in strict mode also that required ones are there.
//! Members that the model does not know are no fault. A `.sync` mock is the answer of the call that polls the job.

use asl::program::{Pattern, Resource, ResourceKind};
use serde_json::{Map, Value};

use crate::model::{self, Shape};
use crate::naming::pascal;
use crate::optimized;

/// `fieldValidationMode`, when there is validation at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Required members must be there.
    Strict,
    /// Only what is there is looked at.
    Present,
}

/// Calls that poll a job: service of the resource, its action, and the operation asked.
const POLLED: [(&str, &str, &str); 21] = [
    ("states", "startExecution", "DescribeExecution"),
    ("ecs", "runTask", "DescribeTasks"),
    ("batch", "submitJob", "DescribeJobs"),
    ("glue", "startJobRun", "GetJobRun"),
    ("databrew", "startJobRun", "DescribeJobRun"),
    ("codebuild", "startBuild", "BatchGetBuilds"),
    ("codebuild", "startBuildBatch", "BatchGetBuildBatches"),
    ("athena", "startQueryExecution", "GetQueryExecution"),
    ("sagemaker", "createTrainingJob", "DescribeTrainingJob"),
    ("sagemaker", "createTransformJob", "DescribeTransformJob"),
    ("sagemaker", "createProcessingJob", "DescribeProcessingJob"),
    ("sagemaker", "createLabelingJob", "DescribeLabelingJob"),
    ("sagemaker", "createHyperParameterTuningJob", "DescribeHyperParameterTuningJob"),
    ("elasticmapreduce", "createCluster", "DescribeCluster"),
    ("elasticmapreduce", "terminateCluster", "DescribeCluster"),
    ("elasticmapreduce", "addStep", "DescribeStep"),
    ("emr-containers", "startJobRun", "DescribeJobRun"),
    ("emr-serverless", "startJobRun", "GetJobRun"),
    ("bedrock", "createModelCustomizationJob", "GetModelCustomizationJob"),
    ("mediaconvert", "createJob", "GetJob"),
    ("eks", "createCluster", "DescribeCluster"),
];

/// What is wrong with a mocked result, in AWS's words.
pub fn check(resource: &Resource, result: &Value, mode: FieldValidation) -> Result<(), String> {
    let ResourceKind::Service { service, action, pattern } = &resource.kind else { return Ok(()) };
    if matches!((&**service, &**action), ("http" | "apigateway", _) | ("eks", "call" | "runJob")) {
        return Ok(());
    }
    // What a worker sends back with its token is nobody's model.
    if *pattern == Pattern::WaitForTaskToken {
        return Ok(());
    }
    let (Some(shape), Value::Object(members)) = (shape_of(service, action, *pattern), result) else {
        return Ok(());
    };
    Check { service, mode }.structure(shape, members)
}

fn shape_of(service: &str, action: &str, pattern: Pattern) -> Option<Shape<'static>> {
    let key = match service.strip_prefix("aws-sdk:") {
        Some(key) => key,
        None => optimized::find(service)?.model,
    };
    let model = model::service(key)?;
    let polled = POLLED.iter().find(|(of, started, _)| *of == service && *started == action);
    match (pattern, polled) {
        (Pattern::Sync | Pattern::Sync2, Some((_, _, polled))) => model.operation(polled)?.output(),
        _ => model.action(action)?.output(),
    }
}

struct Check<'a> {
    service: &'a str,
    mode: FieldValidation,
}

impl Check<'_> {
    fn structure(&self, shape: Shape<'_>, members: &Map<String, Value>) -> Result<(), String> {
        for (name, member) in shape.members() {
            let name = pascal(name);
            if let Some(value) = members.get(&name)
                && !self.is_free(&name)
            {
                self.value(member.shape, value, &name)?;
            }
        }
        if self.mode == FieldValidation::Strict
            && let Some(missing) = shape.required().map(pascal).find(|name| !members.contains_key(name))
        {
            return Err(format!("Required field '{missing}' is missing"));
        }
        Ok(())
    }

    /// Members that Step Functions shows as JSON whatever their shape.
    fn is_free(&self, name: &str) -> bool {
        match self.service {
            "lambda" => name == "Payload",
            "states" => matches!(name, "Input" | "Output"),
            _ => false,
        }
    }

    fn value(&self, shape: Shape<'_>, value: &Value, field: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("Field '{field}' must be {what}"));
        match (shape.kind(), value) {
            (_, Value::Null) => Ok(()),
            ("structure", Value::Object(members)) => self.structure(shape, members),
            ("map", Value::Object(entries)) => {
                let element = shape.map_value().shape;
                entries.iter().try_for_each(|(key, value)| self.value(element, value, key))
            }
            ("structure" | "map", _) => wrong("an object"),
            ("list", Value::Array(items)) => {
                items.iter().try_for_each(|item| self.value(shape.element().shape, item, field))
            }
            ("list", _) => wrong("an array"),
            ("string" | "blob", Value::String(text)) => text_fits(shape, text, field),
            ("timestamp", Value::String(_)) => Ok(()),
            ("string" | "blob" | "timestamp", _) => wrong("a string"),
            ("integer" | "long" | "float" | "double", Value::Number(number)) => {
                number_fits(shape, number.as_f64().unwrap_or_default(), field)
            }
            ("integer" | "long" | "float" | "double", _) => wrong("a number"),
            ("boolean", Value::Bool(_)) => Ok(()),
            ("boolean", _) => wrong("a boolean"),
            _ => Ok(()),
        }
    }
}

fn text_fits(shape: Shape<'_>, text: &str, field: &str) -> Result<(), String> {
    let length = text.chars().count() as u64;
    if shape.value["min"].as_u64().is_some_and(|min| length < min) {
        return Err(format!("Field '{field}' is smaller than the minimum length"));
    }
    if shape.value["max"].as_u64().is_some_and(|max| length > max) {
        return Err(format!("Field '{field}' exceeds the maximum length"));
    }
    let known = shape.value["enum"].as_array();
    if known.is_some_and(|known| !known.iter().any(|value| value == text)) {
        return Err(format!("Field '{field}' is not an expected value"));
    }
    Ok(())
}

fn number_fits(shape: Shape<'_>, number: f64, field: &str) -> Result<(), String> {
    if shape.value["min"].as_f64().is_some_and(|min| number < min) {
        return Err(format!("Field '{field}' is less than the minimum value"));
    }
    if shape.value["max"].as_f64().is_some_and(|max| number > max) {
        return Err(format!("Field '{field}' exceeds the maximum value"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(arn: &str, result: Value, mode: FieldValidation) -> Result<(), String> {
        check(&Resource::parse(arn).expect("a resource"), &result, mode)
    }

    #[test]
    fn members_must_have_the_types_of_the_model_in_either_mode() {
        let cases = [
            ("lambda:invoke", json!({ "StatusCode": "200" }), "Field 'StatusCode' must be a number"),
            ("events:putEvents", json!({ "Entries": "none" }), "Field 'Entries' must be an array"),
            (
                "events:putEvents",
                json!({ "Entries": [{ "EventId": [] }] }),
                "Field 'EventId' must be a string",
            ),
            (
                "aws-sdk:kms:encrypt",
                json!({ "CiphertextBlob": 1 }),
                "Field 'CiphertextBlob' must be a string",
            ),
        ];
        for (resource, result, problem) in cases {
            for mode in [FieldValidation::Strict, FieldValidation::Present] {
                let arn = format!("arn:aws:states:::{resource}");
                assert_eq!(checked(&arn, result.clone(), mode), Err(problem.to_owned()), "{resource}");
            }
        }
    }

    #[test]
    fn required_members_are_missed_in_strict_mode_only() {
        let arn = "arn:aws:states:::states:startExecution";
        let missing = Err("Required field 'ExecutionArn' is missing".to_owned());
        assert_eq!(checked(arn, json!({}), FieldValidation::Strict), missing);
        assert_eq!(checked(arn, json!({}), FieldValidation::Present), Ok(()));
    }

    #[test]
    fn what_the_model_does_not_know_is_no_fault() {
        let result = json!({ "pokemon": "pikachu", "Payload": { "any": 1 } });
        assert_eq!(checked("arn:aws:states:::lambda:invoke", result, FieldValidation::Strict), Ok(()));
    }

    #[test]
    fn a_job_is_mocked_by_the_answer_of_the_call_that_polls_it() {
        let arn = "arn:aws:states:::states:startExecution.sync:2";
        let wrong = json!({ "ExecutionArn": "arn", "Status": 1 });
        let expected = Err("Field 'Status' must be a string".to_owned());
        assert_eq!(checked(arn, wrong, FieldValidation::Present), expected);
    }
}
