//! Executions, for customers: start, stop, describe, list, history.
//!
//! Invariant: what is answered is on disk; what is read is committed. Shapes are ours, words are AWS's; JSON is the API's.

use std::sync::Arc;

use asl::arn::{Arn, ArnResource};
use asl::payload::Payload;
use asl::program::Program;
use asl::timestamp::Timestamp;
use engine::{Event, EventKind, Failure, Ignored, InputKind, Limits, Start, StateMachineType};
use store::{
    Direction, ExecutionCursor, ExecutionRow, ExecutionStatus, ExecutionsQuery, HistoryQuery, ListBy, Scope,
};

use crate::error::Error;
use crate::mocks;
use crate::names;
use crate::page::{self, PageRequest};
use crate::programs::ProgramError;
use crate::redrive::RedriveStatus;
use crate::registry::Target;
use crate::runtime::Runtime;
use crate::shard::{Answer, Naming};
use crate::shell::express;

/// StartExecution and StartSyncExecution.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// A state machine, a version or an alias; with a mock configuration, `#` and a test case may follow.
    pub state_machine_arn: Arc<str>,
    /// `name`; a UUID otherwise.
    pub name: Option<Arc<str>>,
    /// `input`
    pub input: Payload,
    /// `traceHeader`, or the request's header.
    pub trace_header: Option<Arc<str>>,
}

/// Answer of StartExecution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// `executionArn`
    pub execution_arn: Arc<str>,
    /// `startDate`
    pub start_date: Timestamp,
}

/// What an execution ended with.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutionResult {
    /// SUCCEEDED
    Succeeded(Payload),
    /// FAILED, TIMED_OUT or ABORTED
    Failed(Failure),
}

/// Answer of StartSyncExecution.
#[derive(Clone, Debug)]
pub struct SyncExecution {
    /// What it was started with.
    pub start: Arc<Start>,
    /// `startDate`
    pub start_date: Timestamp,
    /// `stopDate`
    pub stop_date: Timestamp,
    /// `status`
    pub status: ExecutionStatus,
    /// `output`, or `error` and `cause`
    pub result: ExecutionResult,
}

/// Answer of DescribeExecution.
#[derive(Clone, Debug)]
pub struct ExecutionDescription {
    /// ARNs, status, dates.
    pub row: ExecutionRow,
    /// What it was started with.
    pub start: Arc<Start>,
    /// None while it runs.
    pub result: Option<ExecutionResult>,
    /// `redriveStatus`
    pub redrive_status: RedriveStatus,
}

/// A page of GetExecutionHistory: public events only.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Whose: `Start` has what the projection may need.
    pub start: Arc<Start>,
    /// Events with a `history_id`.
    pub events: Vec<Event>,
    /// `nextToken`
    pub next_token: Option<String>,
}

/// ListExecutions.
#[derive(Clone, Debug)]
pub struct ListExecutions {
    /// A state machine (also by version or alias), or a Map Run.
    pub by: ListBy,
    /// `statusFilter`
    pub status: Option<ExecutionStatus>,
    /// `redriveFilter`
    pub redriven: Option<bool>,
    /// Which page.
    pub page: PageRequest,
}

/// A page of ListExecutions.
#[derive(Clone, Debug)]
pub struct ExecutionsPage {
    /// Newest first.
    pub executions: Vec<ExecutionRow>,
    /// `nextToken`
    pub next_token: Option<String>,
}

impl Runtime {
    /// StartExecution.
    pub async fn start_execution(&self, request: StartRequest) -> Result<Started, Error> {
        let (target, test_case) = self.target(&request).await?;
        let naming = if request.name.is_some() { Naming::Given } else { Naming::Generated };
        let start = Arc::new(Start { test_case, ..self.start_of(&target, request)? });
        let program = self.program(&start).await?;
        let execution_arn = Arc::clone(&start.execution_arn);
        if start.machine_type == StateMachineType::Express {
            let _permit = self.core.admit()?;
            let start_date = express::begin(&self.core, program, start).await?;
            return Ok(Started { execution_arn, start_date });
        }
        let place = (&*start.account, &*start.region);
        self.core.open_executions.check(place, &execution_arn, &self.core.config.quotas)?;
        match self.core.begin(start, program, naming).await? {
            Answer::Started { start_date } | Answer::Accepted { at: start_date } => {
                Ok(Started { execution_arn, start_date })
            }
            Answer::NameTaken | Answer::Ignored(_) => Err(Error::ExecutionAlreadyExists(execution_arn)),
            Answer::Unknown | Answer::Quarantined => Err(Error::Internal),
        }
    }

    /// StartSyncExecution: answers when the execution has ended. Dropping the future abandons it.
    pub async fn start_sync_execution(&self, request: StartRequest) -> Result<SyncExecution, Error> {
        let (target, test_case) = self.target(&request).await?;
        if target.machine.machine_type != StateMachineType::Express {
            return Err(Error::StateMachineTypeNotSupported);
        }
        let _permit = self.core.admit()?;
        let start = Arc::new(Start { test_case, synchronous: true, ..self.start_of(&target, request)? });
        let program = self.program(&start).await?;
        let ended = express::run(&self.core, &program, &start).await?;
        let Some((status, result)) = ended.last().and_then(|event| result_of(&event.kind)) else {
            return Err(Error::Internal);
        };
        self.core.express_ended(&start, &ended).await;
        let (start_date, stop_date) = (ended.started_at, ended.ended_at);
        Ok(SyncExecution { start, start_date, stop_date, status, result })
    }

    /// What is started, and in which test case of the mock configuration.
    async fn target(&self, request: &StartRequest) -> Result<(Target, Option<Arc<str>>), Error> {
        let (arn, test_case) = mocks::split(self.core.dispatch.mocks(), &request.state_machine_arn);
        let target = self.registry.target(arn).await?;
        let Some(test_case) = test_case.map(Arc::<str>::from) else { return Ok((target, None)) };
        let (dispatch, machine) = (Arc::clone(&self.core.dispatch), Arc::clone(&target.machine.name));
        let asked = Arc::clone(&test_case);
        let check = move || dispatch.mocks().map_or(Ok(()), |mocks| mocks.check(&machine, &asked));
        let checked = tokio::task::spawn_blocking(check).await;
        checked.map_err(|error| Error::internal("reading the mock configuration broke", &error))??;
        Ok((target, Some(test_case)))
    }

    fn start_of(&self, target: &Target, request: StartRequest) -> Result<Start, Error> {
        let machine = &target.machine;
        let arn = Arn::parse(&machine.arn).map_err(Error::from)?;
        let name: Arc<str> = match request.name {
            Some(name) => {
                names::check(&name)?;
                name
            }
            None => self.core.uuid().into(),
        };
        let state_machine = machine.name.to_string();
        let (resource, limits) = match machine.machine_type {
            StateMachineType::Standard => {
                let resource = ArnResource::Execution { state_machine, label: None, name: name.to_string() };
                (resource, self.core.config.limits)
            }
            StateMachineType::Express => {
                let id = Some(self.core.uuid());
                let resource =
                    ArnResource::Express { state_machine, label: None, name: name.to_string(), id };
                (resource, Limits { events_max: 0, ..self.core.config.limits })
            }
        };
        Ok(Start {
            execution_arn: arn.sibling(resource).to_string().into(),
            name,
            state_machine_arn: Arc::clone(&machine.arn),
            state_machine_name: Arc::clone(&machine.name),
            version_arn: target.version_arn.clone(),
            alias_arn: target.alias_arn.clone(),
            role_arn: Arc::clone(&machine.role_arn),
            definition: machine.definition,
            revision_id: machine.revision_id.clone(),
            workflow: "".into(),
            input: request.input,
            machine_type: machine.machine_type,
            trace_header: request.trace_header,
            map_run: None,
            region: arn.region.into(),
            account: arn.account.into(),
            test_case: None,
            synchronous: false,
            limits,
        })
    }

    async fn program(&self, start: &Start) -> Result<Arc<Program>, Error> {
        if let Some(program) = self.core.programs.cached(start.definition) {
            return Ok(program);
        }
        let scope = Scope { account: Arc::clone(&start.account), region: Arc::clone(&start.region) };
        let (programs, definition) = (Arc::clone(&self.core.programs), start.definition);
        let compiled = tokio::task::spawn_blocking(move || programs.get(&scope, definition)).await;
        let compiled = compiled.map_err(|error| Error::internal("compiling broke", &error))?;
        compiled.map_err(|error: ProgramError| Error::internal("a stored definition is unusable", &error))
    }

    /// StopExecution; returns `stopDate`.
    pub async fn stop_execution(&self, execution_arn: &str, failure: Failure) -> Result<Timestamp, Error> {
        let arn = standard(execution_arn)?;
        match self.core.ask(&arn, InputKind::StopRequested { failure }).await? {
            Answer::Accepted { at } | Answer::Started { start_date: at } => Ok(at),
            Answer::Ignored(
                Ignored::ExecutionClosed
                | Ignored::Duplicate
                | Ignored::Stale
                | Ignored::TaskClosed
                | Ignored::TaskUnknown
                | Ignored::NotRedrivable(_),
            ) => {
                let row = self.execution_row(&arn).await?;
                row.stop.ok_or(Error::Internal)
            }
            Answer::Unknown | Answer::NameTaken => Err(Error::ExecutionDoesNotExist(arn)),
            Answer::Quarantined => Err(Error::Internal),
        }
    }

    /// The row of a Standard execution.
    pub(crate) async fn execution_row(&self, execution_arn: &str) -> Result<ExecutionRow, Error> {
        let arn = standard(execution_arn)?;
        let asked = Arc::clone(&arn);
        let row = self.core.read(move |reader| reader.execution(&asked)).await?;
        row.ok_or(Error::ExecutionDoesNotExist(arn))
    }

    /// DescribeExecution.
    pub async fn describe_execution(&self, execution_arn: &str) -> Result<ExecutionDescription, Error> {
        let row = self.execution_row(execution_arn).await?;
        let key = row.key;
        let (first, last) = self
            .core
            .read(move |reader| {
                let query = |direction| HistoryQuery { execution: key, from: None, direction, limit: 1 };
                let first = reader.history(&query(Direction::Forward))?.items.pop();
                Ok((first, reader.history(&query(Direction::Backward))?.items.pop()))
            })
            .await?;
        let start = started(first.as_ref())?;
        let result = match row.status {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => None,
            ExecutionStatus::Succeeded
            | ExecutionStatus::Failed
            | ExecutionStatus::TimedOut
            | ExecutionStatus::Aborted => {
                last.and_then(|event| result_of(&event.kind)).map(|(_, result)| result)
            }
        };
        let redrive_status = RedriveStatus::of(&row, self.core.clock.now());
        Ok(ExecutionDescription { row, start, result, redrive_status })
    }

    /// Everything that the journal has of an execution, private events too: for observers.
    pub async fn execution_events(&self, execution_arn: &str) -> Result<Vec<Event>, Error> {
        let execution = self.execution_row(execution_arn).await?.key;
        self.core.read(move |reader| reader.events(execution)).await
    }

    /// GetExecutionHistory.
    pub async fn execution_history(
        &self,
        execution_arn: &str,
        direction: Direction,
        page: PageRequest,
    ) -> Result<HistoryPage, Error> {
        let row = self.execution_row(execution_arn).await?;
        let now = self.core.clock.now();
        let arguments = ("history", execution_arn, direction == Direction::Backward);
        let from = page.place(arguments, now)?.map(|place| place.parse::<u64>()).transpose();
        let from = from.map_err(|_| Error::InvalidToken)?;
        let (execution, limit) = (row.key, page.limit());
        let (first, found) = self
            .core
            .read(move |reader| {
                let first = HistoryQuery { execution, from: None, direction: Direction::Forward, limit: 1 };
                let first = reader.history(&first)?.items.pop();
                Ok((first, reader.history(&HistoryQuery { execution, from, direction, limit })?))
            })
            .await?;
        let next_token = found.next.map(|seq| page::token(&seq.to_string(), arguments, now));
        Ok(HistoryPage { start: started(first.as_ref())?, events: found.items, next_token })
    }

    /// ListExecutions. The state machine must exist and be a Standard one.
    pub async fn list_executions(&self, request: ListExecutions) -> Result<ExecutionsPage, Error> {
        let wanted = match &request.by {
            ListBy::StateMachine(arn) => Some(Arc::clone(arn)),
            ListBy::MapRun(_) => None,
        };
        let (by, qualified) = match wanted {
            None => (request.by.clone(), None),
            Some(arn) => {
                let machine = self.registry.machine_of(&arn).await?;
                if machine.machine_type == StateMachineType::Express {
                    return Err(Error::StateMachineTypeNotSupported);
                }
                let qualified = (machine.arn != arn).then_some(arn);
                (ListBy::StateMachine(Arc::clone(&machine.arn)), qualified)
            }
        };
        let now = self.core.clock.now();
        let listed = match &request.by {
            ListBy::StateMachine(arn) => ("machine", Arc::clone(arn)),
            ListBy::MapRun(arn) => ("map run", Arc::clone(arn)),
        };
        let arguments = (listed, request.status.map(ExecutionStatus::as_str), request.redriven);
        let after = request.page.place(&arguments, now)?.map(|place| cursor(&place)).transpose()?;
        let (status, redriven, limit) = (request.status, request.redriven, request.page.limit());
        let query = ExecutionsQuery { by, status, redriven, after, limit };
        let (executions, next) = self.core.read(move |reader| search(reader, query, qualified)).await?;
        if let ListBy::MapRun(arn) = &request.by
            && executions.is_empty()
        {
            // None at all, or no such Map Run.
            self.describe_map_run(arn).await?;
        }
        let next_token = next.map(|next| {
            page::token(&format!("{}:{}", next.start.epoch_millis(), next.number), &arguments, now)
        });
        Ok(ExecutionsPage { executions, next_token })
    }
}

/// Pages of a version's or alias's executions are gathered from those of the machine, within bounds.
fn search(
    reader: &dyn store::Reader,
    mut query: ExecutionsQuery,
    qualified: Option<Arc<str>>,
) -> Result<(Vec<ExecutionRow>, Option<ExecutionCursor>), store::StoreError> {
    const PAGES_MAX: usize = 50;
    let wanted = query.limit as usize;
    let mut rows = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = reader.executions(&query)?;
        let matches = |row: &ExecutionRow| match &qualified {
            None => true,
            Some(arn) => row.version_arn.as_ref() == Some(arn) || row.alias_arn.as_ref() == Some(arn),
        };
        rows.extend(page.items.into_iter().filter(matches));
        query.after = page.next;
        if query.after.is_none() || rows.len() >= wanted {
            break;
        }
    }
    if rows.len() > wanted {
        rows.truncate(wanted);
        query.after = rows.last().map(|row| ExecutionCursor { start: row.start, number: row.key.number });
    }
    Ok((rows, query.after))
}

fn cursor(place: &str) -> Result<ExecutionCursor, Error> {
    let (start, number) = place.split_once(':').ok_or(Error::InvalidToken)?;
    let start = start.parse().map_err(|_| Error::InvalidToken)?;
    let number = number.parse().map_err(|_| Error::InvalidToken)?;
    Ok(ExecutionCursor { start: Timestamp::from_epoch_millis(start), number })
}

/// The ARN of a Standard execution, or AWS's word about it.
fn standard(execution_arn: &str) -> Result<Arc<str>, Error> {
    let arn = Arn::parse(execution_arn).map_err(Error::from)?;
    match arn.resource {
        ArnResource::Execution { .. } => Ok(execution_arn.into()),
        ArnResource::Express { .. } => Err(Error::resource_type("express")),
        ArnResource::StateMachine { .. } => Err(Error::resource_type("stateMachine")),
        ArnResource::MapRun { .. } => Err(Error::resource_type("mapRun")),
        ArnResource::Activity { .. } => Err(Error::resource_type("activity")),
    }
}

fn started(first: Option<&Event>) -> Result<Arc<Start>, Error> {
    match first.map(|event| &event.kind) {
        Some(EventKind::ExecutionStarted { start, .. }) => Ok(Arc::clone(start)),
        _ => Err(Error::internal("an execution", &"its journal does not begin with ExecutionStarted")),
    }
}

pub(crate) fn result_of(kind: &EventKind) -> Option<(ExecutionStatus, ExecutionResult)> {
    let (status, failure) = match kind {
        EventKind::ExecutionSucceeded { output } => {
            return Some((ExecutionStatus::Succeeded, ExecutionResult::Succeeded(output.clone())));
        }
        EventKind::ExecutionFailed { failure } => (ExecutionStatus::Failed, failure),
        EventKind::ExecutionTimedOut { failure } => (ExecutionStatus::TimedOut, failure),
        EventKind::ExecutionAborted { failure } => (ExecutionStatus::Aborted, failure),
        _ => return None,
    };
    Some((status, ExecutionResult::Failed(failure.clone())))
}
