//! The SigV4 credential of a request: access key, region and service. It reads the credential, it does not check the
//! signature; beyond loopback the listener must do that before a request gets here.

use super::aws_query::Form;
use http::request::Parts;

/// `Credential=<access key>/<date>/<region>/<service>/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialScope {
    /// The access key id.
    pub access_key_id: String,
    /// The region, such as `us-east-1`.
    pub region: String,
    /// The signing name of the service.
    pub service: String,
}

impl CredentialScope {
    /// Reads the scope from the `Authorization` header, or from a presigned query.
    pub fn read(parts: &Parts) -> Option<Self> {
        let header = parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(credential) = header.and_then(credential_of_header) {
            return Self::parse(credential);
        }
        let query = parts.uri.query()?;
        if query.contains("X-Amz-Credential") {
            return Form::parse(Some(query), &[]).get("X-Amz-Credential").and_then(Self::parse);
        }
        if !query.contains("AWSAccessKeyId") {
            return None;
        }
        Self::of_older_query(&Form::parse(Some(query), &[]))
    }

    /// The older signature of presigned URLs, which only S3 still takes. It says no region.
    fn of_older_query(form: &Form) -> Option<Self> {
        form.get("Signature")?;
        let access_key_id = form.get("AWSAccessKeyId")?.to_owned();
        Some(Self { access_key_id, region: String::new(), service: "s3".to_owned() })
    }

    fn parse(credential: &str) -> Option<Self> {
        // The access key itself may hold a slash, so the scope is read from the right.
        let mut parts = credential.rsplitn(5, '/');
        if parts.next()? != "aws4_request" {
            return None;
        }
        let service = parts.next()?.to_owned();
        let region = parts.next()?.to_owned();
        let _date = parts.next()?;
        let access_key_id = parts.next()?.to_owned();
        Some(Self { access_key_id, region, service })
    }
}

/// The session token sent with temporary credentials.
pub fn session_token(parts: &Parts) -> Option<String> {
    let header = parts.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
    if let Some(token) = header {
        return Some(token.to_owned());
    }
    let query = parts.uri.query().filter(|query| query.contains("ecurity-"))?;
    let form = Form::parse(Some(query), &[]);
    // The second name is that of the older signature.
    form.get("X-Amz-Security-Token").or_else(|| form.get("x-amz-security-token")).map(str::to_owned)
}

fn credential_of_header(header: &str) -> Option<&str> {
    let fields = header.strip_prefix("AWS4-HMAC-SHA256")?;
    fields.split(',').find_map(|field| field.trim().strip_prefix("Credential="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn scope(request: Request<()>) -> Option<CredentialScope> {
        CredentialScope::read(&request.into_parts().0)
    }

    #[test]
    fn the_scope_is_read_from_the_header_and_from_a_presigned_query() {
        let expected = CredentialScope {
            access_key_id: "AK".to_owned(),
            region: "eu-west-1".to_owned(),
            service: "sqs".to_owned(),
        };
        let header = "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0";
        let signed = Request::builder().header("authorization", header).body(()).unwrap();
        assert_eq!(scope(signed), Some(expected.clone()));
        let uri = "/?X-Amz-Credential=AK%2F20260101%2Feu-west-1%2Fsqs%2Faws4_request";
        assert_eq!(scope(Request::builder().uri(uri).body(()).unwrap()), Some(expected));
    }

    #[test]
    fn nonsense_is_no_scope() {
        for header in ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=a/b", "AWS4-HMAC-SHA256"] {
            let request = Request::builder().header("authorization", header).body(()).unwrap();
            assert_eq!(scope(request), None, "{header}");
        }
    }
}
