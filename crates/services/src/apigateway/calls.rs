//! A call to a deployed API: which API, stage and method it means, and the answer in the shape of an edge-optimised endpoint.

use super::documents::Api;
use super::integrations::{Answer, Invocation};
use super::{ApiGateway, matching};
use crate::wire::credential_scope::CredentialScope;
use crate::wire::{Access, CallContext, ServiceError, ServiceRequest, ServiceResponse};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Says, of a call from inside the process, that its caller wants to be nobody.
const ANONYMOUS: &str = "x-passo-anonymous";

/// What the address of a call says.
#[derive(Debug, Clone, PartialEq)]
struct Address {
    api: String,
    stage: String,
    path: String,
}

/// A method of a deployed API.
pub(super) struct Target {
    pub api: Arc<Api>,
    pub stage: Value,
    pub resource: Value,
    pub method: Value,
    pub path: String,
    pub variables: Map<String, Value>,
}

/// By the host's name, else by the path `/restapis/ID/STAGE/_user_request_/PATH`.
fn address(request: &ServiceRequest) -> Option<Address> {
    let path = request.uri.path();
    let host = request.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (api, rest) = match host.split_once(".execute-api.") {
        Some((api, _)) => (api, path.trim_start_matches('/')),
        None => path.strip_prefix("/restapis/")?.split_once('/')?,
    };
    let (stage, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let rest = rest.strip_prefix("_user_request_").unwrap_or(rest).trim_start_matches('/');
    Some(Address { api: api.to_ascii_lowercase(), stage: stage.to_owned(), path: format!("/{rest}") })
}

fn is_anonymous(request: &ServiceRequest) -> bool {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.headers.clone_from(&request.headers);
    parts.uri.clone_from(&request.uri);
    request.headers.contains_key(ANONYMOUS) || CredentialScope::read(&parts).is_none()
}

impl ApiGateway {
    fn target(&self, request: &ServiceRequest) -> Result<Option<Target>, Box<ServiceResponse>> {
        let forbidden = || Box::new(refused(403, "ForbiddenException", "Forbidden"));
        let address = address(request).ok_or_else(forbidden)?;
        let read = || self.database.read(|connection| Api::find(connection, &address.api));
        let found = self.deployed.find(&address.api, read);
        let api = found.ok().flatten().ok_or_else(forbidden)?;
        let stage = api.document["stages"].get(&address.stage).cloned().ok_or_else(forbidden)?;
        let deployment = stage["deploymentId"].as_str().unwrap_or_default();
        let resources = &api.document["deployments"][deployment]["resources"];
        let Some((resource, variables)) = matching::find(resources, &address.path) else { return Ok(None) };
        let methods = &resource["resourceMethods"];
        let method = methods.get(request.method.as_str()).or(methods.get("ANY")).cloned();
        let (resource, path, api) = (resource.clone(), address.path, Arc::clone(&api));
        Ok(method.map(|method| Target { api, stage, resource, method, path, variables }))
    }

    /// Only methods that ask for it are a matter of permissions; the rest are open to all.
    pub(super) fn access_of_call(&self, request: &ServiceRequest) -> Vec<Access> {
        match self.target(request) {
            Ok(Some(target)) if target.method["authorizationType"] == "AWS_IAM" && !is_anonymous(request) => {
                vec![Access::new("execute-api:Invoke", target.arn(request.method.as_str()))]
            }
            _ => Vec::new(),
        }
    }

    pub(super) async fn answer_call(
        &self,
        context: &CallContext,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        let missing = || refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
        let target = match self.target(&request) {
            Ok(Some(target)) => target,
            Ok(None) => return Ok(missing()),
            Err(refusal) => return Ok(*refusal),
        };
        let wants_signature = target.method["authorizationType"] == "AWS_IAM";
        if wants_signature && (is_anonymous(&request) || context.account != target.api.account) {
            return Ok(missing());
        }
        let invocation = Invocation::new(&target, context, &request, self.environment.now());
        if let Some(name) = invocation.missing_parameter(&target.method) {
            let message = format!("Missing required request parameters: [{name}]");
            return Ok(refused(400, "BadRequestException", &message));
        }
        let answer = self.integrate(&target, &invocation).await;
        Ok(answer
            .map_or_else(|fault| refused(fault.0, "InternalServerErrorException", fault.1), Answer::shown))
    }
}

impl Target {
    /// What permissions are written for.
    pub fn arn(&self, method: &str) -> String {
        let Api { account, region, id, .. } = &*self.api;
        let stage = self.stage["stageName"].as_str().unwrap_or_default();
        format!("arn:aws:execute-api:{region}:{account}:{id}/{stage}/{method}{}", self.path)
    }
}

/// API Gateway's own refusals.
fn refused(status: u16, kind: &str, message: &str) -> ServiceResponse {
    let body = json!({ "message": message }).to_string();
    edge(ServiceResponse::bytes(body).with_status(status))
        .with_header("content-type", "application/json")
        .with_header("x-amzn-errortype", kind)
}

/// The headers of the way that an answer takes to its client.
pub(super) fn edge(response: ServiceResponse) -> ServiceResponse {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let now = jiff::Timestamp::now().as_second();
    response
        .with_header("x-amz-apigw-id", &format!("{}=", &unique[..15]))
        .with_header("x-amzn-trace-id", &format!("Root=1-{now:08x}-{}", &unique[..24]))
        .with_header("x-cache", "Miss from cloudfront")
        .with_header("via", &format!("1.1 {unique}.cloudfront.net (CloudFront)"))
        .with_header("x-amz-cf-pop", "LOCAL1-P1")
        .with_header("x-amz-cf-id", &format!("{unique}=="))
}

/// The query's parameters, each with all its values, in order.
pub(super) fn query(request: &ServiceRequest) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}
