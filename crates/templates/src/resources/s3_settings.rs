//! What a bucket does beyond keeping objects: whom it tells of changes, and which web pages may read it.

use quick_xml::escape::escape;
use serde_json::Value;

use super::Context;
use crate::client::{CallResult, rest_xml, segment};
use crate::intrinsics::text;

const NOTIFICATION: &str = "NotificationConfiguration";
const CORS: &str = "CorsConfiguration";

/// Makes the settings that differ.
pub(super) async fn put(context: &Context<'_>, bucket: &str, old: &Value, new: &Value) -> CallResult<()> {
    let path = |setting: &str| format!("/{}?{setting}", segment(bucket));
    let send = async |method: &str, setting: &str, body: String| {
        rest_xml(context.client, "s3", method, &path(setting), body).await.map(drop)
    };
    if old.get(NOTIFICATION) != new.get(NOTIFICATION) {
        // An empty document is how a bucket stops telling.
        send("PUT", "notification", notification(&new[NOTIFICATION])).await?;
    }
    match (old.get(CORS), new.get(CORS)) {
        (old, new) if old == new => Ok(()),
        (_, Some(rules)) => send("PUT", "cors", cors(rules)).await,
        (_, None) => send("DELETE", "cors", String::new()).await,
    }
}

fn element(name: &str, value: &Value) -> String {
    let value = text(value);
    format!("<{name}>{}</{name}>", escape(value.as_str()))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Which events go where: to EventBridge, functions, queues and topics.
fn notification(wanted: &Value) -> String {
    let mut body = String::new();
    for (list, name, target, kind) in [
        ("LambdaConfigurations", "CloudFunctionConfiguration", "CloudFunction", "Function"),
        ("QueueConfigurations", "QueueConfiguration", "Queue", "Queue"),
        ("TopicConfigurations", "TopicConfiguration", "Topic", "Topic"),
    ] {
        for entry in items(&wanted[list]) {
            let rules: String = items(&entry["Filter"]["S3Key"]["Rules"])
                .map(|rule| {
                    let (name, value) = (element("Name", &rule["Name"]), element("Value", &rule["Value"]));
                    format!("<FilterRule>{name}{value}</FilterRule>")
                })
                .collect();
            let filter = match rules.as_str() {
                "" => String::new(),
                rules => format!("<Filter><S3Key>{rules}</S3Key></Filter>"),
            };
            let (target, event) = (element(target, &entry[kind]), element("Event", &entry["Event"]));
            body.push_str(&format!("<{name}>{target}{event}{filter}</{name}>"));
        }
    }
    let bridge = wanted.get("EventBridgeConfiguration");
    if bridge.is_some_and(|bridge| text(&bridge["EventBridgeEnabled"]).to_lowercase() != "false") {
        body.push_str("<EventBridgeConfiguration></EventBridgeConfiguration>");
    }
    format!("<NotificationConfiguration>{body}</NotificationConfiguration>")
}

fn cors(wanted: &Value) -> String {
    let rule = |rule: &Value| {
        let mut body: String = rule.get("Id").map(|id| element("ID", id)).unwrap_or_default();
        for (list, name) in [
            ("AllowedOrigins", "AllowedOrigin"),
            ("AllowedMethods", "AllowedMethod"),
            ("AllowedHeaders", "AllowedHeader"),
            ("ExposedHeaders", "ExposeHeader"),
        ] {
            body.extend(items(&rule[list]).map(|value| element(name, value)));
        }
        body.extend(rule.get("MaxAge").map(|seconds| element("MaxAgeSeconds", seconds)));
        format!("<CORSRule>{body}</CORSRule>")
    };
    let rules: String = items(&wanted["CorsRules"]).map(rule).collect();
    format!("<CORSConfiguration>{rules}</CORSConfiguration>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_written_as_the_api_reads_them() {
        let wanted = json!({ "EventBridgeConfiguration": {}, "QueueConfigurations": [{ "Event": "s3:ObjectCreated:*",
            "Queue": "arn:q", "Filter": { "S3Key": { "Rules": [{ "Name": "prefix", "Value": "a&b" }] } } }] });
        assert_eq!(
            notification(&wanted),
            "<NotificationConfiguration><QueueConfiguration><Queue>arn:q</Queue><Event>s3:ObjectCreated:*</Event><Filter>\
             <S3Key><FilterRule><Name>prefix</Name><Value>a&amp;b</Value></FilterRule></S3Key></Filter></QueueConfiguration>\
             <EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>"
        );
        let wanted =
            json!({ "CorsRules": [{ "AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAge": 60 }] });
        assert_eq!(
            cors(&wanted),
            "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
             <MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>"
        );
    }
}
