//! Runs a compiled expression.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jlens_core::reads::Read;
use jlens_core::{Bindings, Options};
use serde_json::{Map, Value};

use super::documents::{Reading, Results, Root, STATES_MEMBERS};
use super::error::with_whole_numbers;
use super::meter::{Meter, OverLimit};
use super::{Compiled, EvaluationError, Expression, JsonataScope, Limits, functions, non_finite};
use crate::entropy::Entropy;
use crate::payload::{Document, Payload};

/// How much deeper an expression is for the question whether it gives a function.
const AROUND_IT: usize = 4;

impl Expression {
    /// The value, if the expression only names it and it is a payload of its own, which is shared. Members of `$states` keep
    /// the text they came with.
    pub fn shared(&self, scope: &JsonataScope<'_>) -> Option<Payload> {
        let path = self.0.analysis.plain_path.as_ref()?;
        match path.find(scope)?? {
            Document::Payload(payload) if path.is_of_variable() => Some(payload.compact()),
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
        if let Some(found) = compiled.analysis.plain_path.as_ref().and_then(|path| path.find(scope)) {
            return Ok(found.map(Cow::from));
        }
        let draws_chance = functions::CHANCE.iter().any(|name| compiled.analysis.names.contains(*name));
        let seed = if draws_chance { entropy.next_u64() } else { 0 };
        let options = options(scope, limits, seed);
        let outcome = match compiled.reading(scope) {
            Some(reading) => compiled.read(reading, scope, &options, limits, seed),
            None => {
                let bindings = compiled.bindings(scope, limits);
                let outcome = compiled.run(&compiled.engine, None, &bindings, &options, limits, seed);
                outcome.map(|value| value.map(with_whole_numbers))
            }
        };
        let again = |engine: &jlens_core::Expression| {
            compiled
                .run(engine, None, &compiled.bindings(scope, limits), &options, limits, seed)
                .ok()
                .flatten()
        };
        if let Some(name) = non_finite::name(&compiled.engine, &outcome, again) {
            return Ok(Some(Cow::Owned(Value::from(name))));
        }
        match outcome? {
            Some(value) => Ok(Some(Cow::Owned(value))),
            None if compiled.gives_function(scope, &options, limits, seed) => {
                Err(EvaluationError::UnsupportedResult)
            }
            None => Ok(None),
        }
    }
}

pub(super) fn options(scope: &JsonataScope<'_>, limits: &Limits, seed: u64) -> Options {
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
    /// The expression that copies nothing, unless a variable has the name of the function it takes variables with.
    fn reading(&self, scope: &JsonataScope<'_>) -> Option<&Reading> {
        let reading = self.reading.get_or_init(|| Reading::of(self)).as_ref()?;
        let shadowed = self.analysis.names.contains("lookup") && scope.variables.get("lookup").is_some();
        (!shadowed).then_some(reading)
    }

    /// The functions, and the variables that take their places.
    fn functions(&self, scope: &JsonataScope<'_>, limits: &Limits) -> Bindings {
        let mut bindings = functions::bindings(self.analysis.names.contains("eval")).clone();
        if self.analysis.replace_as_value {
            bindings = functions::bindings_with_replace(bindings, limits.string_bytes_max);
        }
        // The engine does not report reading its own functions, which a variable may replace.
        for name in &self.functions_named {
            if let Some(value) = scope.variables.get(name) {
                bindings = bindings.var(name.as_str(), value.clone());
            }
        }
        bindings
    }

    /// The functions, and copies of what the expression reads.
    pub(super) fn bindings(&self, scope: &JsonataScope<'_>, limits: &Limits) -> Bindings {
        let mut bindings = self.functions(scope, limits);
        for (name, read) in self.reads.bindings() {
            if name == "states" {
                bindings = bindings.var("states", states(scope, read));
            } else if let Some(document) = scope.variables.document(name) {
                bindings = bindings.var(name.as_str(), cut(read, document));
            }
        }
        bindings
    }

    /// Runs it over the scope itself.
    fn read(
        &self,
        reading: &Reading,
        scope: &JsonataScope<'_>,
        options: &Options,
        limits: &Limits,
        seed: u64,
    ) -> Result<Option<Value>, EvaluationError> {
        let bindings = self.functions(scope, limits);
        let root = Root::new(self, scope);
        // The block around the expression is no depth of its own.
        let options = options.clone().max_depth(limits.depth_max + 1);
        self.guarded(seed, reading.offset, || {
            reading.engine.evaluate_source_to(&root, &bindings, &options, |output| output.write(&mut Results))
        })
    }

    /// Runs it with a document as its input, read as scopes are.
    #[cfg(test)]
    pub(super) fn read_document(
        &self,
        document: &Value,
        bindings: &Bindings,
        options: &Options,
    ) -> Result<Option<Value>, EvaluationError> {
        let input = super::documents::Alone(document);
        self.guarded(1, 0, || {
            self.engine.evaluate_source_to(&input, bindings, options, |output| output.write(&mut Results))
        })
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
        self.guarded(seed, 0, || {
            if self.analysis.metered {
                let mut meter = Meter::new(&self.analysis, limits);
                engine.evaluate_traced(input, bindings, options, &mut meter)
            } else {
                engine.evaluate_with(input, bindings, options)
            }
        })
    }

    /// `offset`: where the expression begins in the text that is run.
    fn guarded(
        &self,
        seed: u64,
        offset: usize,
        run: impl FnOnce() -> jlens_core::Result<Option<Value>>,
    ) -> Result<Option<Value>, EvaluationError> {
        functions::seed(seed);
        // Nothing outside sees what an unwinding leaves behind: the engine's state is its own.
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => result.map_err(|error| self.told(&error, offset)),
            Err(unwound) if unwound.is::<OverLimit>() => Err(EvaluationError::MemoryLimit),
            Err(_) => Err(EvaluationError::panicked()),
        }
    }

    /// JSONata has an infinity until it is used, and what `$string` says of it is not what arithmetic says. The engine has
    /// none: it fails where an infinity would come to be.
    fn told(&self, error: &jlens_core::Error, offset: usize) -> EvaluationError {
        let position = error.position().and_then(|position| position.checked_sub(offset));
        let stringified = position.is_some_and(|position| self.analysis.stringified.contains(&position));
        if error.code() == "D1001" && stringified {
            return EvaluationError::new(&jlens_core::Error::new("D3001"));
        }
        EvaluationError::new(error)
    }

    /// Tells a function from undefined, which the engine's result does not.
    pub(super) fn gives_function(
        &self,
        scope: &JsonataScope<'_>,
        options: &Options,
        limits: &Limits,
        seed: u64,
    ) -> bool {
        let text = format!("$type(({}\n)) = 'function'", self.engine.source());
        let Ok(engine) = jlens_core::Expression::compile(&text) else {
            return false;
        };
        let options = options.clone().max_depth(limits.depth_max + AROUND_IT);
        let outcome = self.run(&engine, None, &self.bindings(scope, limits), &options, limits, seed);
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
