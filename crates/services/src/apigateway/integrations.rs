//! What a method does with a call: asks a function, in one of two ways, or answers by itself.

use super::ApiGateway;
use super::calls::{Target, edge, query};
use super::mapping::View;
use crate::wire::{CallContext, ServiceError, ServiceRequest, ServiceResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value, json};

/// As whom functions are called.
pub(super) const PRINCIPAL: &str = "apigateway.amazonaws.com";
/// AWS's bound of a body.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// A status and a message for the caller.
pub(super) struct Fault(pub u16, pub &'static str);

const BROKEN: Fault = Fault(502, "Internal server error");
const UNCONFIGURED: Fault = Fault(500, "Internal server error");

/// What a call says, once its address is understood.
pub(super) struct Invocation {
    method: String,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Bytes,
    path: Map<String, Value>,
    context: Value,
    variables: Value,
}

/// What is answered.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// The last value of each name, and all of them.
fn maps(pairs: &[(String, String)]) -> (Map<String, Value>, Map<String, Value>) {
    let (mut last, mut all) = (Map::new(), Map::new());
    for (name, value) in pairs {
        last.insert(name.clone(), value.as_str().into());
        match all.get_mut(name).and_then(Value::as_array_mut) {
            Some(values) => values.push(value.as_str().into()),
            None => drop(all.insert(name.clone(), json!([value]))),
        }
    }
    (last, all)
}

impl Invocation {
    pub fn new(
        target: &Target,
        context: &CallContext,
        request: &ServiceRequest,
        now: Timestamp,
    ) -> Invocation {
        let own = ["authorization", "x-passo-anonymous", "x-passo-invocation-id"];
        let headers = request.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let headers =
            headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let api = &target.api;
        let (stage, resource) = (&target.stage["stageName"], &target.resource);
        let path = format!("/{}{}", stage.as_str().unwrap_or_default(), target.path);
        let source = context.source_ip.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
        let shown = json!({
            "accountId": api.account, "apiId": api.id, "stage": stage, "requestId": context.request_id,
            "extendedRequestId": context.request_id, "httpMethod": request.method.as_str(), "path": path,
            "resourceId": resource["id"], "resourcePath": resource["path"], "protocol": "HTTP/1.1",
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "requestTimeEpoch": now.as_millisecond(),
            "domainName": format!("{}.execute-api.{}.amazonaws.com", api.id, api.region), "domainPrefix": api.id,
            "identity": { "sourceIp": source, "userAgent": context.user_agent, "accountId": null, "caller": null,
                "userArn": null, "user": null, "accessKey": null },
        });
        Invocation {
            method: request.method.to_string(),
            headers: headers.collect(),
            query: query(request),
            body: request.body.clone(),
            path: target.variables.clone(),
            context: shown,
            variables: target.stage["variables"].clone(),
        }
    }

    /// A parameter that the method requires and the call has not.
    pub fn missing_parameter<'a>(&self, method: &'a Value) -> Option<&'a str> {
        let required =
            method["requestParameters"].as_object()?.iter().filter(|(_, is_required)| **is_required == true);
        let is_missing =
            |name: &&str| match name.strip_prefix("method.request.").and_then(|rest| rest.split_once('.')) {
                Some(("querystring", key)) => !self.query.iter().any(|(name, _)| name == key),
                Some(("header", key)) => !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(key)),
                _ => false,
            };
        let missing = required.map(|(name, _)| name.as_str()).find(is_missing)?;
        missing.rsplit('.').next()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
    }

    fn rendered(&self, template: &str, body: &str) -> String {
        let (query, headers) = (maps(&self.query).0, maps(&self.headers).0);
        let view = View {
            body,
            path: &self.path,
            query: &query,
            headers: &headers,
            context: &self.context,
            variables: &self.variables,
        };
        view.render(template)
    }

    /// The event of a proxy integration, format 1.0.
    fn event(&self, target: &Target) -> Value {
        let ((headers, many_headers), (query, many_query)) = (maps(&self.headers), maps(&self.query));
        let some = |map: Map<String, Value>| if map.is_empty() { Value::Null } else { Value::Object(map) };
        let (body, is_encoded) = match std::str::from_utf8(&self.body) {
            Ok("") => (Value::Null, false),
            Ok(text) => (text.into(), false),
            Err(_) => (STANDARD.encode(&self.body).into(), true),
        };
        json!({ "resource": target.resource["path"], "path": target.path, "httpMethod": self.method,
            "headers": some(headers), "multiValueHeaders": some(many_headers),
            "queryStringParameters": some(query), "multiValueQueryStringParameters": some(many_query),
            "pathParameters": some(self.path.clone()), "stageVariables": self.variables,
            "requestContext": self.context, "body": body, "isBase64Encoded": is_encoded })
    }

    /// The body for an integration that is not a proxy: mapped, or passed through.
    fn mapped(&self, integration: &Value) -> Result<String, Fault> {
        let kind = self.header("content-type").unwrap_or("application/json");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let templates = &integration["requestTemplates"];
        if let Some(template) = templates.get(kind).and_then(Value::as_str) {
            return Ok(self.rendered(template, &self.text()));
        }
        let has_templates = templates.as_object().is_some_and(|templates| !templates.is_empty());
        match integration["passthroughBehavior"].as_str() {
            Some("NEVER") => Err(Fault(415, "Unsupported Media Type")),
            Some("WHEN_NO_TEMPLATES") if has_templates => Err(Fault(415, "Unsupported Media Type")),
            // AWS sends an empty document where there is no body.
            _ if self.body.is_empty() => Ok("{}".to_owned()),
            _ => Ok(self.text()),
        }
    }
}

impl ApiGateway {
    pub(super) async fn integrate(&self, target: &Target, call: &Invocation) -> Result<Answer, Fault> {
        let integration = &target.method["methodIntegration"];
        match integration["type"].as_str() {
            Some("MOCK") => mock(integration, call),
            Some("AWS_PROXY") => {
                let event = call.event(target).to_string();
                let (payload, is_error) = self.invoke(target, integration, event).await?;
                if is_error { Err(BROKEN) } else { proxied(&payload) }
            }
            Some("AWS") => {
                let body = call.mapped(integration)?;
                let (payload, is_error) = self.invoke(target, integration, body).await?;
                let text = String::from_utf8_lossy(&payload).into_owned();
                let message = serde_json::from_str::<Value>(&text).ok().filter(|_| is_error);
                let message = message.and_then(|error| error["errorMessage"].as_str().map(str::to_owned));
                mapped_answer(integration, call, message.as_deref().unwrap_or_default(), &text)
            }
            _ => Err(UNCONFIGURED),
        }
    }

    /// The function's payload, and whether it is an error of the function.
    async fn invoke(
        &self,
        target: &Target,
        integration: &Value,
        payload: String,
    ) -> Result<(Bytes, bool), Fault> {
        let function = function(integration).ok_or(UNCONFIGURED)?;
        let context = self.context(target, integration).ok_or(UNCONFIGURED)?;
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let request = ServiceRequest::rest(Method::POST, &path, Bytes::from(payload)).of_service("lambda");
        let answer =
            self.environment.call(&context, "lambda", request).await.map_err(|error: ServiceError| {
                tracing::debug!(%error, function, "an integration was refused");
                UNCONFIGURED
            })?;
        let is_error = answer.headers.contains_key("x-amz-function-error");
        Ok((answer.body_bytes(), is_error))
    }

    /// The role that the integration names, else API Gateway itself, for which the function's policy must speak.
    fn context(&self, target: &Target, integration: &Value) -> Option<CallContext> {
        let api = &target.api;
        let source = target.arn(target.method["httpMethod"].as_str().unwrap_or("*"));
        let mut context = match integration["credentials"].as_str().filter(|role| role.contains(":role/")) {
            Some(role) => {
                let session = self.environment.iam().role_session_for_service(
                    role,
                    PRINCIPAL,
                    "BackplaneAssumeRoleSession",
                    None,
                );
                CallContext::of(session.ok()?, &api.region)
            }
            None => CallContext::service(&api.account, &api.region, PRINCIPAL),
        };
        context.source_arn = Some(source);
        Some(context)
    }
}

/// The function's ARN in an integration's URI.
fn function(integration: &Value) -> Option<&str> {
    let uri = integration["uri"].as_str()?;
    uri.split_once("/functions/")?.1.strip_suffix("/invocations")
}

fn mock(integration: &Value, call: &Invocation) -> Result<Answer, Fault> {
    let request: Value = serde_json::from_str(&call.mapped(integration)?).unwrap_or_default();
    let status = request["statusCode"].as_u64().ok_or(UNCONFIGURED)?.to_string();
    mapped_answer(integration, call, &status, "")
}

/// What a proxied function answers must have AWS's shape.
fn proxied(payload: &[u8]) -> Result<Answer, Fault> {
    let answer: Value = serde_json::from_slice(payload).map_err(|_| BROKEN)?;
    let status = match &answer["statusCode"] {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let status =
        status.and_then(|status| u16::try_from(status).ok()).filter(|status| (100..600).contains(status));
    let body = match &answer["body"] {
        Value::Null => Bytes::new(),
        Value::String(text) if answer["isBase64Encoded"] == true => {
            STANDARD.decode(text).map_err(|_| BROKEN)?.into()
        }
        Value::String(text) => Bytes::from(text.clone()),
        _ => return Err(BROKEN),
    };
    let mut headers = Vec::new();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        headers.push((name.clone(), text(value)));
    }
    for (name, values) in answer["multiValueHeaders"].as_object().into_iter().flatten() {
        headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        headers.extend(values.as_array().into_iter().flatten().map(|value| (name.clone(), text(value))));
    }
    Ok(Answer { status: status.ok_or(BROKEN)?, headers, body })
}

/// The integration's response whose pattern fits, else the one without a pattern.
fn mapped_answer(integration: &Value, call: &Invocation, outcome: &str, body: &str) -> Result<Answer, Fault> {
    let responses = integration["integrationResponses"].as_object();
    let all = || responses.into_iter().flatten().map(|(_, response)| response);
    let pattern = |response: &Value| {
        response["selectionPattern"].as_str().map(str::to_owned).filter(|text| !text.is_empty())
    };
    let fits = |response: &&Value| {
        let compiled = pattern(response).and_then(|pattern| Regex::new(&format!("^(?:{pattern})$")).ok());
        !outcome.is_empty() && compiled.is_some_and(|pattern| pattern.is_match(outcome))
    };
    let found = all()
        .find(fits)
        .or_else(|| all().find(|response| pattern(response).is_none()))
        .ok_or(UNCONFIGURED)?;
    let status = found["statusCode"].as_str().and_then(|text| text.parse().ok()).ok_or(UNCONFIGURED)?;
    let template =
        found["responseTemplates"]["application/json"].as_str().filter(|template| !template.is_empty());
    let body = template.map_or_else(|| body.to_owned(), |template| call.rendered(template, body));
    let mut headers = Vec::new();
    for (name, value) in found["responseParameters"].as_object().into_iter().flatten() {
        let name = name.strip_prefix("method.response.header.");
        let value = value.as_str().and_then(|text| text.strip_prefix('\'')?.strip_suffix('\''));
        headers.extend(name.zip(value).map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    Ok(Answer { status, headers, body: Bytes::from(body) })
}

impl Answer {
    pub fn shown(self) -> ServiceResponse {
        if self.body.len() > BODY_BYTES_MAX {
            return ServiceResponse::bytes(r#"{"message": "Internal server error"}"#).with_status(502);
        }
        let own = ["connection", "content-length", "transfer-encoding", "date"];
        let mut response = edge(ServiceResponse::bytes(self.body).with_status(self.status));
        let kind = HeaderValue::from_static("application/json");
        response.headers.insert(http::header::CONTENT_TYPE, kind);
        let mut given: Vec<HeaderName> = Vec::new();
        for (name, value) in self.headers {
            let name = HeaderName::try_from(name.as_str()).ok().filter(|name| !own.contains(&name.as_str()));
            let (Some(name), Ok(value)) = (name, HeaderValue::try_from(value)) else { continue };
            if given.contains(&name) {
                response.headers.append(name, value);
            } else {
                response.headers.insert(name.clone(), value);
                given.push(name);
            }
        }
        response
    }
}
