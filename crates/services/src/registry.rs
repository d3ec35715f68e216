//! Which services there are. To add one: a line in [`open_all`].

use crate::ecs::Ecs;
use crate::environment::Environment;
use crate::front::OpenError;
use crate::lambda::{Lambda, LogWriter};
use crate::process::Processes;
use crate::wire::Service;
use crate::{
    apigateway, cloudformation, cloudtrail, cloudwatch, dynamodb, events, iam, logs, s3, scheduler,
    secretsmanager, sns, sqs, sts,
};
use std::sync::Arc;

/// The services that run user code, which say more than their wire protocol does.
#[derive(Clone)]
pub struct Compute {
    /// Lambda: which interpreters its functions run with.
    pub lambda: Lambda,
    /// ECS: whether tasks run as containers or as processes.
    pub ecs: Ecs,
}

/// What is opened: the services, and the doors beside the wire.
type Opened = (Vec<Arc<dyn Service>>, Compute, events::Connections);

/// Opens every service.
pub(crate) fn open_all(environment: &Environment) -> Result<Opened, OpenError> {
    // First those whose sinks the others are given through the environment.
    let cloudtrail = cloudtrail::CloudTrail::open(environment.clone())?;
    environment.attach_audit(cloudtrail.audit());
    let logs = logs::Logs::open(environment.clone())?;
    environment.attach_logs(logs.sink());
    let metrics = cloudwatch::CloudWatch::open(environment.clone())?;
    environment.attach_metrics(metrics.sink());
    let events = events::Events::open(environment.clone())?;
    environment.attach_events(events.sink());
    let connections = events.connections();
    let processes = Processes::open(&environment.config().data_dir)
        .map_err(|error| OpenError::Service { service: "processes", reason: error.to_string() })?;
    let writer = LogWriter::new(environment.clone());
    let lambda = Lambda::open(environment.clone(), Arc::clone(&processes), Arc::clone(&writer))?;
    let ecs = Ecs::open(environment.clone(), processes, writer, lambda.clone())?;
    let gateway = apigateway::ApiGateway::open(environment.clone())?;
    let services: Vec<Arc<dyn Service>> = vec![
        Arc::new(gateway.execution()),
        Arc::new(gateway),
        Arc::new(lambda.clone()),
        Arc::new(ecs.clone()),
        Arc::new(cloudtrail),
        Arc::new(logs),
        Arc::new(metrics),
        Arc::new(events),
        Arc::new(scheduler::Scheduler::open(environment.clone())?),
        Arc::new(dynamodb::DynamoDb::open(environment)?),
        Arc::new(sns::Sns::open(environment.clone())?),
        Arc::new(iam::IamService::new(environment.clone())),
        Arc::new(sts::Sts::new(environment.clone())),
        Arc::new(sqs::Sqs::open(environment.clone())?),
        Arc::new(s3::S3::open(environment.clone())?),
        Arc::new(secretsmanager::SecretsManager::open(environment.clone())?),
        Arc::new(cloudformation::CloudFormation::open(environment.clone())?),
    ];
    Ok((services, Compute { lambda, ecs }, connections))
}
