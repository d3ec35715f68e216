//! `Events` of functions and state machines: rules, schedules, subscriptions and bucket notifications, with the
//! permission or the role that each needs.

use serde_json::{Map, Value, json};

use super::policies::trust;
use super::{Expansion, copy};
use crate::template::Resource;

/// AWS's bound on the id of a rule's target.
const TARGET_ID_MAX: usize = 64;

/// What an event starts.
#[derive(Clone, Copy)]
struct Target<'a> {
    /// Logical id of the function or state machine.
    id: &'a str,
    /// Its ARN, or that of its alias.
    arn: &'a Value,
    is_function: bool,
}

/// One event.
struct Event<'a> {
    /// Logical id that SAM makes of those of resource and event.
    id: String,
    properties: &'a Value,
    parent: &'a Resource,
}

impl Expansion<'_> {
    pub(super) fn function_events(&mut self, id: &str, resource: &Resource, arn: &Value) {
        self.events(Target { id, arn, is_function: true }, resource);
    }

    pub(super) fn state_machine_events(&mut self, id: &str, resource: &Resource, arn: &Value) {
        self.events(Target { id, arn, is_function: false }, resource);
    }

    fn events(&mut self, target: Target<'_>, resource: &Resource) {
        for (name, written) in resource.properties["Events"].as_object().into_iter().flatten() {
            let kind = written["Type"].as_str().unwrap_or_default();
            let properties = &written["Properties"];
            let event = Event { id: format!("{}{name}", target.id), properties, parent: resource };
            match kind {
                "Schedule" | "EventBridgeRule" | "CloudWatchEvent" => self.rule(target, &event),
                "ScheduleV2" => self.schedule(target, &event),
                "S3" if target.is_function => self.bucket(target, &event),
                "SNS" if target.is_function && properties.get("SqsSubscription").is_none() => {
                    self.subscription(target, &event);
                }
                "SQS" if target.is_function => self.queue(target, &event),
                _ => {
                    let reason = match kind {
                        "Api" | "HttpApi" => "HTTP APIs are not served here; start it by the API",
                        _ => "",
                    };
                    let what = format!("event {name} of {} has type {kind}", target.id);
                    self.refuse(resource, &format!("Events/{name}"), what, reason);
                }
            }
        }
    }

    fn rule(&mut self, target: Target<'_>, event: &Event<'_>) {
        let source = event.properties;
        let mut rule = Map::new();
        let fields = [
            ("Description", "Description"),
            ("EventBusName", "EventBusName"),
            ("Name", "Name"),
            ("Pattern", "EventPattern"),
            ("RuleName", "Name"),
            ("Schedule", "ScheduleExpression"),
            ("State", "State"),
        ];
        copy(source, &mut rule, &fields);
        if let Some(enabled) = source.get("Enabled") {
            let is_off = crate::intrinsics::text(enabled).eq_ignore_ascii_case("false");
            rule.insert("State".into(), if is_off { "DISABLED" } else { "ENABLED" }.into());
        }
        let mut aim = Map::new();
        let id = source["Target"].get("Id").cloned();
        let made = || format!("{}{}Target", event.id, kind_of(target)).chars().take(TARGET_ID_MAX).collect();
        let id = id.unwrap_or_else(|| Value::String(made()));
        aim.insert("Id".into(), id);
        aim.insert("Arn".into(), target.arn.clone());
        let fields = [
            ("Input", "Input"),
            ("InputPath", "InputPath"),
            ("InputTransformer", "InputTransformer"),
            ("RetryPolicy", "RetryPolicy"),
        ];
        copy(source, &mut aim, &fields);
        if let Some(arn) = source["DeadLetterConfig"].get("Arn") {
            aim.insert("DeadLetterConfig".into(), json!({ "Arn": arn }));
        }
        if target.is_function {
            self.permission(
                target,
                event,
                "events.amazonaws.com",
                Some(json!({ "Fn::GetAtt": [event.id, "Arn"] })),
            );
        } else {
            let role = self.starting_role(target, event, "events.amazonaws.com");
            aim.insert("RoleArn".into(), role);
        }
        rule.insert("Targets".into(), json!([aim]));
        self.derive(event.parent, &event.id, "AWS::Events::Rule", Value::Object(rule));
    }

    fn schedule(&mut self, target: Target<'_>, event: &Event<'_>) {
        let source = event.properties;
        let mut schedule = Map::new();
        let fields = [
            ("Description", "Description"),
            ("EndDate", "EndDate"),
            ("FlexibleTimeWindow", "FlexibleTimeWindow"),
            ("GroupName", "GroupName"),
            ("KmsKeyArn", "KmsKeyArn"),
            ("Name", "Name"),
            ("ScheduleExpression", "ScheduleExpression"),
            ("ScheduleExpressionTimezone", "ScheduleExpressionTimezone"),
            ("StartDate", "StartDate"),
            ("State", "State"),
        ];
        copy(source, &mut schedule, &fields);
        schedule.entry("FlexibleTimeWindow").or_insert_with(|| json!({ "Mode": "OFF" }));
        let mut aim = Map::new();
        aim.insert("Arn".into(), target.arn.clone());
        copy(source, &mut aim, &[("Input", "Input"), ("RetryPolicy", "RetryPolicy")]);
        if let Some(arn) = source["DeadLetterConfig"].get("Arn") {
            aim.insert("DeadLetterConfig".into(), json!({ "Arn": arn }));
        }
        let role = match source.get("RoleArn") {
            Some(role) => role.clone(),
            None => self.starting_role(target, event, "scheduler.amazonaws.com"),
        };
        aim.insert("RoleArn".into(), role);
        schedule.insert("Target".into(), Value::Object(aim));
        self.derive(event.parent, &event.id, "AWS::Scheduler::Schedule", Value::Object(schedule));
    }

    fn subscription(&mut self, target: Target<'_>, event: &Event<'_>) {
        let source = event.properties;
        let mut subscription = Map::new();
        subscription.insert("Protocol".into(), "lambda".into());
        subscription.insert("Endpoint".into(), target.arn.clone());
        let fields = [
            ("FilterPolicy", "FilterPolicy"),
            ("FilterPolicyScope", "FilterPolicyScope"),
            ("RedrivePolicy", "RedrivePolicy"),
            ("Topic", "TopicArn"),
        ];
        copy(source, &mut subscription, &fields);
        self.permission(target, event, "sns.amazonaws.com", source.get("Topic").cloned());
        self.derive(event.parent, &event.id, "AWS::SNS::Subscription", Value::Object(subscription));
    }

    fn queue(&mut self, target: Target<'_>, event: &Event<'_>) {
        let mut mapping = event.properties.as_object().cloned().unwrap_or_default();
        if let Some(queue) = mapping.remove("Queue") {
            mapping.insert("EventSourceArn".into(), queue);
        }
        mapping.insert("FunctionName".into(), target.arn.clone());
        self.derive(event.parent, &event.id, "AWS::Lambda::EventSourceMapping", Value::Object(mapping));
    }

    /// The notification becomes a property of the bucket, which must stand in the same template. The permission names the
    /// account only: bucket and permission would wait for each other otherwise.
    fn bucket(&mut self, target: Target<'_>, event: &Event<'_>) {
        let source = event.properties;
        let Some(bucket) = source["Bucket"]["Ref"].as_str() else {
            let what =
                format!("event {} has a Bucket that is no !Ref to a bucket of this template", event.id);
            self.refuse(event.parent, "Events", what, "");
            return;
        };
        self.permission(target, event, "s3.amazonaws.com", None);
        let kinds = match &source["Events"] {
            Value::Array(kinds) => kinds.clone(),
            one => vec![one.clone()],
        };
        let notification = |kind: Value| {
            let mut notification = json!({ "Event": kind, "Function": target.arn });
            if let Some(filter) = source.get("Filter") {
                notification["Filter"] = filter.clone();
            }
            notification
        };
        let notifications: Vec<Value> = kinds.into_iter().map(notification).collect();
        let properties = json!({ "NotificationConfiguration": { "LambdaConfigurations": notifications } });
        let pointer = format!("/Resources/{bucket}");
        let mut addition = Resource {
            kind: "AWS::S3::Bucket".into(),
            properties,
            pointer: pointer.clone(),
            ..Resource::default()
        };
        addition.depends_on.insert(format!("{}Permission", event.id));
        match self.made.get_mut(bucket) {
            Some(present) => {
                super::merge_globals(&mut present.properties, &addition.properties);
                present.depends_on.extend(addition.depends_on);
            }
            None => self.add(bucket.to_string(), addition),
        }
    }

    fn permission(&mut self, target: Target<'_>, event: &Event<'_>, principal: &str, source: Option<Value>) {
        let mut permission = json!({ "Action": "lambda:InvokeFunction", "FunctionName": target.arn,
                                     "Principal": principal });
        match source {
            Some(arn) => permission["SourceArn"] = arn,
            None => permission["SourceAccount"] = json!({ "Ref": "AWS::AccountId" }),
        }
        let id = format!("{}Permission", event.id);
        self.derive(event.parent, &id, "AWS::Lambda::Permission", permission);
    }

    /// The role under which a service starts the target.
    fn starting_role(&mut self, target: Target<'_>, event: &Event<'_>, principal: &str) -> Value {
        let (action, word) = match target.is_function {
            true => ("lambda:InvokeFunction", "LambdaPolicy"),
            false => ("states:StartExecution", "StartExecutionPolicy"),
        };
        let statement = json!({ "Effect": "Allow", "Action": action, "Resource": target.arn });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
        let mut role = json!({ "AssumeRolePolicyDocument": trust(principal),
            "Policies": [{ "PolicyName": format!("{}{word}", event.id), "PolicyDocument": policy }] });
        if let Some(boundary) = event.properties.get("PermissionsBoundary") {
            role["PermissionsBoundary"] = boundary.clone();
        }
        let id = format!("{}Role", event.id);
        self.derive(event.parent, &id, "AWS::IAM::Role", role);
        json!({ "Fn::GetAtt": [id, "Arn"] })
    }
}

fn kind_of(target: Target<'_>) -> &'static str {
    if target.is_function { "Lambda" } else { "StepFunctions" }
}
