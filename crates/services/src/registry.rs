//! Which services there are. To add one: a line in [`open_all`].

use crate::environment::Environment;
use crate::front::OpenError;
use crate::wire::Service;
use crate::{iam, sqs, sts};
use std::sync::Arc;

/// Opens every service.
pub(crate) fn open_all(environment: &Environment) -> Result<Vec<Arc<dyn Service>>, OpenError> {
    Ok(vec![
        Arc::new(iam::IamService::new(environment.clone())),
        Arc::new(sts::Sts::new(environment.clone())),
        Arc::new(sqs::Sqs::open(environment.clone())?),
    ])
}
