//! Change sets: an order with the changes that it would make, kept until somebody executes or deletes it.

use super::events::{self, Happened};
use super::maker::{PlannedChange, StackOrder, StackPlan};
use super::records::{Details, Record};
use super::view::{tags, time};
use super::{Call, sealed};
use crate::seal::Sealer;
use crate::wire::{Form, ServiceError, Xml};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

/// AWS's words, for which the AWS CLI looks.
const NOTHING: &str = "The submitted information didn't contain changes. Submit different information to create a change \
                       set.";

/// One change set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ChangeSet {
    pub id: String,
    pub name: String,
    pub stack_id: String,
    pub stack_name: String,
    pub description: String,
    /// `CREATE_COMPLETE` or `FAILED`.
    pub status: String,
    pub reason: String,
    pub execution_status: String,
    pub order: StackOrder,
    pub details: Details,
    pub changes: Vec<PlannedChange>,
    pub parameters: Vec<(String, Option<String>)>,
    pub created_ms: i64,
}

/// What is asked for.
pub(super) struct Wanted {
    pub name: String,
    pub description: String,
    pub is_creation: bool,
    pub order: StackOrder,
    pub details: Details,
}

impl ChangeSet {
    /// The change set that a request names, by id or by name and stack.
    pub fn named(connection: &Connection, call: &Call, form: &Form) -> Result<ChangeSet, ServiceError> {
        let wanted = form.get("ChangeSetName").unwrap_or_default();
        let missing = || {
            let message = format!("ChangeSet [{wanted}] does not exist");
            ServiceError::new(404, "ChangeSetNotFound", message)
        };
        let own = format!("arn:aws:cloudformation:{}:{}:changeSet/", call.region, call.account);
        let (sql, stack) = if wanted.starts_with("arn:") {
            let is_own = wanted.starts_with(&own);
            (
                "SELECT document, id FROM change_sets WHERE id = ?1 AND ?2 <> ''",
                if is_own { own } else { String::new() },
            )
        } else {
            let stack = form.get("StackName").filter(|name| !name.is_empty()).ok_or_else(|| {
                let message = "StackName must be specified if ChangeSetName is not specified as an ARN.";
                ServiceError::client("ValidationError", message)
            })?;
            let stack = Record::named(connection, call, stack)?;
            ("SELECT document, id FROM change_sets WHERE name = ?1 AND stack = ?2", stack.id)
        };
        let found = connection.prepare_cached(sql)?.query_row([wanted, &stack], |row| opened(call, row));
        let found = found.optional()?;
        serde_json::from_str(&found.ok_or_else(missing)?).map_err(ServiceError::internal)
    }

    pub fn save(&self, connection: &Connection, sealer: &Sealer) -> Result<(), ServiceError> {
        let document = serde_json::to_string(self).map_err(ServiceError::internal)?;
        let document = sealed::seal(sealer, &self.id, &document)?;
        let sql = "INSERT OR REPLACE INTO change_sets VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![self.id, self.stack_id, self.name, self.created_ms, document];
        connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }
}

/// A row's document, with the id it was sealed for beside it.
fn opened(call: &Call, row: &Row<'_>) -> rusqlite::Result<String> {
    sealed::open(&call.sealer, &row.get::<_, String>(1)?, 0, row.get_ref(0)?)
}

/// Keeps a new change set; of a stack that is not there yet, the stack in review with it.
pub(super) fn create(
    connection: &Connection,
    call: &Call,
    wanted: Wanted,
    plan: StackPlan,
) -> Result<ChangeSet, ServiceError> {
    let Wanted { name, description, is_creation, mut order, details } = wanted;
    let mut stack = match Record::find(connection, call, &order.name)? {
        Some(stack) => stack,
        None => {
            let stack = Record::new(call, &order.name, &order.id, "REVIEW_IN_PROGRESS");
            let told = Happened::to_stack(&stack, "REVIEW_IN_PROGRESS", "User Initiated");
            stack.save(connection, &call.sealer)?;
            events::write(connection, &stack, call.now_ms, &[told])?;
            stack
        }
    };
    let sql = "SELECT 1 FROM change_sets WHERE stack = ?1 AND name = ?2";
    if connection.prepare_cached(sql)?.exists(params![stack.id, name])? {
        let message = format!("ChangeSet [{name}] already exists");
        return Err(ServiceError::client("AlreadyExistsException", message));
    }
    let has_same_tags = stack.details.tags == details.tags;
    let is_empty = plan.is_up_to_date && has_same_tags && !is_creation;
    order.id.clone_from(&stack.id);
    let unique = uuid::Uuid::new_v4();
    let change_set = ChangeSet {
        id: format!("arn:aws:cloudformation:{}:{}:changeSet/{name}/{unique}", call.region, call.account),
        name,
        stack_id: stack.id.clone(),
        stack_name: stack.name.clone(),
        description,
        status: if is_empty { "FAILED" } else { "CREATE_COMPLETE" }.to_owned(),
        reason: if is_empty { NOTHING.to_owned() } else { String::new() },
        execution_status: if is_empty { "UNAVAILABLE" } else { "AVAILABLE" }.to_owned(),
        order,
        details,
        changes: plan.changes,
        parameters: plan.parameters,
        created_ms: call.now_ms,
    };
    if stack.status == "REVIEW_IN_PROGRESS" {
        stack.details.description = plan.description;
        stack.save(connection, &call.sealer)?;
    }
    change_set.save(connection, &call.sealer)?;
    Ok(change_set)
}

/// Takes a change set for execution: the others of its stack are gone with it, as on AWS.
pub(super) fn take(connection: &Connection, call: &Call, form: &Form) -> Result<ChangeSet, ServiceError> {
    let mut change_set = ChangeSet::named(connection, call, form)?;
    if change_set.execution_status != "AVAILABLE" {
        let (id, status) = (&change_set.id, &change_set.status);
        let status = if status == "FAILED" { status } else { &change_set.execution_status };
        let message = format!("ChangeSet [{id}] cannot be executed in its current status of [{status}]");
        return Err(ServiceError::client("InvalidChangeSetStatus", message));
    }
    change_set.execution_status = "EXECUTE_COMPLETE".to_owned();
    connection.execute("DELETE FROM change_sets WHERE stack = ?1", [&change_set.stack_id])?;
    change_set.save(connection, &call.sealer)?;
    Ok(change_set)
}

pub(super) fn delete(connection: &Connection, call: &Call, form: &Form) -> Result<(), ServiceError> {
    let change_set = match ChangeSet::named(connection, call, form) {
        Ok(change_set) => change_set,
        // What is gone is deleted.
        Err(error) if error.code == "ChangeSetNotFound" => return Ok(()),
        Err(error) => return Err(error),
    };
    connection.execute("DELETE FROM change_sets WHERE id = ?1", [&change_set.id])?;
    Ok(())
}

pub(super) fn list(connection: &Connection, call: &Call, stack: &Record) -> Result<Vec<Xml>, ServiceError> {
    let sql = "SELECT document, id FROM change_sets WHERE stack = ?1 ORDER BY created DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([&stack.id], |row| opened(call, row))?;
    let documents = rows.collect::<Result<Vec<_>, _>>()?;
    let found = documents.iter().filter_map(|document| serde_json::from_str::<ChangeSet>(document).ok());
    let all: Vec<Vec<Xml>> = found.map(|change_set| head(&change_set)).collect();
    Ok(vec![Xml::list("Summaries", all)])
}

fn head(change_set: &ChangeSet) -> Vec<Xml> {
    let mut shown = vec![
        Xml::text("ChangeSetId", &change_set.id),
        Xml::text("ChangeSetName", &change_set.name),
        Xml::text("StackId", &change_set.stack_id),
        Xml::text("StackName", &change_set.stack_name),
        Xml::text("CreationTime", time(change_set.created_ms)),
        Xml::text("Status", &change_set.status),
        Xml::text("ExecutionStatus", &change_set.execution_status),
        Xml::text("IncludeNestedStacks", false),
    ];
    let optional = [("StatusReason", &change_set.reason), ("Description", &change_set.description)];
    let given = optional.into_iter().filter(|(_, text)| !text.is_empty());
    shown.extend(given.map(|(name, text)| Xml::text(name, text)));
    shown
}

pub(super) fn described(connection: &Connection, call: &Call, form: &Form) -> Result<Vec<Xml>, ServiceError> {
    let change_set = ChangeSet::named(connection, call, form)?;
    let parameters = change_set.parameters.iter().map(|(name, value)| {
        let shown = value.as_deref().unwrap_or("****");
        vec![Xml::text("ParameterKey", name), Xml::text("ParameterValue", shown)]
    });
    let mut shown = head(&change_set);
    shown.extend([
        Xml::list("Parameters", parameters),
        Xml::text_list("NotificationARNs", &change_set.details.notification_arns),
        Xml::text_list("Capabilities", &change_set.details.capabilities),
        Xml::list("Tags", tags(&change_set.details.tags)),
        Xml::element("RollbackConfiguration"),
        Xml::list("Changes", change_set.changes.iter().map(change)),
    ]);
    Ok(shown)
}

fn change(change: &PlannedChange) -> Vec<Xml> {
    let mut resource = Xml::element("ResourceChange")
        .with(Xml::text("Action", &change.action))
        .with(Xml::text("LogicalResourceId", &change.id))
        .with(Xml::text("ResourceType", &change.kind));
    if let Some(id) = &change.physical_id {
        resource = resource.with(Xml::text("PhysicalResourceId", id));
    }
    let is_changed = change.action == "Modify";
    let mut scope: Vec<&str> = change
        .properties
        .iter()
        .map(|path| if path == "Tags" { path.as_str() } else { "Properties" })
        .collect();
    scope.dedup();
    resource = resource.with(Xml::text_list("Scope", if is_changed { scope } else { Vec::new() }));
    if is_changed {
        resource = resource.with(Xml::text("Replacement", if change.replaces { "True" } else { "False" }));
    }
    let detail = |path: &String| {
        let top = path.split('.').next().unwrap_or_default();
        let recreation = if change.replaces { "Always" } else { "Never" };
        let target = if top == "Tags" {
            Xml::element("Target").with(Xml::text("Attribute", "Tags"))
        } else {
            Xml::element("Target").with(Xml::text("Attribute", "Properties")).with(Xml::text("Name", top))
        };
        let target = target.with(Xml::text("RequiresRecreation", recreation));
        vec![target, Xml::text("Evaluation", "Static"), Xml::text("ChangeSource", "DirectModification")]
    };
    let details = change.properties.iter().filter(|_| is_changed).map(detail);
    vec![Xml::text("Type", "Resource"), resource.with(Xml::list("Details", details))]
}
