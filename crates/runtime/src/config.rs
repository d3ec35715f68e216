//! What the binary decides about a runtime.

use std::time::Duration;

use engine::Limits;

use crate::quotas::Quotas;
use crate::shard::ShardConfig;

/// Bounds and choices. The defaults suit one server on two cores.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// Shards that step side by side. An execution belongs to one by its ARN; the number may differ at each start.
    pub shards: usize,
    /// Bounds of each shard.
    pub shard: ShardConfig,
    /// Requests that may wait for their commit at a time; more are refused with `ThrottlingException`.
    pub admission_max: usize,
    /// Asynchronous Express executions that may run at a time; more are refused with `ThrottlingException`.
    pub express_max: usize,
    /// Calls in flight of one resource.
    pub in_flight_max: usize,
    /// AWS's quotas of an account.
    pub quotas: Quotas,
    /// How long GetActivityTask waits for a task.
    pub activity_poll: Duration,
    /// Executions brought back at a time at start-up: bounds memory and the rate at which tasks are sent again.
    pub recovery_page: u32,
    /// Bounds of Standard executions; Express ones have no bound of events.
    pub limits: Limits,
    /// First seed of all chance; `None` draws one from the system.
    pub seed: Option<u64>,
}

impl Default for RuntimeConfig {
    fn default() -> RuntimeConfig {
        RuntimeConfig {
            shards: std::thread::available_parallelism().map_or(2, usize::from),
            shard: ShardConfig::default(),
            admission_max: 10_000,
            express_max: 10_000,
            in_flight_max: 1_000,
            quotas: Quotas::default(),
            activity_poll: Duration::from_secs(60),
            recovery_page: 256,
            limits: Limits::default(),
            seed: None,
        }
    }
}
