//! Carries out the effects of committed turns.
//!
//! Invariant: a task is in flight at most once in this process, however often it is asked for; its report goes to the
//! execution, and the slot it held is free again only then, so results never outnumber slots. A task that is cancelled
//! while its start call is under way lets the call end first, so that its handle is known and the job can be stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asl::payload::Payload;
use asl::program::{Pattern, Resource, ResourceKind, StateMachineType};
use engine::{CancelTask, Effect, Failure, InputKind, ObserveTask, ScheduleTask, Stage, Start, TaskId};
use tokio::task::AbortHandle;

use super::Core;
use crate::activities::ActivityTask;
use crate::dispatch::{CancelReport, TaskCall, TaskReport};
use crate::failpoint;
use crate::limits::InFlight;
use crate::mocks::TestCaseCall;

/// Delays between attempts to cancel grow to this.
const CANCEL_DELAY_MAX: Duration = Duration::from_secs(60);

/// Attempts to cancel in this process; after them the cancellation stays owed until the next start.
const CANCEL_ATTEMPTS_MAX: u32 = 20;

type Key = (Arc<str>, TaskId);

/// What is in flight.
#[derive(Default)]
pub(crate) struct Dispatcher {
    state: Mutex<State>,
}

struct State {
    slots: InFlight<(TaskCall, Arc<str>)>,
    tasks: HashMap<Key, InFlightTask>,
    stopped: bool,
}

impl Default for State {
    fn default() -> State {
        State { slots: InFlight::new(usize::MAX), tasks: HashMap::new(), stopped: false }
    }
}

/// A task between its effect and its report.
struct InFlightTask {
    phase: Phase,
    /// The call's own task, once it runs.
    abort: Option<AbortHandle>,
    /// Stop it when its start call has ended.
    cancel: Option<TaskCall>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Starting,
    Observing,
    Cancelling,
}

impl Dispatcher {
    /// With so many calls of one resource at a time.
    pub(crate) fn new(in_flight_max: usize) -> Dispatcher {
        let state = State { slots: InFlight::new(in_flight_max), ..State::default() };
        Dispatcher { state: Mutex::new(state) }
    }

    /// Abandons all calls: the journal knows what is owed.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        for (_, task) in state.tasks.drain() {
            if let Some(abort) = task.abort {
                abort.abort();
            }
        }
    }

    /// Carries out what a committed turn asks for.
    pub(crate) fn carry_out(&self, core: &Arc<Core>, start: &Arc<Start>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::ScheduleTask(task) => self.schedule(core, start, *task),
                Effect::ObserveTask(task) => self.observe(core, start, *task),
                Effect::CancelTask(task) => self.cancel(core, start, *task),
                Effect::StartMapRun(map_run) => core.map_runs.start(core, start, *map_run),
                Effect::StopMapRun(map_run) => core.map_runs.stop(core, start, *map_run),
                // An Express child tells its end itself.
                Effect::Finished { finished, redrives }
                    if start.machine_type == StateMachineType::Standard =>
                {
                    core.map_runs.child_finished(start, &finished, redrives);
                }
                // Timers are the shard's; other ends are seen in the events.
                Effect::ArmTimer { .. } | Effect::Finished { .. } => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&self, core: &Arc<Core>, start: &Arc<Start>, task: ScheduleTask) {
        if task.resource.kind == ResourceKind::Activity {
            return schedule_activity(core, start, task);
        }
        let resource = slot_of(&task.resource);
        let test_case = TestCaseCall::new(start, &task);
        let role = task.credentials_role;
        let call = TaskCall {
            token: task.token,
            test_case,
            ..call(start, task.task, task.resource, role, task.arguments)
        };
        let mut state = self.lock();
        let key = (Arc::clone(&start.execution_arn), task.task);
        if state.stopped || state.tasks.contains_key(&key) {
            return;
        }
        state.tasks.insert(key, InFlightTask { phase: Phase::Queued, abort: None, cancel: None });
        if let Some((call, resource)) = state.slots.admit(&resource, (call, Arc::clone(&resource))) {
            state.launch(core, call, resource);
        }
    }

    fn observe(&self, core: &Arc<Core>, start: &Arc<Start>, task: ObserveTask) {
        let call = call(start, task.task, task.resource, task.credentials_role, Payload::null());
        let key = (Arc::clone(&start.execution_arn), task.task);
        let mut state = self.lock();
        if state.stopped || state.tasks.contains_key(&key) {
            return;
        }
        let core = Arc::clone(core);
        let job = tokio::spawn(async move {
            failpoint!("task.observe.before");
            let dispatch = Arc::clone(&core.dispatch);
            let observed = call.clone();
            let report = guard(async move { dispatch.observe(observed, task.handle).await }).await;
            failpoint!("task.observe.after");
            if core.dispatcher.ended(&call, Phase::Observing) {
                report_to(&core, &call, report);
            }
        });
        let abort = Some(job.abort_handle());
        state.tasks.insert(key, InFlightTask { phase: Phase::Observing, abort, cancel: None });
    }

    fn cancel(&self, core: &Arc<Core>, start: &Arc<Start>, task: CancelTask) {
        let key = (Arc::clone(&start.execution_arn), task.task);
        let resource = task.resource.clone();
        let call = call(start, task.task, task.resource, task.credentials_role, Payload::null());
        if resource.kind == ResourceKind::Activity {
            core.activities.withdraw(&resource.arn, &start.execution_arn, task.task);
            return core.input(&key.0, InputKind::TaskCancelled { task: task.task });
        }
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        if let Some(in_flight) = state.tasks.get_mut(&key) {
            match in_flight.phase {
                Phase::Cancelling => return,
                Phase::Starting if starts_a_job(&resource) => {
                    in_flight.cancel = Some(call);
                    return;
                }
                Phase::Queued => {
                    state.tasks.remove(&key);
                    state.slots.withdraw(&slot_of(&resource), |(waiting, _)| same(waiting, &key));
                    drop(state);
                    return core.input(&key.0, InputKind::TaskCancelled { task: task.task });
                }
                Phase::Starting | Phase::Observing => {
                    if let Some(abort) = in_flight.abort.take() {
                        abort.abort();
                    }
                }
            }
        }
        state.tasks.insert(key, InFlightTask { phase: Phase::Cancelling, abort: None, cancel: None });
        drop(state);
        tokio::spawn(cancel(Arc::clone(core), call, task.handle));
    }

    /// A call has ended; false if it was overtaken by a cancellation and nobody wants its report any more.
    fn ended(&self, call: &TaskCall, phase: Phase) -> bool {
        let key = (Arc::clone(&call.execution_arn), call.task);
        let mut state = self.lock();
        let current = state.tasks.get(&key).is_some_and(|task| task.phase == phase);
        if current {
            state.tasks.remove(&key);
        }
        current
    }

    /// Hands a slot to the next call in line.
    fn free_slot(&self, core: &Arc<Core>, resource: &Arc<str>) {
        let mut state = self.lock();
        if let Some((call, resource)) = state.slots.release(resource) {
            state.launch(core, call, resource);
        }
    }
}

impl State {
    fn launch(&mut self, core: &Arc<Core>, call: TaskCall, resource: Arc<str>) {
        let key = (Arc::clone(&call.execution_arn), call.task);
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.phase = Phase::Starting;
        let dispatch = Arc::clone(&core.dispatch);
        let made = call.clone();
        let work = tokio::spawn(async move {
            failpoint!("task.run.before");
            let report = dispatch.run(made).await;
            failpoint!("task.run.after");
            report
        });
        task.abort = Some(work.abort_handle());
        let core = Arc::clone(core);
        tokio::spawn(async move {
            let result = work.await;
            match result {
                Ok(report) => started(&core, call, report),
                Err(error) if error.is_cancelled() => {}
                Err(_) => started(&core, call, broken()),
            }
            core.dispatcher.free_slot(&core, &resource);
        });
    }
}

/// The start call has ended: report, or stop what it began if that is no longer wanted.
fn started(core: &Arc<Core>, call: TaskCall, report: TaskReport) {
    let mut state = core.dispatcher.lock();
    let key = (Arc::clone(&call.execution_arn), call.task);
    let Some(task) = state.tasks.get_mut(&key) else { return };
    if task.phase != Phase::Starting {
        return;
    }
    let Some(cancelled) = task.cancel.take() else {
        state.tasks.remove(&key);
        drop(state);
        return report_to(core, &call, report);
    };
    task.phase = Phase::Cancelling;
    task.abort = None;
    drop(state);
    match report {
        TaskReport::Submitted { handle, .. } => {
            tokio::spawn(cancel(Arc::clone(core), cancelled, Some(handle)));
        }
        TaskReport::Succeeded { .. } | TaskReport::Failed { .. } => acknowledge_cancellation(core, &call),
    }
}

fn acknowledge_cancellation(core: &Arc<Core>, call: &TaskCall) {
    core.dispatcher.ended(call, Phase::Cancelling);
    core.input(&call.execution_arn, InputKind::TaskCancelled { task: call.task });
}

/// Stops a job, for as long as it takes within bounds.
async fn cancel(core: Arc<Core>, call: TaskCall, handle: Option<Payload>) {
    let mut delay = Duration::from_millis(200);
    for _ in 0..CANCEL_ATTEMPTS_MAX {
        if core.is_closing() {
            return;
        }
        failpoint!("task.cancel.before");
        let dispatch = Arc::clone(&core.dispatch);
        let (made, with) = (call.clone(), handle.clone());
        let report = tokio::spawn(async move { dispatch.cancel(made, with).await }).await;
        failpoint!("task.cancel.after");
        match report {
            Ok(CancelReport::Done) => return acknowledge_cancellation(&core, &call),
            Ok(CancelReport::Retry { reason }) => {
                tracing::warn!(arn = %call.execution_arn, task = %call.task, reason, "a task could not be cancelled yet");
            }
            Err(error) => {
                tracing::error!(arn = %call.execution_arn, task = %call.task, %error, "cancelling broke")
            }
        }
        core.clock.sleep_until(core.clock.now().plus(delay)).await;
        delay = (delay * 2).min(CANCEL_DELAY_MAX);
    }
    core.dispatcher.ended(&call, Phase::Cancelling);
    tracing::error!(arn = %call.execution_arn, task = %call.task, "gave up cancelling; it is tried again at the next start");
}

/// A panic of an integration is a failure of its task and of nothing else.
async fn guard(work: impl Future<Output = TaskReport> + Send + 'static) -> TaskReport {
    // The inner task must not outlive an abandoned outer one.
    struct Abort(AbortHandle);
    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let inner = tokio::spawn(work);
    let _abort = Abort(inner.abort_handle());
    inner.await.unwrap_or_else(|_| broken())
}

fn broken() -> TaskReport {
    let failure = Failure::runtime("The integration failed internally; see the log of the server.");
    TaskReport::Failed { failure, stage: Stage::Run }
}

fn report_to(core: &Core, call: &TaskCall, report: TaskReport) {
    let task = call.task;
    let kind = match report {
        TaskReport::Succeeded { output } => InputKind::TaskSucceeded { task, nonce: None, output },
        TaskReport::Submitted { output, handle } => InputKind::TaskSubmitted { task, handle, output },
        TaskReport::Failed { failure, stage } => InputKind::TaskFailed { task, nonce: None, failure, stage },
    };
    core.input(&call.execution_arn, kind);
}

fn schedule_activity(core: &Arc<Core>, start: &Start, task: ScheduleTask) {
    core.activities.schedule(ActivityTask {
        activity: task.resource.arn,
        execution: Arc::clone(&start.execution_arn),
        task: task.task,
        token: task.token.unwrap_or_else(|| "".into()),
        input: task.arguments,
    });
}

fn starts_a_job(resource: &Resource) -> bool {
    match &resource.kind {
        ResourceKind::Service { pattern, .. } => match pattern {
            Pattern::Sync | Pattern::Sync2 => true,
            Pattern::RequestResponse | Pattern::WaitForTaskToken => false,
        },
        ResourceKind::Lambda | ResourceKind::Activity => false,
    }
}

fn same(call: &TaskCall, key: &Key) -> bool {
    call.task == key.1 && call.execution_arn == key.0
}

/// What calls are counted by: the resource as written, which for Lambda functions is the function.
fn slot_of(resource: &Resource) -> Arc<str> {
    Arc::clone(&resource.arn)
}

fn call(
    start: &Start,
    task: TaskId,
    resource: Resource,
    credentials_role: Option<Arc<str>>,
    arguments: Payload,
) -> TaskCall {
    TaskCall {
        execution_arn: Arc::clone(&start.execution_arn),
        execution_name: Arc::clone(&start.name),
        state_machine_arn: Arc::clone(&start.state_machine_arn),
        role_arn: credentials_role.unwrap_or_else(|| Arc::clone(&start.role_arn)),
        account: Arc::clone(&start.account),
        region: Arc::clone(&start.region),
        task,
        invocation_id: format!("{}#{task}", start.execution_arn).into(),
        resource,
        arguments,
        token: None,
        trace_header: start.trace_header.clone(),
        test_case: None,
    }
}
