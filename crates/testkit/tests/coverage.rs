//! What the cases must show: each field of each state type in each query language that has it, the fields within fields, all
//! operators, functions and reserved error names. The table is written by hand from AWS's documentation; the compiler is asked
//! whether it knows the same fields, so neither can lack one silently.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use asl::{CompileOptions, validate};
use serde_json::{Map, Value, json};

/// Fields in both languages, in JSONPath only, in JSONata only.
struct Fields {
    of: &'static str,
    both: &'static str,
    jsonpath: &'static str,
    jsonata: &'static str,
}

const fn fields(
    of: &'static str,
    both: &'static str,
    jsonpath: &'static str,
    jsonata: &'static str,
) -> Fields {
    Fields { of, both, jsonpath, jsonata }
}

const STATES: [Fields; 8] = [
    fields(
        "Task",
        "Type Comment QueryLanguage Resource Credentials TimeoutSeconds HeartbeatSeconds Assign Retry Catch Next End",
        "InputPath Parameters ResultSelector ResultPath OutputPath TimeoutSecondsPath HeartbeatSecondsPath",
        "Arguments Output",
    ),
    fields(
        "Parallel",
        "Type Comment QueryLanguage Branches Assign Retry Catch Next End",
        "InputPath Parameters ResultSelector ResultPath OutputPath",
        "Arguments Output",
    ),
    fields(
        "Map",
        "Type Comment QueryLanguage ItemProcessor Iterator ItemSelector ItemReader ItemBatcher ResultWriter Label \
         MaxConcurrency ToleratedFailureCount ToleratedFailurePercentage Assign Retry Catch Next End",
        "InputPath Parameters ItemsPath ResultSelector ResultPath OutputPath MaxConcurrencyPath \
         ToleratedFailureCountPath ToleratedFailurePercentagePath",
        "Items Output",
    ),
    fields(
        "Pass",
        "Type Comment QueryLanguage Assign Next End",
        "InputPath Parameters Result ResultPath OutputPath",
        "Output",
    ),
    fields(
        "Wait",
        "Type Comment QueryLanguage Seconds Timestamp Assign Next End",
        "InputPath OutputPath SecondsPath TimestampPath",
        "Output",
    ),
    fields("Choice", "Type Comment QueryLanguage Choices Default Assign", "InputPath OutputPath", "Output"),
    fields("Succeed", "Type Comment QueryLanguage", "InputPath OutputPath", "Output"),
    fields("Fail", "Type Comment QueryLanguage Error Cause", "ErrorPath CausePath", ""),
];

const PARTS: [Fields; 11] = [
    fields("StateMachine", "QueryLanguage TimeoutSeconds Version", "", ""),
    fields("Workflow", "Comment StartAt States", "", ""),
    fields("ProcessorConfig", "Mode ExecutionType", "", ""),
    fields(
        "Retrier",
        "ErrorEquals IntervalSeconds MaxAttempts BackoffRate MaxDelaySeconds JitterStrategy Comment",
        "",
        "",
    ),
    fields("Catcher", "ErrorEquals Next Assign Comment", "ResultPath", "Output"),
    fields("Rule", "Next Assign Comment", "Variable", "Condition Output"),
    fields("Credentials", "RoleArn", "", ""),
    fields("ItemReader", "Resource ReaderConfig", "Parameters", "Arguments"),
    fields(
        "ReaderConfig",
        "InputType Transformation ManifestType CSVDelimiter CSVHeaderLocation CSVHeaders ItemsPointer MaxItems",
        "MaxItemsPath",
        "",
    ),
    fields(
        "ItemBatcher",
        "MaxItemsPerBatch MaxInputBytesPerBatch BatchInput",
        "MaxItemsPerBatchPath MaxInputBytesPerBatchPath",
        "",
    ),
    fields("ResultWriter", "Resource WriterConfig", "Parameters", "Arguments"),
];

const WRITER_CONFIG: Fields = fields("WriterConfig", "Transformation OutputType", "", "");

const OPERATORS: &str = "And Or Not IsNull IsPresent IsNumeric IsString IsBoolean IsTimestamp StringMatches \
    StringEquals StringLessThan StringGreaterThan StringLessThanEquals StringGreaterThanEquals \
    NumericEquals NumericLessThan NumericGreaterThan NumericLessThanEquals NumericGreaterThanEquals BooleanEquals \
    TimestampEquals TimestampLessThan TimestampGreaterThan TimestampLessThanEquals TimestampGreaterThanEquals \
    StringEqualsPath StringLessThanPath StringGreaterThanPath StringLessThanEqualsPath StringGreaterThanEqualsPath \
    NumericEqualsPath NumericLessThanPath NumericGreaterThanPath NumericLessThanEqualsPath \
    NumericGreaterThanEqualsPath BooleanEqualsPath TimestampEqualsPath TimestampLessThanPath \
    TimestampGreaterThanPath TimestampLessThanEqualsPath TimestampGreaterThanEqualsPath";

const INTRINSICS: &str = "Format StringToJson JsonToString Array ArrayPartition ArrayContains ArrayRange ArrayGetItem \
    ArrayLength ArrayUnique Base64Encode Base64Decode Hash JsonMerge MathRandom MathAdd StringSplit UUID";

const JSONATA_FUNCTIONS: &str = "partition range hash random uuid parse";

const ERRORS: &str = "ALL TaskFailed Timeout HeartbeatTimeout Permissions Runtime DataLimitExceeded \
    QueryEvaluationError NoChoiceMatched IntrinsicFailure ParameterPathFailure ResultPathMatchFailure BranchFailed \
    ExceedToleratedFailureThreshold ItemReaderFailed ResultWriterFailed Http.Socket Http.StatusCode";

const LANGUAGES: [&str; 2] = ["JSONPath", "JSONata"];

/// Everything the cases must show.
fn wanted() -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    for table in STATES.iter().chain(&PARTS).chain([&WRITER_CONFIG]) {
        for (language, own) in LANGUAGES.into_iter().zip([table.jsonpath, table.jsonata]) {
            let names = table.both.split_whitespace().chain(own.split_whitespace());
            wanted.extend(names.map(|name| format!("{}.{name} in {language}", table.of)));
        }
    }
    let words = |kind: &'static str, words: &'static str| {
        words.split_whitespace().map(move |word| format!("{kind}{word}"))
    };
    wanted.extend(words("operator ", OPERATORS));
    wanted.extend(words("function States.", INTRINSICS));
    wanted.extend(words("function $", JSONATA_FUNCTIONS));
    wanted.extend(words("error States.", ERRORS));
    wanted
}

/// What a case shows.
#[derive(Default)]
struct Shown(BTreeSet<String>);

impl Shown {
    fn fields(&mut self, of: &str, language: &str, object: Option<&Value>) {
        for name in object.and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            let name = name.strip_suffix(".$").unwrap_or(name);
            self.0.insert(format!("{of}.{name} in {language}"));
        }
    }

    fn workflow(&mut self, language: &str, workflow: &Value) {
        self.fields("Workflow", language, Some(workflow));
        self.fields("ProcessorConfig", language, workflow.get("ProcessorConfig"));
        for state in workflow["States"].as_object().into_iter().flat_map(Map::values) {
            self.state(language, state);
        }
    }

    fn state(&mut self, inherited: &str, state: &Value) {
        let language = state["QueryLanguage"].as_str().unwrap_or(inherited);
        self.fields(state["Type"].as_str().unwrap_or_default(), language, Some(state));
        let elements = |name: &str| state[name].as_array().cloned().unwrap_or_default();
        for (list, of) in [("Retry", "Retrier"), ("Catch", "Catcher")] {
            elements(list).iter().for_each(|element| self.fields(of, language, Some(element)));
        }
        elements("Choices").iter().for_each(|rule| self.rule(language, rule));
        for part in ["Credentials", "ItemReader", "ItemBatcher", "ResultWriter"] {
            self.fields(part, language, state.get(part));
        }
        self.fields("ReaderConfig", language, state["ItemReader"].get("ReaderConfig"));
        self.fields("WriterConfig", language, state["ResultWriter"].get("WriterConfig"));
        let processors = ["ItemProcessor", "Iterator"].iter().filter_map(|name| state.get(*name));
        elements("Branches").iter().chain(processors).for_each(|workflow| self.workflow(inherited, workflow));
    }

    fn rule(&mut self, language: &str, rule: &Value) {
        self.fields("Rule", language, Some(rule));
        for (name, value) in rule.as_object().into_iter().flatten() {
            self.0.insert(format!("operator {name}"));
            let inner = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            if matches!(name.as_str(), "And" | "Or" | "Not") {
                inner.iter().for_each(|rule| self.rule(language, rule));
            }
        }
    }

    fn case(&mut self, text: &str) {
        let section = text.split("--- definition\n").nth(1).and_then(|rest| rest.split("\n--- ").next());
        let definition = section.unwrap_or_default();
        let machine: Value = serde_json::from_str(definition).unwrap_or_default();
        let language = machine["QueryLanguage"].as_str().unwrap_or("JSONPath");
        self.fields("StateMachine", language, Some(&machine));
        self.workflow(language, &machine);
        for name in
            INTRINSICS.split_whitespace().filter(|name| definition.contains(&format!("States.{name}(")))
        {
            self.0.insert(format!("function States.{name}"));
        }
        for name in
            JSONATA_FUNCTIONS.split_whitespace().filter(|name| definition.contains(&format!("${name}(")))
        {
            self.0.insert(format!("function ${name}"));
        }
        for name in ERRORS.split_whitespace().filter(|name| text.contains(&format!("States.{name}"))) {
            self.0.insert(format!("error States.{name}"));
        }
    }
}

fn cases(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            cases(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "case") {
            paths.push(path);
        }
    }
}

#[test]
fn cases_show_every_field_of_every_state_in_both_languages() {
    let mut paths = Vec::new();
    cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases"), &mut paths);
    let mut shown = Shown::default();
    for path in paths {
        shown.case(&std::fs::read_to_string(&path).unwrap_or_default());
    }
    let wanted = wanted();
    assert!(wanted.len() > 350, "{}", wanted.len());
    let missing: Vec<_> = wanted.difference(&shown.0).collect();
    assert!(missing.is_empty(), "no case in cases/ shows {missing:#?}");
}

/// Whether the compiler says that a state of this type has a field in this language.
fn is_known(state_type: &str, field: &str, language: &str) -> bool {
    let mut state = json!({ "Type": state_type, "QueryLanguage": language });
    if field != "Type" && field != "QueryLanguage" {
        state[field] = json!({ "a": 1 });
    }
    let definition = json!({ "StartAt": "S", "States": { "S": state } }).to_string();
    let unknown = format!("Field '{field}' is not supported");
    let of_the_other = format!("field '{field}' is only supported for the");
    let found = validate(&definition, &CompileOptions::default()).diagnostics;
    !found.iter().any(|found| found.message.contains(&unknown) || found.message.contains(&of_the_other))
}

#[test]
fn the_compiler_has_the_fields_of_the_table_and_no_others() {
    let all: BTreeSet<&str> = STATES
        .iter()
        .flat_map(|table| [table.both, table.jsonpath, table.jsonata])
        .flat_map(str::split_whitespace)
        .collect();
    for table in &STATES {
        for (language, own) in LANGUAGES.into_iter().zip([table.jsonpath, table.jsonata]) {
            for field in &all {
                let has =
                    table.both.split_whitespace().chain(own.split_whitespace()).any(|name| name == *field);
                assert_eq!(
                    is_known(table.of, field, language),
                    has,
                    "{field} of a {} in {language}",
                    table.of
                );
            }
        }
    }
}
