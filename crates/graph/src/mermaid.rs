//! The chart as a Mermaid flowchart, for places that draw Mermaid themselves.
//!
//! Ids are ours (`s0`, `s1`, …), so no name of a state can break the syntax; texts are quoted and escaped.

use std::fmt::Write;

use crate::chart::{Chart, Ending, Kind, Lane, Scope, State};
use crate::status::{Status, Statuses};

const STATUSES: [Status; 5] =
    [Status::Succeeded, Status::InProgress, Status::Aborted, Status::CaughtError, Status::Failed];

/// Writes the flowchart; with statuses, states have their colours.
pub fn mermaid(chart: &Chart, statuses: Option<&Statuses>) -> String {
    let mut writer = Writer { out: "flowchart TD\n".to_owned(), next: 0, statuses, coloured: Vec::new() };
    writer.line(1, "start((Start))");
    let ids = writer.scope(&chart.root, 1);
    writer.line(1, &format!("start --> {}", ids[chart.root.start_at]));
    writer.line(1, "finish((End))");
    for (state, id) in chart.root.states.iter().zip(&ids) {
        if state.ending != Ending::None {
            writer.line(1, &format!("{id} --> finish"));
        }
    }
    writer.colours();
    writer.out
}

struct Writer<'a> {
    out: String,
    next: usize,
    statuses: Option<&'a Statuses>,
    coloured: Vec<(String, Status)>,
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{}{text}", "  ".repeat(depth));
    }

    fn scope(&mut self, scope: &Scope, depth: usize) -> Vec<String> {
        let ids: Vec<String> = scope.states.iter().map(|state| self.state(state, depth)).collect();
        for edge in &scope.edges {
            let arrow = match (edge.lane, &edge.label) {
                (Lane::Flow, None) => "-->".to_owned(),
                (Lane::Flow, Some(label)) => format!("-- \"{}\" -->", quoted(label)),
                (Lane::Catch, label) => format!("-. \"{}\" .->", quoted(label.as_deref().unwrap_or("Catch"))),
            };
            self.line(depth, &format!("{} {arrow} {}", ids[edge.from], ids[edge.to]));
        }
        ids
    }

    fn state(&mut self, state: &State, depth: usize) -> String {
        let id = format!("s{}", self.next);
        self.next += 1;
        if let Some(status) = self.statuses.and_then(|statuses| statuses.states.get(&state.name)) {
            self.coloured.push((id.clone(), *status));
        }
        let name = quoted(&state.name);
        let text = format!("{name}<br/>{}", quoted(&state.title));
        if !state.scopes.is_empty() {
            self.line(depth, &format!("subgraph {id}[\"{name} · {}\"]", quoted(&state.title)));
            for (index, scope) in state.scopes.iter().enumerate() {
                let branch = format!("{id}b{index}");
                self.line(depth + 1, &format!("subgraph {branch}[\" \"]"));
                self.scope(scope, depth + 2);
                self.line(depth + 1, "end");
            }
            self.line(depth, "end");
            return id;
        }
        let shape = match state.kind {
            Kind::Choice => format!("{{\"{name}\"}}"),
            Kind::Succeed | Kind::Fail => format!("([\"{text}\"])"),
            Kind::Task | Kind::Parallel | Kind::Map | Kind::Pass | Kind::Wait | Kind::Unknown => {
                format!("[\"{text}\"]")
            }
        };
        self.line(depth, &format!("{id}{shape}"));
        id
    }

    fn colours(&mut self) {
        for status in STATUSES {
            let of = |(id, seen): &(String, Status)| (*seen == status).then(|| id.clone());
            let ids: Vec<String> = self.coloured.iter().filter_map(of).collect();
            if ids.is_empty() {
                continue;
            }
            let (fill, stroke) = match status {
                Status::Succeeded => ("#e9f7ee", "#1d8348"),
                Status::InProgress => ("#e8f1fd", "#0b62d6"),
                Status::Aborted => ("#eceff2", "#5d6a78"),
                Status::CaughtError => ("#fff3e2", "#d9780a"),
                Status::Failed => ("#fdecea", "#c0362c"),
            };
            let class = status.class();
            self.line(1, &format!("classDef {class} fill:{fill},stroke:{stroke},color:#16202b"));
            self.line(1, &format!("class {} {class}", ids.join(",")));
        }
    }
}

/// Text between quotation marks: Mermaid has its own codes for letters, with `#`.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' => {
                let _ = write!(out, "#{};", letter as u32);
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
