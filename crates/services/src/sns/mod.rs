//! SNS: topics, subscriptions and durable deliveries; one SQLite file.
//!
//! Invariant: a publish and one row for each delivery it owes commit together, so an acknowledged message reaches every
//! matching subscription at least once, also after a crash (see `deliver`). Queues and functions are handed the
//! delivery's id, so they see it once.
//!
//! What it does not do: SMS, mobile push, Firehose and HTTPS endpoints are refused by name; signatures are not real.
//! E-mail subscriptions need no confirmation here; mail goes to `outbox/` or to the configured SMTP server.

mod attributes;
mod deliver;
mod envelope;
mod http_post;
mod mail;
mod publish;
mod refusal;
mod retry;
mod row;
mod smtp;
mod subscriptions;
#[cfg(test)]
mod tests;
mod topics;

use crate::delivery::Deliverer;
use crate::environment::Environment;
use crate::service_file::{Call, Job, ServiceFile};
use crate::storage::StorageError;
use crate::wire::{
    Access, BoxFuture, CallContext, Form, Principal, Service, ServiceError, ServiceRequest, ServiceResponse,
    Xml,
};
use refusal::invalid;
use row::TopicArn;
use serde_json::{Value, json};

const SCHEMA: &str = "
CREATE TABLE topics(
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
    attributes TEXT NOT NULL, tags TEXT NOT NULL, sequence INTEGER NOT NULL DEFAULT 0,
    deleted_subscriptions INTEGER NOT NULL DEFAULT 0, UNIQUE(account, region, name));
CREATE TABLE subscriptions(
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic_id INTEGER NOT NULL, arn TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
    protocol TEXT NOT NULL, endpoint TEXT NOT NULL, attributes TEXT NOT NULL, confirmed INTEGER NOT NULL,
    token TEXT, UNIQUE(topic_id, protocol, endpoint));
CREATE INDEX subscriptions_token ON subscriptions(token) WHERE token IS NOT NULL;
CREATE TABLE messages(id INTEGER PRIMARY KEY AUTOINCREMENT, topic_id INTEGER NOT NULL, published TEXT NOT NULL);
CREATE TABLE deliveries(
    id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL, subscription_id INTEGER NOT NULL,
    fifo_group TEXT, attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL);
CREATE INDEX deliveries_due ON deliveries(due, id);
CREATE INDEX deliveries_message ON deliveries(message_id);
CREATE INDEX deliveries_order ON deliveries(subscription_id, fifo_group, id) WHERE fifo_group IS NOT NULL;
CREATE TABLE deduplication(
    topic_id INTEGER NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY(topic_id, id)) WITHOUT ROWID;
CREATE INDEX deduplication_at ON deduplication(at);
";

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// See the module.
pub struct Sns {
    file: ServiceFile,
    deliverer: Deliverer<deliver::Courier>,
}

impl Sns {
    /// Opens `sns.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let file = ServiceFile::open(environment, "sns", &[SCHEMA])?;
        let deliverer = Deliverer::new(deliver::Courier::new(file.clone()));
        Ok(Self { file, deliverer })
    }

    async fn change(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job<Form>,
    ) -> Result<Value, ServiceError> {
        self.file.change(context, request.form().clone(), job).await
    }

    async fn query(
        &self,
        context: &CallContext,
        request: &ServiceRequest,
        job: Job<Form>,
    ) -> Result<Value, ServiceError> {
        self.file.query(context, request.form().clone(), job).await
    }

    async fn dispatch(&self, context: &CallContext, request: &ServiceRequest) -> Result<Value, ServiceError> {
        match request.operation.as_str() {
            "Publish" => self.published(self.change(context, request, publish::publish).await),
            "PublishBatch" => self.published(self.change(context, request, publish::publish_batch).await),
            "CreateTopic" => self.change(context, request, topics::create).await,
            "DeleteTopic" => self.change(context, request, topics::delete).await,
            "ListTopics" => self.query(context, request, topics::list).await,
            "GetTopicAttributes" => self.query(context, request, topics::attributes).await,
            "SetTopicAttributes" => self.change(context, request, topics::set_attribute).await,
            "TagResource" => self.change(context, request, topics::tag).await,
            "UntagResource" => self.change(context, request, topics::untag).await,
            "ListTagsForResource" => self.query(context, request, topics::tags).await,
            "Subscribe" => self.published(self.change(context, request, subscriptions::subscribe).await),
            "ConfirmSubscription" => self.change(context, request, subscriptions::confirm).await,
            "Unsubscribe" => self.change(context, request, subscriptions::unsubscribe).await,
            "ListSubscriptions" => self.query(context, request, subscriptions::list).await,
            "ListSubscriptionsByTopic" => self.query(context, request, subscriptions::list_by_topic).await,
            "GetSubscriptionAttributes" => self.query(context, request, subscriptions::attributes).await,
            "SetSubscriptionAttributes" => self.change(context, request, subscriptions::set_attribute).await,
            operation => Err(ServiceError::unsupported("sns", operation)),
        }
    }

    /// Wakes the deliverer for what has just been committed.
    fn published(&self, answer: Result<Value, ServiceError>) -> Result<Value, ServiceError> {
        self.deliverer.bell().notify_one();
        answer
    }

    fn topic_policy(&self, arn: &str) -> Option<Value> {
        let arn = TopicArn::parse(arn)?;
        let topic = self.file.database.read(|connection| row::find_topic(connection, &arn)).ok()?;
        match topic.attributes.get("Policy").and_then(Value::as_str) {
            Some(policy) => serde_json::from_str(policy).ok(),
            None => serde_json::from_str(&topics::default_policy(&arn)).ok(),
        }
    }
}

/// Operations without a result answer with an empty one.
fn answer(value: &Value) -> ServiceResponse {
    match value {
        Value::Object(members) => {
            ServiceResponse::xml(members.iter().map(|(name, value)| element(name, value)).collect())
        }
        _ => ServiceResponse::empty(),
    }
}

/// JSON in AWS's XML shapes: maps are the members that AWS models as maps, everything else nests.
fn element(name: &str, value: &Value) -> Xml {
    match value {
        Value::Object(members) if name == "Attributes" => {
            Xml::map(name, members.iter().map(|(key, value)| (key.clone(), row::text_of(value))))
        }
        Value::Object(members) => {
            Xml::element(name).with_children(members.iter().map(|(name, value)| element(name, value)))
        }
        Value::Array(list) => Xml::list(
            name,
            list.iter().map(|entry| match entry {
                Value::Object(members) => members.iter().map(|(name, value)| element(name, value)).collect(),
                _ => Vec::new(),
            }),
        ),
        other => Xml::text(name, row::text_of(other)),
    }
}

impl Service for Sns {
    fn name(&self) -> &'static str {
        "sns"
    }

    fn access(&self, context: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        let form = request.form();
        let action = format!("sns:{}", request.operation);
        let text = |name: &str| form.get(name).map(str::to_owned);
        let resource = match request.operation.as_str() {
            // Whoever holds the token or the link may use it, as on AWS.
            "ConfirmSubscription" => return Vec::new(),
            "Unsubscribe" if matches!(context.principal, Principal::Root { .. }) => return Vec::new(),
            "CreateTopic" => Some(context.arn("sns", form.get("Name").unwrap_or("*"))),
            "ListTopics" | "ListSubscriptions" => Some(context.arn("sns", "*")),
            "PublishBatch" => {
                let resource = text("TopicArn").unwrap_or_else(|| "*".to_owned());
                let policy = self.topic_policy(&resource);
                return vec![Access::new("sns:Publish", resource).with_resource_policy(policy)];
            }
            _ => text("TopicArn").or(text("TargetArn")).or(text("ResourceArn")).or_else(|| {
                // The action is on the topic: its ARN is the subscription's without the last part.
                let subscription = text("SubscriptionArn")?;
                subscription.rsplit_once(':').map(|(topic, _)| topic.to_owned())
            }),
        };
        let resource = resource.unwrap_or_else(|| "*".to_owned());
        let policy = self.topic_policy(&resource);
        let mut access = Access::new(action, resource).with_resource_policy(policy);
        // Alarms say for whom they act, so that a topic's default policy lets in those of its owner.
        if let Principal::Service { name, account } = &context.principal
            && name == "cloudwatch.amazonaws.com"
        {
            access = access.with_condition("aws:SourceOwner", account);
        }
        for (key, member) in [("sns:Protocol", "Protocol"), ("sns:Endpoint", "Endpoint")] {
            if let Some(value) = form.get(member) {
                access = access.with_condition(key, value);
            }
        }
        vec![access]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move { Ok(answer(&self.dispatch(context, &request).await?)) })
    }

    fn xml_namespace(&self) -> &'static str {
        NAMESPACE
    }

    fn start(&self) {
        self.deliverer.start();
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.deliverer.stop())
    }
}

/// The member of a form, or AWS's refusal of its absence.
fn required<'a>(form: &'a Form, member: &str) -> Result<&'a str, ServiceError> {
    form.get(member).filter(|value| !value.is_empty()).ok_or_else(|| {
        ServiceError::client("ValidationError", format!("1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null", lower_first(member)))
    })
}

fn lower_first(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A page of a list: `offset` is the token.
fn page_start(form: &Form) -> Result<i64, ServiceError> {
    match form.get("NextToken") {
        None | Some("") => Ok(0),
        Some(token) => token.parse().map_err(|_| invalid("NextToken Reason: token is not valid")),
    }
}

const PAGE_MAX: i64 = 100;

/// Names the next page when the list goes on.
fn paged(name: &str, mut rows: Vec<Value>, start: i64) -> Value {
    let more = rows.len() as i64 > PAGE_MAX;
    rows.truncate(PAGE_MAX as usize);
    let mut answer = json!({name: rows});
    if more {
        answer["NextToken"] = json!((start + PAGE_MAX).to_string());
    }
    answer
}
