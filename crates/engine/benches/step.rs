//! `cargo bench -p engine`: the pure core without disk and network. Each figure is a whole execution, from its input to its
//! terminal event; `thrpt` counts its events, so 500,000 a second are the 2 µs an event that are allowed.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::Arc;

use asl::payload::Payload;
use asl::program::{Program, StateMachineType};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{DefinitionHash, Execution, Input, InputKind, Start, Timestamp, step};
use serde_json::{Map, Value, json};

fn program(definition: &Value) -> Program {
    asl::compile_stored(&definition.to_string(), StateMachineType::Standard).expect("the definition compiles")
}

fn start(input: &Payload) -> Arc<Start> {
    Arc::new(Start::of(
        "arn:aws:states:us-east-1:000000000000:stateMachine:Machine",
        "run",
        DefinitionHash([7; 32]),
        input.clone(),
    ))
}

/// Runs an execution to its end; how many events it wrote.
fn run(program: &Program, start: &Arc<Start>) -> u64 {
    let mut execution = Execution::default();
    let mut kind = InputKind::Started(Arc::clone(start));
    let mut events = 0;
    loop {
        let input = Input { at: Timestamp::from_epoch_millis(1_700_000_000_000), entropy: events, kind };
        let step = step(program, &mut execution, input, 1_000);
        events += step.events.len() as u64;
        black_box(&step.events);
        if !step.more {
            assert!(execution.finished().is_some(), "it waits for something");
            return events;
        }
        kind = InputKind::Resumed;
    }
}

fn measure(criterion: &mut Criterion, name: &str, definition: &Value, input: Value) {
    let program = program(definition);
    // As it comes from the journal or the wire: text, parsed when an expression first looks at it.
    let text = input.to_string();
    let events = run(&program, &start(&Payload::parse(text.as_str()).expect("an input")));
    let mut group = criterion.benchmark_group("execution");
    group.throughput(Throughput::Elements(events));
    group.bench_function(name, |bencher| {
        bencher.iter(|| run(&program, &start(&Payload::parse(text.as_str()).expect("an input"))));
    });
    group.finish();
}

/// `count` states in a row; `state` makes each.
fn chain(count: usize, state: impl Fn(usize) -> Value) -> Value {
    let mut states = Map::new();
    for index in 0..count {
        let mut state = state(index);
        if index + 1 == count {
            state["End"] = json!(true);
        } else {
            state["Next"] = json!(format!("S{}", index + 1));
        }
        states.insert(format!("S{index}"), state);
    }
    json!({ "StartAt": "S0", "States": states })
}

/// Three orders of one line, about half a KiB: what most states look at.
fn few_orders() -> Value {
    orders_of(3, 1)
}

/// Ten orders of ten lines, about 8 KiB.
fn orders() -> Value {
    orders_of(10, 10)
}

fn orders_of(orders: usize, lines: usize) -> Value {
    let line = |n: usize| json!({"sku": format!("sku-{n}"), "quantity": n, "price": 9.5, "tags": ["a", "b"]});
    let order = |n: usize| json!({"id": n, "customer": {"name": "Ada", "city": "Ulm"}, "lines": (0..lines).map(line).collect::<Vec<_>>()});
    json!({ "orders": (0..orders).map(order).collect::<Vec<_>>(), "factor": 3 })
}

/// What any use of a payload's contents costs once: its text checked, made into a value and written again.
fn once(criterion: &mut Criterion) {
    let text = orders().to_string();
    criterion.bench_function("checking, parsing and writing 8 KiB", |bencher| {
        bencher.iter(|| {
            let payload = Payload::parse(text.as_str()).expect("an input");
            black_box(payload.members().cloned().map(|members| Payload::from_members(members).len()))
        });
    });
}

fn passes(criterion: &mut Criterion) {
    let definition = chain(100, |_| json!({ "Type": "Pass" }));
    measure(criterion, "100 Pass states", &definition, json!({}));
    measure(criterion, "100 Pass states over 8 KiB", &definition, orders());
}

fn choices(criterion: &mut Criterion) {
    // A binary tree of eight levels; each Choice compares a number and a text.
    let mut states = Map::new();
    for level in 0..8 {
        let next = if level == 7 { "End".to_owned() } else { format!("C{}", level + 1) };
        let rule = json!({"And": [
            {"Variable": "$.factor", "NumericGreaterThan": level}, {"Variable": "$.orders[0].customer.name", "StringEquals": "Eve"}
        ], "Next": next});
        states.insert(
            format!("C{level}"),
            json!({ "Type": "Choice", "Choices": [rule.clone(), rule], "Default": next }),
        );
    }
    states.insert("End".to_owned(), json!({ "Type": "Succeed" }));
    let definition = json!({ "StartAt": "C0", "States": states });
    measure(criterion, "8 Choice states", &definition, few_orders());
    measure(criterion, "8 Choice states over 8 KiB", &definition, orders());
}

fn maps(criterion: &mut Criterion) {
    let map = |body: Value| {
        let processor = json!({ "StartAt": "Item", "States": { "Item": body } });
        json!({ "StartAt": "Each", "States": { "Each": { "Type": "Map", "ItemsPath": "$.items", "ItemProcessor": processor, "End": true } } })
    };
    let items = json!({ "items": (0..1_000).collect::<Vec<_>>() });
    let definition = map(json!({ "Type": "Pass", "End": true }));
    measure(criterion, "Map of 1,000", &definition, items.clone());
    let definition = map(
        json!({ "Type": "Pass", "Parameters": { "n.$": "$", "at.$": "$$.State.EnteredTime" }, "End": true }),
    );
    measure(criterion, "Map of 1,000 with a template", &definition, items);
}

fn data_flow(criterion: &mut Criterion) {
    let definition = chain(20, |_| {
        json!({
            "Type": "Pass", "InputPath": "$", "ResultPath": "$.made", "Assign": { "total.$": "$.factor" },
            "Parameters": {
                "factor.$": "$.factor", "name.$": "$.orders[0].customer.name", "skus.$": "$.orders[1].lines[*].sku",
                "text.$": "States.Format('{} of {}', $.factor, $.orders[2].id)"
            }
        })
    });
    measure(criterion, "20 states, JSONPath data flow", &definition, few_orders());
    measure(criterion, "20 states, JSONPath data flow over 8 KiB", &definition, orders());
    let mut definition = chain(20, |_| {
        json!({
            "Type": "Pass", "Assign": { "total": "{% $states.input.factor %}" },
            "Output": {
                "factor": "{% $states.input.factor * 2 %}", "name": "{% $states.input.orders[0].customer.name %}",
                "total": "{% $sum($states.input.orders[0].lines.(quantity * price)) %}", "orders": "{% $states.input.orders %}"
            }
        })
    });
    definition["QueryLanguage"] = json!("JSONata");
    measure(criterion, "20 states, JSONata data flow", &definition, few_orders());
    measure(criterion, "20 states, JSONata data flow over 8 KiB", &definition, orders());
}

criterion_group!(benches, once, passes, choices, maps, data_flow);
criterion_main!(benches);
