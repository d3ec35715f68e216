//! A server to look at, and an execution there by its ARN, its name or the beginning of its name.

use clap::Args;
use serde_json::{Value, json};

use super::Failed;
use super::execution::refused;
use crate::client::Client;
use crate::config::DEFAULT_LISTEN;

/// Most items of a page of a listing.
const PAGE: u64 = 1000;
/// A name is looked for among this many executions of a state machine, the newest.
const LOOKED_AT_MAX: usize = 20_000;
/// Candidates that an error names.
const NAMED_MAX: usize = 5;

/// Where the server is.
#[derive(Args)]
pub struct ServerArgs {
    /// The server [default: AWS_ENDPOINT_URL, else http://127.0.0.1:4566]
    #[arg(long, value_name = "URL", env = "PASSO_ENDPOINT")]
    endpoint: Option<String>,
}

impl ServerArgs {
    /// A client for it; never one for AWS itself unless the address says so.
    pub fn client(&self) -> Result<Client, Failed> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = self.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = endpoint.unwrap_or_else(|| format!("http://{DEFAULT_LISTEN}"));
        Client::new(&endpoint, &variable).map_err(Failed::Usage)
    }
}

/// A call of Step Functions; when nobody answers, says how to start a server.
pub async fn states(client: &Client, action: &str, body: Value) -> Result<Value, Failed> {
    client.states(action, body).await.map_err(|error| match refused(error) {
        Failed::Environment(message) => Failed::Environment(format!(
            "{message}\nhint: start a server with `passo serve`, or name another one with --endpoint"
        )),
        other => other,
    })
}

/// All items of a listing, at most `most`.
pub async fn listed(
    client: &Client,
    action: &str,
    member: &str,
    mut body: Value,
    most: usize,
) -> Result<Vec<Value>, Failed> {
    let mut found: Vec<Value> = Vec::new();
    while found.len() < most {
        body["maxResults"] = PAGE.min((most - found.len()) as u64).into();
        let mut page = states(client, action, body.clone()).await?;
        if let Value::Array(items) = page[member].take() {
            found.extend(items);
        }
        match page["nextToken"].take() {
            Value::Null => break,
            token => body["nextToken"] = token,
        }
    }
    Ok(found)
}

/// Standard state machines, all or those that `wanted` names (by name or ARN).
pub async fn machines(client: &Client, wanted: Option<&str>) -> Result<Vec<Value>, Failed> {
    let mut machines = listed(client, "ListStateMachines", "stateMachines", json!({}), usize::MAX).await?;
    let known: Vec<String> =
        machines.iter().filter_map(|machine| machine["name"].as_str().map(str::to_owned)).collect();
    let Some(wanted) = wanted else {
        machines.retain(|machine| machine["type"] == "STANDARD");
        return Ok(machines);
    };
    machines.retain(|machine| machine["name"] == wanted || machine["stateMachineArn"] == wanted);
    match machines.first() {
        None => {
            let hint = if known.is_empty() { "there is none yet".into() } else { known.join(", ") };
            Err(Failed::Usage(format!("no state machine '{wanted}'; known: {hint}")))
        }
        Some(machine) if machine["type"] == "EXPRESS" => {
            let hint = "Express executions are not listed; their lines are in the machine's log group";
            Err(Failed::Usage(format!("{wanted} is an Express state machine. hint: {hint}")))
        }
        Some(_) => Ok(machines),
    }
}

/// The ARN of the execution that the user means.
pub async fn execution(client: &Client, wanted: &str) -> Result<String, Failed> {
    match found(client, wanted).await? {
        Some(arn) => Ok(arn),
        None => {
            let hint = "`passo executions` lists them; give an ARN, a name or the beginning of a name";
            Err(Failed::Usage(format!("no execution '{wanted}'. hint: {hint}")))
        }
    }
}

/// The same, if there is one.
pub async fn found(client: &Client, wanted: &str) -> Result<Option<String>, Failed> {
    if wanted.starts_with("arn:") {
        return Ok(Some(wanted.to_owned()));
    }
    let (mut same, mut begun): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for machine in machines(client, None).await? {
        let body = json!({ "stateMachineArn": machine["stateMachineArn"] });
        for execution in listed(client, "ListExecutions", "executions", body, LOOKED_AT_MAX).await? {
            let arn = execution["executionArn"].as_str().unwrap_or_default().to_owned();
            match execution["name"].as_str() {
                Some(name) if name == wanted => same.push(arn),
                Some(name) if name.starts_with(wanted) => begun.push(arn),
                _ => {}
            }
        }
    }
    let mut candidates = if same.is_empty() { begun } else { same };
    if candidates.len() < 2 {
        return Ok(candidates.pop());
    }
    let count = candidates.len();
    candidates.truncate(NAMED_MAX);
    let more = if count > NAMED_MAX { "\n  …" } else { "" };
    let shown: String = candidates.iter().map(|arn| format!("\n  {arn}")).collect();
    Err(Failed::Usage(format!("'{wanted}' may be any of {count} executions; give more of it:{shown}{more}")))
}
