//! Which services there are. To add one: a line in [`open_all`].

use crate::environment::Environment;
use crate::front::OpenError;
use crate::lambda::{Lambda, LogWriter};
use crate::process::Processes;
use crate::wire::Service;
use crate::{dynamodb, iam, logs, sqs, sts};
use std::sync::Arc;

/// Opens every service.
pub(crate) fn open_all(environment: &Environment) -> Result<Vec<Arc<dyn Service>>, OpenError> {
    // First those whose sinks the others are given through the environment.
    let logs = logs::Logs::open(environment.clone())?;
    environment.attach_logs(logs.sink());
    let processes = Processes::open(&environment.config().data_dir)
        .map_err(|error| OpenError::Service { service: "processes", reason: error.to_string() })?;
    let writer = LogWriter::new(environment.clone());
    Ok(vec![
        Arc::new(logs),
        Arc::new(dynamodb::DynamoDb::open(environment)?),
        Arc::new(iam::IamService::new(environment.clone())),
        Arc::new(sts::Sts::new(environment.clone())),
        Arc::new(Lambda::open(environment.clone(), processes, writer)?),
        Arc::new(sqs::Sqs::open(environment.clone())?),
    ])
}
