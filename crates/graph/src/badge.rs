//! What a state's picture shows: a colour and a drawing of our own for the integration, and its name in words.

use serde_json::Value;

use crate::chart::Kind;

/// Colour and drawing of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// `#rrggbb`.
    pub colour: &'static str,
    /// Which drawing; letters for services without one.
    pub glyph: Glyph,
}

/// A drawing, or letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glyph {
    /// By name, in `glyphs`.
    Drawn(&'static str),
    /// Two letters.
    Letters(String),
}

const COMPUTE: &str = "#d9660a";
const DATABASE: &str = "#8a3fd1";
const STORAGE: &str = "#4d8a1c";
const MESSAGING: &str = "#d6246e";
const WATCHING: &str = "#0b7a8f";
const OTHER: &str = "#33568f";
const FLOW: &str = "#4a5568";
const GOOD: &str = "#1d8348";
const BAD: &str = "#c0362c";

/// Service as written in a Resource, its name, colour and drawing (empty: letters).
const SERVICES: [(&str, &str, &str, &str); 24] = [
    ("lambda", "Lambda", COMPUTE, "function"),
    ("ecs", "ECS", COMPUTE, "container"),
    ("eks", "EKS", COMPUTE, "container"),
    ("batch", "Batch", COMPUTE, "container"),
    ("ec2", "EC2", COMPUTE, ""),
    ("dynamodb", "DynamoDB", DATABASE, "table"),
    ("rdsdata", "RDS Data", DATABASE, "table"),
    ("s3", "S3", STORAGE, "bucket"),
    ("sns", "SNS", MESSAGING, "topic"),
    ("sqs", "SQS", MESSAGING, "queue"),
    ("events", "EventBridge", MESSAGING, "event"),
    ("eventbridge", "EventBridge", MESSAGING, "event"),
    ("scheduler", "EventBridge Scheduler", MESSAGING, "clock"),
    ("states", "Step Functions", MESSAGING, "machine"),
    ("sfn", "Step Functions", MESSAGING, "machine"),
    ("cloudwatch", "CloudWatch", WATCHING, "chart"),
    ("cloudwatchlogs", "CloudWatch Logs", WATCHING, "chart"),
    ("apigateway", "API Gateway", OTHER, "globe"),
    ("http", "HTTP", OTHER, "globe"),
    ("glue", "Glue", DATABASE, ""),
    ("athena", "Athena", DATABASE, ""),
    ("bedrock", "Bedrock", WATCHING, ""),
    ("sagemaker", "SageMaker", WATCHING, ""),
    ("secretsmanager", "Secrets Manager", BAD, ""),
];

impl Badge {
    /// The words above a state's name, and its picture.
    pub(crate) fn of(kind: Kind, state: &Value) -> (String, Badge) {
        let drawn =
            |title: &str, colour, glyph| (title.to_owned(), Badge { colour, glyph: Glyph::Drawn(glyph) });
        match kind {
            Kind::Task => task(state["Resource"].as_str().unwrap_or_default()),
            Kind::Parallel => drawn("Parallel state", FLOW, "parallel"),
            Kind::Map if distributed(state) => drawn("Distributed map", FLOW, "map"),
            Kind::Map => drawn("Map state", FLOW, "map"),
            Kind::Pass => drawn("Pass state", FLOW, "pass"),
            Kind::Wait => drawn(&wait(state), FLOW, "clock"),
            Kind::Choice => drawn("Choice state", FLOW, "choice"),
            Kind::Succeed => drawn("Succeed state", GOOD, "check"),
            Kind::Fail => drawn("Fail state", BAD, "cross"),
            Kind::Unknown => drawn("Unknown type", FLOW, "braces"),
        }
    }
}

fn distributed(state: &Value) -> bool {
    let config = state["ItemProcessor"].get("ProcessorConfig");
    config.is_some_and(|config| config["Mode"] == "DISTRIBUTED")
}

fn wait(state: &Value) -> String {
    match state["Seconds"].as_u64() {
        Some(seconds) => format!("Wait {seconds} s"),
        None => "Wait state".into(),
    }
}

fn task(resource: &str) -> (String, Badge) {
    let parts: Vec<&str> = resource.split(':').collect();
    let drawn = |glyph| Badge { colour: COMPUTE, glyph: Glyph::Drawn(glyph) };
    match parts.as_slice() {
        [_, _, "states", _, _, "activity", ..] => ("Activity".into(), drawn("person")),
        [_, _, "states", _, _, "aws-sdk", service, action, pattern @ ..] => {
            integration(service, action, pattern)
        }
        [_, _, "states", _, _, service, action, pattern @ ..] => integration(service, action, pattern),
        [_, _, "lambda", ..] => ("Lambda: Invoke".into(), drawn("function")),
        _ => ("Task state".into(), Badge { colour: OTHER, glyph: Glyph::Drawn("braces") }),
    }
}

fn integration(service: &str, action: &str, rest: &[&str]) -> (String, Badge) {
    let (action, pattern) = action.split_once('.').unwrap_or((action, ""));
    let known = SERVICES.iter().find(|(key, ..)| *key == service);
    let name = known.map_or_else(|| capitalised(service), |(_, name, ..)| (*name).to_owned());
    let colour = known.map_or(OTHER, |(_, _, colour, _)| *colour);
    let drawing = known.map(|(_, _, _, glyph)| *glyph).filter(|glyph| !glyph.is_empty());
    let glyph = match drawing {
        Some(glyph) => Glyph::Drawn(glyph),
        None => Glyph::Letters(name.chars().filter(|c| c.is_alphanumeric()).take(2).collect()),
    };
    let way = match (pattern, rest) {
        ("", _) => "",
        ("waitForTaskToken", _) => " · callback",
        _ => " · sync",
    };
    (format!("{name}: {}{way}", capitalised(action)), Badge { colour, glyph })
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_have_the_words_of_the_console() {
        let cases = [
            ("arn:aws:states:::lambda:invoke", "Lambda: Invoke"),
            ("arn:aws:states:::ecs:runTask.sync", "ECS: RunTask · sync"),
            ("arn:aws:states:::states:startExecution.sync:2", "Step Functions: StartExecution · sync"),
            ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", "SQS: SendMessage · callback"),
            ("arn:aws:states:::aws-sdk:s3:getObject", "S3: GetObject"),
            ("arn:aws:states:::aws-sdk:textract:detectDocumentText", "Textract: DetectDocumentText"),
            ("arn:aws:lambda:us-east-1:1:function:f", "Lambda: Invoke"),
            ("arn:aws:states:us-east-1:1:activity:a", "Activity"),
            ("what", "Task state"),
        ];
        for (resource, expected) in cases {
            assert_eq!(Badge::of(Kind::Task, &json!({ "Resource": resource })).0, expected);
        }
    }
}
