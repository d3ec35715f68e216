//! The live view: a line a state with its service, duration and choice, branches indented, retries as they happen.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::terminal::{Style, Terminal};

/// Columns for the name of a state.
const NAME_WIDTH: usize = 26;
/// Columns for its service; a longer one is cut.
const SERVICE_WIDTH: usize = 22;
const SPINNER: [&str; 4] = ["⠋", "⠙", "⠸", "⠴"];

/// A visit of a state that is not over, or a place in the tree.
#[derive(Clone, Default)]
struct Visit {
    name: String,
    entered: f64,
    depth: usize,
    service: String,
    /// Id of the visit's StateEntered event.
    entered_id: u64,
    attempts: u32,
}

/// Turns history events into lines.
pub struct Follower<'a> {
    terminal: &'a Terminal,
    definition: &'a Value,
    /// Which visit each event belongs to.
    visits: HashMap<u64, Visit>,
    open: BTreeMap<u64, Visit>,
    start: f64,
    turns: usize,
    last_failure: HashMap<u64, String>,
    /// A Choice that was left, by the id of its exit; where it went is known with the next event.
    chosen: HashMap<u64, Visit>,
    /// The Map Run under way.
    map_run: Option<String>,
}

impl<'a> Follower<'a> {
    pub fn new(terminal: &'a Terminal, definition: &'a Value) -> Follower<'a> {
        Follower {
            terminal,
            definition,
            visits: HashMap::new(),
            open: BTreeMap::new(),
            start: 0.0,
            turns: 0,
            last_failure: HashMap::new(),
            chosen: HashMap::new(),
            map_run: None,
        }
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &Value) {
        let id = event["id"].as_u64().unwrap_or(0);
        let kind = event["type"].as_str().unwrap_or_default();
        let at = event["timestamp"].as_f64().unwrap_or_default();
        let previous = event["previousEventId"].as_u64().unwrap_or(0);
        if id == 1 {
            self.start = at;
        }
        let before = self.visits.get(&previous).cloned().unwrap_or_default();
        if let Some(choice) = self.chosen.remove(&previous) {
            let text = self
                .rule(&choice.name, event["stateEnteredEventDetails"]["name"].as_str().unwrap_or_default());
            self.line("✓", Style::Good, &choice, "choice", &text);
        }
        if let Some(started) = event.get("mapRunStartedEventDetails") {
            self.map_run = started["mapRunArn"].as_str().map(str::to_string);
        } else if kind.starts_with("MapRun") {
            self.map_run = None;
        }
        match kind {
            _ if kind.ends_with("StateEntered") => self.entered(event, id, at, kind, &before),
            _ if kind.ends_with("StateExited") => self.exited(event, id, at, previous),
            "ParallelStateStarted" | "MapStateStarted" => self.fanned_out(event, id, kind, before),
            "MapIterationStarted" => {
                let name = event["mapIterationStartedEventDetails"]["name"].as_str().unwrap_or_default();
                let parent = self.open_by_name(name).unwrap_or(before);
                self.visits.insert(id, Visit { depth: parent.depth + 1, ..parent });
            }
            _ => self.inside(event, id, kind, before),
        }
    }

    fn entered(&mut self, event: &Value, id: u64, at: f64, kind: &str, before: &Visit) {
        let name = event["stateEnteredEventDetails"]["name"].as_str().unwrap_or_default().to_string();
        let service = kind.trim_end_matches("StateEntered").to_lowercase();
        let visit = Visit {
            name: name.clone(),
            entered: at,
            depth: before.depth,
            service,
            entered_id: id,
            attempts: 0,
        };
        if kind == "FailStateEntered" {
            self.line("✗", Style::Bad, &visit, "fail", "");
        } else {
            self.open.insert(id, visit.clone());
        }
        self.visits.insert(id, visit);
    }

    /// Children are one deeper than the state that started them.
    fn fanned_out(&mut self, event: &Value, id: u64, kind: &str, before: Visit) {
        let mode = find_state(self.definition, &before.name)
            .map(|state| &state["ItemProcessor"]["ProcessorConfig"]["Mode"]);
        let count = match kind {
            // How many there are is read by and by.
            "MapStateStarted" if mode.is_some_and(|mode| mode == "DISTRIBUTED") => "distributed map".into(),
            "MapStateStarted" => {
                let length = event["mapStateStartedEventDetails"]["length"].as_u64().unwrap_or(0);
                format!("map over {length} items")
            }
            _ => {
                let branches = find_state(self.definition, &before.name)
                    .and_then(|state| state["Branches"].as_array().map(Vec::len))
                    .unwrap_or(0);
                format!("parallel, {branches} branches")
            }
        };
        self.line("→", Style::Dim, &before, &count, "");
        self.visits.insert(id, Visit { depth: before.depth + 1, ..before });
    }

    fn inside(&mut self, event: &Value, id: u64, kind: &str, before: Visit) {
        let mut visit = before;
        if let Some(details) = event.get("taskScheduledEventDetails") {
            let of = |name: &str| details[name].as_str().unwrap_or_default();
            visit.service = format!("{}:{}", of("resourceType"), of("resource"));
        } else if kind == "LambdaFunctionScheduled" {
            visit.service = "lambda".into();
        } else if kind == "ActivityScheduled" {
            visit.service = "activity".into();
        }
        if matches!(kind, "TaskScheduled" | "LambdaFunctionScheduled" | "ActivityScheduled") {
            visit.attempts += 1;
            if let Some(failure) = self.last_failure.remove(&visit.entered_id) {
                let text = format!("{failure}: attempt {}", visit.attempts);
                self.line("↻", Style::Warn, &visit, &visit.service.clone(), &text);
            }
        }
        let fan_out = matches!(kind, "ParallelStateFailed" | "MapStateFailed" | "MapIterationFailed");
        if !fan_out && (kind.ends_with("Failed") || kind.ends_with("TimedOut")) {
            let details =
                event.as_object().into_iter().flatten().find(|(name, _)| name.ends_with("EventDetails"));
            let error = details.and_then(|(_, details)| details["error"].as_str()).unwrap_or("failed");
            self.last_failure.insert(visit.entered_id, error.to_string());
        }
        if let Some(open) = self.open.get_mut(&visit.entered_id) {
            open.service.clone_from(&visit.service);
            open.attempts = visit.attempts;
        }
        match kind {
            "ParallelStateFailed" | "MapStateFailed" => self.fan_out_failed(kind, &visit),
            _ if kind.ends_with("StateAborted") => self.aborted(&visit),
            _ => {}
        }
        self.visits.insert(id, visit);
    }

    /// The state that fanned out fails for what its child failed for.
    fn fan_out_failed(&mut self, kind: &str, child: &Visit) {
        let fanned = kind.trim_end_matches("StateFailed").to_lowercase();
        let parent = self.open.values().rev().find(|open| open.service == fanned && open.depth < child.depth);
        if let (Some(parent), Some(failure)) = (parent, self.last_failure.remove(&child.entered_id)) {
            self.last_failure.insert(parent.entered_id, failure);
        }
    }

    /// AWS's event names the failing state as its cause, not the state that it stops: first comes the failing one
    /// itself, then the others beside it.
    fn aborted(&mut self, failing: &Visit) {
        if self.open.remove(&failing.entered_id).is_some() {
            let failure = self.last_failure.get(&failing.entered_id).cloned().unwrap_or_default();
            self.line("✗", Style::Bad, failing, &failing.service, &format!("failed: {failure}"));
            return;
        }
        let beside = self.open.values().find(|open| open.depth >= failing.depth).cloned();
        if let Some(stopped) = beside {
            self.open.remove(&stopped.entered_id);
            self.line("⊘", Style::Warn, &stopped, &stopped.service, "stopped");
        }
    }

    fn exited(&mut self, event: &Value, id: u64, at: f64, previous: u64) {
        let details = &event["stateExitedEventDetails"];
        let name = details["name"].as_str().unwrap_or_default();
        // A Parallel or Map ends with the last event of a child; its own visit is found by name.
        let before = self
            .visits
            .get(&previous)
            .filter(|visit| visit.name == name && self.open.contains_key(&visit.entered_id));
        let visit = before.cloned().or_else(|| self.open_by_name(name)).unwrap_or_default();
        let visit = self.open.remove(&visit.entered_id).unwrap_or(visit);
        let caught = self.last_failure.remove(&visit.entered_id);
        let (mark, style) = if caught.is_some() { ("!", Style::Warn) } else { ("✓", Style::Good) };
        let mut text = format!("{:>7.2} s", at - visit.entered);
        if let Some(error) = caught {
            text.push_str(&format!("  caught {error}"));
        }
        if visit.service == "choice" {
            self.chosen.insert(id, visit.clone());
        } else {
            self.line(mark, style, &visit, &visit.service, &text);
        }
        self.visits.insert(id, Visit { service: String::new(), ..visit });
    }

    /// Where a Choice went, and by which rule.
    fn rule(&self, name: &str, next: &str) -> String {
        let choices = find_state(self.definition, name).and_then(|state| state["Choices"].as_array());
        let rule = choices.and_then(|rules| rules.iter().position(|rule| rule["Next"] == next));
        match rule {
            Some(index) => format!("→ {next} (Rule #{})", index + 1),
            None => format!("→ {next} (Default)"),
        }
    }

    fn open_by_name(&self, name: &str) -> Option<Visit> {
        self.open.values().rev().find(|visit| visit.name == name).cloned()
    }

    fn line(&self, mark: &str, style: Style, visit: &Visit, service: &str, text: &str) {
        let indent = "  ".repeat(visit.depth);
        let name = format!("{indent}{}", visit.name);
        let mark = self.terminal.paint(style, mark);
        let service = self.terminal.paint(Style::Dim, &fitted(service));
        self.terminal.line(format!("  {mark} {name:<NAME_WIDTH$} {service} {text}").trim_end());
    }

    /// Lines for the states that are entered and not left.
    pub fn still_open(&self) {
        for visit in self.open.values() {
            self.line("…", Style::Dim, visit, &visit.service, "in progress");
        }
    }

    /// The Map Run under way, whose children are executions of their own.
    pub fn map_run(&self) -> Option<&str> {
        self.map_run.as_deref()
    }

    /// Redraws the status line; `more` is what the history does not tell.
    pub fn tick(&mut self, more: &str) {
        self.turns += 1;
        let waiting: Vec<&str> = self.open.values().map(|visit| visit.name.as_str()).collect();
        let spinner = SPINNER[self.turns / 2 % SPINNER.len()];
        self.terminal.status(&format!("  {spinner} {}{more}", waiting.join(", ")));
    }
}

/// A service as wide as its column. What waits for a task token says so in fewer letters: `sqs:sendMessage +token`.
fn fitted(service: &str) -> String {
    let service = match service.strip_suffix(".waitForTaskToken") {
        Some(service) => format!("{service} +token"),
        None => service.to_owned(),
    };
    if service.chars().count() <= SERVICE_WIDTH {
        return format!("{service:<SERVICE_WIDTH$}");
    }
    service.chars().take(SERVICE_WIDTH - 1).chain(['…']).collect()
}

/// A state by name, wherever it is nested.
pub fn find_state<'d>(definition: &'d Value, name: &str) -> Option<&'d Value> {
    let states = definition["States"].as_object()?;
    if let Some(state) = states.get(name) {
        return Some(state);
    }
    states.values().find_map(|state| {
        let branches = state["Branches"].as_array().into_iter().flatten();
        branches
            .chain([&state["ItemProcessor"], &state["Iterator"]])
            .find_map(|nested| find_state(nested, name))
    })
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn every_service_takes_the_same_columns() {
        for (service, shown) in [
            ("choice", "choice                "),
            ("sqs:sendMessage.waitForTaskToken", "sqs:sendMessage +token"),
            ("dynamodb:batchGetItemsAndMore", "dynamodb:batchGetItem…"),
        ] {
            assert_eq!(fitted(service), shown);
            assert_eq!(fitted(service).chars().count(), 22);
        }
    }
}
