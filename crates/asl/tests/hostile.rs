//! Hostile definitions and expressions end within their limits: no hang, no abort, no panic, less than 256 MiB.
//!
//! Each runs in a process of its own, this test binary started again with the name in its environment, so that its peak of
//! memory is its own and an abort would be seen.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use asl::entropy::SeededEntropy;
use asl::jsonata::{Expression, JsonataScope, Limits};
use asl::payload::Payload;
use asl::scope::NoVariables;
use asl::template::{self, View};
use asl::timestamp::Timestamp;
use asl::{CompileOptions, compile};
use serde_json::{Value, json};

/// Names and expressions.
const EXPRESSIONS: &str = include_str!("hostile/expressions.txt");

/// A second, and what a built-in function takes that is not interrupted. Debug builds on busy machines are slow.
const TAKEN_MAX: Duration = Duration::from_secs(60);
const PEAK_KIB_MAX: u64 = 256 * 1024;
const CHILD: &str = "PASSO_HOSTILE";

#[test]
fn hostile_definitions_and_expressions_end_within_their_limits() {
    if let Ok(name) = std::env::var(CHILD) {
        return told_alone(&name);
    }
    let names = names();
    let next = AtomicUsize::new(0);
    let work = || -> Vec<String> {
        let mine = std::iter::from_fn(|| names.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.filter_map(|name| complaint(name)).collect()
    };
    let wrong = std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.map(|worker| worker.join().expect("a worker does not panic")).concat()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs one in its own process; what is wrong with how it ended, if anything.
fn complaint(name: &str) -> Option<String> {
    let started = Instant::now();
    let this = std::env::current_exe().expect("the test knows itself");
    let output = Command::new(this)
        .args(["hostile_definitions_and_expressions_end_within_their_limits", "--exact", "--nocapture"])
        .env(CHILD, name)
        .output()
        .expect("the test starts itself");
    let taken = started.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let told =
        text.lines().find_map(|line| line.strip_prefix("peak ")?.split(' ').next()?.parse::<u64>().ok());
    match told {
        Some(peak) if output.status.success() && taken < TAKEN_MAX && peak < PEAK_KIB_MAX => None,
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Some(format!("{name}: {} after {taken:?}, peak {told:?} KiB\n{text}{errors}", output.status))
        }
    }
}

/// One of them, in the process of its own.
#[expect(clippy::print_stdout, reason = "the process that waits reads it")]
fn told_alone(name: &str) {
    let started = Instant::now();
    let outcome = match EXPRESSIONS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")) {
        Some(text) => evaluate(text),
        None => definition(name),
    };
    println!("peak {} {:?} {}", peak_kib(), started.elapsed(), outcome.chars().take(120).collect::<String>());
}

fn names() -> Vec<String> {
    let lines = EXPRESSIONS.lines().filter_map(|line| line.split_once(": "));
    let definitions = definitions().into_iter().map(|(name, _, _)| name.to_owned());
    lines.map(|(name, _)| name.to_owned()).chain(definitions).collect()
}

fn evaluate(text: &str) -> String {
    let expression = match Expression::compile(text) {
        Ok(expression) => expression,
        Err(error) => return error.to_string(),
    };
    let input =
        Payload::from_value(json!({"text": "a".repeat(200_000), "list": (0..20_000).collect::<Vec<_>>()}));
    let scope = JsonataScope {
        input: &input,
        result: None,
        error_output: None,
        context: &Value::Null,
        variables: &NoVariables,
        now: Timestamp::default(),
    };
    match expression.evaluate(&scope, &mut SeededEntropy::new(1), &Limits::default()) {
        Ok(value) => format!("gave {:?}", value.map(|value| value.to_string().len())),
        Err(error) => error.to_string(),
    }
}

/// A name, a hostile state and the input it gets.
type Hostile = (&'static str, String, Value);

/// Some are texts that no JSON library would write.
fn definitions() -> Vec<Hostile> {
    [that_multiply(), that_search(), that_nest()].concat()
}

fn pass(template: impl std::fmt::Display) -> String {
    format!("\"Type\":\"Pass\",\"End\":true,\"Parameters\":{{{template}}}")
}

fn output(template: impl std::fmt::Display) -> String {
    format!("\"Type\":\"Pass\",\"End\":true,\"QueryLanguage\":\"JSONata\",\"Output\":{template}")
}

fn expression(parts: [&str; 3], count: usize) -> String {
    let [open, inner, close] = parts;
    output(format!("\"{{% {}{inner}{} %}}\"", open.repeat(count), close.repeat(count)))
}

fn that_multiply() -> Vec<Hostile> {
    let wide: Value = (0..100_000).collect::<Vec<_>>().into();
    let text = json!("x".repeat(250_000));
    let many = |member: &str| {
        let members: Vec<String> = (0..5_000).map(|index| member.replace('#', &index.to_string())).collect();
        members.join(",")
    };
    let format = "\"k#.$\":\"States.Format('{}{}{}{}{}{}{}{}',$,$,$,$,$,$,$,$)\"";
    let assign = format!("\"Type\":\"Pass\",\"End\":true,\"Assign\":{{{}}}", many("\"k#.$\":\"$.x\""));
    let object = |member: &str| output(format!("{{{}}}", many(member)));
    vec![
        ("template multiplies a wide input", pass(many("\"k#.$\":\"$\"")), wide.clone()),
        ("template multiplies a long text", pass(many("\"k#.$\":\"$\"")), text.clone()),
        ("template multiplies what it finds", pass(many("\"k#.$\":\"$..*\"")), deep()),
        ("template of functions", pass(many("\"k#.$\":\"States.ArrayRange(0,999,1)\"")), json!(1)),
        ("template formats a long text", pass(many(format)), text.clone()),
        ("template of expressions", object("\"k#\":\"{% $states.input %}\""), wide.clone()),
        ("template of built arrays", object("\"k#\":\"{% [1..200000] %}\""), json!(1)),
        ("array of expressions", output(format!("[{}]", many("\"{% $states.input %}\""))), text),
        ("assign multiplies", assign, json!({ "x": wide })),
    ]
}

/// A document as deep as payloads may nearly be.
fn deep() -> Value {
    (0..90).fold(json!(1), |inner, _| json!({ "a": inner, "b": [1, 2, 3] }))
}

fn that_search() -> Vec<Hostile> {
    let matches = |pattern: String| {
        let rule = format!("{{\"Variable\":\"$\",\"StringMatches\":\"{pattern}\",\"Next\":\"T\"}}");
        format!("\"Type\":\"Choice\",\"Default\":\"T\",\"Choices\":[{rule}]")
    };
    let numbers: Value = (0..2_000).collect::<Vec<_>>().into();
    vec![
        ("descent in descent", pass("\"k.$\":\"$..*..*..*..*\""), deep()),
        ("filter in filter", pass("\"k.$\":\"$..[?(@..[?(@..[?(@..a)])])]\""), deep()),
        ("filter that searches", pass("\"k.$\":\"$[?(@ in $..*)]\""), numbers.clone()),
        ("filter by a path", pass("\"k.$\":\"$[?($[?(@ > 1)])]\""), numbers),
        ("long union", pass(format!("\"k.$\":\"$[{}0]\"", "0,".repeat(20_000))), json!([[1, 2]])),
        ("wildcards of StringMatches", matches("*a".repeat(2_000) + "b"), json!("a".repeat(200_000))),
        ("large repetition", output("\"{% $match('a', /((a{1000}){1000}){1000}/) %}\""), json!(1)),
    ]
}

fn that_nest() -> Vec<Hostile> {
    let nested = |parts: [&str; 3], count: usize| parts[0].repeat(count) + parts[1] + &parts[2].repeat(count);
    let functions = nested(["States.Array(", "1", ")"], 10_000);
    let choices = nested(["{\"Not\":", "{}", "}"], 10_000);
    vec![
        ("deep functions", pass(format!("\"k.$\":\"{functions}\"")), json!(1)),
        ("deep payload template", pass(nested(["\"a\":{", "\"k.$\":\"$\"", "}"], 400)), json!(1)),
        ("deep choice", format!("\"Type\":\"Choice\",\"Default\":\"T\",\"Choices\":[{choices}]"), json!(1)),
        ("deep parentheses", expression(["(", "1", ")"], 100_000), json!(1)),
        ("deep arrays", expression(["[", "1", "]"], 100_000), json!(1)),
        ("deep functions of JSONata", expression(["function($x){", "1", "}"], 30_000), json!(1)),
        ("deep negation", expression(["-", "1", ""], 200_000), json!(1)),
        ("deep conditions", expression(["1 ? 1 : ", "1", ""], 50_000), json!(1)),
        ("long sum", expression(["1+", "1", ""], 100_000), json!(1)),
        ("long path", expression(["", "$states.input", ".a"], 100_000), json!(1)),
        ("long chain", expression(["", "1", "~>$string"], 20_000), json!(1)),
        ("long predicates", expression(["", "$states.input", "[0]"], 50_000), json!([1])),
        ("unclosed expression", expression(["{\\\"a\\\":", "", ""], 100_000), json!(1)),
    ]
}

fn definition(name: &str) -> String {
    let (_, state, input) =
        definitions().into_iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("{name}"));
    let text =
        format!("{{\"StartAt\":\"S\",\"States\":{{\"S\":{{{state}}},\"T\":{{\"Type\":\"Succeed\"}}}}}}");
    let program = match compile(&text, &CompileOptions::default()) {
        Ok(program) => program,
        Err(found) => return format!("refused: {}", found[0]),
    };
    let input = Payload::from_value(input);
    let view = View::new(&input, &Value::Null, &NoVariables, Timestamp::default());
    let entropy = &mut SeededEntropy::new(1);
    let flow = &program.states[0].flow;
    if let asl::program::StateKind::Choice(choice) = &program.states[0].kind {
        return format!("{:?}", asl::choice::matches(&choice.rules[0].condition, &view, entropy));
    }
    let outcome = match (&flow.arguments, &flow.output, &flow.assign) {
        (Some(template), _, _) | (_, Some(template), _) => template::evaluate(template, &view, entropy),
        (_, _, Some(assign)) => template::assign(assign, &view, entropy).map(|_| Payload::null()),
        _ => panic!("nothing to evaluate"),
    };
    match outcome {
        Ok(payload) => format!("gave {} bytes", payload.len()),
        Err(error) => error.to_string(),
    }
}

/// The process's peak of resident memory; zero where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
