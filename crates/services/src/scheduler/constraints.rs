//! What the service's model says about members of inputs, checked as AWS does: all of them, in one message.

use crate::wire::ServiceError;
use serde_json::Value;

/// One constraint of a member, named by its pointer.
enum Rule {
    Required,
    Length(usize, usize),
    Range(i64, i64),
    OneOf(&'static [&'static str]),
    /// The pattern as AWS writes it, and what it means.
    Pattern(&'static str, fn(&str) -> bool),
}

use Rule::{Length, OneOf, Pattern, Range, Required};

const NAME: Rule = Pattern("^[0-9a-zA-Z-_.]+$", is_name);
const ROLE: Rule = Pattern("^arn:aws(-[a-z]+)?:iam::\\d{12}:role\\/[\\w+=,.@\\/-]+$", is_role);
const QUEUE: Rule = Pattern("^arn:aws(-[a-z]+)?:sqs:[a-z0-9\\-]+:\\d{12}:[a-zA-Z0-9\\-_]+$", is_queue);

const SCHEDULE: &[(&str, Rule)] = &[
    ("/Name", NAME),
    ("/Name", Length(1, 64)),
    ("/GroupName", NAME),
    ("/GroupName", Length(1, 64)),
    ("/ScheduleExpression", Required),
    ("/ScheduleExpression", Length(1, 256)),
    ("/ScheduleExpressionTimezone", Length(1, 50)),
    ("/Description", Length(0, 512)),
    ("/State", OneOf(&["ENABLED", "DISABLED"])),
    ("/ActionAfterCompletion", OneOf(&["NONE", "DELETE"])),
    ("/ClientToken", Length(1, 64)),
    ("/FlexibleTimeWindow", Required),
    ("/FlexibleTimeWindow/Mode", OneOf(&["OFF", "FLEXIBLE"])),
    ("/FlexibleTimeWindow/MaximumWindowInMinutes", Range(1, 1_440)),
    ("/Target", Required),
    ("/Target/Arn", Length(1, 1_600)),
    ("/Target/RoleArn", ROLE),
    ("/Target/RoleArn", Length(1, 1_600)),
    ("/Target/DeadLetterConfig/Arn", QUEUE),
    ("/Target/RetryPolicy/MaximumEventAgeInSeconds", Range(60, 86_400)),
    ("/Target/RetryPolicy/MaximumRetryAttempts", Range(0, 185)),
    ("/Target/EventBridgeParameters/DetailType", Length(1, 128)),
    ("/Target/EventBridgeParameters/Source", Length(1, 256)),
    ("/Target/SqsParameters/MessageGroupId", Length(1, 128)),
];
/// Members of structures that must be there when the structure is.
const NEEDED: &[(&str, &str)] = &[
    ("/FlexibleTimeWindow", "/FlexibleTimeWindow/Mode"),
    ("/Target", "/Target/Arn"),
    ("/Target", "/Target/RoleArn"),
    ("/Target/EventBridgeParameters", "/Target/EventBridgeParameters/DetailType"),
    ("/Target/EventBridgeParameters", "/Target/EventBridgeParameters/Source"),
];
const GROUP: &[(&str, Rule)] = &[("/Name", NAME), ("/Name", Length(1, 64))];
const LIST: &[(&str, Rule)] = &[
    ("/GroupName", NAME),
    ("/NamePrefix", NAME),
    ("/NamePrefix", Length(1, 64)),
    ("/State", OneOf(&["ENABLED", "DISABLED"])),
    ("/MaxResults", Range(1, 100)),
];

/// Members that are structures, and members that are text; whatever else they hold cannot be read.
const STRUCTURES: [&str; 6] = [
    "/FlexibleTimeWindow",
    "/Target",
    "/Target/DeadLetterConfig",
    "/Target/EventBridgeParameters",
    "/Target/RetryPolicy",
    "/Target/SqsParameters",
];
const TEXTS: [&str; 12] = [
    "/ActionAfterCompletion",
    "/ClientToken",
    "/Description",
    "/GroupName",
    "/KmsKeyArn",
    "/ScheduleExpression",
    "/ScheduleExpressionTimezone",
    "/State",
    "/Target/Arn",
    "/Target/DeadLetterConfig/Arn",
    "/Target/Input",
    "/Target/RoleArn",
];

fn readable(input: &Value) -> Result<(), ServiceError> {
    let is_other = |pointer: &&&str, fits: fn(&Value) -> bool| {
        input.pointer(pointer).is_some_and(|value| !value.is_null() && !fits(value))
    };
    let structure = STRUCTURES.iter().find(|pointer| is_other(pointer, Value::is_object));
    let text = TEXTS.iter().find(|pointer| is_other(pointer, Value::is_string));
    match (structure, text) {
        (Some(pointer), _) => {
            Err(ServiceError::serialization(format!("The member {} must be a structure.", shown(pointer))))
        }
        (None, Some(pointer)) => {
            Err(ServiceError::serialization(format!("The member {} must be a string.", shown(pointer))))
        }
        (None, None) => Ok(()),
    }
}

/// Inputs of CreateSchedule and UpdateSchedule.
pub(super) fn check_schedule(input: &Value) -> Result<(), ServiceError> {
    readable(input)?;
    let lacks = |(structure, member): &&(&str, &str)| {
        input.pointer(structure).is_some_and(|value| !value.is_null()) && absent(input, member)
    };
    let mut problems: Vec<String> = NEEDED.iter().filter(lacks).map(|(_, member)| missing(member)).collect();
    problems.extend(broken(input, SCHEDULE));
    refuse(&problems)
}

/// Inputs that name a group.
pub(super) fn check_group(input: &Value) -> Result<(), ServiceError> {
    refuse(&broken(input, GROUP))
}

/// Inputs of the lists.
pub(super) fn check_list(input: &Value) -> Result<(), ServiceError> {
    refuse(&broken(input, LIST))
}

fn refuse(problems: &[String]) -> Result<(), ServiceError> {
    if problems.is_empty() {
        return Ok(());
    }
    let noun = if problems.len() == 1 { "error" } else { "errors" };
    Err(super::validation(format!("{} validation {noun} detected: {}", problems.len(), problems.join("; "))))
}

fn absent(input: &Value, pointer: &str) -> bool {
    input.pointer(pointer).is_none_or(Value::is_null)
}

/// `/Target/RoleArn` is `target.roleArn` in AWS's messages.
fn shown(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1).map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_lowercase() + rest
    });
    parts.collect::<Vec<_>>().join(".")
}

fn missing(pointer: &str) -> String {
    format!("Value null at '{}' failed to satisfy constraint: Member must not be null", shown(pointer))
}

fn broken(input: &Value, rules: &[(&str, Rule)]) -> Vec<String> {
    let broken = |(pointer, rule): &(&str, Rule)| {
        let value = input.pointer(pointer).filter(|value| !value.is_null());
        let Some(value) = value else { return matches!(rule, Required).then(|| missing(pointer)) };
        let demand = demand(value, rule)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(format!(
            "Value '{text}' at '{}' failed to satisfy constraint: Member must {demand}",
            shown(pointer)
        ))
    };
    rules.iter().filter_map(broken).collect()
}

/// What the value should be and is not.
fn demand(value: &Value, rule: &Rule) -> Option<String> {
    let text = value.as_str().unwrap_or("");
    match rule {
        Required => None,
        Length(_, most) if text.chars().count() > *most => {
            Some(format!("have length less than or equal to {most}"))
        }
        Length(least, _) if text.chars().count() < *least => {
            Some(format!("have length greater than or equal to {least}"))
        }
        Length(..) => None,
        Range(least, most) => match value.as_i64() {
            Some(number) if number > *most => Some(format!("have value less than or equal to {most}")),
            Some(number) if number < *least => Some(format!("have value greater than or equal to {least}")),
            Some(_) => None,
            None => Some("be a whole number".to_owned()),
        },
        OneOf(values) => {
            let fits = values.contains(&text);
            (!fits).then(|| format!("satisfy enum value set: [{}]", values.join(", ")))
        }
        Pattern(pattern, fits) => {
            (!fits(text)).then(|| format!("satisfy regular expression pattern: {pattern}"))
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
}

fn arn_parts(text: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let parts: [&str; 6] = parts.try_into().ok()?;
    (parts[0] == "arn" && parts[1].starts_with("aws")).then_some(parts)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_role(text: &str) -> bool {
    let Some([_, _, service, region, account, resource]) = arn_parts(text) else { return false };
    let is_path = |path: &str| {
        !path.is_empty() && path.chars().all(|letter| letter.is_alphanumeric() || "_+=,.@/-".contains(letter))
    };
    service == "iam"
        && region.is_empty()
        && is_account(account)
        && resource.strip_prefix("role/").is_some_and(is_path)
}

fn is_queue(text: &str) -> bool {
    let Some([_, _, service, _, account, name]) = arn_parts(text) else { return false };
    let is_standard = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
    service == "sqs" && is_account(account) && is_standard && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_broken_constraint_is_named() {
        let good = json!({"Name": "daily", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": "a", "RoleArn": "arn:aws:iam::123456789012:role/service-role/r"}});
        assert_eq!(check_schedule(&good), Ok(()));
        let mut bad = good.clone();
        bad["Name"] = json!("da ily");
        bad["Target"]["RetryPolicy"] = json!({"MaximumRetryAttempts": 186});
        bad["FlexibleTimeWindow"] = json!({});
        let message = check_schedule(&bad).unwrap_err().message;
        let expected = "3 validation errors detected: Value null at 'flexibleTimeWindow.mode' failed to satisfy \
             constraint: Member must not be null; Value 'da ily' at 'name' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$; Value '186' at \
             'target.retryPolicy.maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or \
             equal to 185";
        assert_eq!(message, expected);
        for role in [
            "r",
            "arn:aws:iam::1:role/r",
            "arn:aws:iam::123456789012:user/r",
            "arn:aws:iam:x:123456789012:role/r",
        ] {
            bad = good.clone();
            bad["Target"]["RoleArn"] = json!(role);
            assert!(check_schedule(&bad).is_err(), "{role}");
        }
        for (member, value) in
            [("Target", json!([])), ("FlexibleTimeWindow", json!("OFF")), ("Description", json!(1))]
        {
            bad = good.clone();
            bad[member] = value;
            assert_eq!(check_schedule(&bad).unwrap_err().code, "SerializationException", "{member}");
        }
        for policy in [json!("x"), json!(5), json!([1])] {
            bad = good.clone();
            bad["Target"]["RetryPolicy"] = policy;
            assert!(check_schedule(&bad).is_err());
        }
        bad = good.clone();
        bad["Target"]["DeadLetterConfig"] = json!({"Arn": "arn:aws:sqs:eu-west-1:123456789012:q.fifo"});
        assert!(check_schedule(&bad).is_err());
    }
}
