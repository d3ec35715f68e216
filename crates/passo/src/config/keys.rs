//! Every key of `passo.toml`: what it may hold, what counts without it, what it means. The one list from which files are
//! checked, `passo config check` prints, and `docs/configuration.md` is held to.

use std::net::SocketAddr;

use toml::de::DeValue;

use crate::server::Network;

/// A key, or with `*` in its path one key of each table of that kind.
#[derive(Debug)]
pub struct Key {
    /// Dotted path.
    pub path: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What counts without it; empty when that is nothing.
    pub default: &'static str,
    /// The variable that beats the file.
    pub variable: Option<&'static str>,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text but the empty one.
    Text,
    /// Text that is never printed.
    Secret,
    /// A path; a relative one starts at the file's folder.
    Path,
    /// `ADDRESS:PORT`.
    Address,
    /// 1 to 65535.
    Port,
    /// A number above 0.
    Count,
    /// True or false.
    Flag,
    /// Twelve digits.
    Account,
    /// `us-east-1`.
    Region,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `embedded`, `aws`, or a URL.
    Endpoint,
    /// A list of networks and addresses.
    Networks,
    /// A URL that may have a path.
    Url,
}

/// A value as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An integer.
    Number(i64),
    /// A boolean.
    Flag(bool),
    /// A list of strings.
    List(Vec<String>),
}

const fn key(path: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { path, kind, default, variable: None }
}

const fn key_with_variable(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    variable: &'static str,
) -> Key {
    Key { path, kind, default, variable: Some(variable) }
}

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    key_with_variable("listen", Kind::Address, super::DEFAULT_LISTEN, "PASSO_LISTEN"),
    key_with_variable("data", Kind::Path, "$XDG_DATA_HOME/passo", "PASSO_DATA"),
    key_with_variable("tls.cert", Kind::Path, "", "PASSO_TLS_CERT"),
    key_with_variable("tls.key", Kind::Path, "", "PASSO_TLS_KEY"),
    key("tls.hosts", Kind::Text, ""),
    key("account", Kind::Account, services::configuration::DEFAULT_ACCOUNT),
    key("region", Kind::Region, services::configuration::DEFAULT_REGION),
    key_with_variable("iam", Kind::Choice(&["off", "log", "on"]), "log", "PASSO_IAM"),
    key_with_variable("ecs", Kind::Choice(&["auto", "docker", "process"]), "auto", "PASSO_ECS"),
    key_with_variable("log", Kind::Text, "info", "PASSO_LOG"),
    key_with_variable("log_format", Kind::Choice(&["text", "json"]), "text", "PASSO_LOG_FORMAT"),
    key("audit.days", Kind::Count, "90"),
    key("audit.records", Kind::Count, "1000000"),
    key("audit.work", Kind::Flag, "true"),
    key_with_variable("telemetry.otlp_endpoint", Kind::Url, "", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    key_with_variable("telemetry.otlp_headers", Kind::Secret, "", "OTEL_EXPORTER_OTLP_HEADERS"),
    key_with_variable("telemetry.service_name", Kind::Text, "passo", "OTEL_SERVICE_NAME"),
    key_with_variable("telemetry.resource_attributes", Kind::Text, "", "OTEL_RESOURCE_ATTRIBUTES"),
    key("smtp.host", Kind::Text, ""),
    key("smtp.port", Kind::Port, "25"),
    key("smtp.from", Kind::Text, "passo@localhost"),
    key("http.plain", Kind::Choice(&["never", "loopback"]), "never"),
    key("http.allow", Kind::Networks, ""),
    key("http.deny", Kind::Networks, ""),
    key("http.ca_file", Kind::Path, ""),
    key("limits.state_machines", Kind::Count, "100000"),
    key("limits.activities", Kind::Count, "100000"),
    key("limits.open_executions", Kind::Count, "1000000"),
    key("limits.activity_workers", Kind::Count, "1000"),
    key("limits.versions", Kind::Count, "1000"),
    key("limits.aliases", Kind::Count, "100"),
    key("keys.*.secret", Kind::Secret, ""),
    key("keys.*.account", Kind::Account, ""),
    key("services.*.endpoint", Kind::Endpoint, "embedded"),
    key("services.*.region", Kind::Region, ""),
    key("services.*.account", Kind::Account, ""),
    key("services.*.profile", Kind::Text, ""),
    key("services.*.access_key_id", Kind::Text, ""),
    key("services.*.secret_access_key", Kind::Secret, ""),
    key("services.*.session_token", Kind::Secret, ""),
    key("services.*.ca_file", Kind::Path, ""),
    key("services.*.direct", Kind::Flag, "false"),
];

impl Key {
    /// Whether this key is meant by a path.
    pub fn matches(&self, path: &[String]) -> bool {
        let pattern: Vec<&str> = self.path.split('.').collect();
        pattern.len() == path.len() && begins(&pattern, path)
    }

    /// The name that may stand in the table `path`, if this key lies in it: `host` in `[smtp]`.
    pub fn name_in(&self, path: &[String]) -> Option<&'static str> {
        let pattern: Vec<&'static str> = self.path.split('.').collect();
        (pattern.len() > path.len() && begins(&pattern, path)).then(|| pattern[path.len()])
    }
}

fn begins(pattern: &[&str], path: &[String]) -> bool {
    pattern.iter().zip(path).all(|(wanted, given)| *wanted == "*" || wanted == given)
}

impl Kind {
    /// Reads a value, or says what was expected.
    pub fn read(self, value: &DeValue<'_>) -> Result<Value, String> {
        match self {
            Kind::Port => {
                let port = integer(value).filter(|number| (1..=65535).contains(number));
                port.map(Value::Number).ok_or_else(|| "expected a port, such as 25".into())
            }
            Kind::Count => {
                let count = integer(value).filter(|number| *number > 0);
                count.map(Value::Number).ok_or_else(|| "expected a number above 0".into())
            }
            Kind::Flag => value.as_bool().map(Value::Flag).ok_or_else(|| "expected true or false".into()),
            Kind::Networks => {
                let items = value.as_array().map(|items| items.iter().map(|item| item.get_ref().as_str()));
                let good = |text: &&str| text.parse::<Network>().is_ok();
                let networks: Option<Vec<String>> =
                    items.and_then(|items| items.map(|item| item.filter(good).map(str::to_owned)).collect());
                networks.map(Value::List).ok_or_else(|| format!("expected {}", self.expected()))
            }
            _ => {
                let expected = self.expected();
                let text = value.as_str().ok_or_else(|| format!("expected {expected}, in quotes"))?;
                let good = self.takes(text);
                good.then(|| Value::Text(text.into())).ok_or_else(|| format!("expected {expected}"))
            }
        }
    }

    fn takes(self, text: &str) -> bool {
        match self {
            Kind::Address => text.parse::<SocketAddr>().is_ok(),
            Kind::Account => text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()),
            Kind::Region => {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                !text.is_empty() && text.bytes().all(plain)
            }
            Kind::Choice(words) => words.contains(&text),
            Kind::Endpoint => matches!(text, "embedded" | "aws") || is_url(text),
            Kind::Text | Kind::Secret | Kind::Path => !text.is_empty(),
            Kind::Url => is_http(text),
            Kind::Port | Kind::Count | Kind::Flag | Kind::Networks => false,
        }
    }

    fn expected(self) -> String {
        match self {
            Kind::Text | Kind::Secret => "some text".into(),
            Kind::Path => "a path".into(),
            Kind::Address => "ADDRESS:PORT, such as 127.0.0.1:4566".into(),
            Kind::Account => "an account of twelve digits".into(),
            Kind::Region => "a region, such as us-east-1".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Endpoint => "embedded, aws, or a URL that begins with http:// or https://".into(),
            Kind::Url => "a URL that begins with http:// or https://".into(),
            Kind::Port => "a port".into(),
            Kind::Count => "a number".into(),
            Kind::Flag => "true or false".into(),
            Kind::Networks => "networks such as [\"10.0.0.0/8\", \"203.0.113.7\"]".into(),
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn is_http(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

/// Scheme, host and maybe a port: what requests are sent to; paths belong to the requests.
fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none()
        && !text.contains('@')
}
