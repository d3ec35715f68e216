//! Whatever the text, compiling it ends with an answer whose spans lie in the text.

use asl::program::StateMachineType;
use asl::{CompileOptions, compile, compile_state, compile_stored, validate};
use proptest::prelude::*;

const SEEDS: [&str; 8] = [
    include_str!("definitions/structure.txt"),
    include_str!("definitions/transitions.txt"),
    include_str!("definitions/paths.txt"),
    include_str!("definitions/jsonata.txt"),
    include_str!("definitions/failures.txt"),
    include_str!("definitions/choices.txt"),
    include_str!("definitions/maps.txt"),
    include_str!("definitions/variables.txt"),
];

/// Pieces that definitions are made of, put where they do not belong.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-1",
    "1e999",
    "\"{% $x[ %}\"",
    "\"{% %}\"",
    "\"$.a[*]\"",
    "\"$$\"",
    "\"States.Array(\"",
    "\"Type\":\"Map\"",
    "\"Type\":\"Choice\"",
    "\"QueryLanguage\":\"JSONata\"",
    "\"End\":true",
    "\"Next\":\"A\"",
    "\\u0000",
    "é\u{1F600}",
    "\"Assign\":{\"a.$\":\"$.a\"}",
];

fn definitions() -> Vec<&'static str> {
    SEEDS
        .iter()
        .flat_map(|text| text.split("=== ").skip(1))
        .filter_map(|case| case.split_once('\n')?.1.split_once("\n---\n").map(|(definition, _)| definition))
        .collect()
}

fn check(text: &str) {
    for machine_type in [StateMachineType::Standard, StateMachineType::Express] {
        let options = CompileOptions { machine_type, ..CompileOptions::default() };
        let validation = validate(text, &options);
        for found in &validation.diagnostics {
            assert!(text.get(found.span.clone()).is_some(), "{found} at {:?}", found.span);
        }
        assert_eq!(compile(text, &options).is_ok(), validation.is_ok());
        let _ = compile_stored(text, machine_type);
        let _ = compile_state(text, "S", &options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_definition_gets_an_answer(
        seed in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..20), 1..6),
    ) {
        let definitions = definitions();
        let mut text = definitions[seed.index(definitions.len())].to_owned();
        for (at, piece, removed) in edits {
            let mut at = at.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let mut end = (at + removed).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(at..end, PIECES[piece.index(PIECES.len())]);
        }
        check(&text);
    }

    #[test]
    fn any_json_in_place_of_any_value_gets_an_answer(
        seed in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        piece in prop::sample::select(vec![
            "null", "true", "0", "-5", "1.5", "1e400", "\"\"", "\"$\"", "\"$.a\"", "\"{% 1 %}\"", "[]", "[[]]", "[1,{}]", "{}",
            "{\"a\":{}}", "{\"StartAt\":\"A\",\"States\":{}}",
        ]),
    ) {
        let definitions = definitions();
        let text = definitions[seed.index(definitions.len())];
        let spans = asl::json::read(text).map(|node| spans(&node)).unwrap_or_default();
        prop_assume!(!spans.is_empty());
        let span = spans[place.index(spans.len())].clone();
        let mut mutated = text.to_owned();
        mutated.replace_range(span, piece);
        check(&mutated);
    }
}

fn spans(node: &asl::json::Node) -> Vec<std::ops::Range<usize>> {
    use asl::json::Kind;
    let mut all = vec![node.span.clone()];
    match &node.kind {
        Kind::Array(elements) => all.extend(elements.iter().flat_map(spans)),
        Kind::Object(object) => all.extend(object.members.iter().flat_map(|member| spans(&member.value))),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {}
    }
    all
}

#[test]
fn deep_nesting_is_refused_in_words() {
    let mut text = "{\"Type\":\"Pass\",\"End\":true}".to_owned();
    for level in 0..26 {
        text = format!(
            "{{\"Type\":\"Map\",\"End\":true,\"ItemProcessor\":{{\"StartAt\":\"S{level}\",\"States\":{{\"S{level}\":{text}}}}}}}"
        );
    }
    let text = format!("{{\"StartAt\":\"S\",\"States\":{{\"S\":{text}}}}}");
    let found = compile(&text, &CompileOptions::default()).unwrap_err();
    assert!(found.iter().any(|found| found.code == asl::Code::TooDeeplyNested), "{found:?}");
    check(&text);
    check(&"[".repeat(100_000));
    check(&"{\"States\":".repeat(100_000));
}

#[test]
fn no_flood_of_warnings_hides_an_error() {
    let warnings: Vec<String> = (0..3000).map(|index| format!("\"k{index}\":\"$.a\"")).collect();
    let text = format!(
        "{{\"StartAt\":\"A\",\"States\":{{\"A\":{{\"Type\":\"Pass\",\"Parameters\":{{{}}},\"End\":true,\"Assign\":{{\"states\":1}}}}}}}}",
        warnings.join(",")
    );
    let found = compile(&text, &CompileOptions::default()).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, asl::Code::ReservedVariableName);
    assert!(compile_stored(&text, StateMachineType::Standard).is_ok());
}
