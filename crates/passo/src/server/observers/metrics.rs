//! CloudWatch metrics of executions: namespace AWS/States, as AWS publishes them.

use engine::EventKind;
use runtime::{BoxFuture, CommittedEvent, Observer};
use services::cloudwatch::{Datum, MetricSink};
use std::collections::HashMap;

const NAMESPACE: &str = "AWS/States";

/// Counts starts and ends, and measures durations.
pub(super) struct Metrics {
    sink: MetricSink,
}

impl Metrics {
    pub fn new(sink: MetricSink) -> Metrics {
        Metrics { sink }
    }

    /// A page may come again after a crash; the sink knows what it has.
    async fn write(&self, events: Vec<CommittedEvent>) -> Result<(), String> {
        for ((account, region), data) in by_scope(&events) {
            let written = self.sink.put_page(self.name(), &account, &region, NAMESPACE, data).await;
            written.map_err(|error| error.message)?;
        }
        Ok(())
    }

    /// Events of Express executions come once at most and have no position.
    async fn write_express(&self, events: Vec<CommittedEvent>) -> Result<(), String> {
        for ((account, region), data) in by_scope(&events) {
            let data = data.into_iter().map(|(_, datum)| datum).collect();
            self.sink.put(&account, &region, NAMESPACE, data).await.map_err(|error| error.message)?;
        }
        Ok(())
    }
}

type Positioned = Vec<(u64, Datum)>;

fn by_scope(events: &[CommittedEvent]) -> HashMap<(String, String), Positioned> {
    let mut by_scope: HashMap<(String, String), Positioned> = HashMap::new();
    for event in events {
        let scope = (event.start.account.to_string(), event.start.region.to_string());
        let data = data(event).into_iter().map(|datum| (event.position, datum));
        by_scope.entry(scope).or_default().extend(data);
    }
    by_scope.retain(|_, data| !data.is_empty());
    by_scope
}

impl Observer for Metrics {
    fn name(&self) -> &str {
        "cloudwatch-metrics"
    }
    fn observe(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.write(events))
    }
    fn observe_express(&self, events: Vec<CommittedEvent>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.write_express(events))
    }
}

fn data(event: &CommittedEvent) -> Vec<Datum> {
    let counted = match &event.event.kind {
        EventKind::ExecutionStarted { .. } => "ExecutionsStarted",
        EventKind::ExecutionSucceeded { .. } => "ExecutionsSucceeded",
        EventKind::ExecutionFailed { .. } => "ExecutionsFailed",
        EventKind::ExecutionTimedOut { .. } => "ExecutionsTimedOut",
        EventKind::ExecutionAborted { .. } => "ExecutionsAborted",
        EventKind::ExecutionRedriven { .. } => "ExecutionsRedriven",
        _ => return Vec::new(),
    };
    let at_ms = event.event.at.epoch_millis();
    let mut data = Vec::new();
    for dimensions in dimensions(event) {
        let datum = |metric: &str, value: f64, unit: &str| Datum {
            metric: metric.into(),
            dimensions: dimensions.clone(),
            at_ms,
            value,
            unit: unit.into(),
        };
        data.push(datum(counted, 1.0, "Count"));
        if !matches!(counted, "ExecutionsStarted" | "ExecutionsRedriven") {
            let millis = event.event.at.since(event.start_date).as_millis() as f64;
            data.push(datum("ExecutionTime", millis, "Milliseconds"));
        }
    }
    data
}

/// The state machine; with its version and with its alias when it was started through them.
fn dimensions(event: &CommittedEvent) -> Vec<Vec<(String, String)>> {
    let machine = ("StateMachineArn".to_string(), event.start.state_machine_arn.to_string());
    let last = |arn: &str| arn.rsplit(':').next().unwrap_or_default().to_string();
    let mut all = vec![vec![machine.clone()]];
    if let Some(version) = &event.start.version_arn {
        all.push(vec![machine.clone(), ("Version".into(), last(version))]);
    }
    if let Some(alias) = &event.start.alias_arn {
        all.push(vec![machine, ("Alias".into(), last(alias))]);
    }
    all
}
