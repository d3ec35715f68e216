//! What a server is opened with: the command line and the configuration file, as values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::Quotas;
use services::configuration::{DEFAULT_ACCOUNT, DEFAULT_REGION};
use services::{AccessKey, Auditing, EcsMode, Enforce, ServicesConfig, Smtp};

use super::TlsFiles;
use super::endpoints::{Endpoints, Rules};
use super::outside::{self, Outside, Pointed};
use super::traces::Telemetry;
use crate::client::Login;
use crate::config::{Settings, Value};
use crate::mocks::MockFile;

/// Everything that the operator decides.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Everything durable lives below it.
    pub data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key; without them, HTTP is plain.
    pub tls: Option<TlsFiles>,
    /// Names under which clients of other machines reach it.
    pub hosts: Vec<String>,
    /// How ECS tasks run.
    pub ecs: EcsMode,
    /// What a missing permission does.
    pub iam: Enforce,
    /// The account of callers whose access key names none.
    pub account: String,
    /// The region of callers whose request names none.
    pub region: String,
    /// A mail server.
    pub smtp: Option<Smtp>,
    /// What an account may have in a region.
    pub quotas: Quotas,
    /// Access keys; with at least one, signatures are verified.
    pub keys: Vec<AccessKey>,
    /// Services that are pointed elsewhere.
    pub pointed: Vec<Pointed>,
    /// Which endpoints HTTP Tasks may call.
    pub http: Rules,
    /// What is recorded of calls, and for how long.
    pub audit: Auditing,
    /// Where traces are sent; nowhere without it.
    pub telemetry: Option<Telemetry>,
    /// When the clock starts that can be set forward; without it, the machine's clock holds.
    pub clock: Option<jiff::Timestamp>,
    /// Test cases, in which states are answered from a file.
    pub mocks: Option<Arc<MockFile>>,
}

impl ServerConfig {
    /// The defaults.
    pub fn new(data: PathBuf, listen: SocketAddr) -> ServerConfig {
        ServerConfig {
            data,
            listen,
            tls: None,
            hosts: Vec::new(),
            ecs: EcsMode::default(),
            iam: Enforce::default(),
            account: DEFAULT_ACCOUNT.into(),
            region: DEFAULT_REGION.into(),
            smtp: None,
            quotas: Quotas::default(),
            keys: Vec::new(),
            pointed: Vec::new(),
            http: Rules::default(),
            audit: Auditing::default(),
            telemetry: None,
            clock: None,
            mocks: None,
        }
    }

    /// With what the file says of everything that the command line does not.
    pub fn with_settings(mut self, settings: &Settings) -> ServerConfig {
        if let Some(account) = settings.text(&["account"]) {
            self.account = account.into();
        }
        if let Some(region) = settings.text(&["region"]) {
            self.region = region.into();
        }
        self.smtp = settings.text(&["smtp", "host"]).map(|host| Smtp {
            host: host.into(),
            port: settings.port(&["smtp", "port"]).unwrap_or(25),
            from: settings.text(&["smtp", "from"]).unwrap_or("passo@localhost").into(),
        });
        self.keys =
            settings.names("keys").into_iter().filter_map(|id| self.access_key(settings, id)).collect();
        self.pointed = outside::pointed(settings);
        self.http = Rules::read(settings);
        self.quotas = quotas(settings);
        let kept = Auditing::default();
        let days = settings.count(&["audit", "days"]).and_then(|days| u16::try_from(days).ok());
        self.audit = Auditing {
            days: days.unwrap_or(kept.days),
            records_max: settings.count(&["audit", "records"]).unwrap_or(kept.records_max),
            work: settings.value(&["audit", "work"]) != Some(&Value::Flag(false)),
        };
        self
    }

    /// A key of twelve digits is by itself the owner of that account.
    fn access_key(&self, settings: &Settings, id: &str) -> Option<AccessKey> {
        let is_account = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        let own = if is_account { id } else { &self.account };
        let account = settings.text(&["keys", id, "account"]).unwrap_or(own).to_string();
        Some(AccessKey { id: id.into(), secret: settings.text(&["keys", id, "secret"])?.into(), account })
    }

    /// With which keys this process calls its own server, and on which account.
    pub fn owner(&self) -> (Login, String) {
        match self.keys.first() {
            Some(AccessKey { id, secret, account }) => {
                let login = Login { access_key_id: id.clone(), secret: secret.clone(), token: None };
                (login, account.clone())
            }
            None => (Login::owner(&self.account), self.account.clone()),
        }
    }

    /// What the embedded services are opened with.
    pub(super) fn services(
        &self,
        clock: Arc<dyn services::Clock>,
        outside: &Outside,
        endpoints: Arc<Endpoints>,
    ) -> ServicesConfig {
        ServicesConfig {
            ecs: self.ecs,
            enforce: self.iam,
            account: self.account.clone(),
            region: self.region.clone(),
            smtp: self.smtp.clone(),
            keys: self.keys.clone(),
            elsewhere: outside.ways.clone(),
            outside: endpoints,
            audit: self.audit,
            clock,
            ..ServicesConfig::new(&self.data)
        }
    }
}

/// AWS's quotas, but for what the file says.
fn quotas(settings: &Settings) -> Quotas {
    let default = Quotas::default();
    let limit = |name: &str, default: u64| settings.count(&["limits", name]).unwrap_or(default);
    let limit_of_list =
        |name: &str, default: usize| usize::try_from(limit(name, default as u64)).unwrap_or(usize::MAX);
    Quotas {
        state_machines: limit("state_machines", default.state_machines),
        activities: limit("activities", default.activities),
        open_executions: limit("open_executions", default.open_executions),
        activity_workers: limit_of_list("activity_workers", default.activity_workers),
        versions: limit_of_list("versions", default.versions),
        aliases: limit_of_list("aliases", default.aliases),
    }
}
