//! Parse, print, parse: what is printed means the same.

use asl::intrinsic::Intrinsic;
use asl::jsonpath::{Found, JsonPath};
use asl::{CompileOptions, validate};
use proptest::prelude::*;
use serde_json::{Value, json};

const TEXTS: [&str; 8] = [
    include_str!("definitions/structure.txt"),
    include_str!("definitions/transitions.txt"),
    include_str!("definitions/paths.txt"),
    include_str!("definitions/jsonata.txt"),
    include_str!("definitions/failures.txt"),
    include_str!("definitions/choices.txt"),
    include_str!("definitions/maps.txt"),
    include_str!("definitions/variables.txt"),
];

/// Codes, messages and locations; the bytes are others when the layout is.
fn told(text: &str) -> Vec<(asl::Code, String, String)> {
    let found = validate(text, &CompileOptions::default()).diagnostics;
    found
        .into_iter()
        .map(|found| (found.code, found.message.clone(), format!("{:?}", found.location)))
        .collect()
}

#[test]
fn a_definition_printed_in_any_layout_is_judged_the_same() {
    let cases = TEXTS.iter().flat_map(|text| text.split("=== ").skip(1));
    let mut printed = 0;
    for case in cases {
        let Some((definition, _)) = case.split_once('\n').and_then(|(_, rest)| rest.split_once("\n---\n"))
        else {
            continue;
        };
        let Ok(node) = asl::json::read(definition) else { continue };
        let value = node.to_value();
        let compact = value.to_string();
        // Of a key that stands twice only the last value is printed, and that it stands twice is a finding.
        if compact.matches('"').count() != definition.matches('"').count() {
            continue;
        }
        let pretty = serde_json::to_string_pretty(&value).expect("a value is written");
        for text in [&compact, &pretty] {
            assert_eq!(
                asl::json::read(text).map(|node| node.to_value()).as_ref(),
                Ok(&value),
                "{definition}"
            );
            assert_eq!(told(text), told(definition), "{definition}");
        }
        printed += 1;
    }
    assert!(printed > 50, "{printed}");
}

/// A part of a path, as text.
fn part() -> impl Strategy<Value = String> {
    let name = "[a-c][a-z0-9_]{0,2}";
    prop_oneof![
        name.prop_map(|name| format!(".{name}")),
        name.prop_map(|name| format!("['{name}']")),
        name.prop_map(|name| format!("[\"{name}\"]")),
        (-3i64..4).prop_map(|index| format!("[{index}]")),
        ((-3i64..4), (-3i64..4)).prop_map(|(from, to)| format!("[{from}:{to}]")),
        (0i64..3, 0i64..3).prop_map(|(first, second)| format!("[{first},{second}]")),
        (name, name).prop_map(|(first, second)| format!("['{first}','{second}']")),
        Just("[*]".to_owned()),
        Just(".*".to_owned()),
        name.prop_map(|name| format!("..{name}")),
    ]
}

fn document() -> Value {
    let leaf = json!({"a": [1, 2, {"b": "x"}], "b": {"a": null, "c": [[], [true]]}, "c": "text"});
    json!({"a": leaf, "b": [leaf, [leaf, 3]], "c": {"a": {"a": {"a": 7}}, "b1": leaf}})
}

fn argument() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("$.a".to_owned()),
        Just("$$.b[0]".to_owned()),
        Just("'it\\'s'".to_owned()),
        Just("null".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let names = prop::sample::select(vec![
            "States.Array",
            "States.Format",
            "States.JsonToString",
            "States.ArrayLength",
        ]);
        (names, prop::collection::vec(inner, 1..2))
            .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", ")))
    })
}

proptest! {
    #[test]
    fn the_canonical_form_of_a_path_is_the_same_path(parts in prop::collection::vec(part(), 0..6)) {
        let text = format!("${}", parts.concat());
        let path = JsonPath::parse(&text).expect("it is a path");
        prop_assert_eq!(path.text(), text.as_str());
        let again = JsonPath::parse(path.canonical()).expect("its canonical form is a path");
        prop_assert_eq!(again.canonical(), path.canonical());
        prop_assert_eq!(again.is_definite(), path.is_definite());
        prop_assert_eq!(again.is_reference_path(), path.is_reference_path());
        let document = document();
        let found = |path: &JsonPath| path.evaluate(&document).map(Found::into_value);
        prop_assert_eq!(found(&again), found(&path));
    }

    #[test]
    fn an_invocation_keeps_its_text(name in "States\\.(Array|Format)", arguments in prop::collection::vec(argument(), 1..3)) {
        let text = format!("{name}({})", arguments.join(", "));
        if let Ok(intrinsic) = Intrinsic::parse(&text) {
            prop_assert_eq!(intrinsic.text(), text.as_str());
            prop_assert_eq!(Intrinsic::parse(intrinsic.text()).map(|again| again.text().to_owned()), Ok(text));
        }
    }
}
