use serde_json::json;

use super::*;

#[test]
fn a_result_path_creates_objects_and_refuses_what_is_no_object() {
    let set = |path: &str, mut document: Value| {
        let result = JsonPath::parse(path).unwrap().set(&mut document, json!(7));
        result.map(|()| document)
    };
    assert_eq!(set("$", json!({"a": 1})), Ok(json!(7)));
    assert_eq!(set("$.a.b", json!({})), Ok(json!({"a": {"b": 7}})));
    assert_eq!(set("$.a", json!({"a": {"b": 1}, "c": 2})), Ok(json!({"a": 7, "c": 2})));
    assert_eq!(set("$.a[1].b", json!({"a": [1, {}]})), Ok(json!({"a": [1, {"b": 7}]})));
    let failure = set("$.a.b", json!({"a": "text"})).unwrap_err();
    assert_eq!(failure.to_string(), "Unable to apply ReferencePath $.a.b to input {\"a\":\"text\"}");
    for (path, document) in
        [("$.a", json!([])), ("$[1]", json!([1])), ("$.a", json!(null)), ("$.*", json!({}))]
    {
        assert!(set(path, document).is_err(), "{path}");
    }
}
