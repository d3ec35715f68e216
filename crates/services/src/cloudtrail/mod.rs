//! CloudTrail: the record of who changed what, kept for its retention and answered by `LookupEvents`; one SQLite file.
//!
//! Invariant: a call that is recorded is answered only after its record is on disk ([`Audit::end`]); a caller that went
//! away meanwhile is recorded, too. What is recorded is decided in one place (`plane`), and what a record may show in
//! another (`hidden`). Trails, event data stores and Insights are not here and are refused by name.

mod audit;
mod hidden;
mod lookup;
mod plane;
mod record;
mod resources;
#[cfg(test)]
mod tests;

pub use audit::{Audit, Call, Draft, Outcome};

use crate::background::Background;
use crate::environment::Environment;
use crate::service_file::ServiceFile;
use crate::storage::StorageError;
use crate::wire::{Access, BoxFuture, CallContext, Service, ServiceError, ServiceRequest, ServiceResponse};

const SCHEMA: &str = "
CREATE TABLE records(
    id INTEGER PRIMARY KEY AUTOINCREMENT, class INTEGER NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL,
    at INTEGER NOT NULL, event_id TEXT NOT NULL, name TEXT NOT NULL, source TEXT NOT NULL, username TEXT,
    access_key TEXT, read_only INTEGER NOT NULL, resources TEXT NOT NULL, event TEXT NOT NULL);
CREATE INDEX records_at ON records(account, region, at, id);
CREATE INDEX records_class ON records(class, id);
CREATE TABLE counts(class INTEGER PRIMARY KEY, n INTEGER NOT NULL);
INSERT INTO counts VALUES (0, 0), (1, 0), (2, 0);
";

/// See the module.
pub struct CloudTrail {
    file: ServiceFile,
    audit: Audit,
    sweeper: Background,
}

impl CloudTrail {
    /// Opens `cloudtrail.db`.
    pub fn open(environment: Environment) -> Result<Self, StorageError> {
        let file = ServiceFile::open(environment, "cloudtrail", &[SCHEMA])?;
        let audit = Audit::new(file.clone());
        Ok(Self { file, audit, sweeper: Background::default() })
    }

    /// Where records are written.
    pub fn audit(&self) -> Audit {
        self.audit.clone()
    }
}

impl Service for CloudTrail {
    fn name(&self) -> &'static str {
        "cloudtrail"
    }

    fn access(&self, _: &CallContext, request: &ServiceRequest) -> Vec<Access> {
        vec![Access::new(format!("cloudtrail:{}", request.operation), "*")]
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            if request.operation != "LookupEvents" {
                return Err(ServiceError::unsupported("cloudtrail", &request.operation));
            }
            let input = request.json()?.clone();
            Ok(ServiceResponse::json(self.file.query(context, input, lookup::events).await?))
        })
    }

    fn start(&self) {
        self.sweeper.start(self.audit.clone().sweep());
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.sweeper.stop())
    }
}
