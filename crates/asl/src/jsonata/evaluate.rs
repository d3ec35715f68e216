//! Runs a compiled expression.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jlens_core::reads::Read;
use jlens_core::{Bindings, Options};
use serde_json::{Map, Value};

use super::meter::{Meter, OverLimit};
use super::{Compiled, EvaluationError, Expression, JsonataScope, Limits, functions};
use crate::entropy::Entropy;
use crate::payload::{Document, Payload};

const STATES_MEMBERS: [&str; 4] = ["input", "result", "errorOutput", "context"];

impl Expression {
    /// The value, if the expression only names it and it is a payload of its own, which is shared. Members of `$states` keep
    /// the text they came with.
    pub fn shared(&self, scope: &JsonataScope<'_>) -> Option<Payload> {
        let is_variable = self.0.analysis.plain_path().is_some_and(|(variable, _)| variable != "states");
        match self.0.plain_path(scope)?? {
            Document::Payload(payload) if is_variable => Some(payload.compact()),
            Document::Payload(payload) => Some(payload.clone()),
            Document::Value(_) => None,
        }
    }

    /// The value, borrowed from the scope if it is there; `None` is JSONata's undefined.
    pub fn evaluate<'a>(
        &self,
        scope: &JsonataScope<'a>,
        entropy: &mut dyn Entropy,
        limits: &Limits,
    ) -> Result<Option<Cow<'a, Value>>, EvaluationError> {
        let compiled = &*self.0;
        if let Some(found) = compiled.plain_path(scope) {
            return Ok(found.map(Cow::from));
        }
        let draws_chance = functions::CHANCE.iter().any(|name| compiled.analysis.names.contains(*name));
        let seed = if draws_chance { entropy.next_u64() } else { 0 };
        let bindings = compiled.bindings(scope, limits);
        let options = options(scope, limits, seed);
        match compiled.run(&compiled.engine, None, &bindings, &options, limits, seed)? {
            Some(value) => Ok(Some(Cow::Owned(value))),
            None if compiled.gives_function(&bindings, &options, limits, seed) => {
                Err(EvaluationError::UnsupportedResult)
            }
            None => Ok(None),
        }
    }
}

fn options(scope: &JsonataScope<'_>, limits: &Limits, seed: u64) -> Options {
    Options::new()
        .now(scope.now.epoch_millis())
        .seed(seed)
        .timeout(limits.time_max)
        .max_steps(limits.steps_max)
        .max_depth(limits.depth_max)
        .max_string_length(limits.string_bytes_max)
        .max_array_length(limits.array_items_max)
        .max_result_size(limits.result_bytes_max)
}

impl Compiled {
    /// The value of a `$variable.field.field`, without the engine. `None` if it is something else, or
    /// meets an array before the last field, over which a path maps.
    fn plain_path<'a>(&self, scope: &JsonataScope<'a>) -> Option<Option<Document<'a>>> {
        let (variable, names) = self.analysis.plain_path()?;
        let (mut document, names) = if variable == "states" {
            let (member, rest) = names.split_first()?;
            (scope.member(member), rest)
        } else {
            let document = scope.variables.document(variable);
            if document.is_none() && functions::is_function(variable) {
                return None;
            }
            (document, names)
        };
        for name in names {
            document = match document {
                Some(document) => match document.member(name) {
                    Some(member) => member,
                    None if document.value().is_array() => return None,
                    None => return Some(None),
                },
                None => return Some(None),
            };
        }
        Some(document)
    }

    /// Copies of what the expression reads.
    fn bindings(&self, scope: &JsonataScope<'_>, limits: &Limits) -> Bindings {
        let mut bindings = functions::bindings().clone();
        if self.analysis.replace_as_value {
            bindings = functions::bindings_with_replace(bindings, limits.string_bytes_max);
        }
        for (name, read) in self.reads.bindings() {
            if name == "states" {
                bindings = bindings.var("states", states(scope, read));
            } else if let Some(document) = scope.variables.document(name) {
                bindings = bindings.var(name.as_str(), cut(read, document));
            }
        }
        // The engine does not report reading its own functions, which a variable may replace.
        for name in &self.analysis.names {
            if functions::is_function(name)
                && let Some(value) = scope.variables.get(name)
            {
                bindings = bindings.var(name.as_str(), value.clone());
            }
        }
        bindings
    }

    /// Runs this expression, or another made from it. ASL gives JSONata no input document.
    pub(super) fn run(
        &self,
        engine: &jlens_core::Expression,
        input: Option<&Value>,
        bindings: &Bindings,
        options: &Options,
        limits: &Limits,
        seed: u64,
    ) -> Result<Option<Value>, EvaluationError> {
        functions::seed(seed);
        // Nothing outside sees what an unwinding leaves behind: the engine's state is its own.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if self.analysis.metered {
                let mut meter = Meter::new(&self.analysis, limits);
                engine.evaluate_traced(input, bindings, options, &mut meter)
            } else {
                engine.evaluate_with(input, bindings, options)
            }
        }));
        match outcome {
            Ok(result) => result.map_err(|error| self.told(&error)),
            Err(unwound) if unwound.is::<OverLimit>() => Err(EvaluationError::MemoryLimit),
            Err(_) => Err(EvaluationError::panicked()),
        }
    }

    /// JSONata has an infinity until it is used, and what `$string` says of it is not what arithmetic says. The engine has
    /// none: it fails where an infinity would come to be.
    fn told(&self, error: &jlens_core::Error) -> EvaluationError {
        let stringified =
            error.position().is_some_and(|position| self.analysis.stringified.contains(&position));
        if error.code() == "D1001" && stringified {
            return EvaluationError::new(&jlens_core::Error::new("D3001"));
        }
        EvaluationError::new(error)
    }

    /// Tells a function from undefined, which the engine's result does not.
    fn gives_function(&self, bindings: &Bindings, options: &Options, limits: &Limits, seed: u64) -> bool {
        let text = format!("$type(({}\n)) = 'function'", self.engine.source());
        let Ok(engine) = jlens_core::Expression::compile(&text) else {
            return false;
        };
        let outcome = self.run(&engine, None, bindings, options, limits, seed);
        matches!(outcome, Ok(Some(Value::Bool(true))))
    }
}

fn states(scope: &JsonataScope<'_>, read: &Read) -> Value {
    let mut states = Map::new();
    for name in STATES_MEMBERS {
        let Some(document) = scope.member(name) else {
            continue;
        };
        match read.fields() {
            None => states.insert(name.to_owned(), document.value().clone()),
            Some(fields) => match fields.get(name) {
                Some(read) => states.insert(name.to_owned(), cut(read, document)),
                None => continue,
            },
        };
    }
    Value::Object(states)
}

/// What is read of a document, without making the rest of it into a value.
fn cut(read: &Read, document: Document<'_>) -> Value {
    let Some(fields) = read.fields() else { return document.value().clone() };
    if let Document::Payload(payload) = document
        && let Some(members) = payload.members_at_hand()
    {
        let members = members.iter().map(|(name, member)| (&**name, Document::Payload(member)));
        return cut_object(fields, members);
    }
    match document.value() {
        Value::Object(object) => {
            cut_object(fields, object.iter().map(|(name, value)| (name.as_str(), Document::Value(value))))
        }
        Value::Array(items) => items.iter().map(|item| cut(read, Document::Value(item))).collect(),
        scalar => scalar.clone(),
    }
}

fn cut_object<'a>(
    fields: &BTreeMap<String, Read>,
    members: impl ExactSizeIterator<Item = (&'a str, Document<'a>)>,
) -> Value {
    let mut kept = Map::with_capacity(fields.len().min(members.len()));
    for (name, member) in members {
        if let Some(read) = fields.get(name) {
            kept.insert(name.to_owned(), cut(read, member));
        }
    }
    Value::Object(kept)
}
