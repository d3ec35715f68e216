//! The calls that change stacks: judged, accepted in one transaction, then carried out.

use super::change_sets::{self, ChangeSet};
use super::maker::StackPlan;
use super::orders::{self, Ordered, check_capabilities, is_true, new_stack_name, stack_name};
use super::records::{Record, Task, Work};
use super::work::{begin, begin_deletion, delete_later, has_state};
use super::{Call, CloudFormation, invalid};
use crate::storage::{recall, remember};
use crate::wire::{CallContext, Form, Principal, ServiceError, ServiceResponse, Xml};
use jiff::Timestamp;
use rusqlite::Connection;

/// Statuses in which a stack may be updated.
const UPDATABLE: [&str; 5] =
    ["CREATE_COMPLETE", "CREATE_FAILED", "UPDATE_COMPLETE", "UPDATE_FAILED", "UPDATE_ROLLBACK_COMPLETE"];
const REVIEW: &str = "REVIEW_IN_PROGRESS";

impl CloudFormation {
    /// The answer of a changing call; none for an operation that is no such call.
    pub(super) async fn act(
        &self,
        context: &CallContext,
        operation: &str,
        form: &Form,
    ) -> Option<Result<ServiceResponse, ServiceError>> {
        Some(match operation {
            "CreateStack" => self.create_stack(context, form).await,
            "UpdateStack" => self.update_stack(context, form).await,
            "DeleteStack" => self.delete_stack(context, form).await,
            "CreateChangeSet" => self.create_change_set(context, form).await,
            "ExecuteChangeSet" => self.execute_change_set(context, form).await,
            "DeleteChangeSet" => self.delete_change_set(context, form).await,
            "UpdateTerminationProtection" => self.protect(context, form).await,
            _ => return None,
        })
    }

    fn found(&self, call: &Call, name: &str) -> Result<Option<Record>, ServiceError> {
        self.database.read(|connection| Record::find(connection, call, name))
    }

    async fn planned(&self, context: &CallContext, ordered: &Ordered) -> Result<StackPlan, ServiceError> {
        let maker = self.environment.stack_maker().await?;
        maker.plan(context.clone(), ordered.order.clone()).await.map_err(invalid)
    }

    /// Writes an acceptance once, however often the same call is sent, and carries it out.
    async fn accept<J>(&self, context: &CallContext, job: J) -> Result<String, ServiceError>
    where
        J: FnOnce(&Connection, &Call) -> Result<String, ServiceError> + Send + 'static,
    {
        let (call, invocation) = (self.call(context), context.invocation_id.clone());
        let now = self.environment.now();
        let accepted = self
            .database
            .write(move |connection| once(connection, invocation.as_deref(), now, || job(connection, &call)));
        let id = accepted.await?;
        self.carry_out_soon(id.clone()).await;
        Ok(id)
    }

    async fn create_stack(
        &self,
        context: &CallContext,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        let name = new_stack_name(form)?.to_owned();
        let token = form.get("ClientRequestToken").filter(|token| !token.is_empty());
        if let Some(present) = self.found(&self.call(context), &name)? {
            return match token {
                Some(token) if present.details.token.as_deref() == Some(token) => Ok(stack_id(&present.id)),
                _ if is_repeated(self, context)? => Ok(stack_id(&present.id)),
                _ => Err(already_exists(&name)),
            };
        }
        let mut ordered = orders::read(self, context, form, None).await?;
        let plan = self.planned(context, &ordered).await?;
        check_capabilities(&plan, &ordered.details.capabilities, false)?;
        ordered.details.description = plan.description;
        let caller = context.principal.clone();
        let accepted = self.accept(context, move |connection, call| {
            if Record::find(connection, call, &name)?.is_some() || has_state(connection, call, &name)? {
                return Err(already_exists(&name));
            }
            let mut record = Record::new(call, &name, &ordered.order.id, "");
            record.details = ordered.details.clone();
            owe(connection, &mut record, caller, ordered, call)?;
            Ok(record.id)
        });
        Ok(stack_id(&accepted.await?))
    }

    async fn update_stack(
        &self,
        context: &CallContext,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        let name = stack_name(form)?.to_owned();
        let call = self.call(context);
        let missing = || invalid(format!("Stack [{name}] does not exist"));
        let present = self.found(&call, &name)?.filter(|record| record.is_live).ok_or_else(missing)?;
        if is_repeated(self, context)? {
            return Ok(stack_id(&present.id));
        }
        check_updatable(&present)?;
        let mut ordered = orders::read(self, context, form, Some(&present)).await?;
        let plan = self.planned(context, &ordered).await?;
        check_capabilities(&plan, &ordered.details.capabilities, false)?;
        let is_whole = !present.status.ends_with("_FAILED");
        if plan.is_up_to_date && is_whole && ordered.details.tags == present.details.tags {
            return Err(invalid("No updates are to be performed."));
        }
        ordered.details.description = plan.description;
        let caller = context.principal.clone();
        let accepted = self.accept(context, move |connection, call| {
            let mut record = Record::named(connection, call, &present.id)?;
            check_updatable(&record)?;
            owe(connection, &mut record, caller, ordered, call)?;
            Ok(record.id)
        });
        Ok(stack_id(&accepted.await?))
    }

    async fn delete_stack(
        &self,
        context: &CallContext,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        let name = stack_name(form)?.to_owned();
        let Some(present) = self.found(&self.call(context), &name)?.filter(|record| record.is_live) else {
            return Ok(ServiceResponse::empty());
        };
        let caller = context.principal.clone();
        let (call, id) = (self.call(context), present.id.clone());
        let begun = self.database.write(move |connection| delete(connection, &call, &id, caller));
        if begun.await? {
            self.carry_out_soon(present.id).await;
        }
        Ok(ServiceResponse::empty())
    }

    async fn create_change_set(
        &self,
        context: &CallContext,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        let (name, stack) =
            (form.get("ChangeSetName").unwrap_or_default().to_owned(), stack_name(form)?.to_owned());
        let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        if !is_name || name.len() > 128 {
            return Err(invalid(format!(
                "1 validation error detected: Value '{name}' at 'changeSetName' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )));
        }
        let present = self.found(&self.call(context), &stack)?.filter(|record| record.is_live);
        let is_creation = match (form.get("ChangeSetType").unwrap_or("UPDATE"), &present) {
            ("CREATE", Some(present)) if present.status != REVIEW => {
                return Err(invalid(format!(
                    "Stack [{stack}] already exists and cannot be created again with the changeSet [{name}]."
                )));
            }
            ("CREATE", Some(_)) => true,
            ("CREATE", None) => {
                new_stack_name(form)?;
                true
            }
            ("UPDATE", None) => return Err(invalid(format!("Stack [{stack}] does not exist"))),
            ("UPDATE", Some(present)) => {
                check_updatable(present)?;
                false
            }
            (other, _) => {
                return Err(invalid(format!(
                    "Change sets of type {other} are not supported by this server."
                )));
            }
        };
        let mut ordered = orders::read(self, context, form, present.as_ref()).await?;
        let plan = self.planned(context, &ordered).await?;
        check_capabilities(&plan, &ordered.details.capabilities, true)?;
        ordered.details.description.clone_from(&plan.description);
        let wanted = change_sets::Wanted {
            name,
            description: form.get("Description").unwrap_or_default().to_owned(),
            is_creation,
            order: ordered.order,
            details: ordered.details,
        };
        let (call, invocation) = (self.call(context), context.invocation_id.clone());
        let now = self.environment.now();
        let created = self.database.write(move |connection| {
            once(connection, invocation.as_deref(), now, || {
                let made = change_sets::create(connection, &call, wanted, plan)?;
                Ok(format!("{} {}", made.id, made.stack_id))
            })
        });
        let ids = created.await?;
        let (id, stack_id) = ids.split_once(' ').unwrap_or_default();
        Ok(ServiceResponse::xml(vec![Xml::text("Id", id), Xml::text("StackId", stack_id)]))
    }

    async fn execute_change_set(
        &self,
        context: &CallContext,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        if is_repeated(self, context)? {
            return Ok(ServiceResponse::xml(Vec::new()));
        }
        let (form, caller) = (form.clone(), context.principal.clone());
        let accepted = self.accept(context, move |connection, call| {
            let ChangeSet { id, stack_id, order, mut details, .. } =
                change_sets::take(connection, call, &form)?;
            let mut record = Record::named(connection, call, &stack_id)?;
            if record.status != REVIEW {
                check_updatable(&record)?;
            }
            details.change_set = Some(id);
            details.keeps_failed |= is_true(&form, "DisableRollback");
            owe(connection, &mut record, caller, Ordered { order, details }, call)?;
            Ok(stack_id)
        });
        accepted.await?;
        Ok(ServiceResponse::xml(Vec::new()))
    }

    async fn delete_change_set(
        &self,
        context: &CallContext,
        form: &Form,
    ) -> Result<ServiceResponse, ServiceError> {
        let (call, form) = (self.call(context), form.clone());
        self.database.write(move |connection| change_sets::delete(connection, &call, &form)).await?;
        Ok(ServiceResponse::xml(Vec::new()))
    }

    async fn protect(&self, context: &CallContext, form: &Form) -> Result<ServiceResponse, ServiceError> {
        let (call, name) = (self.call(context), stack_name(form)?.to_owned());
        let is_protected = is_true(form, "EnableTerminationProtection");
        let protected = self.database.write(move |connection| {
            let mut record = Record::named(connection, &call, &name)?;
            record.details.is_protected = is_protected;
            if let Some(work) = &mut record.work {
                work.details.is_protected = is_protected;
            }
            record.save(connection, &call.sealer)?;
            Ok::<_, ServiceError>(record.id)
        });
        Ok(stack_id(&protected.await?))
    }
}

fn stack_id(id: &str) -> ServiceResponse {
    ServiceResponse::xml(vec![Xml::text("StackId", id)])
}

fn already_exists(name: &str) -> ServiceError {
    ServiceError::client("AlreadyExistsException", format!("Stack [{name}] already exists"))
}

fn check_updatable(record: &Record) -> Result<(), ServiceError> {
    if record.work.is_none() && UPDATABLE.contains(&record.status.as_str()) {
        return Ok(());
    }
    let Record { id, status, .. } = record;
    Err(invalid(format!("Stack:{id} is in {status} state and can not be updated.")))
}

/// Was this very call answered before, by a server that was killed?
fn is_repeated(service: &CloudFormation, context: &CallContext) -> Result<bool, ServiceError> {
    let now = service.environment.now();
    let known = service.database.read(|connection| recall(connection, context.invocation_id.as_deref(), now));
    Ok(known?.is_some())
}

/// Does a job once for an invocation: the answer is written in the transaction of the effect.
fn once(
    connection: &Connection,
    invocation: Option<&str>,
    now: Timestamp,
    job: impl FnOnce() -> Result<String, ServiceError>,
) -> Result<String, ServiceError> {
    if let Some(answer) = recall(connection, invocation, now)? {
        return String::from_utf8(answer).map_err(ServiceError::internal);
    }
    let answer = job()?;
    remember(connection, invocation, now, answer.as_bytes())?;
    Ok(answer)
}

/// Owes a stack what was ordered.
fn owe(
    connection: &Connection,
    record: &mut Record,
    caller: Principal,
    ordered: Ordered,
    call: &Call,
) -> Result<(), ServiceError> {
    let Ordered { mut order, details } = ordered;
    order.keeps_failed |= details.keeps_failed;
    let is_creation = matches!(record.status.as_str(), "" | REVIEW);
    let (task, status) = if is_creation {
        (Task::Create(order), "CREATE_IN_PROGRESS")
    } else {
        (Task::Update(order), "UPDATE_IN_PROGRESS")
    };
    record.work = Some(Work { task, caller, details, then_delete: None });
    begin(connection, record, status, call)
}

/// Owes a stack its deletion; false when there is nothing to do now.
fn delete(connection: &Connection, call: &Call, id: &str, caller: Principal) -> Result<bool, ServiceError> {
    let mut record = Record::named(connection, call, id)?;
    if record.details.is_protected {
        let name = &record.name;
        return Err(invalid(format!(
            "Stack [{name}] cannot be deleted while TerminationProtection is enabled"
        )));
    }
    if record.work.is_some() {
        delete_later(connection, &mut record, caller, &call.sealer)?;
        return Ok(false);
    }
    if record.status == REVIEW {
        record.retire(connection, call)?;
        return Ok(false);
    }
    begin_deletion(connection, &mut record, caller, call)?;
    Ok(true)
}
