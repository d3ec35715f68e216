//! What is fuzzed, and what must hold of every text: an answer, no panic, and the promises checked here.

use std::path::Path;
use std::time::Duration;

use asl::entropy::SeededEntropy;
use asl::intrinsic::Intrinsic;
use asl::jsonata::{Expression, JsonataScope};
use asl::jsonpath::{JsonPath, ScopePath};
use asl::payload::{Document, Payload};
use asl::program::StateMachineType;
use asl::scope::{NoVariables, Scope};
use asl::timestamp::Timestamp;
use asl::{CompileOptions, compile, compile_stored, validate};
use serde_json::{Value, json};
use templates::{Options, Template};

/// Something that reads texts of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Definition,
    Path,
    Intrinsic,
    Expression,
    Template,
}

impl Target {
    pub const ALL: [Target; 5] =
        [Target::Definition, Target::Path, Target::Intrinsic, Target::Expression, Target::Template];

    pub fn name(self) -> &'static str {
        match self {
            Target::Definition => "definition",
            Target::Path => "path",
            Target::Intrinsic => "intrinsic",
            Target::Expression => "expression",
            Target::Template => "template",
        }
    }

    /// The texts of the tests.
    pub fn seeds(self) -> Vec<String> {
        match self {
            Target::Definition => definitions(),
            Target::Path => with_inputs(include_str!("../../asl/src/jsonpath/cases.jsonl"), "path"),
            Target::Intrinsic => {
                with_inputs(include_str!("../../asl/src/intrinsic/cases.jsonl"), "expression")
            }
            Target::Expression => {
                with_inputs(include_str!("../../asl/src/jsonata/cases.jsonl"), "expression")
            }
            Target::Template => vec![include_str!("../../../examples/order/template.yaml").to_owned()],
        }
    }

    /// Reads a text and tells how that ended; an error is a broken promise.
    pub fn run(self, text: &str) -> Result<String, String> {
        match self {
            Target::Definition => definition(text),
            Target::Path => path(text),
            Target::Intrinsic => intrinsic(text),
            Target::Expression => expression(text),
            Target::Template => template(text),
        }
    }
}

fn definitions() -> Vec<String> {
    const TEXTS: [&str; 8] = [
        include_str!("../../asl/tests/definitions/structure.txt"),
        include_str!("../../asl/tests/definitions/transitions.txt"),
        include_str!("../../asl/tests/definitions/paths.txt"),
        include_str!("../../asl/tests/definitions/jsonata.txt"),
        include_str!("../../asl/tests/definitions/failures.txt"),
        include_str!("../../asl/tests/definitions/choices.txt"),
        include_str!("../../asl/tests/definitions/maps.txt"),
        include_str!("../../asl/tests/definitions/variables.txt"),
    ];
    let cases = TEXTS.iter().flat_map(|text| text.split("=== ").skip(1));
    let definition = |case: &str| Some(case.split_once('\n')?.1.split_once("\n---\n")?.0.to_owned());
    cases.filter_map(definition).collect()
}

/// Each case's text, and on the next line its input if it has one.
fn with_inputs(cases: &str, name: &str) -> Vec<String> {
    let cases = cases.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |case: Value| {
        let text = case[name].as_str()?.to_owned();
        Some(case.get("input").map_or(text.clone(), |input| format!("{text}\n{input}")))
    };
    cases.filter_map(text).collect()
}

/// The first line, and the JSON on the others: most mutants should have a document to look at.
fn split(text: &str) -> (&str, Payload) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let document = || {
        let document = json!({"a": {"b": [1, {"c": "x"}, null, 2.5]}, "s": "a,b", "n": -3, "t": true, "e": {}, "l": [3, 1, 2, 3]});
        Payload::from_value(document)
    };
    (first, Payload::parse(rest).unwrap_or_else(|_| document()))
}

fn definition(text: &str) -> Result<String, String> {
    let mut ending = String::new();
    for machine_type in [StateMachineType::Standard, StateMachineType::Express] {
        let options = CompileOptions { machine_type, ..CompileOptions::default() };
        let validation = validate(text, &options);
        for found in &validation.diagnostics {
            if text.get(found.span.clone()).is_none() {
                return Err(format!("{found} at {:?}, outside the text", found.span));
            }
            ending += &format!("{} ", found.message);
        }
        if compile(text, &options).is_ok() != validation.is_ok() {
            return Err("compile and validate do not agree".to_owned());
        }
        if validation.is_ok() && compile_stored(text, machine_type).is_err() {
            return Err("what is valid does not compile once stored".to_owned());
        }
        printed_is_the_same(text, &options)?;
    }
    Ok(ending)
}

/// Parse, print, parse: layout has no meaning.
fn printed_is_the_same(text: &str, options: &CompileOptions<'_>) -> Result<(), String> {
    let Ok(node) = asl::json::read(text) else { return Ok(()) };
    let value = node.to_value();
    let printed = value.to_string();
    let again = asl::json::read(&printed).map_err(|error| format!("printed: {error}"))?;
    if again.to_value() != value {
        return Err(format!("printed it is another: {printed}"));
    }
    // Of a key that stands twice only the last value is printed.
    if printed.matches('"').count() != text.matches('"').count() {
        return Ok(());
    }
    let told = |text: &str| -> Vec<_> {
        let found = validate(text, options).diagnostics;
        found.into_iter().map(|found| (found.code, found.location)).collect()
    };
    if told(text) == told(&printed) {
        Ok(())
    } else {
        Err(format!("printed it is judged otherwise: {printed}"))
    }
}

fn path(text: &str) -> Result<String, String> {
    let (text, document) = split(text);
    let _ = ScopePath::parse(text);
    let path = match JsonPath::parse(text) {
        Ok(path) => path,
        Err(error) => return Ok(error.to_string()),
    };
    let found = path.evaluate(document.value()).map(|found| found.into_value());
    if let Ok(apart) = Payload::parse(document.text())
        && path.evaluate_in(Document::Payload(&apart)).map(|found| found.into_value()) != found
    {
        return Err("taken apart, the document gives something else".to_owned());
    }
    if path.is_reference_path() {
        if let Ok(changed) = path.put(&document, &Payload::from_value(json!("put"))) {
            let put = path.evaluate_in(Document::Payload(&changed)).map(|found| found.into_value());
            let written = changed.value().to_string();
            if put != Ok(json!("put")) || changed.text() != written {
                return Err(format!("what was put is not found: {changed}"));
            }
        }
        // The canonical form is Jayway's for messages, which does not escape quotes.
        if text.contains(['\'', '"', '\\']) {
            return Ok("a name in quotes".to_owned());
        }
        let again =
            JsonPath::parse(path.canonical()).map_err(|error| format!("{}: {error}", path.canonical()))?;
        if again.canonical() != path.canonical()
            || again.evaluate(document.value()).map(|found| found.into_value()) != found
        {
            return Err(format!("{} is another path", path.canonical()));
        }
    }
    let kind = found.map(|value| asl::dynamic::type_name(&value)).map_err(|error| error.exception());
    Ok(format!("{} {:?} {kind:?}", path.is_definite(), path.restriction()))
}

fn intrinsic(text: &str) -> Result<String, String> {
    let (text, document) = split(text);
    let intrinsic = match Intrinsic::parse(text) {
        Ok(intrinsic) => intrinsic,
        Err(error) => return Ok(error.to_string()),
    };
    if intrinsic.text() != text.trim() {
        return Err(format!("its text is {}", intrinsic.text()));
    }
    let scope = Scope { input: &document, context: document.value(), variables: &NoVariables };
    let result = intrinsic.evaluate(&scope, &mut SeededEntropy::new(1));
    if intrinsic.evaluate(&scope, &mut SeededEntropy::new(1)) != result {
        return Err("the same chance gives another result".to_owned());
    }
    match result {
        Ok(value) => Ok(asl::dynamic::type_name(&value).to_owned()),
        // The reason comes after the invocation.
        Err(error) => Ok(error.to_string().rsplit("error: ").next().unwrap_or_default().to_owned()),
    }
}

fn expression(text: &str) -> Result<String, String> {
    let (text, document) = split(text);
    let expression = match Expression::compile(text) {
        Ok(expression) => expression,
        Err(error) => return Ok(error.to_string()),
    };
    let scope = JsonataScope {
        input: &document,
        result: None,
        error_output: None,
        context: document.value(),
        variables: &NoVariables,
        now: Timestamp::default(),
    };
    let limits = asl::jsonata::Limits {
        steps_max: 50_000,
        time_max: Duration::from_millis(200),
        ..asl::jsonata::Limits::default()
    };
    let result = expression.evaluate(&scope, &mut SeededEntropy::new(1), &limits);
    match result {
        Ok(value) => Ok(value.map_or("undefined", |value| asl::dynamic::type_name(&value)).to_owned()),
        // Behind the guard a panic of the engine is an error, but the guard should have nothing to do.
        Err(error) if error.to_string().contains("U1000") => Err(error.to_string()),
        Err(error) => Ok(error.to_string()),
    }
}

fn template(text: &str) -> Result<String, String> {
    let options = Options {
        stack: "s".to_owned(),
        skip_unsupported: text.len().is_multiple_of(2),
        ..Options::default()
    };
    // No file is there, and none is looked for outside.
    let folder = Path::new("/nonexistent");
    match Template::parse("template.yaml", text, folder, &options) {
        Ok(template) => Ok(format!("{} {:?}", template.definitions().len(), template.warnings)),
        Err(error) => Ok(error.to_string()),
    }
}
