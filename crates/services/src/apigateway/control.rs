//! The control plane: REST over the parts of an API.

use super::ApiGateway;
use super::documents::{Api, new_id, not_found};
use super::mapping;
use crate::wire::{CallContext, ServiceError, ServiceRequest, ServiceResponse};
use http::Method;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};
use std::sync::Arc;

const RESOURCES_MAX: usize = 300;
/// Each deployment is a copy of the resources.
const DEPLOYMENTS_MAX: usize = 200;
const STAGES_MAX: usize = 10;
const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// One call: what, on what, with what.
struct Request {
    account: String,
    region: String,
    now_ms: i64,
    method: Method,
    path: Vec<String>,
    input: Value,
    embeds_methods: bool,
}

type Answer = Result<(u16, Value), ServiceError>;

fn bad(message: impl Into<String>) -> ServiceError {
    ServiceError::client("BadRequestException", message)
}

fn full(what: &str) -> ServiceError {
    let message = format!("Maximum number of {what} for this API has been reached");
    ServiceError::new(429, "LimitExceededException", message)
}

/// A stage takes the place of one of the same name.
fn insert_stage(api: &mut Api, name: &str, stage: Value) -> Result<(), ServiceError> {
    let stages = Api::parts(&mut api.document, "stages")?;
    if stages.len() >= STAGES_MAX && !stages.contains_key(name) {
        return Err(full("stages"));
    }
    stages.insert(name.to_owned(), stage);
    Ok(())
}

impl ApiGateway {
    pub(super) async fn control(
        &self,
        context: &CallContext,
        request: ServiceRequest,
    ) -> Result<ServiceResponse, ServiceError> {
        let input = if request.body.is_empty() { Value::Null } else { request.json()?.clone() };
        let call = Request {
            account: context.account.clone(),
            region: context.region.clone(),
            now_ms: self.environment.now().as_millisecond(),
            method: request.method.clone(),
            path: request.path_segments(),
            input,
            embeds_methods: request.uri.query().is_some_and(|query| query.contains("embed=methods")),
        };
        let (status, answer) = if call.method == Method::GET {
            self.database.read(|connection| call.answer(connection))?
        } else {
            let (database, deployed) = (self.database.clone(), Arc::clone(&self.deployed));
            // On its own, because it stands even if the client has gone before it is on disk.
            let written = tokio::spawn(async move {
                let answer = database.write(move |connection| call.answer(connection)).await;
                // Also after an error: nobody knows what it left.
                deployed.changed();
                answer
            });
            written.await.map_err(ServiceError::internal)??
        };
        let response =
            if answer.is_null() { ServiceResponse::empty() } else { ServiceResponse::json(answer) };
        Ok(response.with_status(status))
    }
}

impl Request {
    fn place(&self) -> (&str, &str) {
        (&self.account, &self.region)
    }

    fn unsupported(&self) -> ServiceError {
        ServiceError::unsupported("apigateway", &format!("{} /{}", self.method, self.path.join("/")))
    }

    fn answer(&self, connection: &Connection) -> Answer {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let verb = self.method.as_str();
        match (verb, path.as_slice()) {
            ("POST", ["restapis"]) => {
                let api = Api::new(self.place(), &self.input, self.now_ms / 1000)?;
                api.insert(connection, self.now_ms)?;
                Ok((201, api.document["api"].clone()))
            }
            ("GET", ["restapis"]) => Ok((200, json!({ "item": Api::all(connection, self.place())? }))),
            ("GET" | "PATCH", ["account"]) => self.account_settings(connection),
            (_, ["restapis", id, rest @ ..]) => {
                let mut api = Api::own(connection, self.place(), id)?;
                let answer = self.on_api(connection, &mut api, rest)?;
                if self.method != Method::GET && !(verb == "DELETE" && rest.is_empty()) {
                    api.save(connection)?;
                }
                Ok(answer)
            }
            _ => Err(self.unsupported()),
        }
    }

    fn on_api(&self, connection: &Connection, api: &mut Api, rest: &[&str]) -> Answer {
        match (self.method.as_str(), rest) {
            ("GET", []) => Ok((200, api.document["api"].clone())),
            ("DELETE", []) => {
                api.delete(connection)?;
                Ok((202, Value::Null))
            }
            ("PATCH", []) => {
                patch(&mut api.document["api"], &self.input, &["/name", "/description", "/version"])?;
                Ok((200, api.document["api"].clone()))
            }
            (_, ["resources", rest @ ..]) => self.on_resources(api, rest),
            (_, ["deployments", rest @ ..]) => self.on_deployments(api, rest),
            (_, ["stages", rest @ ..]) => self.on_stages(api, rest),
            _ => Err(self.unsupported()),
        }
    }

    fn on_resources(&self, api: &mut Api, rest: &[&str]) -> Answer {
        match (self.method.as_str(), rest) {
            ("GET", []) => {
                let all = api.document["resources"].as_object().into_iter().flatten();
                let mut shown: Vec<Value> = all.map(|(_, resource)| self.shown(resource)).collect();
                shown.sort_by(|a, b| a["path"].as_str().cmp(&b["path"].as_str()));
                Ok((200, json!({ "item": shown })))
            }
            ("POST", [parent]) => self.create_resource(api, parent),
            ("GET", [id]) => Ok((200, self.shown(api.part(&["resources", id], "Resource")?))),
            ("DELETE", [id]) => {
                api.part(&["resources", id], "Resource")?;
                remove_resource(&mut api.document["resources"], id);
                Ok((202, Value::Null))
            }
            (_, [id, "methods", name, rest @ ..]) => {
                let resource = api.part(&["resources", id], "Resource")?;
                self.on_method(resource, name, rest)
            }
            _ => Err(self.unsupported()),
        }
    }

    /// As resources are shown: methods by name alone, unless they are asked for.
    fn shown(&self, resource: &Value) -> Value {
        let mut shown = resource.clone();
        if let Some(methods) = shown["resourceMethods"].as_object_mut().filter(|_| !self.embeds_methods) {
            methods.values_mut().for_each(|method| *method = json!({}));
        }
        if shown["resourceMethods"].is_null()
            && let Some(members) = shown.as_object_mut()
        {
            members.remove("resourceMethods");
        }
        shown
    }

    fn create_resource(&self, api: &mut Api, parent: &str) -> Answer {
        let part = self.input["pathPart"].as_str().unwrap_or_default();
        let inner = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
            .map(|part| part.trim_end_matches('+'));
        let is_good = |text: &str| {
            !text.is_empty()
                && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._~:$@!".contains(letter))
        };
        if !is_good(inner.unwrap_or(part)) {
            return Err(bad(
                "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end",
            ));
        }
        let parent_path =
            api.part(&["resources", parent], "Resource")?["path"].as_str().unwrap_or("/").to_owned();
        let path = format!("{}/{part}", parent_path.trim_end_matches('/'));
        let resources = Api::parts(&mut api.document, "resources")?;
        if resources.values().any(|resource| resource["path"] == path.as_str()) {
            let message = "Another resource with the same parent already has this name: ".to_owned() + part;
            return Err(ServiceError::new(409, "ConflictException", message));
        }
        if resources.len() >= RESOURCES_MAX {
            return Err(full("resources"));
        }
        let id = new_id(6);
        let resource = json!({ "id": id, "parentId": parent, "pathPart": part, "path": path });
        resources.insert(id, resource.clone());
        Ok((201, resource))
    }

    fn on_method(&self, resource: &mut Value, name: &str, rest: &[&str]) -> Answer {
        let methods = Api::parts(resource, "resourceMethods")?;
        match (self.method.as_str(), rest) {
            ("PUT", []) => {
                let method = self.new_method(name)?;
                if methods.contains_key(name) {
                    let message = "Method already exists for this resource";
                    return Err(ServiceError::new(409, "ConflictException", message));
                }
                methods.insert(name.to_owned(), method.clone());
                Ok((201, method))
            }
            ("GET", []) => {
                methods.get(name).cloned().map(|method| (200, method)).ok_or_else(|| not_found("Method"))
            }
            ("DELETE", []) => {
                methods.remove(name).ok_or_else(|| not_found("Method"))?;
                Ok((204, Value::Null))
            }
            (_, rest) => {
                let method = methods.get_mut(name).ok_or_else(|| not_found("Method"))?;
                self.below_method(method, rest)
            }
        }
    }

    fn new_method(&self, name: &str) -> Result<Value, ServiceError> {
        if !METHODS.contains(&name) {
            return Err(bad(
                "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY",
            ));
        }
        let authorization = self.input["authorizationType"].as_str().unwrap_or("NONE");
        if !matches!(authorization, "NONE" | "AWS_IAM") {
            return Err(bad(format!(
                "Methods of the authorization type {authorization} are not supported by this server."
            )));
        }
        if self.input["apiKeyRequired"] == true {
            return Err(bad("API keys are not supported by this server."));
        }
        let mut method =
            json!({ "httpMethod": name, "authorizationType": authorization, "apiKeyRequired": false });
        copy(&mut method, &self.input, &["requestParameters", "requestModels", "operationName"]);
        Ok(method)
    }

    fn below_method(&self, method: &mut Value, rest: &[&str]) -> Answer {
        match (self.method.as_str(), rest) {
            (_, ["responses", status]) => {
                self.on_part(method, "methodResponses", status, "Response status code", || {
                    let mut response = json!({ "statusCode": status });
                    copy(&mut response, &self.input, &["responseParameters", "responseModels"]);
                    Ok(response)
                })
            }
            ("PUT", ["integration"]) => {
                method["methodIntegration"] = self.new_integration(&method["methodIntegration"])?;
                Ok((201, method["methodIntegration"].clone()))
            }
            ("GET", ["integration"]) if !method["methodIntegration"].is_null() => {
                Ok((200, method["methodIntegration"].clone()))
            }
            ("DELETE", ["integration"]) if !method["methodIntegration"].is_null() => {
                method["methodIntegration"] = Value::Null;
                Ok((204, Value::Null))
            }
            (_, ["integration", "responses", status]) if !method["methodIntegration"].is_null() => {
                let integration = &mut method["methodIntegration"];
                self.on_part(integration, "integrationResponses", status, "Integration response", || {
                    let mut response = json!({ "statusCode": status });
                    let members =
                        ["selectionPattern", "responseParameters", "responseTemplates", "contentHandling"];
                    copy(&mut response, &self.input, &members);
                    check_templates(&response["responseTemplates"])?;
                    Ok(response)
                })
            }
            (_, ["integration", ..]) => Err(not_found("Integration")),
            _ => Err(self.unsupported()),
        }
    }

    /// A response of a method or of an integration.
    fn on_part(
        &self,
        parent: &mut Value,
        map: &str,
        key: &str,
        what: &str,
        new: impl FnOnce() -> Result<Value, ServiceError>,
    ) -> Answer {
        let parts = Api::parts(parent, map)?;
        match self.method.as_str() {
            "PUT" => {
                let part = new()?;
                parts.insert(key.to_owned(), part.clone());
                Ok((201, part))
            }
            "GET" => parts.get(key).cloned().map(|part| (200, part)).ok_or_else(|| not_found(what)),
            "DELETE" => parts.remove(key).map(|_| (204, Value::Null)).ok_or_else(|| not_found(what)),
            _ => Err(self.unsupported()),
        }
    }

    fn new_integration(&self, present: &Value) -> Result<Value, ServiceError> {
        let kind = self.input["type"].as_str().unwrap_or_default();
        let uri = self.input["uri"].as_str().unwrap_or_default();
        let is_lambda = uri.contains(":lambda:path/2015-03-31/functions/") && uri.ends_with("/invocations");
        match kind {
            "MOCK" => {}
            "AWS" | "AWS_PROXY" if is_lambda => {}
            "AWS" | "AWS_PROXY" if !uri.starts_with("arn:") => {
                return Err(bad("Invalid ARN specified in the request"));
            }
            "AWS" | "AWS_PROXY" | "HTTP" | "HTTP_PROXY" => {
                return Err(bad(format!(
                    "Integrations of the type {kind} with {uri} are not supported by this server."
                )));
            }
            _ => return Err(bad("Invalid integration type specified")),
        }
        check_templates(&self.input["requestTemplates"])?;
        let mut integration = json!({ "type": kind, "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000,
            "cacheNamespace": new_id(6), "cacheKeyParameters": [] });
        let members = [
            "uri",
            "credentials",
            "requestParameters",
            "requestTemplates",
            "passthroughBehavior",
            "timeoutInMillis",
            "contentHandling",
        ];
        copy(&mut integration, &self.input, &members);
        if let Some(method) = self.input.get("integrationHttpMethod").or(self.input.get("httpMethod")) {
            integration["httpMethod"] = method.clone();
        }
        if let Some(responses) = present.get("integrationResponses") {
            integration["integrationResponses"] = responses.clone();
        }
        Ok(integration)
    }

    fn on_deployments(&self, api: &mut Api, rest: &[&str]) -> Answer {
        let shown = |deployment: &Value| json!({ "id": deployment["id"], "description": deployment["description"], "createdDate": deployment["createdDate"] });
        match (self.method.as_str(), rest) {
            ("POST", []) => self.deploy(api).map(|deployment| (201, shown(&deployment))),
            ("GET", []) => {
                let all = api.document["deployments"].as_object().into_iter().flatten();
                Ok((200, json!({ "item": all.map(|(_, one)| shown(one)).collect::<Vec<_>>() })))
            }
            ("GET", [id]) => Ok((200, shown(api.part(&["deployments", id], "Deployment")?))),
            ("DELETE", [id]) => {
                api.part(&["deployments", id], "Deployment")?;
                let mut stages = api.document["stages"].as_object().into_iter().flatten();
                if stages.any(|(_, stage)| stage["deploymentId"] == *id) {
                    return Err(bad("Active stages pointing to this deployment must be moved or deleted"));
                }
                Api::parts(&mut api.document, "deployments")?.remove(*id);
                Ok((202, Value::Null))
            }
            _ => Err(self.unsupported()),
        }
    }

    /// A copy of the resources as they are now, and the stage that shows it, if one is named.
    fn deploy(&self, api: &mut Api) -> Result<Value, ServiceError> {
        let methods = |resource: &Value| resource["resourceMethods"].as_object().cloned().unwrap_or_default();
        let resources = api.document["resources"].as_object().cloned().unwrap_or_default();
        let all: Vec<Value> = resources
            .values()
            .flat_map(|resource| methods(resource).into_iter().map(|(_, method)| method))
            .collect();
        if all.is_empty() {
            return Err(bad("The REST API doesn't contain any methods"));
        }
        if all.iter().any(|method| method["methodIntegration"].is_null()) {
            return Err(bad("No integration defined for method"));
        }
        if Api::parts(&mut api.document, "deployments")?.len() >= DEPLOYMENTS_MAX {
            return Err(full("deployments"));
        }
        let id = new_id(6);
        let deployment = json!({ "id": id, "createdDate": self.now_ms / 1000, "description": self.input["description"],
            "resources": resources });
        Api::parts(&mut api.document, "deployments")?.insert(id.clone(), deployment.clone());
        if let Some(stage) = self.input["stageName"].as_str().filter(|name| !name.is_empty()) {
            let present = api.document["stages"].get(stage).cloned();
            let mut shown = present.map_or_else(|| self.new_stage(stage), Ok)?;
            shown["deploymentId"] = id.into();
            copy(&mut shown, &self.input, &["variables"]);
            insert_stage(api, stage, shown)?;
        }
        Ok(deployment)
    }

    fn new_stage(&self, name: &str) -> Result<Value, ServiceError> {
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_') {
            return Err(bad("Stage name only allows a-zA-Z0-9_-"));
        }
        let mut stage = json!({ "stageName": name, "createdDate": self.now_ms / 1000, "cacheClusterEnabled": false,
            "cacheClusterStatus": "NOT_AVAILABLE", "methodSettings": {}, "tracingEnabled": false, "tags": {} });
        copy(&mut stage, &self.input, &["description", "variables", "tags", "tracingEnabled"]);
        Ok(stage)
    }

    fn on_stages(&self, api: &mut Api, rest: &[&str]) -> Answer {
        match (self.method.as_str(), rest) {
            ("GET", []) => {
                let all = api.document["stages"].as_object().into_iter().flatten();
                Ok((200, json!({ "item": all.map(|(_, stage)| stage.clone()).collect::<Vec<_>>() })))
            }
            ("POST", []) => {
                let name = self.input["stageName"].as_str().unwrap_or_default();
                let deployment = self.input["deploymentId"].as_str().unwrap_or_default();
                api.part(&["deployments", deployment], "Deployment")?;
                if api.document["stages"].get(name).is_some() {
                    return Err(ServiceError::new(409, "ConflictException", "Stage already exists"));
                }
                let mut stage = self.new_stage(name)?;
                stage["deploymentId"] = deployment.into();
                insert_stage(api, name, stage.clone())?;
                Ok((201, stage))
            }
            ("GET", [name]) => Ok((200, api.part(&["stages", name], "stage")?.clone())),
            ("DELETE", [name]) => {
                let removed = Api::parts(&mut api.document, "stages")?.remove(*name);
                removed.map(|_| (202, Value::Null)).ok_or_else(|| not_found("stage"))
            }
            ("PATCH", [name]) => {
                let deployments = api.document["deployments"].clone();
                let stage = api.part(&["stages", name], "stage")?;
                let mut changed = stage.clone();
                patch(&mut changed, &self.input, &["/deploymentId", "/description", "/variables/"])?;
                if deployments.get(changed["deploymentId"].as_str().unwrap_or_default()).is_none() {
                    return Err(not_found("Deployment"));
                }
                *stage = changed;
                Ok((200, stage.clone()))
            }
            _ => Err(self.unsupported()),
        }
    }

    /// Settings of the account: kept and shown.
    fn account_settings(&self, connection: &Connection) -> Answer {
        let sql = "SELECT document FROM accounts WHERE account = ?1 AND region = ?2";
        let kept: Option<String> = connection
            .prepare_cached(sql)?
            .query_row([&self.account, &self.region], |row| row.get(0))
            .optional()?;
        let fresh = || json!({ "throttleSettings": { "burstLimit": 5000, "rateLimit": 10000.0 }, "features": ["UsagePlans"] });
        let mut settings = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(fresh);
        if self.method == Method::PATCH {
            patch(&mut settings, &self.input, &["/cloudwatchRoleArn"])?;
            let sql = "INSERT OR REPLACE INTO accounts VALUES (?1, ?2, ?3)";
            connection.prepare_cached(sql)?.execute([&self.account, &self.region, &settings.to_string()])?;
        }
        Ok((200, settings))
    }
}

fn copy(target: &mut Value, source: &Value, members: &[&str]) {
    for member in members {
        if let Some(value) = source.get(*member).filter(|value| !value.is_null()) {
            target[*member] = value.clone();
        }
    }
}

fn check_templates(templates: &Value) -> Result<(), ServiceError> {
    let texts = templates.as_object().into_iter().flatten().filter_map(|(_, text)| text.as_str());
    for text in texts {
        mapping::check(text).map_err(bad)?;
    }
    Ok(())
}

/// A resource goes with what is below it.
fn remove_resource(resources: &mut Value, id: &str) {
    let below: Vec<String> = resources
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, resource)| resource["parentId"] == id)
        .map(|(id, _)| id.clone())
        .collect();
    below.iter().for_each(|id| remove_resource(resources, id));
    if let Some(members) = resources.as_object_mut() {
        members.remove(id);
    }
}

/// `patchOperations` on members that may be changed; a path that ends in `/` allows what is below it.
fn patch(target: &mut Value, input: &Value, allowed: &[&str]) -> Result<(), ServiceError> {
    for operation in input["patchOperations"].as_array().into_iter().flatten() {
        let path = operation["path"].as_str().unwrap_or_default();
        let is_allowed =
            |allowed: &&str| path == *allowed || allowed.ends_with('/') && path.starts_with(allowed);
        if !allowed.iter().any(is_allowed) {
            return Err(bad(format!("Invalid patch path {path}")));
        }
        let value = match operation["op"].as_str() {
            Some("remove") => Value::Null,
            Some("add" | "replace") => operation["value"].clone(),
            _ => return Err(bad("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")),
        };
        match path.trim_start_matches('/').split_once('/') {
            Some((map, key)) => drop(Api::parts(target, map)?.insert(key.to_owned(), value)),
            None => target[path.trim_start_matches('/')] = value,
        }
    }
    Ok(())
}
