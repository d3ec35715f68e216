//! Buckets: made, listed and removed; their region, versioning, policy, and the settings nobody can make here.

use super::errors;
use super::head::refuse_unsupported;
use super::input::Element;
use super::operation::Unset;
use super::reply::{Change, Reply};
use super::text::{document, iso_ms};
use super::versions::{Bucket, Versioning, find_bucket};
use super::{Call, S3, owner, tags};
use crate::wire::{ServiceError, ServiceResponse, Xml};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

/// Where a bucket goes if nobody says, and where making it twice is no error.
const FIRST_REGION: &str = "us-east-1";
/// S3's default quota of buckets, and its bound on a page of them.
const BUCKETS_MAX: usize = 10_000;
/// S3's bound on a bucket policy.
const POLICY_BYTES_MAX: usize = 20 * 1024;

impl S3 {
    pub(super) fn list_buckets(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let query = |name: &str| call.request.query(name).unwrap_or_default();
        let (prefix, after) = (query("prefix"), query("continuation-token"));
        let asked = query("max-buckets").parse::<usize>().unwrap_or(BUCKETS_MAX).clamp(1, BUCKETS_MAX);
        let sql = format!(
            "SELECT {} FROM buckets WHERE account = ?1 AND name > ?2 AND name >= ?3 ORDER BY name LIMIT ?4",
            Bucket::COLUMNS
        );
        let mut buckets: Vec<Bucket> = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let limit = i64::try_from(asked + 1).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![call.account, after, prefix, limit], Bucket::of_row)?;
            rows.collect::<rusqlite::Result<_>>()
        })?;
        buckets.retain(|bucket| bucket.name.starts_with(prefix));
        let has_more = buckets.len() > asked;
        buckets.truncate(asked);
        let element = |bucket: &Bucket| {
            Xml::element("Bucket")
                .with(Xml::text("Name", &bucket.name))
                .with(Xml::text("CreationDate", iso_ms(bucket.created)))
                .with(Xml::text("BucketRegion", &bucket.region))
        };
        let listed = Xml::element("Buckets").with_children(buckets.iter().map(element));
        let mut children = vec![owner("Owner", &call.account), listed];
        if let Some(last) = buckets.last().filter(|_| has_more) {
            children.push(Xml::text("ContinuationToken", &last.name));
        }
        if !prefix.is_empty() {
            children.push(Xml::text("Prefix", prefix));
        }
        Ok(document("ListAllMyBucketsResult", children))
    }

    pub(super) async fn create_bucket(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        refuse_unsupported(&call.request)?;
        let name = call.address.bucket.clone();
        if !is_bucket_name(&name) {
            let error = ServiceError::client("InvalidBucketName", "The specified bucket is not valid.");
            return Err(error.with_field("BucketName", name));
        }
        let body = call.document()?;
        let configuration = if body.is_empty() {
            Element::default()
        } else {
            Element::parse(&body, "CreateBucketConfiguration")?
        };
        let region = region(configuration.text_of("LocationConstraint"), &call.region)?;
        if configuration.child("Location").is_some() || configuration.child("Bucket").is_some() {
            return Err(errors::not_implemented("CreateBucket of a directory bucket"));
        }
        let tags = configuration.child("Tags").map(tags::of_element).transpose()?;
        let tags =
            tags.map(|tags| serde_json::to_string(&tags)).transpose().map_err(ServiceError::internal)?;
        let (account, created) = (call.account.clone(), call.now.as_millisecond());
        let job = move |connection: &Connection| {
            let mut reply = Reply::status(200);
            reply.header("location", &format!("/{name}"));
            let sql = "SELECT region FROM buckets WHERE account = ?1 AND name = ?2";
            let existing: Option<String> =
                connection.query_row(sql, [&account, &name], |row| row.get(0)).optional()?;
            if let Some(existing) = existing {
                // AWS keeps this for callers from its first days: in the first region it is no error.
                let is_first = existing == FIRST_REGION && region == FIRST_REGION;
                return if is_first { Ok(Change::of(reply)) } else { Err(already_owned(&name)) };
            }
            let sql = "INSERT INTO buckets(account, name, region, created, tags) VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.execute(sql, params![account, name, region, created, tags])?;
            Ok(Change::of(reply))
        };
        self.commit(call, Vec::new(), job).await
    }

    pub(super) fn head_bucket(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        Ok(ServiceResponse::empty()
            .with_header("x-amz-bucket-region", &bucket.region)
            .with_header("x-amz-access-point-alias", "false"))
    }

    pub(super) async fn delete_bucket(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let target = call.target();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let sql = "SELECT 1 FROM versions WHERE bucket = ?1 LIMIT 1";
            let is_held = connection.query_row(sql, [bucket.id], |_| Ok(())).optional()?.is_some();
            if is_held {
                let message = match bucket.versioning {
                    Versioning::Off => "The bucket you tried to delete is not empty",
                    _ => {
                        "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
                    }
                };
                return Err(
                    ServiceError::new(409, "BucketNotEmpty", message).with_field("BucketName", bucket.name)
                );
            }
            // Unfinished uploads do not keep a bucket; their parts go with it.
            let sql = "SELECT blob FROM parts WHERE upload IN (SELECT id FROM uploads WHERE bucket = ?1)";
            let mut statement = connection.prepare_cached(sql)?;
            let released =
                statement.query_map([bucket.id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            connection.execute("DELETE FROM uploads WHERE bucket = ?1", [bucket.id])?;
            connection.execute("DELETE FROM buckets WHERE id = ?1", [bucket.id])?;
            Ok(Change { reply: Reply::status(204), released })
        };
        self.commit(call, Vec::new(), job).await
    }

    pub(super) fn get_bucket_location(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let region = if bucket.region == FIRST_REGION { String::new() } else { bucket.region };
        // The root element itself is the text. A region was checked to be letters, digits and hyphens.
        Ok(document("LocationConstraint", vec![Xml::written(region)]))
    }

    pub(super) fn get_bucket_versioning(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let status = bucket.has_versions().then(|| Xml::text("Status", bucket.versioning.name()));
        Ok(document("VersioningConfiguration", status.into_iter().collect()))
    }

    pub(super) async fn put_bucket_versioning(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let configuration = Element::parse(&call.document()?, "VersioningConfiguration")?;
        if configuration.text_of("MfaDelete").is_some_and(|mfa| mfa != "Disabled") {
            return Err(errors::not_implemented("PutBucketVersioning with MfaDelete"));
        }
        // MinIO's own; ignoring them would version what is to be left out.
        for name in ["ExcludeFolders", "ExcludedPrefixes"] {
            if configuration.child(name).is_some() {
                return Err(errors::not_implemented(&format!("PutBucketVersioning with {name}")));
            }
        }
        let status = configuration.text_of("Status").unwrap_or_default();
        match Versioning::parse(status) {
            Some(Versioning::Enabled | Versioning::Suspended) => {}
            Some(Versioning::Off) | None => {
                let message = "The Versioning element must be specified";
                return Err(ServiceError::client("IllegalVersioningConfigurationException", message));
            }
        }
        self.set_bucket_column(call, "versioning", Some(status.to_owned()), 200).await
    }

    pub(super) fn get_bucket_policy(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let policy =
            self.policy_text(&call.account, &bucket.name)?.ok_or_else(|| no_such_policy(&bucket.name))?;
        Ok(ServiceResponse::bytes(policy).with_header("content-type", "application/json"))
    }

    /// Whether the policy lets everyone in: a statement that allows all principals, without a condition.
    pub(super) fn get_bucket_policy_status(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let policy = self.policy(&call.account, &bucket.name).ok_or_else(|| no_such_policy(&bucket.name))?;
        let is_all = |principal: &Value| match principal {
            Value::String(text) => text == "*",
            Value::Object(_) => [&principal["AWS"], &principal["AWS"][0]].iter().any(|name| **name == "*"),
            _ => false,
        };
        let is_open = |statement: &Value| {
            statement["Effect"] == "Allow"
                && is_all(&statement["Principal"])
                && statement.get("Condition").is_none()
        };
        let is_public = match &policy["Statement"] {
            Value::Array(statements) => statements.iter().any(is_open),
            statement => is_open(statement),
        };
        Ok(document("PolicyStatus", vec![Xml::text("IsPublic", is_public)]))
    }

    pub(super) async fn put_bucket_policy(&self, call: &Call) -> Result<ServiceResponse, ServiceError> {
        let body = call.document()?;
        let policy: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let has_statement = policy.is_some_and(|policy| policy.get("Statement").is_some());
        if body.len() > POLICY_BYTES_MAX || !has_statement {
            let message = "This policy contains invalid Json, lacks a Statement, or is larger than 20 KB.";
            return Err(ServiceError::client("MalformedPolicy", message));
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        self.set_bucket_column(call, "policy", Some(text), 204).await
    }

    pub(super) fn get_unset_setting(
        &self,
        call: &Call,
        unset: &Unset,
    ) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        match unset.answer {
            Ok(root) => Ok(document(root, Vec::new())),
            Err((code, message)) => {
                Err(ServiceError::new(404, code, message).with_field("BucketName", bucket.name))
            }
        }
    }

    /// Sets or clears one of a bucket's settings.
    pub(super) async fn set_bucket_column(
        &self,
        call: &Call,
        column: &'static str,
        value: Option<String>,
        status: u16,
    ) -> Result<ServiceResponse, ServiceError> {
        let target = call.target();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let sql = format!("UPDATE buckets SET {column} = ?2 WHERE id = ?1");
            connection.execute(&sql, params![bucket.id, value])?;
            Ok(Change::of(Reply::status(status)))
        };
        self.commit(call, Vec::new(), job).await
    }

    /// The bucket of a call.
    pub(super) fn bucket(&self, call: &Call) -> Result<Bucket, ServiceError> {
        self.database.read(|connection| find_bucket(connection, &call.account, &call.address.bucket))
    }

    /// A bucket's policy, if bucket and policy are there.
    pub(super) fn policy_text(&self, account: &str, bucket: &str) -> Result<Option<String>, ServiceError> {
        self.database.read(|connection| {
            let sql = "SELECT policy FROM buckets WHERE account = ?1 AND name = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let policy: Option<Option<String>> =
                statement.query_row([account, bucket], |row| row.get(0)).optional()?;
            Ok(policy.flatten())
        })
    }
}

fn no_such_policy(bucket: &str) -> ServiceError {
    ServiceError::new(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
        .with_field("BucketName", bucket)
}

fn already_owned(name: &str) -> ServiceError {
    let message = "Your previous request to create the named bucket succeeded and you already own it.";
    ServiceError::new(409, "BucketAlreadyOwnedByYou", message).with_field("BucketName", name)
}

fn region(constraint: Option<&str>, endpoint: &str) -> Result<String, ServiceError> {
    let illegal = |which: &str| {
        let message = format!(
            "The {which} location constraint is incompatible for the region specific endpoint this request was sent to."
        );
        ServiceError::client("IllegalLocationConstraintException", message)
    };
    let is_region = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match constraint.map(str::trim).filter(|constraint| !constraint.is_empty()) {
        None if endpoint == FIRST_REGION => Ok(FIRST_REGION.to_owned()),
        None => Err(illegal("unspecified")),
        Some("EU") => Ok("eu-west-1".to_owned()),
        Some(constraint) if constraint == FIRST_REGION || !is_region(constraint) => {
            Err(ServiceError::client(
                "InvalidLocationConstraint",
                "The specified location-constraint is not valid",
            )
            .with_field("LocationConstraint", constraint))
        }
        Some(constraint) if endpoint == FIRST_REGION || endpoint == constraint => Ok(constraint.to_owned()),
        Some(constraint) => Err(illegal(constraint)),
    }
}

/// 3 to 63 lower-case letters, digits, hyphens and dots, with a letter or digit at both ends; not an IP address.
fn is_bucket_name(name: &str) -> bool {
    let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| is_edge(byte) || matches!(byte, b'-' | b'.'))
        && bytes.first().is_some_and(is_edge)
        && bytes.last().is_some_and(is_edge)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}
