//! Deliveries to HTTP endpoints. Without TLS: `https` is refused when it subscribes.

use super::envelope::Published;
use super::row::Subscription;
use crate::delivery::Outcome;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;

/// AWS waits as long for an endpoint.
const ANSWER_WAIT: Duration = Duration::from_secs(15);

pub(super) struct HttpPoster {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl HttpPoster {
    pub(super) fn new() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(super) async fn post(
        &self,
        published: &Published,
        subscription: &Subscription,
        envelope: &Value,
    ) -> Outcome {
        let is_notification = published.kind == "Notification";
        let raw = is_notification && subscription.attribute("RawMessageDelivery") == Some("true");
        let body = if raw { published.text_for("http").to_owned() } else { envelope.to_string() };
        let mut request = Request::post(&subscription.endpoint)
            .header("content-type", "text/plain; charset=UTF-8")
            .header("user-agent", "Amazon Simple Notification Service Agent")
            .header("x-amz-sns-message-type", &published.kind)
            .header("x-amz-sns-message-id", &published.message_id)
            .header("x-amz-sns-topic-arn", &published.topic_arn);
        if is_notification {
            request = request.header("x-amz-sns-subscription-arn", &subscription.arn);
        }
        if raw {
            request = request.header("x-amz-sns-rawdelivery", "true");
        }
        let request = match request.body(Full::new(Bytes::from(body))) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        match tokio::time::timeout(ANSWER_WAIT, self.client.request(request)).await {
            Err(_) => Outcome::Failed("the endpoint did not answer in 15 seconds".to_owned()),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Ok(Ok(response)) => of_status(response.status()),
        }
    }
}

/// AWS: 100–101 and 500–599 and 429 are tried again, other statuses outside 200–499… are not.
fn of_status(status: StatusCode) -> Outcome {
    let text = format!("the endpoint answered {status}");
    match status.as_u16() {
        200..=299 => Outcome::Delivered,
        429 | 500..=599 => Outcome::Failed(text),
        _ => Outcome::Refused(text),
    }
}
