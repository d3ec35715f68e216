//! `Retry` and `Catch`.

use std::sync::Arc;

use crate::json::Node;
use crate::program::{Catcher, QueryLanguage, ResultPath, Retrier};

use super::compiler::{Compiler, Here};
use super::fields::{Bounds, Fields, SECONDS_MAX, Site};
use super::templates::Available;

/// A year of 366 days, AWS's greatest delay.
const DELAY_SECONDS_MAX: i64 = 31_622_400;

const RETRIER_FIELDS: [&str; 7] = [
    "BackoffRate",
    "Comment",
    "ErrorEquals",
    "IntervalSeconds",
    "JitterStrategy",
    "MaxAttempts",
    "MaxDelaySeconds",
];

const CATCHER_FIELDS: [&str; 6] = ["Assign", "Comment", "ErrorEquals", "Next", "Output", "ResultPath"];

impl Compiler<'_> {
    pub(super) fn retriers(&mut self, state: &Fields<'_>) -> Vec<Retrier> {
        let elements = self.findings.array(state, "Retry").unwrap_or_default();
        let site = state.site.field("Retry");
        let mut retriers = Vec::with_capacity(elements.len());
        for (index, node) in elements.iter().enumerate() {
            let Some(fields) = self.findings.fields(node, site.index(index)) else { continue };
            self.findings.known(&fields, &RETRIER_FIELDS);
            self.findings.string(&fields, "Comment");
            let error_equals = self.error_equals(&fields, index + 1 == elements.len());
            // Recorded by others on AWS: IntervalSeconds 0 is accepted.
            let interval = self.findings.integer(&fields, "IntervalSeconds", Bounds::new(0, SECONDS_MAX));
            let attempts = self.findings.integer(&fields, "MaxAttempts", Bounds::new(0, SECONDS_MAX));
            let backoff = self.findings.number(&fields, "BackoffRate", 1.0, f64::MAX);
            let max_delay =
                self.findings.integer(&fields, "MaxDelaySeconds", Bounds::new(1, DELAY_SECONDS_MAX));
            let jitter = self.findings.choice(&fields, "JitterStrategy", &["NONE", "FULL"]);
            retriers.push(Retrier {
                error_equals,
                interval_seconds: interval.unwrap_or(1),
                max_attempts: attempts.unwrap_or(3),
                backoff_rate: backoff.unwrap_or(2.0),
                max_delay_seconds: max_delay,
                full_jitter: jitter == Some("FULL"),
            });
        }
        retriers
    }

    /// None if a catcher leads nowhere.
    pub(super) fn catchers(&mut self, here: &Here<'_, '_>) -> Option<Vec<Catcher>> {
        let elements = self.findings.array(&here.fields, "Catch").unwrap_or_default();
        let site = here.fields.site.field("Catch");
        let catchers: Vec<Option<Catcher>> = elements
            .iter()
            .enumerate()
            .map(|(index, node)| {
                self.catcher(here, node, site.index(index), index, index + 1 == elements.len())
            })
            .collect();
        catchers.into_iter().collect()
    }

    fn catcher(
        &mut self,
        here: &Here<'_, '_>,
        node: &Node,
        site: Site,
        index: usize,
        last: bool,
    ) -> Option<Catcher> {
        let fields = self.findings.fields(node, site)?;
        self.findings.known(&fields, &CATCHER_FIELDS);
        self.language_fields(here.language, &fields, &["ResultPath"], &["Output"]);
        self.findings.string(&fields, "Comment");
        let error_equals = self.error_equals(&fields, last);
        self.findings.required(&fields, &["Next"]);
        let next = self.transition(here, &fields, "Next");
        let place = |name: &str| format!("Catch[{index}]/{name}");
        let (result_path, output) = match here.language {
            QueryLanguage::JsonPath => (self.result_path(&fields), None),
            QueryLanguage::Jsonata => {
                let place = place("Output");
                (
                    ResultPath::Replace,
                    self.template_field(here.language, &fields, "Output", &place, Available::ERROR),
                )
            }
        };
        let assign = self.assign(here, &fields, &place("Assign"), Available::ERROR);
        Some(Catcher { error_equals, next: next?, result_path, output, assign })
    }

    fn error_equals(&mut self, fields: &Fields<'_>, last: bool) -> Vec<Arc<str>> {
        self.findings.required(fields, &["ErrorEquals"]);
        let elements = self.findings.filled_array(fields, "ErrorEquals").unwrap_or_default();
        let site = fields.site.field("ErrorEquals");
        let mut names: Vec<Arc<str>> = Vec::with_capacity(elements.len());
        for (index, node) in elements.iter().enumerate() {
            let Some(name) = node.as_str() else {
                self.findings.schema("Expected value of type String", &site.index(index), &node.span);
                continue;
            };
            if name == "States.ALL" && !(last && elements.len() == 1) {
                self.findings.schema("States.ALL must appear alone and at end of list", &site, &node.span);
            }
            names.push(name.into());
        }
        names
    }
}
