//! STS: who am I, and temporary credentials of a role.
//!
//! Session policies, federation and `GetSessionToken` are not here; a session policy is refused by name, since a caller
//! who asks for narrower rights must not get wider ones.

use crate::environment::Environment;
use crate::iam::{AccessError, AssumeRole, Credentials};
use crate::wire::{
    Access, BoxFuture, CallContext, Form, Principal, Service, ServiceError, ServiceRequest, ServiceResponse,
    Xml,
};

const DURATION_SECONDS_DEFAULT: i64 = 3600;
const DURATION_SECONDS_MIN: i64 = 900;
const DURATION_SECONDS_MAX: i64 = 43_200;

/// The service.
pub struct Sts {
    environment: Environment,
}

impl Sts {
    /// The API over the environment's IAM.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }

    async fn assume_role(&self, context: &CallContext, form: &Form) -> Result<ServiceResponse, ServiceError> {
        for narrowing in ["Policy", "PolicyArns.member.1.arn"] {
            if form.get(narrowing).is_some() {
                return Err(ServiceError::unsupported("sts", "AssumeRole with a session policy"));
            }
        }
        let wish = AssumeRole {
            role_arn: required(form, "RoleArn")?.to_owned(),
            session_name: session_name(form)?.to_owned(),
            duration_seconds: duration(form)?,
            external_id: form.get("ExternalId").map(str::to_owned),
        };
        let assumed = self.environment.iam().assume_role(&context.principal, wish).await;
        let credentials = assumed.map_err(in_words_of_sts)?;
        let Principal::RoleSession { role_id, session_name, .. } = &credentials.principal else {
            return Err(ServiceError::internal("a role's credentials stand for something else"));
        };
        let user = Xml::element("AssumedRoleUser")
            .with(Xml::text("AssumedRoleId", format!("{role_id}:{session_name}")))
            .with(Xml::text("Arn", credentials.principal.arn()));
        Ok(ServiceResponse::xml(vec![element(&credentials), user]))
    }
}

impl Service for Sts {
    fn name(&self) -> &'static str {
        "sts"
    }

    // GetCallerIdentity needs no permission; AssumeRole is decided with the role's trust policy at hand.
    fn access(&self, _context: &CallContext, _request: &ServiceRequest) -> Vec<Access> {
        Vec::new()
    }

    fn handle<'a>(
        &'a self,
        context: &'a CallContext,
        request: ServiceRequest,
    ) -> BoxFuture<'a, Result<ServiceResponse, ServiceError>> {
        Box::pin(async move {
            match request.operation.as_str() {
                "GetCallerIdentity" => Ok(caller_identity(context)),
                "AssumeRole" => self.assume_role(context, request.form()).await,
                other => Err(ServiceError::unsupported("sts", other)),
            }
        })
    }

    fn xml_namespace(&self) -> &'static str {
        "https://sts.amazonaws.com/doc/2011-06-15/"
    }
}

fn caller_identity(context: &CallContext) -> ServiceResponse {
    let user_id = match &context.principal {
        Principal::Root { account } | Principal::Service { account, .. } => account.clone(),
        Principal::User { id, .. } => id.clone(),
        Principal::RoleSession { role_id, session_name, .. } => format!("{role_id}:{session_name}"),
    };
    ServiceResponse::xml(vec![
        Xml::text("Arn", context.principal.arn()),
        Xml::text("UserId", user_id),
        Xml::text("Account", &context.account),
    ])
}

fn element(credentials: &Credentials) -> Xml {
    Xml::element("Credentials")
        .with(Xml::text("AccessKeyId", &credentials.access_key_id))
        .with(Xml::text("SecretAccessKey", &credentials.secret_access_key))
        .with(Xml::text("SessionToken", &credentials.session_token))
        .with(Xml::text("Expiration", credentials.expiration))
}

fn in_words_of_sts(error: AccessError) -> ServiceError {
    let message = error.to_string();
    match error {
        AccessError::NoSuchRole { .. } | AccessError::NotTrusted { .. } | AccessError::Denied { .. } => {
            ServiceError::new(403, "AccessDenied", message)
        }
        AccessError::TooLong => ServiceError::client("ValidationError", message),
        AccessError::Storage(detail) => ServiceError::internal(detail),
    }
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, ServiceError> {
    let message = || format!("The request must contain the parameter {name}.");
    form.get(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ServiceError::client("MissingParameter", message()))
}

fn session_name(form: &Form) -> Result<&str, ServiceError> {
    let name = required(form, "RoleSessionName")?;
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
    if (2..=64).contains(&name.len()) && name.chars().all(is_allowed) {
        return Ok(name);
    }
    let message = format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [\\w+=,.@-]*"
    );
    Err(ServiceError::client("ValidationError", message))
}

fn duration(form: &Form) -> Result<i64, ServiceError> {
    let Some(text) = form.get("DurationSeconds") else { return Ok(DURATION_SECONDS_DEFAULT) };
    let range = DURATION_SECONDS_MIN..=DURATION_SECONDS_MAX;
    let seconds = text.parse().ok().filter(|seconds| range.contains(seconds));
    let message = || {
        format!(
            "1 validation error detected: Value '{text}' at 'durationSeconds' failed to satisfy constraint: Member \
             must have value from {DURATION_SECONDS_MIN} to {DURATION_SECONDS_MAX}"
        )
    };
    seconds.ok_or_else(|| ServiceError::client("ValidationError", message()))
}
