//! What TestState needs of the shell: the time, chance, and one task done outside any execution.

use std::sync::PoisonError;
use std::time::Duration;

use asl::timestamp::Timestamp;
use engine::Failure;

use crate::dispatch::{Secrets, TaskCall, TaskReport, TaskTrace};
use crate::runtime::Runtime;

impl Runtime {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Resolves at `at` or a little later.
    pub async fn sleep_until(&self, at: Timestamp) {
        self.core.clock.sleep_until(at).await;
    }

    /// A seed of chance.
    pub fn draw_seed(&self) -> u64 {
        self.core.seeds.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// A version 4 UUID.
    pub fn draw_uuid(&self) -> String {
        self.core.seeds.lock().unwrap_or_else(PoisonError::into_inner).uuid()
    }

    /// Does one task that belongs to no execution; nothing of it is recorded. It fails with `States.Timeout` when it takes
    /// longer than `timeout`.
    pub async fn try_task(
        &self,
        call: TaskCall,
        secrets: Secrets,
        timeout: Duration,
    ) -> (TaskReport, Option<TaskTrace>) {
        let deadline = self.core.clock.sleep_until(self.now().plus(timeout));
        tokio::select! {
            report = self.core.dispatch.run_traced(call, secrets) => report,
            () = deadline => {
                let (failure, stage) = (Failure::named("States.Timeout"), engine::Stage::Run);
                (TaskReport::Failed { failure, stage }, None)
            }
        }
    }
}
