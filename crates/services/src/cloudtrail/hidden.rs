//! What a record may show of a request and its answer. A text is shown only where its member is known to hold a name or a
//! choice, so that a member nobody thought of shows nothing: inputs, outputs, environment variables, secrets, tokens, keys,
//! messages, code and definitions stay out.

use serde_json::{Map, Value};

/// AWS's words for what it leaves out.
pub(super) const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";
const TEXT_BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 12;
const ENTRIES_MAX: usize = 200;

/// Members that are left out whole, whatever is in them.
const CONTAINERS: [&str; 23] = [
    "authparameters",
    "body",
    "context",
    "credentials",
    "data",
    "definition",
    "environment",
    "environmentvariables",
    "headers",
    "input",
    "inputpathsmap",
    "inputtransformer",
    "item",
    "messageattributes",
    "mock",
    "options",
    "output",
    "parametervalue",
    "payload",
    "secrets",
    "stagevariables",
    "templatebody",
    "variables",
];

/// Members that hold no secret although they sound so, and single words.
const SHOWN: [&str; 29] = [
    "action",
    "architectures",
    "description",
    "effect",
    "engine",
    "handler",
    "key",
    "level",
    "memory",
    "cpu",
    "policy",
    "policydocument",
    "assumerolepolicydocument",
    "principal",
    "eventpattern",
    "prefix",
    "publish",
    "qualifier",
    "resource",
    "runtime",
    "scheduleexpression",
    "state",
    "statementid",
    "status",
    "tagkeys",
    "timezone",
    "unit",
    "creationdate",
    "updatedate",
];

/// Endings of members that name something.
const ENDINGS: [&str; 14] = [
    "action",
    "actions",
    "arn",
    "arns",
    "date",
    "expression",
    "id",
    "ids",
    "mode",
    "name",
    "names",
    "region",
    "status",
    "type",
];

/// Words in the name of a member that decide against it.
const SECRET: [&str; 8] = [
    "password",
    "passphrase",
    "privatekey",
    "secretkey",
    "secretaccess",
    "secretstring",
    "secretbinary",
    "token",
];

/// A copy with everything hidden that is not known to be harmless. Members begin with a small letter, as CloudTrail's do.
pub(super) fn shown(value: &Value) -> Value {
    reveal(value, "", false, 0)
}

fn reveal(value: &Value, name: &str, is_tag: bool, depth: usize) -> Value {
    let hidden = || Value::String(HIDDEN.to_owned());
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        _ if depth >= DEPTH_MAX || CONTAINERS.contains(&name) || is_secret(name) => hidden(),
        Value::String(text) if is_harmless(text) || is_tag || may_show(name) => Value::String(cut(text)),
        Value::String(_) => hidden(),
        Value::Array(items) => {
            items.iter().take(ENTRIES_MAX).map(|item| reveal(item, name, is_tag, depth + 1)).collect()
        }
        Value::Object(members) => {
            let mut shown = Map::new();
            for (member, value) in members.iter().take(ENTRIES_MAX) {
                // Fields of forms: `Tags.member.1.Value`.
                let last = member.rsplit('.').find(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
                let plain =
                    last.filter(|word| *word != "member").map_or_else(|| list_of(member), str::to_owned);
                let is_tag = is_tag || is_tags(member);
                shown.insert(
                    cut(&lower_first(member)),
                    reveal(value, &plain.to_ascii_lowercase(), is_tag, depth + 1),
                );
            }
            Value::Object(shown)
        }
    }
}

/// The name of the list that a field of a form is in.
fn list_of(field: &str) -> String {
    let is_name = |word: &&str| *word != "member" && !word.bytes().all(|byte| byte.is_ascii_digit());
    field.split('.').rfind(is_name).unwrap_or_default().to_owned()
}

fn is_tags(member: &str) -> bool {
    let first = member.split('.').next().unwrap_or_default();
    first.eq_ignore_ascii_case("tags") || first.eq_ignore_ascii_case("tag")
}

fn may_show(name: &str) -> bool {
    SHOWN.contains(&name) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|word| name.contains(word))
}

/// Short numbers and truths, as forms and attributes write them.
fn is_harmless(text: &str) -> bool {
    matches!(text, "" | "true" | "false")
        || (text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn cut(text: &str) -> String {
    match text.char_indices().map(|(at, _)| at).find(|at| *at > TEXT_BYTES_MAX) {
        Some(at) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn lower_first(name: &str) -> String {
    // `ARN` and `DBName` stay.
    let mut letters = name.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(name.chars().skip(1)).collect()
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_known_to_be_harmless_is_shown() {
        let request = json!({
            "FunctionName": "f", "Role": "arn:aws:iam::1:role/r", "Timeout": 3, "Code": { "ZipFile": "UEsDBA" },
            "Environment": { "Variables": { "DB_NAME": "secret-1" } }, "Tags": { "team": "blue" },
            "SecretString": "secret-2", "SecretId": "s", "clientRequestToken": "secret-3",
            "input": "{\"card\":\"secret-4\"}", "Overrides": { "containerOverrides": [
                { "name": "c", "environment": [{ "name": "A", "value": "secret-5" }] }] },
            "AuthParameters": { "BasicAuthParameters": { "Username": "secret-6", "Password": "secret-7" } },
            "Tags.member.1.Value": "blue", "Parameters.member.1.ParameterValue": "secret-8",
            "SecretAccessKey": "secret-9", "Anything": "secret-0",
        });
        let text = shown(&request).to_string();
        assert!(!text.contains("secret-"), "{text}");
        for shown in ["\"functionName\":\"f\"", "\"secretId\":\"s\"", "\"team\":\"blue\"", "\"timeout\":3"] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
    }
}
