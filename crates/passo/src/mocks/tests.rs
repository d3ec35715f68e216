use std::io::Write;

use runtime::{Error, Mocks, TestCaseCall};
use serde_json::json;

use super::{MockError, MockFile, Response, read};

const FILE: &str = r#"{
  "StateMachines": {
    "Orders": { "TestCases": { "Happy": { "Charge": "Charged" }, "Lost": { "Charge": "Nowhere" } } }
  },
  "MockedResponses": {
    "Charged": {
      "0": { "Throw": { "Error": "Busy", "Cause": "later" } },
      "1-3": { "Return": [1, null] },
      "7": { "Throw": { "Error": "Gone" } }
    },
    "Empty": {}
  }
}"#;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn opened(file: &tempfile::NamedTempFile) -> MockFile {
    MockFile::open(file.path().to_path_buf()).expect("a good file")
}

fn call(test_case: &str, state: &str, invocation: u64) -> TestCaseCall {
    TestCaseCall { machine: "Orders".into(), test_case: test_case.into(), state: state.into(), invocation }
}

#[test]
fn calls_are_answered_by_their_number_and_what_is_not_named_calls_the_service() {
    let written = file(FILE);
    let mocks = opened(&written);
    let response = |state, invocation| mocks.response(&call("Happy", state, invocation));
    let thrown = |error: &str, cause: Option<&str>| {
        Ok(Some(Response::Throw { error: error.into(), cause: cause.map(str::to_owned) }))
    };
    assert_eq!(response("Charge", 0), thrown("Busy", Some("later")));
    for invocation in 1..=3 {
        assert_eq!(response("Charge", invocation), Ok(Some(Response::Return(json!([1, null])))));
    }
    assert_eq!(response("Charge", 7), thrown("Gone", None));
    assert_eq!(response("Ship", 0), Ok(None));
    let missing =
        "The mocked response Charged has no response for call 4 of the state Charge in the test case Happy.";
    assert_eq!(response("Charge", 4), Err(missing.into()));
}

#[test]
fn what_is_missing_is_named_when_it_is_needed() {
    let written = file(FILE);
    let mocks = opened(&written);
    let lost = mocks.response(&call("Lost", "Charge", 0)).expect_err("no such response");
    assert!(lost.contains("no mocked response Nowhere"), "{lost}");
    let unknown = mocks.response(&call("Sad", "Charge", 0)).expect_err("no such test case");
    assert!(unknown.contains("no test case Sad of the state machine Orders"), "{unknown}");
    assert!(mocks.check("Orders", "Happy").is_ok());
    let refused = mocks.check("Orders", "Sad").expect_err("no such test case");
    assert!(matches!(&refused, Error::InvalidArn(text) if text.contains("it has: Happy, Lost")), "{refused}");
    let refused = mocks.check("Others", "Happy").expect_err("no such machine");
    assert!(refused.to_string().contains("it has: none"), "{refused}");
}

#[test]
fn every_slip_is_named_with_its_place() {
    let text = r#"{
  "StateMachine": {},
  "StateMachines": { "A": { "TestCases": { "One": { "S": 1 } }, "Comment": "" } },
  "MockedResponses": {
    "R": { "a": {}, "3-1": {}, "0": { "Return": 1, "Throw": {} }, "1": { "Throw": { "Cause": "c" } } },
    "S": { "0": { "Raise": {} }, "1": { "Throw": { "Error": 1 } }, "-1": {}, "2": [] }
  }
}"#;
    let findings = read::parse(text).expect_err("wrong");
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let expected = [
        "2:3: unknown member 'StateMachine'; expected 'StateMachines' and 'MockedResponses'",
        "3:58: the state 'S' must be given the name of a mocked response",
        "3:65: unknown member 'Comment'; expected 'TestCases'",
        "5:12: 'a' is no number of a call: expected \"0\" or a range, \"1-3\"",
        "5:21: '3-1' is no number of a call: expected \"0\" or a range, \"1-3\"",
        "5:37: a response must have either 'Return' or 'Throw'",
        "5:83: 'Throw' needs an 'Error'",
        "6:19: unknown member 'Raise'; expected 'Return' or 'Throw'",
        "6:61: 'Error' must be a string",
        "6:68: '-1' is no number of a call: expected \"0\" or a range, \"1-3\"",
        "6:83: a response must be an object",
    ];
    assert_eq!(shown, expected);
    let broken = read::parse("{\n  \"StateMachines\": {,}\n}").expect_err("no JSON");
    assert_eq!(broken[0].line, 2);
}

#[test]
fn a_changed_file_is_read_again_at_the_next_start_and_a_broken_one_refuses_it() {
    let written = file(FILE);
    let mocks = opened(&written);
    std::fs::write(written.path(), FILE.replace("\"Happy\"", "\"Merry Christmas\"")).expect("written");
    assert!(mocks.check("Orders", "Happy").is_err());
    assert!(mocks.check("Orders", "Merry Christmas").is_ok());
    std::fs::write(written.path(), "{").expect("written");
    let refused = mocks.check("Orders", "Merry Christmas").expect_err("broken");
    assert!(matches!(&refused, Error::Validation { message, .. } if message.contains(":1:")), "{refused}");
    // What was read last goes on to answer.
    assert!(mocks.is_mocked("Orders", "Merry Christmas", "Charge"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = MockFile::open("/nowhere/MockConfigFile.json".into()).expect_err("missing");
    assert!(matches!(&missing, MockError::Unreadable(..)));
    assert!(missing.to_string().starts_with("/nowhere/MockConfigFile.json: "), "{missing}");
}
