//! Fields that several types of states have: what becomes of a result, Assign, Retry and Catch, timeouts.

use serde_json::{Value, json};

use super::Temper;
use super::states::{Builder, Language};

impl Builder<'_> {
    /// The result goes beside the input, or is thrown away.
    pub(super) fn keep_input(&mut self, language: Language, state: &mut Value, name: &str) {
        let thrown_away = self.dice.chance(50);
        match language {
            Language::JsonPath => {
                let path = format!("$.{name}");
                state["ResultPath"] = if thrown_away { Value::Null } else { json!(path) };
                // Of a result that has it, or the state fails.
                if self.dice.chance(10) {
                    state["ResultSelector"] = json!({ "done.$": "$.done" });
                }
            }
            Language::Jsonata => {
                let kept = format!("{{% $merge([$states.input, {{'{name}': $states.result}}]) %}}");
                state["Output"] = if thrown_away { json!("{% $states.input %}") } else { json!(kept) };
            }
        }
    }

    pub(super) fn items(&mut self, language: Language, state: &mut Value) {
        match language {
            Language::JsonPath => state["ItemsPath"] = json!("$.items"),
            Language::Jsonata => state["Items"] = json!("{% $states.input.items %}"),
        }
    }

    /// A variable of the state's own, so that no scope assigns what an outer one has.
    pub(super) fn assign(&mut self, language: Language, state: &mut Value, name: &str) {
        if !self.dice.chance(35) {
            return;
        }
        let variable = format!("v{name}");
        state["Assign"] = match language {
            Language::JsonPath => {
                json!({ format!("{variable}.$"): self.dice.one_of(&["$", "$$.State.Name"]) })
            }
            Language::Jsonata => json!({ variable.clone(): "{% $states.input.at %}" }),
        };
        self.variables.push(variable);
    }

    /// Reads what was assigned before. If what assigns it failed and was caught, this fails as well.
    pub(super) fn read_variable(&mut self, language: Language, state: &mut Value) {
        if self.variables.is_empty() || !self.dice.chance(50) {
            return;
        }
        let which = self.dice.below(self.variables.len() as u64) as usize;
        let variable = &self.variables[which];
        match language {
            Language::JsonPath => {
                if let Some(members) = state.as_object_mut() {
                    members.remove("Result");
                }
                state["Parameters"] = json!({ "seen.$": format!("${variable}") });
                state["ResultPath"] = json!("$.passed");
            }
            Language::Jsonata => {
                let seen = format!("{{% $merge([$states.input, {{'seen': ${variable}}}]) %}}");
                state["Output"] = json!(seen);
            }
        }
    }

    pub(super) fn times(&mut self, language: Language, task: &mut Value) {
        if self.dice.chance(50) {
            let (field, value) = match (language, self.dice.chance(20)) {
                (_, false) => ("TimeoutSeconds", json!(3)),
                (Language::JsonPath, true) => ("TimeoutSecondsPath", json!("$.n")),
                (Language::Jsonata, true) => ("TimeoutSeconds", json!("{% $states.input.n %}")),
            };
            task[field] = value;
        }
        if self.dice.chance(20) {
            let (field, value) = match (language, self.dice.chance(20)) {
                (_, false) => ("HeartbeatSeconds", json!(2)),
                (Language::JsonPath, true) => ("HeartbeatSecondsPath", json!("$.items[1]")),
                (Language::Jsonata, true) => ("HeartbeatSeconds", json!("{% $states.input.items[1] %}")),
            };
            task[field] = value;
        }
    }

    pub(super) fn handlers(&mut self, language: Language, state: &mut Value, next: Option<&str>) {
        if self.dice.chance(40) {
            self.retry(state);
        }
        if let (Some(next), true) = (next, self.dice.chance(40)) {
            let error =
                self.dice.one_of(&["States.ALL", "States.ALL", "Own", "States.Timeout", "States.TaskFailed"]);
            let mut catcher = json!({ "ErrorEquals": [error], "Next": next });
            match language {
                Language::JsonPath => catcher["ResultPath"] = json!("$.caught"),
                Language::Jsonata => {
                    let caught = "{% $merge([$states.input, {'caught': $states.errorOutput.Error}]) %}";
                    catcher["Output"] = json!(caught);
                }
            }
            state["Catch"] = json!([catcher]);
        }
    }

    fn retry(&mut self, state: &mut Value) {
        let error = self.dice.one_of(&["States.ALL", "Own", "Odd", "States.Timeout", "States.TaskFailed"]);
        let jitter = self.temper != Temper::Ordered && self.dice.chance(40);
        // Whole seconds only: on a part of one something else may fall.
        let mut retrier = json!({ "ErrorEquals": [error], "IntervalSeconds": 1, "MaxAttempts": self.dice.below(4),
            "BackoffRate": 1 + self.dice.below(3), "MaxDelaySeconds": 2 + self.dice.below(3),
            "JitterStrategy": if jitter { "FULL" } else { "NONE" } });
        let mut retriers = Vec::new();
        if error != "States.ALL" && self.dice.chance(30) {
            retriers.push(retrier.clone());
            retrier["ErrorEquals"] = json!(["States.ALL"]);
        }
        retriers.push(retrier);
        state["Retry"] = json!(retriers);
    }
}
