//! DeleteStateMachine: at once when nothing runs, else after its executions were ended.
//!
//! Invariant: a machine that is going accepts no start and no change. A deletion that a restart interrupted goes on.

use std::sync::Arc;
use std::time::Duration;

use engine::{Failure, InputKind};
use store::{
    Batch, ExecutionStatus, ExecutionsQuery, ListBy, RegistryKey, RegistryKind, RegistryRecord,
    RegistryWrite, ScopeId, StateMachineRecord, StateMachineStatus,
};

use super::{Listing, Named, Registry, parse_unqualified};
use crate::error::Error;
use crate::runtime::Runtime;
use crate::shell::Core;

impl Runtime {
    /// DeleteStateMachine, with its versions and aliases; one that is not there is no error.
    pub async fn delete_state_machine(&self, arn: &str) -> Result<(), Error> {
        let named = parse_unqualified(arn)?;
        let registry = &self.registry;
        let _changing = registry.changing.lock().await;
        let Some(machine) = registry.machine(&named.arn).await? else { return Ok(()) };
        if machine.status == StateMachineStatus::Deleting {
            return Ok(());
        }
        let mut writes = registry.with_it(&named).await?;
        if running(&self.core, &machine.arn).await?.is_empty() {
            writes.extend(itself(&machine.arn));
            return registry.write(Batch { registry: writes, ..Batch::default() }).await;
        }
        let mut going = StateMachineRecord::clone(&machine);
        going.status = StateMachineStatus::Deleting;
        writes.push(RegistryWrite::Put(RegistryRecord::StateMachine(Arc::new(going))));
        registry.write(Batch { registry: writes, ..Batch::default() }).await?;
        let (registry, arn) = (Arc::clone(registry), Arc::clone(&machine.arn));
        tokio::spawn(async move {
            if let Err(error) = registry.finish_deletion(&arn).await {
                tracing::warn!(%arn, %error, "a deletion waits for the next start");
            }
        });
        Ok(())
    }
}

impl Registry {
    /// Versions, aliases.
    async fn with_it(&self, machine: &Named) -> Result<Vec<RegistryWrite>, Error> {
        let versions = self.versions_of(machine).await?;
        let aliases = self.aliases_of(machine).await?;
        let versions = versions.iter().map(|version| &version.arn);
        let arns = versions.chain(aliases.iter().map(|alias| &alias.arn));
        Ok(arns.filter_map(|arn| RegistryKey::of_arn(arn)).map(RegistryWrite::Delete).collect())
    }

    /// Ends what runs, then removes the machine.
    pub(crate) async fn finish_deletion(&self, arn: &Arc<str>) -> Result<(), Error> {
        loop {
            let executions = running(&self.core, arn).await?;
            if executions.is_empty() {
                break;
            }
            for execution in executions {
                let stop = InputKind::StopRequested { failure: Failure::default() };
                match self.core.ask(&execution, stop).await {
                    Ok(_) | Err(Error::Throttling) => {}
                    Err(error) => return Err(error),
                }
            }
            let pause = self.core.clock.now().plus(Duration::from_millis(100));
            self.core.clock.sleep_until(pause).await;
        }
        let _changing = self.changing.lock().await;
        self.write(Batch { registry: itself(arn), ..Batch::default() }).await
    }
}

/// After a start: goes on with the deletions that were under way.
pub(crate) async fn resume_deletions(core: Arc<Core>, registry: Arc<Registry>) {
    let scopes = (1..).map(|id| core.keys.scope(ScopeId(id))).take_while(Option::is_some).flatten();
    for scope in scopes.collect::<Vec<_>>() {
        let going = match registry.all(Listing::all(&scope, RegistryKind::StateMachine), as_going).await {
            Ok(going) => going,
            Err(error) => return tracing::warn!(%error, "deletions wait for the next start"),
        };
        for machine in going {
            if let Err(error) = registry.finish_deletion(&machine.arn).await {
                tracing::warn!(arn = %machine.arn, %error, "a deletion waits for the next start");
            }
        }
    }
}

fn as_going(record: RegistryRecord) -> Option<Arc<StateMachineRecord>> {
    match record {
        RegistryRecord::StateMachine(record) if record.status == StateMachineStatus::Deleting => Some(record),
        _ => None,
    }
}

/// The machine and its tags.
fn itself(arn: &str) -> Vec<RegistryWrite> {
    let keys = [RegistryKey::of_arn(arn), RegistryKey::of_tags(arn)];
    keys.into_iter().flatten().map(RegistryWrite::Delete).collect()
}

/// Some executions of a machine that run.
async fn running(core: &Core, arn: &Arc<str>) -> Result<Vec<Arc<str>>, Error> {
    let by = ListBy::StateMachine(Arc::clone(arn));
    let status = Some(ExecutionStatus::Running);
    let query = ExecutionsQuery { by, status, redriven: None, after: None, limit: 100 };
    let page = core.read(move |reader| reader.executions(&query)).await?;
    Ok(page.items.into_iter().map(|row| row.arn).collect())
}
