//! Any definition: no boxes overlap, every state is drawn once, edges end at their boxes, the same bytes each time.

use graph::{Chart, Drawing, Shape, ShapeKind, Theme};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A scope of up to `size` states: numbers pick types, targets and nesting.
fn scope(depth: u32) -> BoxedStrategy<Value> {
    let leaf = (0_u8..7, any::<[u8; 5]>()).prop_map(|(kind, picks)| (kind, picks, Vec::new()));
    let state = if depth == 0 {
        leaf.boxed()
    } else {
        let nested = prop::collection::vec(scope(depth - 1), 1..4);
        let around = (7_u8..9, any::<[u8; 5]>(), nested);
        prop_oneof![4 => leaf, 1 => around].boxed()
    };
    prop::collection::vec(state, 1..9).prop_map(|states| build(&states)).boxed()
}

type Picked = (u8, [u8; 5], Vec<Value>);

fn build(picked: &[Picked]) -> Value {
    let names: Vec<String> = (0..picked.len()).map(|index| format!("S{index}")).collect();
    let pick = |number: u8| names[number as usize % names.len()].clone();
    let mut states = Map::new();
    for (index, (kind, picks, nested)) in picked.iter().enumerate() {
        let mut state = json!({});
        let next = names.get(index + 1).cloned().filter(|_| picks[0] % 3 > 0);
        match next.or_else(|| (picks[0] % 7 == 0).then(|| pick(picks[1]))) {
            Some(next) => state["Next"] = next.into(),
            None => state["End"] = true.into(),
        }
        let catches: Vec<Value> = picks[2..2 + (picks[1] % 3) as usize]
            .iter()
            .map(|number| json!({"ErrorEquals": ["States.ALL"], "Next": pick(*number)}))
            .collect();
        match kind {
            0 => state = json!({"Type": "Succeed"}),
            1 => state = json!({"Type": "Fail"}),
            2 | 3 => {
                let rules: Vec<Value> = picks[..1 + (picks[4] % 4) as usize]
                    .iter()
                    .map(|number| json!({"Variable": "$.a", "NumericEquals": number, "Next": pick(*number)}))
                    .collect();
                state = json!({"Type": "Choice", "Choices": rules, "Default": pick(picks[4])});
            }
            7 => {
                state["Type"] = "Parallel".into();
                state["Branches"] = nested.clone().into();
                state["Catch"] = catches.into();
            }
            8 => {
                state["Type"] = "Map".into();
                state["ItemProcessor"] = nested[0].clone();
            }
            _ => {
                state["Type"] = "Task".into();
                state["Resource"] = "arn:aws:states:::lambda:invoke".into();
                state["Catch"] = catches.into();
            }
        }
        states.insert(names[index].clone(), state);
    }
    json!({"StartAt": "S0", "States": states})
}

fn count(definition: &Value) -> usize {
    let states = definition["States"].as_object().expect("states");
    let nested = |state: &Value| {
        let branches = state["Branches"].as_array().into_iter().flatten();
        branches.chain(state.get("ItemProcessor")).map(count).sum::<usize>()
    };
    states.values().map(|state| 1 + nested(state)).sum()
}

fn inside(inner: &Shape<'_>, outer: &Shape<'_>) -> bool {
    inner.x >= outer.x
        && inner.y >= outer.y + outer.head
        && inner.x + inner.width <= outer.x + outer.width
        && inner.y + inner.height <= outer.y + outer.height
}

fn apart(one: &Shape<'_>, other: &Shape<'_>) -> bool {
    one.x + one.width < other.x
        || other.x + other.width < one.x
        || one.y + one.height < other.y
        || other.y + other.height < one.y
}

fn path<'a>(shape: &Shape<'a>) -> &'a str {
    match shape.kind {
        ShapeKind::State(state) => &state.path,
        ShapeKind::Start => "start",
        ShapeKind::End => "end",
    }
}

fn check(drawing: &Drawing<'_>, definition: &Value) {
    let shapes = &drawing.shapes;
    let states = shapes.iter().filter(|shape| matches!(shape.kind, ShapeKind::State(_)));
    let mut paths: Vec<&str> = states.map(path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), count(definition), "every state is drawn once");
    assert_eq!(shapes.len(), paths.len() + 2);
    for (index, one) in shapes.iter().enumerate() {
        assert!(one.x >= 0.0 && one.x + one.width <= drawing.width, "{} is on the canvas", path(one));
        assert!(one.y >= 0.0 && one.y + one.height <= drawing.height, "{} is on the canvas", path(one));
        for other in &shapes[index + 1..] {
            let nested = path(other).starts_with(&format!("{}/", path(one)));
            let good = if nested { inside(other, one) } else { apart(one, other) };
            assert!(good, "{} and {}: {one:?} {other:?}", path(one), path(other));
        }
    }
    check_edges(drawing);
}

fn check_edges(drawing: &Drawing<'_>) {
    for curve in &drawing.curves {
        let (first, last) = (curve.points[0], curve.points[curve.points.len() - 1]);
        let named = |shape: &&Shape<'_>, name: &str| match shape.kind {
            ShapeKind::State(state) => state.name == name,
            ShapeKind::End | ShapeKind::Start => name.is_empty(),
        };
        let touches = |shape: &Shape<'_>, x: f64, y: f64| {
            x >= shape.x && x <= shape.x + shape.width && (y - shape.y).abs() < 0.1
        };
        let leaves = |shape: &Shape<'_>, x: f64, y: f64| {
            let below = (y - shape.y - shape.height).abs() < 0.1 || (y - shape.y - shape.head).abs() < 0.1;
            x >= shape.x && x <= shape.x + shape.width && below
        };
        let mut found = drawing.shapes.iter().filter(|shape| named(shape, &curve.to));
        assert!(found.any(|shape| touches(shape, last.0, last.1)), "ends at {}: {curve:?}", curve.to);
        let mut found =
            drawing.shapes.iter().filter(|shape| curve.from.is_empty() || named(shape, &curve.from));
        assert!(found.any(|shape| leaves(shape, first.0, first.1)), "leaves {}: {curve:?}", curve.from);
        for pair in curve.points.windows(2) {
            assert!(pair[0].0 == pair[1].0 || pair[0].1 == pair[1].1, "right angles: {curve:?}");
            for shape in drawing.shapes.iter().filter(|shape| shape.height <= shape.head) {
                let (low, high) = (pair[0].0.min(pair[1].0), pair[0].0.max(pair[1].0));
                let (top, bottom) = (pair[0].1.min(pair[1].1), pair[0].1.max(pair[1].1));
                let crosses = low < shape.x + shape.width - 0.1
                    && high > shape.x + 0.1
                    && top < shape.y + shape.height - 0.1
                    && bottom > shape.y + 0.1;
                assert!(!crosses, "no edge runs through a box: {curve:?} {shape:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boxes_stand_apart_and_edges_end_at_them(definition in scope(2)) {
        let chart = Chart::read(&definition).expect("a chart");
        let drawing = chart.draw().expect("a drawing");
        check(&drawing, &definition);
        let again = Chart::read(&definition).expect("a chart");
        let written = graph::svg(&drawing, None, Theme::Auto);
        prop_assert_eq!(written, graph::svg(&again.draw().expect("a drawing"), None, Theme::Auto));
        prop_assert!(graph::mermaid(&chart, None).starts_with("flowchart TD\n"));
    }
}
