//! AWS's service models, packed by `cargo xtask codegen`; inflated and parsed one service at a time, when first asked for.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use serde_json::{Map, Value};

static PACK: &[u8] = include_bytes!("../models/models.bin");
static SDK_SERVICES: &str = include_str!("../models/sdk-services.tsv");

/// `aws-sdk:` names whose service id differs from the resource name.
const RENAMED: [(&str, &str); 6] = [
    ("applicationdiscovery", "applicationdiscoveryservice"),
    ("config", "configservice"),
    ("costandusagereport", "costandusagereportservice"),
    ("databasemigration", "databasemigrationservice"),
    ("directory", "directoryservice"),
    ("elasticsearch", "elasticsearchservice"),
];

/// One service's model: botocore's `service-2.json` without prose.
#[derive(Debug)]
pub struct ServiceModel {
    model: Value,
}

struct Entry {
    blob: &'static [u8],
    parsed: OnceLock<Option<ServiceModel>>,
}

/// The model for a service key: the service id in lower case without spaces (`sfn`, `cloudwatchlogs`).
pub fn service(key: &str) -> Option<&'static ServiceModel> {
    let key = RENAMED.iter().find(|(name, _)| *name == key).map_or(key, |(_, id)| id);
    let entry = index().get(key)?;
    entry.parsed.get_or_init(|| inflate(entry.blob)).as_ref()
}

/// The keys of all services.
pub fn names() -> impl Iterator<Item = &'static str> {
    index().keys().copied()
}

/// Exception prefix of an `aws-sdk:` service (`dynamodb` → `DynamoDb`); none when Step Functions does not offer it.
pub fn sdk_prefix(service: &str) -> Option<&'static str> {
    static PREFIXES: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    PREFIXES
        .get_or_init(|| {
            SDK_SERVICES
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|l| l.split_once('\t'))
                .collect()
        })
        .get(service)
        .copied()
}

fn index() -> &'static HashMap<&'static str, Entry> {
    static INDEX: OnceLock<HashMap<&'static str, Entry>> = OnceLock::new();
    INDEX.get_or_init(|| read_index().unwrap_or_default())
}

fn read_index() -> Option<HashMap<&'static str, Entry>> {
    let mut rest = PACK.strip_prefix(b"PASSOMDL")?;
    let count = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let mut places = Vec::new();
    for _ in 0..count {
        let length = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
        let key = std::str::from_utf8(take(&mut rest, length.into())?).ok()?;
        let offset = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?) as usize;
        let size = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?) as usize;
        places.push((key, offset, size));
    }
    let entry = |blob| Entry { blob, parsed: OnceLock::new() };
    places
        .into_iter()
        .map(|(key, offset, size)| Some((key, entry(rest.get(offset..offset + size)?))))
        .collect()
}

fn take(rest: &mut &'static [u8], count: usize) -> Option<&'static [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

fn inflate(blob: &[u8]) -> Option<ServiceModel> {
    let mut text = String::new();
    flate2::read::DeflateDecoder::new(blob).read_to_string(&mut text).ok()?;
    Some(ServiceModel { model: serde_json::from_str(&text).ok()? })
}

/// A wire protocol of AWS's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `X-Amz-Target` and a JSON body.
    Json,
    /// JSON bodies on REST paths.
    RestJson,
    /// XML bodies on REST paths.
    RestXml,
    /// A form in, XML out.
    Query,
    /// EC2's dialect of query.
    Ec2,
}

impl ServiceModel {
    /// A member of the model's metadata.
    pub fn metadata(&self, member: &str) -> Option<&str> {
        self.model["metadata"][member].as_str()
    }
    /// Name in the SigV4 credential scope.
    pub fn signing_name(&self) -> &str {
        self.metadata("signingName").or_else(|| self.metadata("endpointPrefix")).unwrap_or_default()
    }
    /// The protocol used to speak to it; none for those that only speak CBOR or event streams.
    pub fn protocol(&self) -> Option<Protocol> {
        let listed =
            self.model["metadata"]["protocols"].as_array().into_iter().flatten().filter_map(Value::as_str);
        listed.chain(self.metadata("protocol")).find_map(|name| match name {
            "json" => Some(Protocol::Json),
            "rest-json" => Some(Protocol::RestJson),
            "rest-xml" => Some(Protocol::RestXml),
            "query" => Some(Protocol::Query),
            "ec2" => Some(Protocol::Ec2),
            _ => None,
        })
    }
    /// An operation by its native name (`PutItem`).
    pub fn operation(&self, name: &str) -> Option<Operation<'_>> {
        let (name, value) = self.model["operations"].as_object()?.get_key_value(name)?;
        Some(Operation { service: self, name, value })
    }
    /// The operation for a resource's camelCase action (`putItem`, `describeDBInstances` as `describeDbInstances`).
    pub fn action(&self, action: &str) -> Option<Operation<'_>> {
        let operations = self.model["operations"].as_object()?;
        let (name, value) = operations.iter().find(|(name, _)| name.eq_ignore_ascii_case(action))?;
        Some(Operation { service: self, name, value })
    }
    /// A shape by name.
    pub fn shape<'a>(&'a self, name: &str) -> Shape<'a> {
        Shape { service: self, value: &self.model["shapes"][name] }
    }
}

/// One operation of a service.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Its service.
    pub service: &'a ServiceModel,
    /// Native name, `PutItem`.
    pub name: &'a str,
    value: &'a Value,
}

impl<'a> Operation<'a> {
    /// Shape of the request, if it takes any parameters.
    pub fn input(&self) -> Option<Shape<'a>> {
        Some(self.service.shape(self.value["input"]["shape"].as_str()?))
    }
    /// The `input` reference itself (holds `locationName` and `xmlNamespace` for rest-xml).
    pub fn input_reference(&self) -> &'a Value {
        &self.value["input"]
    }
    /// Shape of the response, if it has a body or headers.
    pub fn output(&self) -> Option<Shape<'a>> {
        Some(self.service.shape(self.value["output"]["shape"].as_str()?))
    }
    /// `resultWrapper` of the query protocol.
    pub fn result_wrapper(&self) -> Option<&'a str> {
        self.value["output"]["resultWrapper"].as_str()
    }
    /// HTTP method.
    pub fn method(&self) -> &'a str {
        self.value["http"]["method"].as_str().unwrap_or("POST")
    }
    /// URI template, `/2015-03-31/functions/{FunctionName}/invocations`.
    pub fn uri(&self) -> &'a str {
        self.value["http"]["requestUri"].as_str().unwrap_or("/")
    }
    /// Names of the modelled errors.
    pub fn errors(&self) -> impl Iterator<Item = &'a str> {
        self.value["errors"].as_array().into_iter().flatten().filter_map(|error| error["shape"].as_str())
    }
    /// Does it stream events, which Step Functions cannot take?
    pub fn streams(&self) -> bool {
        let streaming = |shape: Option<Shape<'_>>| {
            shape.is_some_and(|s| {
                s.members().any(|(_, m)| m.shape.value["eventstream"].as_bool() == Some(true))
            })
        };
        streaming(self.input()) || streaming(self.output())
    }
}

/// A shape of a service.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    service: &'a ServiceModel,
    /// The model's own object.
    pub value: &'a Value,
}

/// A member of a structure, list or map.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The member's reference (location, locationName, flattened …).
    pub reference: &'a Value,
    /// What it holds.
    pub shape: Shape<'a>,
}

impl<'a> Member<'a> {
    /// `header`, `headers`, `uri`, `querystring`, `statusCode`, or none for the body.
    pub fn location(&self) -> Option<&'a str> {
        self.reference["location"].as_str()
    }
    /// Name on the wire.
    pub fn wire_name<'n>(&self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        self.reference["locationName"].as_str().unwrap_or(name)
    }
}

impl<'a> Shape<'a> {
    /// `structure`, `list`, `map`, `string`, `blob`, `timestamp`, …
    pub fn kind(&self) -> &'a str {
        self.value["type"].as_str().unwrap_or_default()
    }
    /// Members of a structure in model order.
    pub fn members(&self) -> impl Iterator<Item = (&'a str, Member<'a>)> + use<'a> {
        let service = self.service;
        let members: Option<&'a Map<String, Value>> = self.value["members"].as_object();
        members
            .into_iter()
            .flatten()
            .map(move |(name, reference)| (name.as_str(), member(service, reference)))
    }
    /// Required members of a structure.
    pub fn required(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }
    /// Element of a list.
    pub fn element(&self) -> Member<'a> {
        member(self.service, &self.value["member"])
    }
    /// Key of a map.
    pub fn key(&self) -> Member<'a> {
        member(self.service, &self.value["key"])
    }
    /// Value of a map.
    pub fn map_value(&self) -> Member<'a> {
        member(self.service, &self.value["value"])
    }
    /// The member that is the whole body.
    pub fn payload(&self) -> Option<&'a str> {
        self.value["payload"].as_str()
    }
}

fn member<'a>(service: &'a ServiceModel, reference: &'a Value) -> Member<'a> {
    Member { reference, shape: service.shape(reference["shape"].as_str().unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_sdk_service_that_aws_still_models_is_found() {
        let names: Vec<&str> = super::SDK_SERVICES
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, _)| name)
            .collect();
        let renamed = |name: &str| {
            super::RENAMED
                .iter()
                .find(|(from, _)| *from == name)
                .map_or(name.to_string(), |(_, to)| to.to_string())
        };
        let missing: Vec<_> =
            names.iter().filter(|name| !super::index().contains_key(renamed(name).as_str())).collect();
        assert!(names.len() > 400 && missing.len() < 20, "{missing:?}");
    }

    #[test]
    fn an_action_is_found_by_its_camel_case_name() {
        let dynamodb = super::service("dynamodb").expect("DynamoDB's model");
        assert_eq!(dynamodb.action("putItem").map(|operation| operation.name), Some("PutItem"));
        assert_eq!(dynamodb.signing_name(), "dynamodb");
        assert!(dynamodb.action("putNothing").is_none());
    }
}
