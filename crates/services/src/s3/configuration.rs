//! Configurations of a bucket that are kept as documents and given back: what Terraform and CloudFormation read after
//! they wrote. [`super::cors`] and [`super::notification`] act on theirs; lifecycle, encryption, ownership and public
//! access are kept only, which ARCHITECTURE.md says openly.

use super::errors::{self, invalid_argument, invalid_request, malformed_xml};
use super::input::Element;
use super::notification;
use super::reply::{Change, Reply};
use super::text::document;
use super::versions::find_bucket;
use super::{Call, S3, cors, outbox, text};
use crate::target_call::{publish, send_message};
use crate::wire::{CallContext, ServiceError, ServiceResponse, Xml};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

/// One configuration that a bucket may have.
#[derive(Debug)]
pub(super) struct Kind {
    /// The query parameter that names it.
    pub parameter: &'static str,
    /// The IAM actions for reading and writing it.
    pub actions: (&'static str, &'static str),
    root: &'static str,
    unset: Unset,
    check: fn(&Element) -> Result<(), ServiceError>,
    /// Whether there is an operation that removes it.
    pub is_deletable: bool,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.parameter == other.parameter
    }
}

impl Eq for Kind {}

/// The answer about a configuration that nobody made.
#[derive(Debug)]
enum Unset {
    /// The children of the root element, written.
    Document(&'static str),
    /// Code and message.
    Error(&'static str, &'static str),
}

pub(super) const KINDS: [Kind; 7] = [
    Kind {
        parameter: "cors",
        actions: ("GetBucketCORS", "PutBucketCORS"),
        root: "CORSConfiguration",
        unset: Unset::Error("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
        check: |document| cors::Rules::parse(document).map(|_| ()),
        is_deletable: true,
    },
    Kind {
        parameter: "notification",
        actions: ("GetBucketNotification", "PutBucketNotification"),
        root: "NotificationConfiguration",
        unset: Unset::Document(""),
        check: |document| notification::Configuration::parse(document).map(|_| ()),
        is_deletable: false,
    },
    Kind {
        parameter: "lifecycle",
        actions: ("GetLifecycleConfiguration", "PutLifecycleConfiguration"),
        root: "LifecycleConfiguration",
        unset: Unset::Error("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
        check: check_lifecycle,
        is_deletable: true,
    },
    Kind {
        parameter: "encryption",
        actions: ("GetEncryptionConfiguration", "PutEncryptionConfiguration"),
        root: "ServerSideEncryptionConfiguration",
        // What AWS does with every bucket since 2023.
        unset: Unset::Document(
            "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
             </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>",
        ),
        check: check_encryption,
        is_deletable: true,
    },
    Kind {
        parameter: "ownershipControls",
        actions: ("GetBucketOwnershipControls", "PutBucketOwnershipControls"),
        root: "OwnershipControls",
        unset: Unset::Document("<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"),
        check: check_ownership,
        is_deletable: true,
    },
    Kind {
        parameter: "publicAccessBlock",
        actions: ("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock"),
        root: "PublicAccessBlockConfiguration",
        unset: Unset::Error(
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        ),
        check: check_public_access,
        is_deletable: true,
    },
    Kind {
        parameter: "requestPayment",
        actions: ("GetBucketRequestPayment", "PutBucketRequestPayment"),
        root: "RequestPaymentConfiguration",
        unset: Unset::Document("<Payer>BucketOwner</Payer>"),
        check: check_payer,
        is_deletable: false,
    },
];

/// The document of a bucket's configuration, if it has one.
pub(super) fn stored(
    connection: &Connection,
    bucket: i64,
    name: &str,
) -> Result<Option<String>, ServiceError> {
    let sql = "SELECT document FROM configurations WHERE bucket = ?1 AND name = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![bucket, name], |row| row.get(0)).optional()?)
}

impl S3 {
    pub(super) fn get_configuration(
        &self,
        call: &Call,
        kind: &'static Kind,
    ) -> Result<ServiceResponse, ServiceError> {
        let bucket = self.bucket(call)?;
        let found = self.database.read(|connection| stored(connection, bucket.id, kind.parameter))?;
        let children = match (found, &kind.unset) {
            (Some(text), _) => children_of(&Element::parse(text.as_bytes(), kind.root)?),
            (None, Unset::Document(written)) => vec![Xml::written(*written)],
            (None, Unset::Error(code, message)) => {
                return Err(ServiceError::new(404, *code, *message).with_field("BucketName", bucket.name));
            }
        };
        let answer = document(kind.root, children);
        Ok(if kind.parameter == "lifecycle" { answer.with_header(SIZE_HEADER, SIZE_DEFAULT) } else { answer })
    }

    pub(super) async fn put_configuration(
        &self,
        call: &Call,
        kind: &'static Kind,
    ) -> Result<ServiceResponse, ServiceError> {
        let mut element = Element::parse(&call.document()?, kind.root)?;
        (kind.check)(&element)?;
        name_the_nameless(&mut element);
        let mut reply = Reply::status(200);
        if kind.parameter == "lifecycle" {
            if call.request.header(SIZE_HEADER).is_some_and(|size| size != SIZE_DEFAULT) {
                return Err(errors::header_not_implemented(SIZE_HEADER));
            }
            reply.header(SIZE_HEADER, SIZE_DEFAULT);
        }
        if kind.parameter == "notification"
            && call.request.header("x-amz-skip-destination-validation") != Some("true")
        {
            self.try_destinations(call, &element).await?;
        }
        let text = (!element.children.is_empty()).then(|| written(&element));
        self.set_configuration(call, kind, text, reply).await
    }

    pub(super) async fn delete_configuration(
        &self,
        call: &Call,
        kind: &'static Kind,
    ) -> Result<ServiceResponse, ServiceError> {
        self.set_configuration(call, kind, None, Reply::status(204)).await
    }

    async fn set_configuration(
        &self,
        call: &Call,
        kind: &'static Kind,
        text: Option<String>,
        reply: Reply,
    ) -> Result<ServiceResponse, ServiceError> {
        let target = call.target();
        let job = move |connection: &Connection| {
            let bucket = find_bucket(connection, &target.account, &target.address.bucket)?;
            let sql = "DELETE FROM configurations WHERE bucket = ?1 AND name = ?2";
            connection.execute(sql, params![bucket.id, kind.parameter])?;
            if let Some(text) = text {
                let sql = "INSERT INTO configurations(bucket, name, document) VALUES (?1, ?2, ?3)";
                connection.execute(sql, params![bucket.id, kind.parameter, text])?;
            }
            Ok(Change::of(reply))
        };
        self.commit(call, Vec::new(), job).await
    }

    /// A queue or topic must be there and let S3 in, or its configuration is refused.
    async fn try_destinations(&self, call: &Call, element: &Element) -> Result<(), ServiceError> {
        let bucket = self.bucket(call)?;
        let configuration = notification::Configuration::parse(element)?;
        let mut context = CallContext::service(&call.account, &bucket.region, "s3.amazonaws.com");
        context.source_arn = Some(format!("arn:aws:s3:::{}", bucket.name));
        let message =
            outbox::test_message(&bucket.name, &text::iso(call.now), &call.origin.request_id).to_string();
        for destination in &configuration.destinations {
            let arn = destination.arn.as_str();
            let tried = match arn.split(':').nth(2) {
                Some("sqs") => {
                    send_message(&self.environment, &context, arn, json!({ "MessageBody": message })).await
                }
                Some("sns") => publish(&self.environment, &context, arn, &message).await,
                // Functions are not tried: AWS only looks whether it may.
                _ => Ok(()),
            };
            if let Err(error) = tried {
                let message = "Unable to validate the following destination configurations";
                return Err(invalid_argument(message, arn, &error.message));
            }
        }
        Ok(())
    }
}

const SIZE_HEADER: &str = "x-amz-transition-default-minimum-object-size";
const SIZE_DEFAULT: &str = "all_storage_classes_128K";

/// Rules and destinations without a name get one, as from AWS.
fn name_the_nameless(element: &mut Element) {
    let name = match element.name.as_str() {
        "LifecycleConfiguration" => "ID",
        "NotificationConfiguration" => "Id",
        _ => return,
    };
    for child in element.children.iter_mut().filter(|child| child.name != "EventBridgeConfiguration") {
        if child.text_of(name).is_none_or(str::is_empty) {
            child.children.retain(|existing| existing.name != name);
            let text = uuid::Uuid::new_v4().to_string();
            child.children.insert(0, Element { name: name.to_owned(), text, children: Vec::new() });
        }
    }
}

fn children_of(element: &Element) -> Vec<Xml> {
    element.children.iter().map(xml_of).collect()
}

fn xml_of(element: &Element) -> Xml {
    match element.children.is_empty() {
        true => Xml::text(element.name.as_str(), element.text.trim()),
        false => Xml::element(element.name.as_str()).with_children(children_of(element)),
    }
}

fn written(element: &Element) -> String {
    Xml::write_all(&[Xml::element(element.name.as_str()).with_children(children_of(element))])
}

/// What a lifecycle rule may do.
const LIFECYCLE_ACTIONS: [&str; 5] = [
    "Expiration",
    "Transition",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "AbortIncompleteMultipartUpload",
];
const LIFECYCLE_RULES_MAX: usize = 1000;

fn check_lifecycle(document: &Element) -> Result<(), ServiceError> {
    let rules: Vec<&Element> = document.all("Rule").collect();
    if rules.is_empty() || rules.len() > LIFECYCLE_RULES_MAX || rules.len() != document.children.len() {
        return Err(malformed_xml());
    }
    let mut ids = std::collections::BTreeSet::new();
    for rule in rules {
        let has_status = matches!(rule.text_of("Status"), Some("Enabled" | "Disabled"));
        let has_scope = rule.child("Filter").is_some() != rule.child("Prefix").is_some();
        if !has_status || !has_scope {
            return Err(malformed_xml());
        }
        if !LIFECYCLE_ACTIONS.iter().any(|action| rule.child(action).is_some()) {
            return Err(invalid_request("At least one action needs to be specified in a rule"));
        }
        let id = rule.text_of("ID").unwrap_or_default();
        if id.chars().count() > 255 {
            return Err(invalid_argument("ID length should not exceed allowed limit of 255", "ID", id));
        }
        if !id.is_empty() && !ids.insert(id) {
            let message = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(ServiceError::client("InvalidArgument", message));
        }
    }
    Ok(())
}

fn check_encryption(document: &Element) -> Result<(), ServiceError> {
    let rule = document.child("Rule").ok_or_else(malformed_xml)?;
    let Some(default) = rule.child("ApplyServerSideEncryptionByDefault") else { return Ok(()) };
    let algorithm = default.text_of("SSEAlgorithm").unwrap_or_default();
    if !matches!(algorithm, "AES256" | "aws:kms" | "aws:kms:dsse") {
        return Err(malformed_xml());
    }
    if algorithm == "AES256" && default.child("KMSMasterKeyID").is_some() {
        let message =
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";
        return Err(ServiceError::client("InvalidArgument", message));
    }
    Ok(())
}

fn check_ownership(document: &Element) -> Result<(), ServiceError> {
    let ownership = document.child("Rule").and_then(|rule| rule.text_of("ObjectOwnership"));
    match ownership {
        Some("BucketOwnerEnforced") => Ok(()),
        // The other two bring ACLs to life, which nobody evaluates here.
        Some("BucketOwnerPreferred" | "ObjectWriter") => {
            Err(errors::not_implemented("PutBucketOwnershipControls with access control lists"))
        }
        _ => Err(malformed_xml()),
    }
}

fn check_public_access(document: &Element) -> Result<(), ServiceError> {
    const NAMES: [&str; 4] =
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    let is_flag = |child: &Element| {
        let is_boolean = matches!(child.text.trim().to_ascii_lowercase().as_str(), "true" | "false");
        NAMES.contains(&child.name.as_str()) && is_boolean
    };
    if document.children.iter().all(is_flag) { Ok(()) } else { Err(malformed_xml()) }
}

fn check_payer(document: &Element) -> Result<(), ServiceError> {
    match document.text_of("Payer") {
        Some("BucketOwner") => Ok(()),
        Some("Requester") => Err(errors::not_implemented("PutBucketRequestPayment with Requester")),
        _ => Err(malformed_xml()),
    }
}
