//! Scheduler's REST paths, and the one document that path, query and body make together.

use crate::wire::{ServiceError, ServiceRequest};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

/// Scheduler's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    CreateSchedule,
    GetSchedule,
    UpdateSchedule,
    DeleteSchedule,
    ListSchedules,
    CreateScheduleGroup,
    GetScheduleGroup,
    DeleteScheduleGroup,
    ListScheduleGroups,
    TagResource,
    UntagResource,
    ListTagsForResource,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    pub(super) operation: Operation,
    /// `Name` or `ResourceArn` of the path; empty for lists.
    pub(super) name: String,
}

/// Reads method and path.
pub(super) fn route(request: &ServiceRequest) -> Option<Route> {
    use Operation::*;
    let segments = request.path_segments();
    let (first, rest) = segments.split_first()?;
    // The slash of an ARN may have come unescaped.
    let name = rest.join("/");
    let method = request.method.as_str();
    let operation = match (method, first.as_str(), name.is_empty()) {
        ("POST", "schedules", false) => CreateSchedule,
        ("GET", "schedules", false) => GetSchedule,
        ("PUT", "schedules", false) => UpdateSchedule,
        ("DELETE", "schedules", false) => DeleteSchedule,
        ("GET", "schedules", true) => ListSchedules,
        ("POST", "schedule-groups", false) => CreateScheduleGroup,
        ("GET", "schedule-groups", false) => GetScheduleGroup,
        ("DELETE", "schedule-groups", false) => DeleteScheduleGroup,
        ("GET", "schedule-groups", true) => ListScheduleGroups,
        ("POST", "tags", false) => TagResource,
        ("DELETE", "tags", false) => UntagResource,
        ("GET", "tags", false) => ListTagsForResource,
        _ => return None,
    };
    Some(Route { operation, name })
}

/// The input as the model names its members, wherever they travelled.
pub(super) fn input(request: &ServiceRequest, route: &Route) -> Result<Value, ServiceError> {
    use Operation::*;
    let body = request.json()?.as_object().cloned().unwrap_or_default();
    let mut input: Map<String, Value> = body;
    let path_member = match route.operation {
        TagResource | UntagResource | ListTagsForResource => "ResourceArn",
        _ => "Name",
    };
    if !route.name.is_empty() {
        input.insert(path_member.to_owned(), json!(route.name));
    }
    let query: &[(&str, &str)] = match route.operation {
        GetSchedule | DeleteSchedule => &[("groupName", "GroupName")],
        ListSchedules => &[
            ("ScheduleGroup", "GroupName"),
            ("NamePrefix", "NamePrefix"),
            ("State", "State"),
            ("MaxResults", "MaxResults"),
            ("NextToken", "NextToken"),
        ],
        ListScheduleGroups => {
            &[("NamePrefix", "NamePrefix"), ("MaxResults", "MaxResults"), ("NextToken", "NextToken")]
        }
        _ => &[],
    };
    for (parameter, member) in query {
        if let Some(text) = request.query(parameter) {
            let number = text.parse::<i64>().ok().filter(|_| *member == "MaxResults");
            input.insert((*member).to_owned(), number.map_or_else(|| json!(text), Value::from));
        }
    }
    if route.operation == UntagResource {
        input.insert("TagKeys".to_owned(), json!(repeated(request, "TagKeys")));
    }
    Ok(Value::Object(input))
}

/// A parameter of the query string that comes once for each entry of a list.
fn repeated(request: &ServiceRequest, parameter: &str) -> Vec<String> {
    let pairs = request.uri.query().unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
    let values = pairs.filter(|(name, _)| *name == parameter).map(|(_, value)| value.replace('+', " "));
    values.map(|value| percent_decode_str(&value).decode_utf8_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Method;

    #[test]
    fn a_request_becomes_the_input_of_its_operation() {
        let cases = [
            (
                Method::POST,
                "/schedules/daily",
                r#"{"State":"ENABLED"}"#,
                r#"{"State":"ENABLED","Name":"daily"}"#,
            ),
            (Method::GET, "/schedules/daily?groupName=g", "", r#"{"Name":"daily","GroupName":"g"}"#),
            (
                Method::GET,
                "/schedules?ScheduleGroup=g&MaxResults=2",
                "",
                r#"{"GroupName":"g","MaxResults":2}"#,
            ),
            (
                Method::DELETE,
                "/tags/arn%3Aaws%3Ascheduler%3Aeu-west-1%3A1%3Aschedule-group%2Fg?TagKeys=a&TagKeys=b",
                "",
                r#"{"ResourceArn":"arn:aws:scheduler:eu-west-1:1:schedule-group/g","TagKeys":["a","b"]}"#,
            ),
        ];
        for (method, path, body, expected) in cases {
            let request = ServiceRequest::rest(method, path, Bytes::from(body));
            let route = route(&request).expect(path);
            assert_eq!(input(&request, &route).expect(path).to_string(), expected, "{path}");
        }
        let nowhere = ServiceRequest::rest(Method::POST, "/schedules", Bytes::new());
        assert_eq!(route(&nowhere), None);
    }
}
