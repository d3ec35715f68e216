//! SQS's older protocol, forms in and XML out, translated to and from the JSON of today. Lists and maps are flattened:
//! `Attribute.1.Name=…&Attribute.1.Value=…`.

use crate::wire::{Form, Xml};
use serde_json::{Map, Value, json};

const NUMBERS: &[&str] =
    &["DelaySeconds", "VisibilityTimeout", "MaxNumberOfMessages", "WaitTimeSeconds", "MaxResults"];
/// Lists of strings: the form's name, and JSON's.
const LISTS: &[(&str, &str)] = &[
    ("AttributeName", "AttributeNames"),
    ("MessageAttributeName", "MessageAttributeNames"),
    ("MessageSystemAttributeName", "MessageSystemAttributeNames"),
    ("TagKey", "TagKeys"),
];
/// Maps of strings.
const MAPS: &[(&str, &str)] = &[("Attribute", "Attributes"), ("Tag", "Tags")];
/// Maps of message attributes.
const MESSAGE_ATTRIBUTES: &[(&str, &str)] =
    &[("MessageAttribute", "MessageAttributes"), ("MessageSystemAttribute", "MessageSystemAttributes")];
const ENTRIES: &[&str] = &[
    "SendMessageBatchRequestEntry",
    "DeleteMessageBatchRequestEntry",
    "ChangeMessageVisibilityBatchRequestEntry",
];

/// The input of a form.
pub(super) fn input(form: &Form) -> Value {
    let mut input = structure(form);
    for name in ENTRIES {
        let entries: Vec<Value> =
            form.structures(name).iter().map(|entry| Value::Object(structure(entry))).collect();
        if !entries.is_empty() {
            input.insert("Entries".to_owned(), Value::Array(entries));
        }
    }
    Value::Object(input)
}

fn structure(form: &Form) -> Map<String, Value> {
    let mut output = Map::new();
    for (name, value) in form.iter().filter(|(name, _)| !name.contains('.')) {
        let number = value.parse::<i64>().ok().filter(|_| NUMBERS.contains(&name));
        output.insert(name.to_owned(), number.map_or_else(|| json!(value), |number| json!(number)));
    }
    for (name, json_name) in LISTS {
        let list = form.list(name);
        if !list.is_empty() {
            output.insert((*json_name).to_owned(), json!(list));
        }
    }
    for (name, json_name) in MAPS {
        let map: Map<String, Value> =
            form.map(name).into_iter().map(|(key, value)| (key, json!(value))).collect();
        if !map.is_empty() {
            output.insert((*json_name).to_owned(), Value::Object(map));
        }
    }
    for (name, json_name) in MESSAGE_ATTRIBUTES {
        let map: Map<String, Value> = form.structures(name).iter().filter_map(message_attribute).collect();
        if !map.is_empty() {
            output.insert((*json_name).to_owned(), Value::Object(map));
        }
    }
    output
}

fn message_attribute(form: &Form) -> Option<(String, Value)> {
    let name = form.get("Name")?.to_owned();
    let value = form.below("Value.");
    let members = value.iter().map(|(name, value)| (name.to_owned(), json!(value)));
    Some((name, Value::Object(members.collect())))
}

/// The children of the result element of an operation's answer.
pub(super) fn output(operation: &str, answer: &Value) -> Vec<Xml> {
    let Some(members) = answer.as_object() else { return Vec::new() };
    members.iter().flat_map(|(name, value)| member(operation, name, value)).collect()
}

fn member(operation: &str, name: &str, value: &Value) -> Vec<Xml> {
    match (name, value) {
        ("QueueUrls" | "queueUrls", Value::Array(urls)) => {
            urls.iter().map(|url| Xml::text("QueueUrl", text(url))).collect()
        }
        ("Messages", Value::Array(messages)) => {
            messages.iter().map(|item| element("Message", operation, item)).collect()
        }
        ("Successful", Value::Array(entries)) => {
            let name = format!("{operation}ResultEntry");
            entries.iter().map(|entry| element(&name, operation, entry)).collect()
        }
        ("Failed", Value::Array(entries)) => {
            entries.iter().map(|entry| element("BatchResultErrorEntry", operation, entry)).collect()
        }
        ("Attributes", Value::Object(map)) => pairs("Attribute", "Name", map),
        ("Tags", Value::Object(map)) => pairs("Tag", "Key", map),
        ("MessageAttributes", Value::Object(map)) => {
            let attribute = |(name, value): (&String, &Value)| {
                Xml::element("MessageAttribute")
                    .with(Xml::text("Name", name))
                    .with(element("Value", operation, value))
            };
            map.iter().map(attribute).collect()
        }
        (name, value) => vec![Xml::text(name, text(value))],
    }
}

fn element(name: &str, operation: &str, value: &Value) -> Xml {
    Xml::element(name).with_children(output(operation, value))
}

fn pairs(element: &str, key_name: &str, map: &Map<String, Value>) -> Vec<Xml> {
    let pair = |(key, value): (&String, &Value)| {
        Xml::element(element).with(Xml::text(key_name, key)).with(Xml::text("Value", text(value)))
    };
    map.iter().map(pair).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_answers_are_translated() {
        let body = b"Action=SendMessageBatch&QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a\
            &SendMessageBatchRequestEntry.1.DelaySeconds=5\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=v\
            &Attribute.1.Name=DelaySeconds&Attribute.1.Value=7&AttributeName.1=All";
        let input = input(&Form::parse(None, body));
        assert_eq!(input["Entries"][0]["DelaySeconds"], 5);
        assert_eq!(
            input["Entries"][0]["MessageAttributes"]["n"],
            json!({"DataType":"String","StringValue":"v"})
        );
        assert_eq!(input["Attributes"], json!({ "DelaySeconds": "7" }));
        assert_eq!(input["AttributeNames"], json!(["All"]));
        let answer = json!({ "Messages": [{ "Body": "<b>", "Attributes": { "SenderId": "1" } }] });
        let expected = "<Message><Body>&lt;b&gt;</Body>\
            <Attribute><Name>SenderId</Name><Value>1</Value></Attribute></Message>";
        assert_eq!(Xml::write_all(&output("ReceiveMessage", &answer)), expected);
    }
}
