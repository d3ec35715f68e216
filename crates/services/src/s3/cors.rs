//! CORS: which web pages of other origins a bucket lets in. Browsers ask first (a preflight) or tell their page's origin;
//! the guard of the listener refuses foreign pages unless a bucket's configuration names origin and method **and** the
//! request is signed: by its header, its query, or, for a form, by the policy in it.
//!
//! As bucket names are unique per account and a preflight bears no credentials, a preflight is judged by all accounts'
//! buckets of the name; the request that follows by its own account's.

use super::S3;
use super::address::Address;
use super::configuration::stored;
use super::errors::{invalid_request, malformed_xml};
use super::input::Element;
use super::operation::Operation;
use crate::guard::PageVerdict;
use crate::wire::credential_scope::CredentialScope;
use crate::wire::render::Envelope;
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// A bucket's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    exposed: Vec<String>,
    age_max: Option<u32>,
}

/// What a page asks for.
#[derive(Debug, Clone, Copy)]
struct Wish<'a> {
    origin: &'a str,
    method: &'a str,
    /// The headers it wants to send, in lower case; only preflights tell.
    headers: &'a [String],
}

impl Rules {
    pub fn parse(document: &Element) -> Result<Self, ServiceError> {
        let rules: Result<Vec<Rule>, ServiceError> = document.all("CORSRule").map(Rule::parse).collect();
        let rules = rules?;
        if rules.is_empty() || rules.len() > RULES_MAX {
            return Err(malformed_xml());
        }
        Ok(Self(rules))
    }

    fn matching(&self, wish: Wish<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.allows(wish))
    }
}

impl Rule {
    fn parse(element: &Element) -> Result<Self, ServiceError> {
        let texts =
            |name: &str| element.all(name).map(|child| child.text.trim().to_owned()).collect::<Vec<_>>();
        let rule = Self {
            origins: texts("AllowedOrigin"),
            methods: texts("AllowedMethod"),
            headers: texts("AllowedHeader").into_iter().map(|name| name.to_ascii_lowercase()).collect(),
            exposed: texts("ExposeHeader"),
            age_max: element
                .text_of("MaxAgeSeconds")
                .map(|text| text.trim().parse())
                .transpose()
                .map_err(|_| malformed_xml())?,
        };
        if rule.origins.is_empty() || rule.methods.is_empty() {
            return Err(malformed_xml());
        }
        if let Some(method) = rule.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let message =
                format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(invalid_request(message));
        }
        for (what, names) in [("AllowedOrigin", &rule.origins), ("AllowedHeader", &rule.headers)] {
            if let Some(name) = names.iter().find(|name| name.matches('*').count() > 1) {
                return Err(invalid_request(format!(
                    "{what} \"{name}\" can not have more than one wildcard."
                )));
            }
        }
        Ok(rule)
    }

    fn allows(&self, wish: Wish<'_>) -> bool {
        self.origins.iter().any(|pattern| fits(pattern, wish.origin))
            && self.methods.iter().any(|method| method == wish.method)
            && wish.headers.iter().all(|name| self.headers.iter().any(|pattern| fits(pattern, name)))
    }

    /// The headers that let the page see the answer.
    fn answer_headers(&self, wish: Wish<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        let is_any = self.origins.iter().any(|origin| origin == "*");
        set("access-control-allow-origin", if is_any { "*" } else { wish.origin });
        set("access-control-allow-methods", &self.methods.join(", "));
        if !is_any {
            set("access-control-allow-credentials", "true");
        }
        if !wish.headers.is_empty() {
            set("access-control-allow-headers", &wish.headers.join(", "));
        }
        if !self.exposed.is_empty() {
            set("access-control-expose-headers", &self.exposed.join(", "));
        }
        if let Some(seconds) = self.age_max {
            set("access-control-max-age", &seconds.to_string());
        }
        set("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        headers
    }
}

/// A pattern with at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, end)) => {
            text.len() >= begin.len() + end.len() && text.starts_with(begin) && text.ends_with(end)
        }
    }
}

impl S3 {
    /// What becomes of a request that a page of another origin makes.
    pub(super) fn judge_page(&self, parts: &Parts) -> PageVerdict {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(origin) = text("origin") else { return PageVerdict::Refused };
        let request = ServiceRequest::from_http(parts, Bytes::new()).of_service("s3");
        let Ok(address) = Address::of(&request) else { return PageVerdict::Refused };
        if parts.method == Method::OPTIONS {
            let asked = text("access-control-request-headers").unwrap_or_default();
            let names = asked.split(',').map(|name| name.trim().to_ascii_lowercase());
            let headers: Vec<String> = names.filter(|name| !name.is_empty()).collect();
            let Some(method) = text("access-control-request-method") else { return PageVerdict::Refused };
            return self.preflight(&request, &address, Wish { origin, method, headers: &headers });
        }
        let Some(account) = self.account_of(parts, &request, &address) else { return PageVerdict::Refused };
        let wish = Wish { origin, method: parts.method.as_str(), headers: &[] };
        let rules = self.rules(Some(&account), &address.bucket);
        match rules.iter().find_map(|rules| rules.matching(wish)) {
            Some(rule) => PageVerdict::Passes(rule.answer_headers(wish)),
            None => PageVerdict::Refused,
        }
    }

    fn preflight(&self, request: &ServiceRequest, address: &Address, wish: Wish<'_>) -> PageVerdict {
        let rules = self.rules(None, &address.bucket);
        if rules.is_empty() {
            return PageVerdict::Refused;
        }
        let request_id = uuid::Uuid::new_v4().to_string();
        let envelope = Envelope::of("s3", "", request, &request_id);
        let answer = match rules.iter().find_map(|rules| rules.matching(wish)) {
            Some(rule) => {
                let mut answer = envelope.response(ServiceResponse::empty());
                answer.headers_mut().extend(rule.answer_headers(wish));
                answer
            }
            None => envelope.error(&forbidden(wish.method, address)),
        };
        PageVerdict::Answered(Box::new(answer))
    }

    /// The account whose bucket is meant, if the request bears a signature. That of a form is in its body, and the form is
    /// refused without it.
    fn account_of(&self, parts: &Parts, request: &ServiceRequest, address: &Address) -> Option<String> {
        let Some(scope) = CredentialScope::read(parts) else {
            return (Operation::of(request, address) == Ok(Operation::PostObject)).then(String::new);
        };
        let token = crate::wire::credential_scope::session_token(parts);
        let now = self.environment.now();
        let principal =
            self.environment.iam().principal(Some(&scope.access_key_id), token.as_deref(), now).ok()?;
        (scope.service == "s3").then(|| principal.account().to_owned())
    }

    /// The rules of the buckets of a name, in one account or, where it is not known, in all.
    fn rules(&self, account: Option<&str>, bucket: &str) -> Vec<Rules> {
        let account = account.unwrap_or_default();
        let found = self.database.read(|connection| -> Result<Vec<Rules>, ServiceError> {
            let sql = "SELECT id FROM buckets WHERE name = ?1 AND (?2 = '' OR account = ?2)";
            let mut statement = connection.prepare_cached(sql)?;
            let ids: Vec<i64> =
                statement.query_map([bucket, account], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut rules = Vec::new();
            for id in ids {
                if let Some(document) = stored(connection, id, "cors")? {
                    rules.push(Rules::parse(&Element::parse(document.as_bytes(), "CORSConfiguration")?)?);
                }
            }
            Ok(rules)
        });
        // What cannot be read lets nobody in.
        found.inspect_err(|error| tracing::error!(%error, "CORS rules cannot be read")).unwrap_or_default()
    }
}

fn forbidden(method: &str, address: &Address) -> ServiceError {
    let message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
                   method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
                   resource's CORS spec.";
    ServiceError::new(403, "AccessForbidden", message)
        .with_field("Method", method)
        .with_field("ResourceType", if address.key.is_empty() { "BUCKET" } else { "OBJECT" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Rules, ServiceError> {
        let document = format!("<CORSConfiguration>{text}</CORSConfiguration>");
        Rules::parse(&Element::parse(document.as_bytes(), "CORSConfiguration").unwrap())
    }

    #[test]
    fn the_first_rule_that_names_origin_method_and_headers_decides() {
        let rules = rules(
            "<CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
             <AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule>\
             <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>",
        )
        .unwrap();
        let cases: [(&str, &str, &[&str], Option<&str>); 6] = [
            ("https://a.example", "PUT", &["x-amz-date"], Some("https://a.example")),
            ("https://a.example", "PUT", &["content-type"], None),
            ("https://evil.test", "PUT", &[], None),
            ("https://evil.test", "GET", &[], Some("*")),
            ("https://evil.test", "GET", &["x-amz-date"], None),
            ("https://a.example", "DELETE", &[], None),
        ];
        for (origin, method, headers, expected) in cases {
            let headers: Vec<String> = headers.iter().map(|name| (*name).to_owned()).collect();
            let wish = Wish { origin, method, headers: &headers };
            let found = rules.matching(wish).map(|rule| rule.answer_headers(wish));
            let origin =
                found.as_ref().map(|headers| headers["access-control-allow-origin"].to_str().unwrap());
            assert_eq!(origin, expected, "{wish:?}");
        }
    }

    #[test]
    fn methods_that_s3_has_not_and_two_wildcards_are_refused() {
        let of = |origin: &str, method: &str| {
            rules(&format!(
                "<CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod></CORSRule>"
            ))
            .is_err()
        };
        assert!(!of("http://localhost:3000", "POST"));
        assert!(of("*", "OPTIONS"));
        assert!(of("http://*.*", "GET"));
    }
}
