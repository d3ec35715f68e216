//! `Program`: a validated, compiled definition, ready to be stepped.
//!
//! Invariant: every expression in it was parsed once, every transition resolved to a [`StateId`]; nothing here can fail
//! any more except by the data it meets. It does not know how it is executed, nor where it came from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::intrinsic::PathOrIntrinsic;
use crate::jsonata::Expression;
use crate::jsonpath::JsonPath;
use crate::payload::Payload;

/// Index of a state in [`Program::states`]. Stable for one definition text only: the journal stores paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub u32);

/// Index of a workflow (a `StartAt` + `States` scope) in [`Program::workflows`]; 0 is the state machine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkflowId(pub u32);

/// Language of a state's expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryLanguage {
    /// `$.path`, payload templates, intrinsic functions.
    JsonPath,
    /// `{% … %}`.
    Jsonata,
}

/// STANDARD or EXPRESS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum StateMachineType {
    /// Exactly-once, with a history.
    #[default]
    Standard,
    /// At-least-once or at-most-once, five minutes, logs instead of a history.
    Express,
}

/// A compiled definition.
#[derive(Debug)]
pub struct Program {
    /// `TimeoutSeconds` of the state machine.
    pub timeout_seconds: Option<u64>,
    /// The machine's own query language (states carry theirs).
    pub query_language: QueryLanguage,
    /// All states of all scopes, in document order.
    pub states: Vec<State>,
    /// All scopes; `[0]` is the machine.
    pub workflows: Vec<Workflow>,
    /// `/Fan/Branches/0/Charge` → id.
    pub by_path: HashMap<Arc<str>, StateId>,
}

impl Program {
    /// The machine's own scope.
    pub fn root(&self) -> &Workflow {
        &self.workflows[0]
    }
    /// A state by id.
    pub fn state(&self, id: StateId) -> &State {
        &self.states[id.0 as usize]
    }
    /// A scope by id.
    pub fn workflow(&self, id: WorkflowId) -> &Workflow {
        &self.workflows[id.0 as usize]
    }
    /// A state by its path in the definition.
    pub fn find(&self, path: &str) -> Option<&State> {
        self.by_path.get(path).map(|id| self.state(*id))
    }
}

/// A scope: the machine, a branch of a Parallel, or the ItemProcessor of a Map.
#[derive(Debug)]
pub struct Workflow {
    /// Path in the definition; empty for the machine.
    pub path: Arc<str>,
    /// First state.
    pub start_at: StateId,
    /// The Parallel or Map this belongs to.
    pub parent: Option<StateId>,
}

/// One state, compiled.
#[derive(Debug)]
pub struct State {
    /// Its own id.
    pub id: StateId,
    /// `/Fan/Branches/0/Charge`; nested scopes: `Branches/N` for Parallel, `ItemProcessor` for Map. Names are
    /// escaped as in a JSON pointer (`~1` is a slash).
    pub path: Arc<str>,
    /// The name as written, which AWS shows in histories.
    pub name: Arc<str>,
    /// The scope it lives in.
    pub workflow: WorkflowId,
    /// Language of its expressions.
    pub query_language: QueryLanguage,
    /// Names of the workflow variables that its expressions read, sorted.
    pub variables: Vec<Arc<str>>,
    /// Data flow around the work (fields that a state type lacks stay at their defaults).
    pub flow: DataFlow,
    /// Where to go after success; `Choice`, `Succeed` and `Fail` use `Transition::End`.
    pub next: Transition,
    /// What it does.
    pub kind: StateKind,
}

/// `Next` or `End`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Go on with this state of the same scope.
    Next(StateId),
    /// The scope ends here.
    End,
}

/// The eight state types.
#[derive(Debug)]
pub enum StateKind {
    /// Work done by a resource.
    Task(Box<Task>),
    /// Branches side by side.
    Parallel(Parallel),
    /// One processor over many items.
    Map(Box<Map>),
    /// Input to output.
    Pass(Pass),
    /// Delay.
    Wait(Wait),
    /// Branching by data.
    Choice(Choice),
    /// End well.
    Succeed,
    /// End with an error.
    Fail(Fail),
}

/// A JSONPath selector whose `null` means "the empty object".
#[derive(Debug, Default)]
pub enum PathSelector {
    /// `$`, the default: everything.
    #[default]
    Whole,
    /// `null`: `{}`.
    Empty,
    /// A path (may start at `$$` or a variable).
    Path(PathOrIntrinsic),
}

/// `ResultPath`.
#[derive(Debug, Default)]
pub enum ResultPath {
    /// `$`, the default: the result replaces the input.
    #[default]
    Replace,
    /// `null`: the result is dropped, the raw input goes on.
    Discard,
    /// A reference path into the raw input.
    At(JsonPath),
}

/// The fields that shape data around a state's work, in AWS's processing order.
#[derive(Debug, Default)]
pub struct DataFlow {
    /// `InputPath` (JSONPath).
    pub input_path: PathSelector,
    /// `Parameters` (JSONPath) or `Arguments` (JSONata).
    pub arguments: Option<Template>,
    /// `ResultSelector` (JSONPath).
    pub result_selector: Option<Template>,
    /// `ResultPath` (JSONPath).
    pub result_path: ResultPath,
    /// `OutputPath` (JSONPath).
    pub output_path: PathSelector,
    /// `Output` (JSONata).
    pub output: Option<Template>,
    /// `Assign`.
    pub assign: Option<Template>,
}

/// A payload template (JSONPath) or a JSON value with `{% %}` inside (JSONata), compiled.
#[derive(Debug)]
pub enum Template {
    /// No expression inside: shared as it is.
    Literal(Payload),
    /// A JSON object with at least one expression below it; keys already lack their `.$`.
    Object(Vec<(Arc<str>, Template)>),
    /// A JSON array with at least one expression below it.
    Array(Vec<Template>),
    /// The value of a `.$` key. `field` is the key as written (`value.$`), `source` the text, for error texts.
    Path {
        /// Key as written, with `.$`.
        field: Arc<str>,
        /// Text as written.
        source: Arc<str>,
        /// Compiled.
        expression: PathOrIntrinsic,
    },
    /// A `{% … %}` string. `field` is its place as AWS names it (`Arguments/FunctionName`), `source` the text between the marks.
    Jsonata {
        /// Place, `Output/result`.
        field: Arc<str>,
        /// Text without the marks, as error texts quote it.
        source: Arc<str>,
        /// Compiled.
        expression: Expression,
    },
}

impl Template {
    /// Whether it is one path, function or expression, whose value comes from the data.
    pub fn is_expression(&self) -> bool {
        match self {
            Template::Path { .. } | Template::Jsonata { .. } => true,
            Template::Literal(_) | Template::Object(_) | Template::Array(_) => false,
        }
    }
}

/// A number or string that may be written directly, by a reference path (`…Path` fields) or by a JSONata expression.
#[derive(Debug)]
pub enum Dynamic<T> {
    /// Written in the definition.
    Literal(T),
    /// `SecondsPath` and friends: the field's name with `Path`, the text, the path.
    Path {
        /// `SecondsPath`.
        field: &'static str,
        /// As written.
        source: Arc<str>,
        /// Compiled.
        path: PathOrIntrinsic,
    },
    /// `{% … %}`: a [`Template::Jsonata`].
    Jsonata(Template),
}

/// `Type: Task`.
#[derive(Debug)]
pub struct Task {
    /// The resource, classified.
    pub resource: Resource,
    /// `TimeoutSeconds[Path]`.
    pub timeout_seconds: Option<Dynamic<u64>>,
    /// `HeartbeatSeconds[Path]`.
    pub heartbeat_seconds: Option<Dynamic<u64>>,
    /// `Credentials` (`{RoleArn}`), evaluated before the call.
    pub credentials: Option<Template>,
    /// `Retry`.
    pub retry: Vec<Retrier>,
    /// `Catch`.
    pub catch: Vec<Catcher>,
}

/// A Task's `Resource`, classified (reference section 2.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// As written.
    pub arn: Arc<str>,
    /// What it is.
    pub kind: ResourceKind,
}

/// The forms of a `Resource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// `arn:aws:lambda:…:function:NAME`: legacy direct call; LambdaFunction* events.
    Lambda,
    /// `arn:aws:states:…:activity:NAME`: Activity* events.
    Activity,
    /// `arn:aws:states:::SERVICE:ACTION[.pattern]`, `aws-sdk:SERVICE` or `http:invoke`; Task* events.
    Service {
        /// `lambda`, `ecs`, `aws-sdk:s3`: `resourceType` in histories.
        service: Arc<str>,
        /// `invoke`, `runTask` without the pattern.
        action: Arc<str>,
        /// How it is waited for.
        pattern: Pattern,
    },
}

/// Service integration pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The response is the result.
    RequestResponse,
    /// `.sync`: wait for the job.
    Sync,
    /// `.sync:2`.
    Sync2,
    /// `.waitForTaskToken`.
    WaitForTaskToken,
}

impl Pattern {
    /// Suffix of the `resource` in histories (`startExecution.sync:2`), empty for request-response.
    pub fn suffix(self) -> &'static str {
        match self {
            Pattern::RequestResponse => "",
            Pattern::Sync => ".sync",
            Pattern::Sync2 => ".sync:2",
            Pattern::WaitForTaskToken => ".waitForTaskToken",
        }
    }
}

/// One element of `Retry`.
#[derive(Debug)]
pub struct Retrier {
    /// `ErrorEquals`.
    pub error_equals: Vec<Arc<str>>,
    /// `IntervalSeconds`, default 1.
    pub interval_seconds: u64,
    /// `MaxAttempts`, default 3; 0 never retries.
    pub max_attempts: u64,
    /// `BackoffRate`, default 2.0.
    pub backoff_rate: f64,
    /// `MaxDelaySeconds`.
    pub max_delay_seconds: Option<u64>,
    /// `JitterStrategy: FULL`.
    pub full_jitter: bool,
}

/// One element of `Catch`.
#[derive(Debug)]
pub struct Catcher {
    /// `ErrorEquals`.
    pub error_equals: Vec<Arc<str>>,
    /// `Next`.
    pub next: StateId,
    /// `ResultPath` (JSONPath).
    pub result_path: ResultPath,
    /// `Output` (JSONata).
    pub output: Option<Template>,
    /// `Assign`.
    pub assign: Option<Template>,
}

/// `Type: Parallel`.
#[derive(Debug)]
pub struct Parallel {
    /// Branches in order.
    pub branches: Vec<WorkflowId>,
    /// `Retry`.
    pub retry: Vec<Retrier>,
    /// `Catch`.
    pub catch: Vec<Catcher>,
}

/// `Type: Map`.
#[derive(Debug)]
pub struct Map {
    /// `ItemProcessor` (or `Iterator`).
    pub processor: WorkflowId,
    /// Inline, or distributed with its child type.
    pub mode: MapMode,
    /// `ItemsPath` (JSONPath) or `Items` (JSONata); none: the effective input.
    pub items: Option<Items>,
    /// `ItemSelector` (or legacy `Parameters`), evaluated per item.
    pub item_selector: Option<Template>,
    /// `MaxConcurrency[Path]`; none or 0: no limit.
    pub max_concurrency: Option<Dynamic<u64>>,
    /// `ToleratedFailureCount[Path]`.
    pub tolerated_failure_count: Option<Dynamic<u64>>,
    /// `ToleratedFailurePercentage[Path]`, 0–100.
    pub tolerated_failure_percentage: Option<Dynamic<f64>>,
    /// `ItemReader`.
    pub item_reader: Option<ItemReader>,
    /// `ItemBatcher`.
    pub item_batcher: Option<ItemBatcher>,
    /// `ResultWriter`.
    pub result_writer: Option<ResultWriter>,
    /// `Label`; AWS makes one up when absent.
    pub label: Option<Arc<str>>,
    /// `Retry`.
    pub retry: Vec<Retrier>,
    /// `Catch`.
    pub catch: Vec<Catcher>,
}

/// Where a Map's items come from when there is no ItemReader.
#[derive(Debug)]
pub enum Items {
    /// `ItemsPath`.
    Path(PathOrIntrinsic),
    /// `Items`: an array, or a JSONata expression.
    Jsonata(Template),
}

/// `ProcessorConfig.Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapMode {
    /// Iterations inside the execution.
    Inline,
    /// Child executions of this type.
    Distributed(StateMachineType),
}

/// `ItemReader`.
#[derive(Debug)]
pub struct ItemReader {
    /// `s3:getObject` or `s3:listObjectsV2` (last part of the ARN).
    pub action: Arc<str>,
    /// `Parameters` or `Arguments`.
    pub arguments: Option<Template>,
    /// `ReaderConfig` as written, validated; `MaxItems` is apart.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// `ReaderConfig.MaxItems[Path]`.
    pub max_items: Option<Dynamic<u64>>,
}

/// `ItemBatcher`.
#[derive(Debug)]
pub struct ItemBatcher {
    /// `BatchInput`.
    pub batch_input: Option<Template>,
    /// `MaxItemsPerBatch[Path]`.
    pub max_items_per_batch: Option<Dynamic<u64>>,
    /// `MaxInputBytesPerBatch[Path]`.
    pub max_input_bytes_per_batch: Option<Dynamic<u64>>,
}

/// `ResultWriter`.
#[derive(Debug)]
pub struct ResultWriter {
    /// `Parameters` or `Arguments` (`Bucket`, `Prefix`); none: only `WriterConfig`.
    pub arguments: Option<Template>,
    /// `WriterConfig` as written, validated.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// `Type: Pass`.
#[derive(Debug)]
pub struct Pass {
    /// `Result` (JSONPath).
    pub result: Option<Payload>,
}

/// `Type: Wait`.
#[derive(Debug)]
pub enum Wait {
    /// `Seconds`, `SecondsPath`.
    Seconds(Dynamic<u64>),
    /// `Timestamp`, `TimestampPath`.
    Timestamp(Dynamic<Arc<str>>),
}

/// `Type: Choice`.
#[derive(Debug)]
pub struct Choice {
    /// Rules in order; the first that matches wins.
    pub rules: Vec<ChoiceRule>,
    /// `Default`.
    pub default: Option<StateId>,
}

/// One rule of a Choice.
#[derive(Debug)]
pub struct ChoiceRule {
    /// When it matches.
    pub condition: Condition,
    /// `Next`.
    pub next: StateId,
    /// Its own `Assign`.
    pub assign: Option<Template>,
    /// Its own `Output` (JSONata).
    pub output: Option<Template>,
}

/// A rule's test.
#[derive(Debug)]
pub enum Condition {
    /// `Condition` (JSONata): a [`Template::Jsonata`], or a literal boolean.
    Jsonata(Template),
    /// `And`.
    And(Vec<Condition>),
    /// `Or`.
    Or(Vec<Condition>),
    /// `Not`.
    Not(Box<Condition>),
    /// A data-test expression (JSONPath); evaluated in `crate::choice`.
    Test(crate::choice::DataTest),
}

/// `Type: Fail`.
#[derive(Debug, Default)]
pub struct Fail {
    /// `Error`, `ErrorPath`.
    pub error: Option<Dynamic<Arc<str>>>,
    /// `Cause`, `CausePath`.
    pub cause: Option<Dynamic<Arc<str>>>,
}
