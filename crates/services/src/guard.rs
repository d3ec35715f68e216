//! The guard against drive-by calls. The server runs uploaded code, so a web page that a browser shows on this machine
//! must not be able to reach it: neither from another origin, nor by a host name rebound to a local address.
//!
//! It looks at `Host`, `Origin` and `Sec-Fetch-Site`, which pages cannot forge. It does not authenticate anyone. The one
//! exception is asked for by name: a page whose origin is in the CORS configuration of an S3 bucket (see [`Pages`]).

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The names under which the server may be addressed, and who decides about pages of other origins.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    names: Vec<String>,
    addresses: bool,
    pages: Option<Pages>,
}

/// What becomes of a request that a page of another origin makes.
#[derive(Debug)]
pub enum PageVerdict {
    /// The guard refuses it.
    Refused,
    /// This is the answer: a preflight, allowed or not.
    Answered(Box<Response<Bytes>>),
    /// It may pass; the answer gets these headers, so that the browser shows it to the page.
    Passes(HeaderMap),
}

/// Marks a request that passed as that of a page of another origin, so that no other service answers it.
#[derive(Debug, Clone, Copy)]
pub struct FromPage;

/// Decides about requests of pages of other origins, by the request's head. Without one all are refused.
#[derive(Clone)]
pub struct Pages(Arc<dyn Fn(&Parts) -> PageVerdict + Send + Sync>);

impl Pages {
    /// Pages as `judge` decides.
    pub fn new(judge: impl Fn(&Parts) -> PageVerdict + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pages")
    }
}

impl AllowedHosts {
    /// Loopback addresses, `localhost`, names below it, and `sync-localhost` (SDKs put `sync-` before the host of
    /// `StartSyncExecution`).
    pub fn loopback() -> Self {
        Self::default()
    }

    /// Adds a name or address: the listen address, a configured alias, the name containers use to reach the host. A name
    /// that begins with a dot stands for all names below it.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.names.push(name.trim_matches(['[', ']']).to_ascii_lowercase());
        self
    }

    /// Adds every address as such: for a server that others reach, too. A name can be rebound to an address; an address
    /// cannot.
    #[must_use]
    pub fn with_addresses(mut self) -> Self {
        self.addresses = true;
        self
    }

    /// Lets somebody decide about pages of other origins.
    #[must_use]
    pub fn with_pages(mut self, pages: Pages) -> Self {
        self.pages = Some(pages);
        self
    }

    /// Whether `host`, without a port, is one of the names.
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.trim_matches(['[', ']']);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return self.addresses
                || address.is_loopback()
                || self.names.iter().any(|name| name.parse() == Ok(address));
        }
        host == "localhost"
            || host == "sync-localhost"
            || host.ends_with(".localhost")
            || self.names.iter().any(|name| {
                let is_below = name.starts_with('.') && host.ends_with(name.as_str());
                is_below || *name == host || host.strip_prefix("sync-") == Some(name)
            })
    }
}

/// Lets the request pass, or says with which answer it is refused. If it comes from a page that may see the answer, these
/// are the answer's further headers.
pub fn guard(parts: &Parts, allowed: &AllowedHosts) -> Result<Option<HeaderMap>, Box<Response<Bytes>>> {
    let host = known_host(parts, allowed)?;
    let Err(refused) = own_page(parts, host) else { return Ok(None) };
    // A page is known by its origin. Links and pictures do not tell theirs.
    let judge = allowed.pages.as_ref().filter(|_| parts.headers.contains_key(header::ORIGIN));
    match judge.map_or(PageVerdict::Refused, |pages| (pages.0)(parts)) {
        PageVerdict::Refused => Err(refused),
        PageVerdict::Answered(answer) => Err(answer),
        PageVerdict::Passes(headers) => Ok(Some(headers)),
    }
}

/// The name under which the server is addressed, if it is one of ours.
fn known_host<'a>(parts: &'a Parts, allowed: &AllowedHosts) -> Result<&'a str, Box<Response<Bytes>>> {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host =
        text(header::HOST.as_str()).or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    let Some(host) = host else {
        return Err(refusal("the request has no Host header"));
    };
    if parts.headers.get_all(header::HOST).iter().count() > 1 {
        return Err(refusal("the request has more than one Host header"));
    }
    // A request line may name a host as well; both are looked at, so that it does not matter which one is believed.
    for name in [Some(host), parts.uri.authority().map(|authority| authority.as_str())].into_iter().flatten()
    {
        if !allowed.allows(without_port(name)) {
            return Err(refusal(&format!("the host name \"{name}\" is not one this server answers to")));
        }
    }
    Ok(host)
}

/// Whether no page, or one of our own, makes the request.
fn own_page(parts: &Parts, host: &str) -> Result<(), Box<Response<Bytes>>> {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(origin) = text(header::ORIGIN.as_str())
        && !is_same_origin(origin, host)
    {
        return Err(refusal(&format!("requests from web pages of the origin \"{origin}\" are not allowed")));
    }
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(site) => Err(refusal(&format!("requests from other web pages ({site}) are not allowed"))),
    }
}

fn is_same_origin(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.starts_with('[') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

fn refusal(reason: &str) -> Box<Response<Bytes>> {
    let body =
        serde_json::json!({ "__type": "AccessDeniedException", "message": format!("Refused: {reason}.") });
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Box::new(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn passes(headers: &[(&str, &str)]) -> bool {
        let allowed =
            AllowedHosts::loopback().with("192.168.1.5").with("host.docker.internal").with(".alias.example");
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard(&request.body(()).unwrap().into_parts().0, &allowed).is_ok()
    }

    #[test]
    fn only_known_hosts_pass() {
        let known = [
            "localhost",
            "LOCALHOST:4566",
            "127.0.0.1:4566",
            "127.0.0.9",
            "[::1]:4566",
            "[::1]",
            "sync-localhost:4566",
            "bucket.s3.localhost:4566",
            "192.168.1.5:4566",
            "host.docker.internal:4566",
            "sync-host.docker.internal:4566",
            "sqs.us-east-1.alias.example:4566",
        ];
        let unknown = [
            "evil.example",
            "evil.example:4566",
            "localhost.evil.example",
            "192.168.1.6",
            "",
            "127.0.0.1.nip.io",
        ];
        for host in known {
            assert!(passes(&[("host", host)]), "{host}");
        }
        for host in unknown {
            assert!(!passes(&[("host", host)]), "{host}");
        }
        assert!(!passes(&[]));
        assert!(!passes(&[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn a_foreign_page_passes_only_as_the_judge_says_and_never_by_an_unknown_host() {
        let judge = Pages::new(|parts| match parts.uri.path() {
            "/preflight" => PageVerdict::Answered(Box::new(Response::new(Bytes::from_static(b"yes")))),
            "/allowed" => PageVerdict::Passes(HeaderMap::new()),
            _ => PageVerdict::Refused,
        });
        let allowed = AllowedHosts::loopback().with_pages(judge);
        let outcome = |host: &str, path: &str, page: (&str, &str)| {
            let request = Request::get(path).header("host", host).header(page.0, page.1).body(()).unwrap();
            match guard(&request.into_parts().0, &allowed) {
                Ok(None) => "own",
                Ok(Some(_)) => "page",
                Err(answer) if answer.status() == 200 => "answered",
                Err(_) => "refused",
            }
        };
        let foreign = ("origin", "https://app.example");
        assert_eq!(outcome("localhost", "/allowed", foreign), "page");
        assert_eq!(outcome("localhost", "/preflight", foreign), "answered");
        assert_eq!(outcome("localhost", "/other", foreign), "refused");
        assert_eq!(outcome("evil.example", "/allowed", foreign), "refused");
        assert_eq!(outcome("localhost", "/allowed", ("sec-fetch-site", "cross-site")), "refused");
        assert_eq!(outcome("localhost", "/allowed", ("origin", "http://localhost")), "own");
    }

    #[test]
    fn a_request_line_that_names_another_host_does_not_pass() {
        let request = |uri: &str| {
            let request = Request::get(uri).header("host", "localhost").body(()).unwrap();
            guard(&request.into_parts().0, &AllowedHosts::loopback()).is_ok()
        };
        assert!(request("http://localhost/local/info"));
        assert!(!request("http://evil.example/local/info"));
    }

    #[test]
    fn a_page_of_another_origin_is_refused_and_our_own_is_not() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[("origin", "http://localhost:4566"), ("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
        ];
        for (headers, expected) in cases {
            let mut all = vec![("host", "localhost:4566")];
            all.extend_from_slice(headers);
            assert_eq!(passes(&all), *expected, "{headers:?}");
        }
    }
}
