//! The door to whoever reads templates and makes stacks of them, by the ordinary API. This crate reads none.

use crate::wire::{BoxFuture, CallContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A stack as somebody wants it. It is kept until it is carried out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StackOrder {
    /// The stack's name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The template's text.
    pub template: String,
    /// Values of parameters.
    pub parameters: BTreeMap<String, String>,
    /// Parameters that keep the values of the last deployment.
    pub previous: BTreeSet<String>,
    /// What fails is left as it is.
    pub keeps_failed: bool,
}

/// What an order would do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StackPlan {
    /// Changes of resources, in order.
    pub changes: Vec<PlannedChange>,
    /// Not even an output would change.
    pub is_up_to_date: bool,
    /// The capability that the resources ask for.
    pub capability: Option<String>,
    /// The template has macros.
    pub has_macros: bool,
    /// The template's description.
    pub description: String,
    /// Parameters with their values; those that are never shown without.
    pub parameters: Vec<(String, Option<String>)>,
}

/// A change of one resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// `Add`, `Modify` or `Remove`.
    pub action: String,
    /// Logical id.
    pub id: String,
    /// Resource type.
    pub kind: String,
    /// What `Ref` gives now.
    pub physical_id: Option<String>,
    /// Another takes its place.
    pub replaces: bool,
    /// The properties that differ.
    pub properties: Vec<String>,
}

/// How the work on a stack ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StackEnd {
    /// As ordered.
    Complete,
    /// It failed for this reason and was undone, wholly or not.
    RolledBack {
        /// Why it failed.
        reason: String,
        /// Nothing could be left.
        is_whole: bool,
    },
    /// It failed for this reason and was left as it is.
    Failed(String),
}

/// Reads templates and carries orders out; given to the services by the binary.
pub trait StackMaker: Send + Sync + 'static {
    /// What a template declares, in the shape of GetTemplateSummary, or what is wrong with it.
    fn declared(&self, template: &str) -> Result<Value, String>;

    /// What an order would do, or what is wrong with it. It changes nothing.
    fn plan(&self, caller: CallContext, order: StackOrder) -> BoxFuture<'static, Result<StackPlan, String>>;

    /// Carries an order out in the name of the caller. After a crash it is called again with the same order, and goes on.
    fn deploy(&self, caller: CallContext, order: StackOrder) -> BoxFuture<'static, StackEnd>;

    /// Deletes a stack in the name of the caller. After a crash it is called again.
    fn delete(&self, caller: CallContext, name: String) -> BoxFuture<'static, StackEnd>;
}
