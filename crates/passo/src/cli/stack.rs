//! Stacks on a server: what `passo run`, `passo deploy` and `passo delete` share.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use templates::{Change, ChangeKind, Deployed, Options, Place, Stack, Template, TemplateError};

use super::Failed;
use super::project::Project;
use super::terminal::{Style, Terminal};
use crate::client::Client;

/// A stack as the server knows it, and the template that it shall follow.
pub struct Prepared {
    /// As the server knows it.
    pub stack: Stack,
    /// As it shall be.
    pub template: Template,
}

/// What the command line says of a deployment.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Values of parameters.
    pub parameters: BTreeMap<String, String>,
    /// Leave out what is not supported.
    pub skip_unsupported: bool,
}

/// `KEY=VALUE` of the command line.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_string(), value.to_string()))
}

/// Account and region that the client's calls mean.
pub async fn place(client: &Client) -> Result<Place, Failed> {
    let account = templates::account(client).await.map_err(|error| failed("", error))?;
    Ok(Place { account, region: client.region().to_string() })
}

/// Reads the template for the stack as it is on the server.
pub async fn prepare(
    terminal: &Terminal,
    project: &Project,
    client: &Client,
    wanted: &Wanted,
) -> Result<Prepared, Failed> {
    let place = place(client).await?;
    let stack = Stack::load(client, &project.stack).await.map_err(|error| failed("", error))?;
    let exports = templates::exports(client).await.map_err(|error| failed("", error))?;
    let others = exports.into_iter().filter(|(_, (_, owner))| *owner != project.stack);
    let options = Options {
        stack: project.stack.clone(),
        place,
        parameters: wanted.parameters.clone(),
        given_before: stack.given_parameters(),
        exports: others.map(|(name, (value, _))| (name, value)).collect(),
        skip_unsupported: wanted.skip_unsupported,
        stack_id: stack.id.clone(),
        ..Options::default()
    };
    let template = project.template(terminal, &options)?;
    template.warnings.iter().for_each(|warning| terminal.warning(warning));
    Ok(Prepared { stack, template })
}

/// Makes the stack what the template says.
pub async fn deploy(
    terminal: &Terminal,
    client: &Client,
    prepared: &mut Prepared,
) -> Result<Deployed, Failed> {
    let progress = |change: &Change| terminal.status(&format!("  {} {}", verb(change.kind), change.id));
    let deployed = templates::deploy(&prepared.template, client, &mut prepared.stack, &progress).await;
    terminal.clear_status();
    let deployed = deployed.map_err(|error| failed("the stack could not be deployed: ", error))?;
    for left_over in &deployed.left_over {
        terminal.warning(&format!("not deleted, and tried again by the next deployment: {left_over}"));
    }
    Ok(deployed)
}

/// The exit code follows from who can act: whoever wrote the template, or whoever runs the server.
pub fn failed(before: &str, error: TemplateError) -> Failed {
    let mut message = format!("{before}{error}");
    match error {
        TemplateError::Unreachable { .. } => {
            message
                .push_str("\nhint: is `passo serve` running there? Otherwise say where with --endpoint URL");
            Failed::Environment(message)
        }
        TemplateError::Unkept(_) => Failed::Environment(message),
        _ => Failed::Usage(message),
    }
}

/// What is done to a resource, in a word.
pub fn verb(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Add => "add",
        ChangeKind::Modify => "modify",
        ChangeKind::Replace => "replace",
        ChangeKind::Remove => "remove",
        ChangeKind::Retain => "retain",
    }
}

/// `3 added, 1 modified`.
pub fn summary(changes: &[Change]) -> String {
    let words = [
        (ChangeKind::Add, "added"),
        (ChangeKind::Modify, "modified"),
        (ChangeKind::Replace, "replaced"),
        (ChangeKind::Remove, "removed"),
        (ChangeKind::Retain, "retained"),
    ];
    let count = |kind: ChangeKind| changes.iter().filter(|change| change.kind == kind).count();
    let parts = words.map(|(kind, word)| (count(kind), word));
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    parts.join(", ")
}

/// A line for each change: what, which, of which type, and the properties that differ.
pub fn show(terminal: &Terminal, changes: &[Change]) {
    let width =
        |text: fn(&Change) -> &str| changes.iter().map(|change| text(change).len()).max().unwrap_or(0);
    let (ids, types) = (width(|change| &change.id), width(|change| &change.resource_type));
    for change in changes {
        let (sign, style) = match change.kind {
            ChangeKind::Add => ("+", Style::Good),
            ChangeKind::Modify => ("~", Style::Warn),
            ChangeKind::Replace => ("±", Style::Bad),
            ChangeKind::Remove => ("-", Style::Bad),
            ChangeKind::Retain => ("=", Style::Dim),
        };
        let what = terminal.paint(style, &format!("{sign} {:<7}", verb(change.kind)));
        let line = format!(
            "  {what} {:<ids$}  {:<types$}  {}",
            change.id,
            change.resource_type,
            change.properties.join(", ")
        );
        terminal.line(line.trim_end());
    }
}

/// The outcome for scripts.
pub fn as_json(stack: &Stack, changes: &[Change]) -> Value {
    let changes = changes.iter().map(|change| {
        json!({ "action": verb(change.kind), "logicalResourceId": change.id, "resourceType": change.resource_type,
                "properties": change.properties })
    });
    let outputs = stack.outputs.iter().map(|(name, output)| (name.clone(), output.value.clone()));
    json!({ "stack": stack.name, "status": stack.status, "changes": changes.collect::<Vec<_>>(),
            "outputs": outputs.collect::<serde_json::Map<_, _>>() })
}
