//! What is known of a deployed stack. It is kept with the server, so that any machine can deploy again and a deployment
//! that died in the middle is known to the next one.
//!
//! Invariant: before a resource is made or changed the kept state says so ([`Stack::pending`]), and until a deployment is
//! complete it holds what was there before ([`Stack::before`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::{CallError, Client, query, rest, segment, xml_members, xml_text};
use crate::error::TemplateError;

/// What is known of a deployed stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Stack name.
    pub name: String,
    /// `AWS::StackId`.
    #[serde(default)]
    pub id: String,
    /// CloudFormation's word, such as `UPDATE_COMPLETE`.
    #[serde(default)]
    pub status: String,
    /// The template's description.
    #[serde(default)]
    pub description: String,
    /// Resources by logical id.
    #[serde(default)]
    pub resources: BTreeMap<String, StackResource>,
    /// Logical ids in the order in which they were made.
    #[serde(default)]
    pub order: Vec<String>,
    /// Outputs, evaluated.
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    /// Names of the exports of other stacks that this one uses.
    #[serde(default)]
    pub imports: BTreeSet<String>,
    /// Parameters with the values of the last deployment.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// While a deployment is under way: the last complete state, to which a failed one goes back.
    #[serde(default)]
    pub before: Option<Box<Before>>,
    /// The resource that was being made or changed when this was kept: after a crash it may or may not have happened.
    #[serde(default)]
    pub pending: Option<PendingResource>,
    /// Why the deployment under way failed; nothing once it is complete or undone.
    #[serde(default)]
    pub failed: Option<FailedResource>,
    /// Resources that no longer belong to the stack and have yet to be deleted.
    #[serde(default)]
    pub retired: Vec<Retired>,
    /// The kept state that this one was made from.
    #[serde(skip)]
    pub(crate) revision: i64,
}

/// One deployed resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StackResource {
    /// `AWS::Lambda::Function`.
    pub kind: String,
    /// Its properties as deployed, functions evaluated.
    pub properties: Value,
    /// What `Ref` gives.
    pub reference: Value,
    /// What `Fn::GetAtt` gives.
    pub attributes: Map<String, Value>,
    /// How often it was replaced: part of the names that are made for it, since old and new are there together.
    #[serde(default)]
    pub generation: u32,
    /// What happens to it when it leaves the stack and when it is replaced.
    #[serde(default)]
    pub keeping: Keeping,
    /// A change of it was begun and may have happened in part: it is changed again, whatever its properties say.
    #[serde(default)]
    pub half_changed: bool,
}

/// `DeletionPolicy` and `UpdateReplacePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// It stays when it leaves the stack.
    pub when_removed: bool,
    /// It stays when another takes its place.
    pub when_replaced: bool,
}

/// One output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its value.
    pub value: Value,
    /// Its description.
    #[serde(default)]
    pub description: String,
    /// The name under which other stacks import it.
    #[serde(default)]
    pub export: Option<String>,
}

/// A parameter of the last deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its value as text.
    pub value: String,
    /// `NoEcho`: never shown.
    #[serde(default)]
    pub no_echo: bool,
    /// It was given, not taken from the template's default; a later deployment uses it again.
    #[serde(default)]
    pub given: bool,
}

/// The last complete state of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    pub(crate) resources: BTreeMap<String, StackResource>,
    pub(crate) order: Vec<String>,
}

/// A resource in the middle of its creation or change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingResource {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) properties: Value,
    pub(crate) generation: u32,
    /// It is being made: what is found of it is a left-over. Otherwise an existing one is being changed.
    pub(crate) is_new: bool,
    /// What was there already under the name before it was made, and so is not a left-over.
    #[serde(default)]
    pub(crate) seen: Option<Value>,
}

/// The resource that ended a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedResource {
    pub(crate) id: String,
    pub(crate) reason: String,
}

/// A resource to be deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retired {
    pub(crate) id: String,
    pub(crate) resource: StackResource,
}

impl Stack {
    /// The stack as the server knows it; an empty one if it does not.
    pub async fn load(client: &dyn Client, name: &str) -> Result<Stack, TemplateError> {
        let empty = Stack { name: name.to_string(), ..Stack::default() };
        let kept = match rest(client, SERVICE, "GET", &path(name), None).await {
            Ok(kept) => kept,
            Err(error) if error.code() == "ResourceNotFoundException" => return Ok(empty),
            Err(error) => return Err(error.on(name)),
        };
        let mut stack: Stack = serde_json::from_value(kept["state"].clone()).map_err(|error| {
            TemplateError::Unkept(format!("{name}: the kept state cannot be read: {error}"))
        })?;
        stack.revision = kept["revision"].as_i64().unwrap_or_default();
        Ok(stack)
    }

    /// Does the server know it?
    pub fn exists(&self) -> bool {
        self.revision > 0
    }

    /// A deployment of it began and did not end.
    pub fn is_unfinished(&self) -> bool {
        self.before.is_some() || self.pending.is_some() || !self.retired.is_empty()
    }

    pub(crate) async fn keep(&mut self, client: &dyn Client) -> Result<(), TemplateError> {
        let path = format!("{}?revision={}", path(&self.name), self.revision);
        let state = serde_json::to_value(&*self).map_err(|error| TemplateError::Unkept(error.to_string()))?;
        let answer = rest(client, SERVICE, "PUT", &path, Some(state)).await.map_err(unkept)?;
        self.revision = answer["revision"].as_i64().unwrap_or_default();
        Ok(())
    }

    pub(crate) async fn forget(&mut self, client: &dyn Client) -> Result<(), TemplateError> {
        let path = format!("{}?revision={}", path(&self.name), self.revision);
        rest(client, SERVICE, "DELETE", &path, None).await.map_err(unkept)?;
        self.revision = 0;
        Ok(())
    }

    /// Values of parameters that were given to the last deployment and hold until others are given.
    pub fn given_parameters(&self) -> BTreeMap<String, String> {
        let given = self.parameters.iter().filter(|(_, parameter)| parameter.given);
        given.map(|(name, parameter)| (name.clone(), parameter.value.clone())).collect()
    }
}

const SERVICE: &str = "cloudformation";
const VERSION: &str = "2010-05-15";

fn path(name: &str) -> String {
    format!("/local/stacks/{}", segment(name))
}

/// A state that another one has replaced, or that cannot be written, ends the deployment where it is.
fn unkept(error: CallError) -> TemplateError {
    match error {
        CallError::Refused { code, message, .. } if code == "ConflictException" => {
            TemplateError::Unkept(message)
        }
        CallError::Refused { .. } => error.on("stack"),
        CallError::Unreachable { reason, .. } => TemplateError::Unkept(reason),
    }
}

/// Every export of the account and region, with its value and the stack it is of.
pub async fn exports(client: &dyn Client) -> Result<BTreeMap<String, (String, String)>, TemplateError> {
    let answer =
        query(client, SERVICE, VERSION, "ListExports", &[]).await.map_err(|error| error.on("exports"))?;
    let read = |member: &str| {
        let stack = xml_text(member, "ExportingStackId")?;
        let stack = stack.split(":stack/").nth(1)?.split('/').next()?.to_string();
        Some((xml_text(member, "Name")?, (xml_text(member, "Value")?, stack)))
    };
    Ok(xml_members(&answer).filter_map(read).collect())
}

/// The stacks that import an export.
pub(crate) async fn importers(client: &dyn Client, export: &str) -> Result<Vec<String>, TemplateError> {
    let parameters = [("ExportName".to_string(), export.to_string())];
    match query(client, SERVICE, VERSION, "ListImports", &parameters).await {
        Ok(answer) => Ok(xml_members(&answer).map(|member| member.trim().to_string()).collect()),
        // AWS's answer for an export that nobody imports.
        Err(error) if error.code() == "ValidationError" => Ok(Vec::new()),
        Err(error) => Err(error.on("exports")),
    }
}

/// The account of the credentials in use.
pub async fn account(client: &dyn Client) -> Result<String, TemplateError> {
    let answer = query(client, "sts", "2011-06-15", "GetCallerIdentity", &[]).await;
    let answer = answer.map_err(|error| error.on("credentials"))?;
    Ok(xml_text(&answer, "Account").unwrap_or_default())
}

/// A stack's id: the same for the same name, account and region.
pub(crate) fn stack_id(region: &str, account: &str, name: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = hex::encode(Sha256::digest(json!([region, account, name]).to_string()));
    let uuid = [&digest[..8], &digest[8..12], &digest[12..16], &digest[16..20], &digest[20..32]].join("-");
    format!("arn:aws:cloudformation:{region}:{account}:stack/{name}/{uuid}")
}
