//! What is drawn of a definition: scopes of states, and the edges between them.
//!
//! Invariant: every edge names states of its own scope, by index. Fields that do not show are not read.

use serde_json::{Map, Value};

use crate::badge::Badge;
use crate::condition;

/// A definition with more states than this is not drawn: nobody could read it, and the layout is not linear.
const STATES_MAX: usize = 2_000;
/// Characters of a condition that still fit beside an arrow.
const LABEL_CHARACTERS_MAX: usize = 34;

/// Why a definition cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    /// No `StartAt` or no `States`.
    #[error("{path}: a workflow has StartAt and States")]
    NoStates {
        /// Place in the definition.
        path: String,
    },
    /// An edge leads nowhere.
    #[error("{path}: {field} names \"{target}\", and there is no such state beside it")]
    NoTarget {
        /// Place in the definition.
        path: String,
        /// `Next`, `Default`, `StartAt`.
        field: &'static str,
        /// What is missing.
        target: String,
    },
    /// More than anyone could read.
    #[error("the definition has more states or longer edges than can be drawn")]
    TooLarge,
}

/// A whole definition.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The state machine's own scope.
    pub root: Scope,
    /// The definition's `Comment`.
    pub comment: Option<String>,
}

/// The states between one `StartAt` and its ends.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Path in the definition, empty for the state machine itself.
    pub path: String,
    /// The first state.
    pub start_at: usize,
    /// In the order of the definition.
    pub states: Vec<State>,
    /// In the order of their sources; what goes on comes before what catches.
    pub edges: Vec<Edge>,
}

/// One state.
#[derive(Clone, Debug)]
pub struct State {
    /// `/Fan/Branches/0/Charge`.
    pub path: String,
    /// As written.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// What stands above the name: `Lambda: Invoke`, `Choice state`.
    pub title: String,
    /// Its picture.
    pub badge: Badge,
    /// `Comment`.
    pub comment: Option<String>,
    /// Branches of a Parallel, or the processor of a Map.
    pub scopes: Vec<Scope>,
    /// Whether its scope ends here.
    pub ending: Ending,
}

/// Whether a scope ends with a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The state goes on.
    None,
    /// `End`, or a Succeed state.
    Good,
    /// A Fail state.
    Failure,
}

/// The state types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Task`.
    Task,
    /// `Parallel`.
    Parallel,
    /// `Map`.
    Map,
    /// `Pass`.
    Pass,
    /// `Wait`.
    Wait,
    /// `Choice`.
    Choice,
    /// `Succeed`.
    Succeed,
    /// `Fail`.
    Fail,
    /// None that AWS knows.
    Unknown,
}

/// What an edge stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// `Next`, a rule, `Default`.
    Flow,
    /// `Catch`.
    Catch,
}

/// From one state to another of the same scope.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Source.
    pub from: usize,
    /// Target.
    pub to: usize,
    /// What it stands for.
    pub lane: Lane,
    /// In short: `Rule #1`, `Default`, an error's name.
    pub label: Option<String>,
    /// In full.
    pub detail: Option<String>,
}

impl Chart {
    /// Reads a definition.
    pub fn read(definition: &Value) -> Result<Chart, ChartError> {
        let mut count = 0;
        let root = scope(definition, "", &mut count)?;
        Ok(Chart { root, comment: text(definition, "Comment") })
    }
}

fn text(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

fn scope(value: &Value, path: &str, count: &mut usize) -> Result<Scope, ChartError> {
    let none = || ChartError::NoStates { path: if path.is_empty() { "/".into() } else { path.into() } };
    let written = value["States"].as_object().filter(|states| !states.is_empty()).ok_or_else(none)?;
    let start = value["StartAt"].as_str().ok_or_else(none)?;
    *count += written.len();
    if *count > STATES_MAX {
        return Err(ChartError::TooLarge);
    }
    let start_at = target(written, path, "StartAt", start)?;
    let mut scope = Scope { path: path.to_owned(), start_at, states: Vec::new(), edges: Vec::new() };
    for (index, (name, value)) in written.iter().enumerate() {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        edges(written, index, &path, value, &mut scope.edges)?;
        scope.states.push(state(name, value, path, count)?);
    }
    Ok(scope)
}

fn target(
    states: &Map<String, Value>,
    path: &str,
    field: &'static str,
    name: &str,
) -> Result<usize, ChartError> {
    let missing = || ChartError::NoTarget { path: path.to_owned(), field, target: name.to_owned() };
    states.keys().position(|known| known == name).ok_or_else(missing)
}

fn state(name: &str, value: &Value, path: String, count: &mut usize) -> Result<State, ChartError> {
    let kind = kind(value["Type"].as_str().unwrap_or_default());
    let mut scopes = Vec::new();
    match kind {
        Kind::Parallel => {
            for (index, branch) in value["Branches"].as_array().into_iter().flatten().enumerate() {
                scopes.push(scope(branch, &format!("{path}/Branches/{index}"), count)?);
            }
        }
        Kind::Map => {
            let processor = value.get("ItemProcessor").or_else(|| value.get("Iterator"));
            if let Some(processor) = processor {
                scopes.push(scope(processor, &format!("{path}/ItemProcessor"), count)?);
            }
        }
        _ => {}
    }
    let ending = match kind {
        Kind::Succeed => Ending::Good,
        Kind::Fail => Ending::Failure,
        _ if value["End"] == true => Ending::Good,
        _ => Ending::None,
    };
    let (title, badge) = Badge::of(kind, value);
    let name = name.to_owned();
    Ok(State { path, name, kind, title, badge, comment: text(value, "Comment"), scopes, ending })
}

fn kind(written: &str) -> Kind {
    match written {
        "Task" => Kind::Task,
        "Parallel" => Kind::Parallel,
        "Map" => Kind::Map,
        "Pass" => Kind::Pass,
        "Wait" => Kind::Wait,
        "Choice" => Kind::Choice,
        "Succeed" => Kind::Succeed,
        "Fail" => Kind::Fail,
        _ => Kind::Unknown,
    }
}

fn edges(
    states: &Map<String, Value>,
    from: usize,
    path: &str,
    value: &Value,
    edges: &mut Vec<Edge>,
) -> Result<(), ChartError> {
    let edge = |to, lane, label, detail| Edge { from, to, lane, label, detail };
    if let Some(next) = value["Next"].as_str() {
        edges.push(edge(target(states, path, "Next", next)?, Lane::Flow, None, None));
    }
    for (index, rule) in value["Choices"].as_array().into_iter().flatten().enumerate() {
        let Some(next) = rule["Next"].as_str() else { continue };
        let to = target(states, path, "Next", next)?;
        let condition = condition::shown(rule);
        edges.push(edge(to, Lane::Flow, Some(rule_label(rule, index, &condition)), Some(condition)));
    }
    if let Some(next) = value["Default"].as_str() {
        let to = target(states, path, "Default", next)?;
        edges.push(edge(to, Lane::Flow, Some("Default".into()), None));
    }
    for catcher in value["Catch"].as_array().into_iter().flatten() {
        let Some(next) = catcher["Next"].as_str() else { continue };
        let to = target(states, path, "Next", next)?;
        let errors: Vec<&str> =
            catcher["ErrorEquals"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        edges.push(edge(to, Lane::Catch, Some(errors_label(&errors)), Some(errors.join(", "))));
    }
    Ok(())
}

/// The rule's own words if it has some, else the condition if it is short, else its number.
fn rule_label(rule: &Value, index: usize, condition: &str) -> String {
    let fits = |text: &&str| (1..=LABEL_CHARACTERS_MAX).contains(&text.chars().count());
    let comment = rule["Comment"].as_str().map(str::trim).filter(fits);
    let shown = comment.or_else(|| Some(condition).filter(fits));
    shown.map_or_else(|| format!("Rule #{}", index + 1), str::to_owned)
}

fn errors_label(errors: &[&str]) -> String {
    match errors {
        [] => "Catch".into(),
        [one] => short(one),
        [first, rest @ ..] => format!("{} +{}", short(first), rest.len()),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= LABEL_CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(LABEL_CHARACTERS_MAX - 1).chain(['…']).collect()
}
