//! Stacks that CloudFormation's API orders are made here: the templates crate speaks the ordinary API, through the same
//! door as tasks, in the name of who ordered them.
//!
//! What only keeps the books (the kept state of the stack, its exports) is done in the name of the account's owner, since
//! whoever may create a stack need not be allowed to write its state.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use runtime::BoxFuture;
use serde_json::{Value, json};
use services::cloudformation::maker::{PlannedChange, StackEnd, StackMaker, StackOrder, StackPlan};
use services::wire::{CallContext, Principal};
use templates::{Change, ChangeKind, Options, Place, Stack, Template, TemplateError};

use super::transport::Embedded;

/// Makes stacks over the transport that tasks use.
pub(super) struct Stacks {
    transport: Arc<Embedded>,
}

impl Stacks {
    pub fn new(transport: Arc<Embedded>) -> Stacks {
        Stacks { transport }
    }
}

/// The API as whoever ordered the stack calls it.
struct Caller {
    transport: Arc<Embedded>,
    context: CallContext,
}

impl templates::Client for Caller {
    fn send<'a>(&'a self, service: &'a str, request: http::Request<Bytes>) -> templates::Pending<'a> {
        let mut context = self.context.clone();
        context.request_id = uuid::Uuid::new_v4().to_string();
        context.invocation_id = None;
        if service == "cloudformation" {
            context.principal = Principal::Root { account: context.account.clone() };
        }
        Box::pin(async move {
            let answer = self.transport.deliver(context, service, request).await;
            answer.map_err(|error| error.to_string())
        })
    }
}

impl Caller {
    fn place(&self) -> Place {
        Place { account: self.context.account.clone(), region: self.context.region.clone() }
    }

    async fn read(&self, order: &StackOrder) -> Result<(Template, Stack), TemplateError> {
        let stack = Stack::load(self, &order.name).await?;
        let exports = templates::exports(self).await?;
        let others = exports.into_iter().filter(|(_, (_, owner))| *owner != order.name);
        let kept = stack.parameters.iter().filter(|(name, _)| order.previous.contains(*name));
        let mut parameters: BTreeMap<String, String> =
            kept.map(|(name, parameter)| (name.clone(), parameter.value.clone())).collect();
        parameters.extend(order.parameters.clone());
        let options = Options {
            stack: order.name.clone(),
            place: self.place(),
            parameters,
            given_before: BTreeMap::new(),
            exports: others.map(|(name, (value, _))| (name, value)).collect(),
            skip_unsupported: false,
            stack_id: order.id.clone(),
            is_alone: true,
            keeps_failed: order.keeps_failed,
        };
        Template::parse("template", &order.template, Path::new("."), &options)
            .map(|template| (template, stack))
    }

    async fn plan(&self, order: &StackOrder) -> Result<StackPlan, TemplateError> {
        let (template, stack) = self.read(order).await?;
        let changes = templates::plan(&template, &stack)?;
        let declared = templates::declared(&order.template)?;
        let parameters = template.parameters().iter().map(|(name, parameter)| {
            (name.clone(), Some(parameter.value.clone()).filter(|_| !parameter.no_echo))
        });
        Ok(StackPlan {
            changes: changes.into_iter().map(|change| planned(change, &stack)).collect(),
            is_up_to_date: templates::is_up_to_date(&template, &stack)?,
            capability: template.capability().map(str::to_string),
            has_macros: !declared.transforms.is_empty(),
            description: declared.description,
            parameters: parameters.collect(),
        })
    }

    async fn deploy(&self, order: &StackOrder) -> StackEnd {
        let deployed = async {
            let (template, mut stack) = self.read(order).await?;
            templates::deploy(&template, self, &mut stack, &|_| {}).await
        };
        match deployed.await {
            Ok(deployed) => {
                for left_over in deployed.left_over {
                    tracing::warn!(
                        stack = order.name,
                        left_over,
                        "not deleted, and tried again by the next update"
                    );
                }
                StackEnd::Complete
            }
            Err(TemplateError::RolledBack { cause, stuck }) => {
                let is_whole = stuck.is_empty();
                let reason = [cause.api_message()].into_iter().chain(stuck).collect::<Vec<_>>().join("; ");
                StackEnd::RolledBack { reason, is_whole }
            }
            Err(error) => StackEnd::Failed(error.api_message()),
        }
    }

    async fn delete(&self, name: &str) -> StackEnd {
        let deleted = async {
            let mut stack = Stack::load(self, name).await?;
            if !stack.exists() {
                return Ok(templates::Deployed::default());
            }
            templates::delete(self, &mut stack, &self.place(), &|_| {}).await
        };
        match deleted.await {
            Ok(deleted) if deleted.left_over.is_empty() => StackEnd::Complete,
            Ok(deleted) => {
                let reasons = deleted.left_over.join("; ");
                StackEnd::Failed(format!("The following resource(s) failed to delete: {reasons}"))
            }
            Err(error) => StackEnd::Failed(error.api_message()),
        }
    }
}

fn planned(change: Change, stack: &Stack) -> PlannedChange {
    let action = match change.kind {
        ChangeKind::Add => "Add",
        ChangeKind::Modify | ChangeKind::Replace => "Modify",
        ChangeKind::Remove | ChangeKind::Retain => "Remove",
    };
    let reference = stack.resources.get(&change.id).map(|resource| &resource.reference);
    PlannedChange {
        action: action.into(),
        physical_id: reference.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_string)),
        id: change.id,
        kind: change.resource_type,
        replaces: change.kind == ChangeKind::Replace,
        properties: change.properties,
    }
}

impl StackMaker for Stacks {
    fn declared(&self, template: &str) -> Result<Value, String> {
        let declared = templates::declared(template).map_err(|error| error.api_message())?;
        let parameters = declared.parameters.iter().map(|parameter| {
            json!({ "ParameterKey": parameter.name, "ParameterType": parameter.kind, "DefaultValue": parameter.default,
                    "NoEcho": parameter.no_echo, "AllowedValues": parameter.allowed,
                    "Description": (!parameter.description.is_empty()).then_some(&parameter.description) })
        });
        let mut capabilities: Vec<&str> = declared.capability.into_iter().collect();
        let mut reason = String::new();
        if declared.capability.is_some() {
            let types = declared.capable_types.join(", ");
            reason = format!("The following resource(s) require capabilities: [{types}]");
        }
        if !declared.transforms.is_empty() {
            capabilities.push("CAPABILITY_AUTO_EXPAND");
        }
        Ok(json!({ "Description": declared.description, "Parameters": parameters.collect::<Vec<_>>(),
                   "Capabilities": capabilities, "CapabilitiesReason": reason, "ResourceTypes": declared.resource_types,
                   "DeclaredTransforms": declared.transforms, "Metadata": declared.metadata,
                   "Version": declared.version }))
    }

    fn plan(&self, context: CallContext, order: StackOrder) -> BoxFuture<'static, Result<StackPlan, String>> {
        let caller = Caller { transport: Arc::clone(&self.transport), context };
        Box::pin(async move { caller.plan(&order).await.map_err(|error| error.api_message()) })
    }

    fn deploy(&self, context: CallContext, order: StackOrder) -> BoxFuture<'static, StackEnd> {
        let caller = Caller { transport: Arc::clone(&self.transport), context };
        Box::pin(async move { caller.deploy(&order).await })
    }

    fn delete(&self, context: CallContext, name: String) -> BoxFuture<'static, StackEnd> {
        let caller = Caller { transport: Arc::clone(&self.transport), context };
        Box::pin(async move { caller.delete(&name).await })
    }
}
