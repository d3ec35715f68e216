//! What the operator decides about the embedded services. The binary reads flags and files; this crate only gets values.

use crate::environment::{Clock, SystemClock};
use crate::front::Elsewhere;
use crate::outside::{Closed, WayOut};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The account of callers whose access key names none.
pub const DEFAULT_ACCOUNT: &str = "000000000000";
/// The region of callers whose request names none.
pub const DEFAULT_REGION: &str = "us-east-1";

/// How ECS tasks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EcsMode {
    /// A container where an engine answers and has the image, else a process.
    #[default]
    Auto,
    /// Containers only.
    Docker,
    /// Processes only.
    Process,
}

/// What a missing permission does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforce {
    /// Policies are kept and not evaluated.
    Off,
    /// The call goes through and the missing statement is logged, ready to paste.
    #[default]
    Log,
    /// The call is refused in AWS's words.
    On,
}

/// Where SNS sends mail when it is to leave the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Host name or address of the mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The sender's address.
    pub from: String,
}

/// An access key that the operator gave out; its holder is the owner of an account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The account.
    pub account: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the secret: configuration gets into logs.
        formatter.debug_struct("AccessKey").field("id", &self.id).field("account", &self.account).finish()
    }
}

/// What CloudTrail records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auditing {
    /// How long records are kept.
    pub days: u16,
    /// How many are kept of each class: changes, work, refusals.
    pub records_max: u64,
    /// Whether work (executions started, stopped and redriven, task tokens, tasks, sessions) is recorded besides changes.
    pub work: bool,
}

impl Default for Auditing {
    /// As long as CloudTrail's event history.
    fn default() -> Self {
        Self { days: 90, records_max: 1_000_000, work: true }
    }
}

/// Configuration of all embedded services.
#[derive(Clone)]
pub struct ServicesConfig {
    /// The data directory; the services' files live in `services/` below it.
    pub data_dir: PathBuf,
    /// The account of callers whose access key names none.
    pub account: String,
    /// The region of callers whose request names none.
    pub region: String,
    /// How ECS tasks are run.
    pub ecs: EcsMode,
    /// What a missing permission does.
    pub enforce: Enforce,
    /// A mail server; without one, mail is written to the local outbox.
    pub smtp: Option<Smtp>,
    /// Access keys; with at least one, signatures of all requests are verified.
    pub keys: Vec<AccessKey>,
    /// Services that are pointed elsewhere, by their signing names.
    pub elsewhere: BTreeMap<String, Arc<dyn Elsewhere>>,
    /// How endpoints outside are called.
    pub outside: Arc<dyn WayOut>,
    /// What is recorded of calls, and for how long.
    pub audit: Auditing,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl ServicesConfig {
    /// The defaults, with all state under `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            account: DEFAULT_ACCOUNT.to_owned(),
            region: DEFAULT_REGION.to_owned(),
            ecs: EcsMode::default(),
            enforce: Enforce::default(),
            smtp: None,
            keys: Vec::new(),
            elsewhere: BTreeMap::new(),
            outside: Arc::new(Closed),
            audit: Auditing::default(),
            clock: Arc::new(SystemClock),
        }
    }
}
