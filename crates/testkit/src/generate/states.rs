//! The states of a random machine: all eight types, in both query languages.
//!
//! A machine is written in JSONPath, and then each state may be in JSONata for itself, or in JSONata altogether.

use serde_json::{Map, Value, json};

use super::{Dice, Temper};

/// States of a machine from which on it is not nested further.
const STATES_MAX: u32 = 14;

/// What a state is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    JsonPath,
    Jsonata,
}

pub(super) struct Builder<'a> {
    pub dice: &'a mut Dice,
    pub temper: Temper,
    states: u32,
    /// The language of the machine.
    whole: Language,
    /// Variables that a state may read: they were assigned before, unless what assigns them failed.
    pub variables: Vec<String>,
}

impl<'a> Builder<'a> {
    pub fn new(dice: &'a mut Dice, temper: Temper) -> Builder<'a> {
        let whole = if dice.chance(25) { Language::Jsonata } else { Language::JsonPath };
        Builder { dice, temper, states: 0, whole, variables: Vec::new() }
    }

    pub fn definition(&mut self) -> Value {
        let mut definition = self.scope(0);
        if self.whole == Language::Jsonata {
            definition["QueryLanguage"] = json!("JSONata");
        }
        definition
    }

    fn scope(&mut self, depth: u32) -> Value {
        let length = 1 + self.dice.below(3);
        // State names are unique over the document, as ASL wants.
        let names: Vec<String> = (0..length).map(|_| self.name()).collect();
        let (mut states, outer) = (Map::new(), self.variables.len());
        for (index, name) in names.iter().enumerate() {
            let next = names.get(index + 1).map(String::as_str);
            let mut state = self.state(depth, name, next);
            let kind = state["Type"].as_str().unwrap_or_default();
            match next {
                _ if matches!(kind, "Succeed" | "Fail" | "Choice") => {}
                Some(next) => state["Next"] = json!(next),
                None => state["End"] = json!(true),
            }
            states.insert(name.clone(), state);
        }
        // What was assigned inside is not seen outside.
        self.variables.truncate(outer);
        json!({ "StartAt": names[0], "States": states })
    }

    fn name(&mut self) -> String {
        self.states += 1;
        format!("S{}", self.states)
    }

    fn state(&mut self, depth: u32, name: &str, next: Option<&str>) -> Value {
        let language = if self.whole == Language::JsonPath && self.dice.chance(70) {
            Language::JsonPath
        } else {
            Language::Jsonata
        };
        let fans = self.temper != Temper::Sequential && depth < 3 && self.states < STATES_MAX;
        let mut state = match self.dice.below(if fans { 18 } else { 13 }) {
            0 | 1 => self.pass(language, name),
            2 | 3 => self.wait(language),
            4 if self.dice.chance(50) => self.succeed(language),
            4 => self.fail(language),
            5 | 6 => self.choice(language, name, next),
            7 if self.temper != Temper::Sequential => self.map_run(language, name),
            13 | 14 => self.parallel(language, depth, name),
            15 | 16 => self.map(language, depth, name),
            _ => self.task(language, name, next),
        };
        if self.whole != language {
            state["QueryLanguage"] = json!("JSONata");
        }
        state
    }

    fn pass(&mut self, language: Language, name: &str) -> Value {
        let mut state = json!({ "Type": "Pass" });
        match (language, self.dice.below(6)) {
            (Language::JsonPath, 0) => state["Parameters"] = json!({ "x.$": "$.missing" }),
            (Language::JsonPath, 1) => {
                state["Parameters"] = json!({ "at.$": "$.at", "items.$": "$.items", "n.$": "$.n",
                    "more.$": "States.MathAdd($.n, 1)" });
            }
            (Language::JsonPath, _) => {
                state["Result"] = json!({ "n": self.dice.below(9) });
                state["ResultPath"] = json!("$.passed");
            }
            (Language::Jsonata, 0) => state["Output"] = json!("{% $error('boom') %}"),
            (Language::Jsonata, 1) => {
                state["Output"] = json!("{% $merge([$states.input, {'sum': $states.input.n + 1}]) %}");
            }
            (Language::Jsonata, _) => {}
        }
        if language == Language::JsonPath && self.dice.chance(30) {
            state["InputPath"] = json!(self.dice.one_of(&["$", "$", "$.nothing"]));
        }
        self.read_variable(language, &mut state);
        self.assign(language, &mut state, name);
        state
    }

    fn wait(&mut self, language: Language) -> Value {
        let mut state = json!({ "Type": "Wait" });
        let (field, value) = match (language, self.dice.below(6)) {
            (Language::JsonPath, 0) => ("SecondsPath", json!("$.n")),
            (Language::JsonPath, 1) => ("TimestampPath", json!("$.missing")),
            (Language::Jsonata, 0) => ("Seconds", json!("{% $states.input.n %}")),
            (Language::Jsonata, 1) => ("Timestamp", json!("{% 'never' %}")),
            (_, 2) => ("Timestamp", json!("2016-03-14T01:59:00Z")),
            (_, _) => ("Seconds", json!(self.dice.below(4))),
        };
        state[field] = value;
        state
    }

    fn succeed(&mut self, language: Language) -> Value {
        let mut state = json!({ "Type": "Succeed" });
        match (language, self.dice.chance(50)) {
            (Language::JsonPath, true) => state["InputPath"] = json!("$.at"),
            (Language::Jsonata, true) => state["Output"] = json!("{% $states.input.at %}"),
            (_, false) => {}
        }
        state
    }

    fn fail(&mut self, language: Language) -> Value {
        match (language, self.dice.chance(50)) {
            (_, false) => json!({ "Type": "Fail", "Error": "Own" }),
            (Language::JsonPath, true) => json!({ "Type": "Fail",
                "ErrorPath": "States.Format('E{}', $.n)", "CausePath": "$.at" }),
            (Language::Jsonata, true) => json!({ "Type": "Fail",
                "Error": "{% 'E' & $string($states.input.n) %}", "Cause": "{% $states.input.at %}" }),
        }
    }

    fn choice(&mut self, language: Language, name: &str, next: Option<&str>) -> Value {
        let Some(next) = next else { return self.wait(language) };
        let bound = self.dice.below(9);
        let mut rule = match (language, self.dice.below(5)) {
            (Language::Jsonata, 0) => json!({ "Condition": "{% $states.input.n %}" }),
            (Language::Jsonata, _) => json!({ "Condition": format!("{{% $states.input.n > {bound} %}}") }),
            (Language::JsonPath, 0) => json!({ "Variable": "$.missing", "NumericGreaterThan": bound }),
            (Language::JsonPath, 1) => json!({ "Not": { "Variable": "$.at", "StringMatches": "r.*" } }),
            (Language::JsonPath, 2) => json!({ "And": [
                { "Variable": "$.n", "IsPresent": true },
                { "Or": [{ "Variable": "$.n", "NumericEquals": bound },
                    { "Variable": "$.at", "StringEquals": "r" }] }] }),
            (Language::JsonPath, _) => json!({ "Variable": "$.n", "NumericGreaterThan": bound }),
        };
        rule["Next"] = json!(next);
        self.assign(language, &mut rule, name);
        let mut state = json!({ "Type": "Choice", "Choices": [rule] });
        if self.dice.chance(80) {
            state["Default"] = json!(next);
        }
        state
    }

    fn task(&mut self, language: Language, name: &str, next: Option<&str>) -> Value {
        let resource = self.dice.one_of(&[
            "arn:aws:states:::lambda:invoke",
            "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "arn:aws:states:::dynamodb:putItem",
            "arn:aws:states:::aws-sdk:s3:listBuckets",
            "arn:aws:states:::ecs:runTask.sync",
            "arn:aws:states:::states:startExecution.sync:2",
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "arn:aws:states:us-east-1:000000000000:activity:pack",
            "arn:aws:states:us-east-1:000000000000:activity:pack",
            "arn:aws:lambda:us-east-1:000000000000:function:sum",
        ]);
        let mut task = json!({ "Type": "Task", "Resource": resource });
        match language {
            Language::JsonPath => task["Parameters"] = json!({ "at.$": "$.at" }),
            Language::Jsonata => task["Arguments"] = json!({ "at": "{% $states.input.at %}" }),
        }
        self.keep_input(language, &mut task, name);
        self.times(language, &mut task);
        self.handlers(language, &mut task, next);
        self.assign(language, &mut task, name);
        task
    }

    fn parallel(&mut self, language: Language, depth: u32, name: &str) -> Value {
        let branches: Vec<_> = (0..1 + self.dice.below(3)).map(|_| self.scope(depth + 1)).collect();
        let mut state = json!({ "Type": "Parallel", "Branches": branches });
        self.keep_input(language, &mut state, name);
        self.handlers(language, &mut state, None);
        self.assign(language, &mut state, name);
        state
    }

    fn map(&mut self, language: Language, depth: u32, name: &str) -> Value {
        let mut state = json!({ "Type": "Map", "MaxConcurrency": self.dice.below(3),
            "ItemProcessor": self.scope(depth + 1) });
        self.items(language, &mut state);
        let at = match language {
            Language::JsonPath => {
                json!({ "at.$": "States.Format('{}.{}', $.at, $$.Map.Item.Index)" })
            }
            Language::Jsonata => {
                json!({ "at": "{% $states.input.at & '.' & $string($states.context.Map.Item.Index) %}" })
            }
        };
        state["ItemSelector"] = at;
        state["ItemSelector"]["items"] = json!([1]);
        state["ItemSelector"]["n"] = json!(4);
        self.keep_input(language, &mut state, name);
        self.handlers(language, &mut state, None);
        self.assign(language, &mut state, name);
        state
    }

    fn map_run(&mut self, language: Language, name: &str) -> Value {
        let inner = self.name();
        let kind = self.dice.one_of(&["STANDARD", "EXPRESS"]);
        let mut state = json!({ "Type": "Map",
            "ItemProcessor": { "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": kind },
                "StartAt": inner, "States": { inner.clone(): { "Type": "Pass", "End": true } } } });
        if self.dice.chance(40) {
            let field = if language == Language::Jsonata { "Arguments" } else { "Parameters" };
            state["ItemReader"] = json!({ "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": { "InputType": "JSON" }, field: { "Bucket": "b", "Key": "k" } });
        } else {
            self.items(language, &mut state);
        }
        if self.dice.chance(30) {
            state["ToleratedFailurePercentage"] = json!(self.dice.below(100));
        }
        self.keep_input(language, &mut state, name);
        self.handlers(language, &mut state, None);
        state
    }
}
