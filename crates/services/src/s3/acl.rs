//! Access control lists, as a bucket has them whose owner is enforced, AWS's default: everything is the owner's, and any
//! other list is refused in AWS's words. Policies say who may do what.

use super::input::Element;
use super::text::document;
use super::{Call, S3, owner, versions};
use crate::wire::{ServiceError, ServiceRequest, ServiceResponse, Xml};
use sha2::{Digest, Sha256};

const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Canned lists that say what is so anyway.
const OWNERS: [&str; 2] = ["private", "bucket-owner-full-control"];

impl S3 {
    pub(super) fn get_acl(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        self.must_exist(call)?;
        let id = hex::encode(Sha256::digest(&call.account));
        let name = &call.account;
        // The grantee's type is an attribute, which the tree of elements does not have; both texts are ours.
        let grant = format!(
            "<Grant><Grantee xmlns:xsi=\"{SCHEMA_INSTANCE}\" xsi:type=\"CanonicalUser\"><ID>{id}</ID>\
             <DisplayName>{name}</DisplayName></Grantee><Permission>FULL_CONTROL</Permission></Grant>"
        );
        let list = Xml::element("AccessControlList").with(Xml::written(grant));
        Ok(document("AccessControlPolicy", vec![owner("Owner", &call.account), list]))
    }

    pub(super) fn put_acl(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        self.must_exist(call)?;
        let request = &call.request;
        refuse_others(request)?;
        let body = call.document()?;
        if body.is_empty() {
            return Ok(ServiceResponse::empty());
        }
        let policy = Element::parse(&body, "AccessControlPolicy")?;
        let own = hex::encode(Sha256::digest(&call.account));
        let mut grants = policy.child("AccessControlList").into_iter().flat_map(|list| list.all("Grant"));
        let is_own = |grant: &Element| {
            grant.child("Grantee").and_then(|grantee| grantee.text_of("ID")) == Some(own.as_str())
        };
        if grants.all(is_own) { Ok(ServiceResponse::empty()) } else { Err(not_supported()) }
    }

    fn must_exist(&self, call: &Call) -> Result<(), ServiceError> {
        let bucket = self.bucket(call)?;
        if call.address.key.is_empty() {
            return Ok(());
        }
        let (key, version) = (&call.address.key, call.request.query("versionId"));
        self.database.read(|connection| versions::find(connection, &bucket, key, version).map(|_| ()))
    }
}

/// Refuses headers that would grant something to somebody else.
pub(super) fn refuse_others(request: &ServiceRequest) -> Result<(), ServiceError> {
    let is_canned = request.header("x-amz-acl").is_none_or(|acl| OWNERS.contains(&acl));
    let has_grants = request.headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
    if is_canned && !has_grants { Ok(()) } else { Err(not_supported()) }
}

fn not_supported() -> ServiceError {
    ServiceError::client("AccessControlListNotSupported", "The bucket does not allow ACLs")
}
