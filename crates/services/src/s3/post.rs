//! PostObject: a browser's form uploads a file, as the policy in the form allows. Who sends it is said by the form's
//! credential alone, so the permission is evaluated here and not by the front.

use super::access;
use super::address::KEY_BYTES_MAX;
use super::checksum::Algorithm;
use super::expected::Expected;
use super::form::{self, Fields, required};
use super::form_policy::FormPolicy;
use super::happening::Origin;
use super::head::{Head, refuse_unsupported};
use super::intake::{Source, UPLOAD_BYTES_MAX, take_in};
use super::put::{Incoming, Inserted};
use super::reply::{Change, Reply};
use super::text::{encode_key, quoted};
use super::{Call, S3, Target, errors, tags};
use crate::front::is_equal;
use crate::wire::sigv4::Scope;
use crate::wire::{CallContext, Decision, Principal, ServiceError, ServiceRequest, ServiceResponse, Xml};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use rusqlite::Connection;

/// Fields that mean what the header of the name means.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
];

/// How the browser is answered.
#[derive(Debug, Clone)]
enum Success {
    Status(u16),
    Redirect(String),
}

impl S3 {
    pub(super) async fn post_object(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let (fields, file) = form::read(&call.request).await?;
        let policy = FormPolicy::parse(required(&fields, "policy")?)?;
        let principal = self.sender(call, &fields)?;
        policy.check(&fields, &call.address.bucket, call.now)?;
        let key = required(&fields, "key")?.replace("${filename}", &fields.file_name);
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(ServiceError::client("KeyTooLongError", "Your key is too long"));
        }
        let request = as_put(&fields)?;
        refuse_unsupported(&request)?;
        let mut target = self.target_of(call, &principal, key);
        self.permit_post(&principal, &target, &request)?;
        // All that can be known is found out before the bytes are taken.
        Head::of(&request)?;
        self.database.read(|connection| {
            super::versions::find_bucket(connection, &target.account, &target.address.bucket).map(|_| ())
        })?;
        let expected = Expected::of(&request)?;
        let bytes_max = policy.length().map_or(UPLOAD_BYTES_MAX, |range| UPLOAD_BYTES_MAX.min(*range.end()));
        let source = Source::Form(file);
        let received = take_in(&self.blobs, source, &expected, Algorithm::Crc64Nvme, bytes_max).await?;
        let size = received.segment.as_ref().map_or(0, |segment| segment.size);
        if let Some(range) = policy.length().filter(|range| size < *range.start()) {
            self.blobs.remove(received.segment.into_iter().map(|segment| segment.blob).collect()).await;
            return Err(too_small(size, *range.start()));
        }
        let fresh = Vec::from_iter(received.segment.clone());
        let incoming = Incoming::new(&request, received)?;
        let success = success(&fields);
        let endpoint = self.environment.endpoint();
        target.origin.request_id.clone_from(&call.origin.request_id);
        let job = move |connection: &Connection| {
            let inserted = incoming.insert(connection, &target, ("ObjectCreated:Post", "PostObject"))?;
            let reply = reply(&success, &endpoint, &inserted);
            Ok(Change { reply, released: inserted.released })
        };
        self.commit(call, fresh, job).await
    }

    /// Verifies the signature of the policy, if this server knows whose may be.
    fn verify(&self, fields: &Fields, key: &str, region: &str) -> Result<(), ServiceError> {
        let iam = self.environment.iam();
        if !iam.verifies_signatures() {
            return Ok(());
        }
        let secret = iam.secret_of(key).ok_or_else(|| {
            let message = "The AWS Access Key Id you provided does not exist in our records.";
            ServiceError::new(403, "InvalidAccessKeyId", message).with_field("AWSAccessKeyId", key)
        })?;
        let scope = Scope { time: required(fields, "x-amz-date")?, region, service: "s3" };
        let signature = scope.sign(&secret, required(fields, "policy")?);
        if is_equal(&signature, required(fields, "x-amz-signature")?) {
            return Ok(());
        }
        let message = "The request signature we calculated does not match the signature you provided. Check your key and \
                       signing method.";
        Err(ServiceError::new(403, "SignatureDoesNotMatch", message).with_field("AWSAccessKeyId", key))
    }

    /// Who signed the form.
    fn sender(&self, call: &Call, fields: &Fields) -> Result<Principal, ServiceError> {
        let (key, region) = match fields.get("x-amz-credential") {
            Some(credential) => {
                for name in ["x-amz-signature", "x-amz-date", "x-amz-algorithm"] {
                    required(fields, name)?;
                }
                // The access key itself may hold a slash, so the scope is read from the right.
                let mut words = credential.rsplitn(5, '/');
                let is_scope = words.next() == Some("aws4_request") && words.next() == Some("s3");
                let (region, key) = (words.next(), words.nth(1));
                key.zip(region).filter(|_| is_scope).ok_or_else(|| {
                    let message =
                        "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed";
                    errors::invalid_request(message)
                })?
            }
            None => {
                let key = required(fields, "AWSAccessKeyId")?;
                required(fields, "signature")?;
                (key, "")
            }
        };
        self.verify(fields, key, region)?;
        let token = fields.get("x-amz-security-token");
        let principal = self.environment.iam().principal(Some(key), token, call.now);
        principal.map_err(|error| error.in_protocol(call.request.protocol))
    }

    fn target_of(&self, call: &Call, principal: &Principal, key: String) -> Target {
        let mut target = call.target();
        target.account = principal.account().to_owned();
        target.address.key = key;
        let mut context = CallContext::of(principal.clone(), &call.region);
        context.source_ip = call.origin.source_ip.parse().ok();
        target.origin = Origin::of(&context, call.now);
        target
    }

    fn permit_post(
        &self,
        principal: &Principal,
        target: &Target,
        request: &ServiceRequest,
    ) -> Result<(), ServiceError> {
        let object = format!("arn:aws:s3:::{}/{}", target.address.bucket, target.address.key);
        for needed in access::put(object, request) {
            let needed = needed.with_resource_policy(self.policy(&target.account, &target.address.bucket));
            if let Decision::Denied { message } = self.environment.iam().authorize(principal, &needed) {
                return Err(ServiceError::new(403, "AccessDenied", message));
            }
        }
        Ok(())
    }
}

/// The form's fields as the headers of a PutObject.
fn as_put(fields: &Fields) -> Result<ServiceRequest, ServiceError> {
    let mut request = ServiceRequest::rest(Method::PUT, "/", Bytes::new());
    let mut set = |name: &str, value: &str| -> Result<(), ServiceError> {
        let invalid = || errors::invalid_argument("The value of a field cannot be kept", name, value);
        let header = HeaderName::try_from(name).map_err(|_| invalid())?;
        request.headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?);
        Ok(())
    };
    for (name, value) in fields.iter() {
        let is_kept = HEADERS.contains(&name)
            || ["x-amz-meta-", "x-amz-checksum-", "x-amz-server-side-encryption"]
                .iter()
                .any(|stem| name.starts_with(stem))
            || name == "x-amz-storage-class";
        match name {
            "acl" => set("x-amz-acl", value)?,
            "tagging" => set("x-amz-tagging", &tags::form_of_document(value)?)?,
            _ if is_kept => set(name, value)?,
            _ => {}
        }
    }
    Ok(request)
}

fn success(fields: &Fields) -> Success {
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    match (redirect, fields.get("success_action_status")) {
        (Some(url), _) if url.starts_with("http://") || url.starts_with("https://") => {
            Success::Redirect(url.to_owned())
        }
        (_, Some("200")) => Success::Status(200),
        (_, Some("201")) => Success::Status(201),
        // Anything else is answered without a word, as on AWS.
        _ => Success::Status(204),
    }
}

fn reply(success: &Success, endpoint: &str, inserted: &Inserted) -> Reply {
    let Inserted { bucket, object, version, .. } = inserted;
    let location = format!("{endpoint}/{}/{}", bucket.name, encode_key(&object.key));
    let etag = quoted(&object.etag);
    let mut reply = match success {
        Success::Status(201) => {
            let texts =
                [("Location", &location), ("Bucket", &bucket.name), ("Key", &object.key), ("ETag", &etag)];
            let children = texts.into_iter().map(|(name, text)| Xml::text(name, text)).collect();
            Reply::plain_document(201, "PostResponse", children)
        }
        Success::Status(status) => Reply::status(*status),
        Success::Redirect(url) => {
            let mark = if url.contains('?') { '&' } else { '?' };
            let words = [("bucket", &bucket.name), ("key", &object.key), ("etag", &etag)];
            let words: Vec<String> =
                words.iter().map(|(name, value)| format!("{name}={}", encode_key(value))).collect();
            let mut reply = Reply::status(303);
            reply.header("location", &format!("{url}{mark}{}", words.join("&")));
            reply
        }
    };
    if !matches!(success, Success::Redirect(_)) {
        reply.header("location", &location);
    }
    reply.header("etag", &etag);
    if bucket.has_versions() {
        reply.header("x-amz-version-id", version);
    }
    reply
}

fn too_small(size: u64, size_min: u64) -> ServiceError {
    ServiceError::client("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        .with_field("ProposedSize", size.to_string())
        .with_field("MinSizeAllowed", size_min.to_string())
}
