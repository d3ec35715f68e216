//! Gives answers and errors the shape of the caller's protocol. The only place that writes AWS's envelopes, request ids
//! and checksums.

use super::error::ServiceError;
use super::request::{Protocol, ServiceRequest};
use super::response::{ResponseBody, ServiceResponse};
use super::xml::Xml;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// What rendering needs to know about the request that is answered.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The signing name of the service.
    pub service: String,
    /// The namespace of its XML answers.
    pub xml_namespace: &'static str,
    /// The operation.
    pub operation: String,
    /// The caller's protocol.
    pub protocol: Protocol,
    /// The request id.
    pub request_id: String,
}

impl Envelope {
    /// The envelope of the answer to `request`.
    pub fn of(
        service: &str,
        xml_namespace: &'static str,
        request: &ServiceRequest,
        request_id: &str,
    ) -> Self {
        Self {
            service: service.to_owned(),
            xml_namespace,
            operation: request.operation.clone(),
            protocol: request.protocol,
            request_id: request_id.to_owned(),
        }
    }

    /// Renders an answer.
    pub fn response(&self, response: ServiceResponse) -> Response<Bytes> {
        let content_type = self.protocol.content_type();
        let body = match (&response.body, self.protocol) {
            (ResponseBody::Xml(children), Protocol::AwsQuery) => self.query_result(Some(children)),
            (ResponseBody::Empty, Protocol::AwsQuery) => self.query_result(None),
            (ResponseBody::Empty, protocol) if protocol.is_aws_json() => Bytes::new(),
            _ => response.body_bytes(),
        };
        let mut rendered = self.finish(response.status, response.headers, content_type, body);
        if let ResponseBody::Stream(body) = response.body {
            rendered.extensions_mut().insert(body);
        }
        rendered
    }

    /// Renders an error.
    pub fn error(&self, error: &ServiceError) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        let code = error.short_code();
        if let (Some(query_code), false) = (&error.query_code, self.protocol == Protocol::AwsQuery) {
            insert(&mut headers, "x-amzn-query-error", &format!("{query_code};{}", error.fault()));
        }
        let body = match self.protocol {
            Protocol::AwsJson10 | Protocol::AwsJson11 => json_error(error, "__type", &error.code, "message"),
            Protocol::RestJson => {
                insert(&mut headers, "x-amzn-errortype", code);
                let fault = if error.status.is_server_error() { "Service" } else { "User" };
                // Both are read by SDKs; each service has its own.
                match self.service.as_str() {
                    "apigateway" => Bytes::from(serde_json::json!({ "message": error.message }).to_string()),
                    _ => json_error(error, "Type", fault, "Message"),
                }
            }
            Protocol::AwsQuery => self.query_error(error),
            Protocol::RestXml => self.rest_xml_error(error),
            Protocol::RpcV2Cbor => cbor_error(error),
        };
        self.finish(error.status, headers, self.protocol.content_type(), body)
    }

    fn finish(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        content_type: &'static str,
        body: Bytes,
    ) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        let held = response.headers_mut();
        *held = headers;
        held.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        if self.protocol == Protocol::RestXml {
            insert(held, "x-amz-request-id", &self.request_id);
            insert(held, "x-amz-id-2", &self.host_id());
        } else {
            insert(held, "x-amzn-requestid", &self.request_id);
        }
        if self.protocol == Protocol::RpcV2Cbor {
            insert(held, "smithy-protocol", "rpc-v2-cbor");
        }
        // Of the services here only DynamoDB sends a checksum (recorded answers of SQS and Step Functions have none).
        if self.service == "dynamodb" && self.protocol.is_aws_json() {
            let mut crc = flate2::Crc::new();
            crc.update(&body);
            insert(held, "x-amz-crc32", &crc.sum().to_string());
        }
        *response.body_mut() = body;
        response
    }

    /// S3's second id, which AWS's support asks for. Here it says nothing that the request id does not.
    fn host_id(&self) -> String {
        STANDARD.encode(&self.request_id)
    }

    /// Some operations have an output without members, which is there all the same; others have none.
    fn query_result(&self, children: Option<&Vec<Xml>>) -> Bytes {
        let operation = &self.operation;
        let mut output = format!("<{operation}Response xmlns=\"{}\">", self.xml_namespace);
        if let Some(children) = children {
            Xml::element(format!("{operation}Result"))
                .with_children(children.iter().cloned())
                .write(&mut output);
        }
        let metadata = Xml::element("ResponseMetadata").with(Xml::text("RequestId", &self.request_id));
        metadata.write(&mut output);
        output.push_str(&format!("</{operation}Response>"));
        Bytes::from(output)
    }

    fn query_error(&self, error: &ServiceError) -> Bytes {
        let code = error.query_code.as_deref().unwrap_or(error.short_code());
        let detail = Xml::element("Error")
            .with(Xml::text("Type", error.fault()))
            .with(Xml::text("Code", code))
            .with(Xml::text("Message", &error.message));
        let request_id = Xml::text("RequestId", &self.request_id);
        let inner = Xml::write_all(&[detail, request_id]);
        Bytes::from(format!("<ErrorResponse xmlns=\"{}\">{inner}</ErrorResponse>", self.xml_namespace))
    }

    fn rest_xml_error(&self, error: &ServiceError) -> Bytes {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = error.fields.iter().map(|(name, value)| Xml::text(name, text(value)));
        let detail = Xml::element("Error")
            .with(Xml::text("Code", error.short_code()))
            .with(Xml::text("Message", &error.message))
            .with_children(fields)
            .with(Xml::text("RequestId", &self.request_id))
            .with(Xml::text("HostId", self.host_id()));
        let inner = Xml::write_all(&[detail]);
        Bytes::from(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{inner}"))
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn json_error(error: &ServiceError, tag_name: &str, tag: &str, message_name: &str) -> Bytes {
    let mut object = serde_json::Map::new();
    object.insert(tag_name.to_owned(), json!(tag));
    object.insert(message_name.to_owned(), json!(error.message));
    object.extend(error.fields.as_ref().clone());
    Bytes::from(Value::Object(object).to_string())
}

/// `{"__type": …, "message": …}` as a CBOR map of two text strings (RFC 8949, major types 5 and 3).
fn cbor_error(error: &ServiceError) -> Bytes {
    let mut output = vec![0xa2];
    for text in ["__type", error.code.as_ref(), "message", error.message.as_str()] {
        output.push(0x7a);
        // A message longer than 4 GiB does not exist; saturating keeps the header true for every other.
        output.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        output.extend(text.as_bytes());
    }
    Bytes::from(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(service: &str, protocol: Protocol, error: &ServiceError) -> (Response<Bytes>, String) {
        let envelope = Envelope {
            service: service.to_owned(),
            xml_namespace: "urn:x",
            operation: "Do".to_owned(),
            protocol,
            request_id: "r-1".to_owned(),
        };
        let response = envelope.error(error);
        let body = String::from_utf8_lossy(response.body()).into_owned();
        (response, body)
    }

    #[test]
    fn an_error_has_the_shape_of_each_protocol() {
        let error = ServiceError::client("com.amazonaws.sqs#QueueDoesNotExist", "No <queue>.")
            .with_query_code("AWS.SimpleQueueService.NonExistentQueue");
        let (json, body) = rendered("sqs", Protocol::AwsJson10, &error);
        assert_eq!(body, r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"No <queue>."}"#);
        assert_eq!(json.headers()["x-amzn-query-error"], "AWS.SimpleQueueService.NonExistentQueue;Sender");
        assert_eq!(json.headers()["x-amzn-requestid"], "r-1");
        let (_, body) = rendered("sqs", Protocol::AwsQuery, &error);
        assert!(body.contains("<Code>AWS.SimpleQueueService.NonExistentQueue</Code>"), "{body}");
        assert!(body.contains("<Message>No &lt;queue&gt;.</Message>"), "{body}");
        let (rest, body) = rendered("lambda", Protocol::RestJson, &ServiceError::new(404, "NotFound", "m"));
        assert_eq!(rest.headers()["x-amzn-errortype"], "NotFound");
        assert_eq!(body, r#"{"Type":"User","Message":"m"}"#);
        let (cbor, _) = rendered("monitoring", Protocol::RpcV2Cbor, &ServiceError::client("X", "m"));
        assert_eq!(cbor.body()[0], 0xa2);
        let (dynamodb, _) = rendered("dynamodb", Protocol::AwsJson10, &ServiceError::client("X", "m"));
        assert!(dynamodb.headers().contains_key("x-amz-crc32"));
    }
}
