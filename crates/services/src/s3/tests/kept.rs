//! Configurations that are kept, attributes, and pages that a bucket lets in.

use super::{put, send};
use crate::configuration::Enforce;
use crate::fixture::{Fixture, signed, text};
use crate::guard::{AllowedHosts, guard};
use bytes::Bytes;
use http::Request;

#[tokio::test]
async fn configurations_are_given_back_as_they_were_put_and_survive_a_restart() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let kept = [
        (
            "lifecycle",
            "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>",
        ),
        (
            "encryption",
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
        ),
        (
            "ownershipControls",
            "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
        ),
        (
            "publicAccessBlock",
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
        ),
        (
            "cors",
            "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>",
        ),
        (
            "notification",
            "<NotificationConfiguration><EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>",
        ),
    ];
    for (name, document) in kept {
        put(&fixture, &format!("/bucket?{name}"), document).await;
    }
    let fixture = fixture.reopened().await;
    for (name, document) in kept {
        let uri = format!("/bucket?{name}");
        let (status, found) = text(&send(&fixture, "GET", &uri, &[], "").await);
        let inner = document.split_once('>').unwrap().1;
        assert!(status == 200 && found.ends_with(inner), "{name}: {found}");
        let removed = send(&fixture, "DELETE", &uri, &[], "").await.status();
        assert_eq!(removed, if name == "notification" { 405 } else { 204 }, "{name}");
    }
    let (_, encryption) = text(&send(&fixture, "GET", "/bucket?encryption", &[], "").await);
    assert!(encryption.contains("<SSEAlgorithm>AES256</SSEAlgorithm>"), "{encryption}");
    assert_eq!(send(&fixture, "GET", "/bucket?lifecycle", &[], "").await.status(), 404);
}

#[tokio::test]
async fn attributes_and_lists_of_access_tell_what_there_is() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/key", "123456789").await;
    let wanted = [("x-amz-object-attributes", "ObjectSize,Checksum")];
    let (status, found) = text(&send(&fixture, "GET", "/bucket/key?attributes", &wanted, "").await);
    assert!(status == 200 && found.contains("<ObjectSize>9</ObjectSize>"), "{found}");
    assert!(found.contains("<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>"), "{found}");
    for uri in ["/bucket?acl", "/bucket/key?acl"] {
        let (status, found) = text(&send(&fixture, "GET", uri, &[], "").await);
        assert!(status == 200 && found.contains("<Permission>FULL_CONTROL</Permission>"), "{found}");
        assert_eq!(send(&fixture, "PUT", uri, &[("x-amz-acl", "private")], "").await.status(), 200);
        let open = send(&fixture, "PUT", uri, &[("x-amz-acl", "public-read")], "").await;
        assert!(text(&open).1.contains("AccessControlListNotSupported"));
    }
    let policy = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}"#;
    assert_eq!(send(&fixture, "PUT", "/bucket?policy", &[], policy).await.status(), 204);
    assert!(text(&send(&fixture, "GET", "/bucket?policyStatus", &[], "").await).1.contains("<IsPublic>true"));
}

/// What the guard says to a request: its status, or 0 if the request goes on.
fn judged(fixture: &Fixture, request: http::request::Builder) -> (u16, String) {
    let allowed = AllowedHosts::loopback().with_pages(fixture.services.pages());
    let origin = |headers: &http::HeaderMap| {
        let found =
            headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        found.unwrap_or_default()
    };
    match guard(&request.header("host", "localhost").body(()).unwrap().into_parts().0, &allowed) {
        Ok(page) => (0, origin(&page.unwrap_or_default())),
        Err(answer) => (answer.status().as_u16(), origin(answer.headers())),
    }
}

#[tokio::test]
async fn a_foreign_page_gets_in_where_the_bucket_says_so_and_nowhere_else() {
    let fixture = Fixture::open(Enforce::Off);
    for bucket in ["open", "shut"] {
        put(&fixture, &format!("/{bucket}"), "").await;
    }
    let cors = "<CORSConfiguration><CORSRule><AllowedOrigin>https://app.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>POST</AllowedMethod><AllowedHeader>*</AllowedHeader></CORSRule></CORSConfiguration>";
    put(&fixture, "/open?cors", cors).await;
    let page = |service: &str, method: &str, uri: &str| {
        signed(service, "test", None).method(method).uri(uri).header("origin", "https://app.example")
    };
    let let_in = (0, "https://app.example".to_owned());
    assert_eq!(judged(&fixture, page("s3", "PUT", "/open/key")), let_in);
    let refused = (403, String::new());
    assert_eq!(judged(&fixture, page("s3", "PUT", "/shut/key")), refused);
    assert_eq!(judged(&fixture, page("s3", "GET", "/open/key")), refused);
    assert_eq!(judged(&fixture, page("iam", "POST", "/open/key")), refused);
    let other =
        signed("s3", "test", None).method("PUT").uri("/open/key").header("origin", "https://evil.example");
    assert_eq!(judged(&fixture, other), refused);
    let unsigned = |method: &str, uri: &str| {
        Request::builder().method(method).uri(uri).header("origin", "https://app.example")
    };
    assert_eq!(judged(&fixture, unsigned("PUT", "/open/key")), refused);
    let form = |uri: &str| unsigned("POST", uri).header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(judged(&fixture, form("/open")), let_in);
    assert_eq!(judged(&fixture, form("/open/key?uploads")), refused);
    assert_eq!(judged(&fixture, form("/open?delete")), refused);
    let target = form("/open").header("x-amz-target", "AWSStepFunctions.CreateActivity");
    assert_eq!(judged(&fixture, target), refused);
    let preflight =
        |uri: &str, method: &str| unsigned("OPTIONS", uri).header("access-control-request-method", method);
    assert_eq!(judged(&fixture, preflight("/open/key", "PUT")), (200, "https://app.example".to_owned()));
    assert_eq!(judged(&fixture, preflight("/open/key", "DELETE")), refused);
    assert_eq!(judged(&fixture, preflight("/shut/key", "PUT")), refused);
    assert_eq!(judged(&fixture, preflight("/local/info", "GET")), refused);
}

#[tokio::test]
async fn what_a_page_sends_as_a_form_is_for_s3_alone() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let action = "Action=CreateUser&UserName=evil&Version=2010-05-08";
    let mut sent = Request::post("/bucket").header("content-type", "multipart/form-data; boundary=x");
    sent.extensions_mut().unwrap().insert(crate::guard::FromPage);
    let answer = fixture.services.handle(sent.body(Bytes::from_static(action.as_bytes())).unwrap()).await;
    let (status, body) = text(&answer);
    assert!(status == 400 && body.contains("MalformedPOSTRequest"), "{body}");
    let users = fixture.query("iam", &[("Action", "ListUsers")]).await;
    assert!(!users.contains("evil"), "{users}");
}

#[tokio::test]
async fn unfinished_uploads_are_listed_in_pages_with_common_prefixes() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    for key in ["a/1", "a/2", "b", "b", "c/3"] {
        assert_eq!(send(&fixture, "POST", &format!("/bucket/{key}?uploads"), &[], "").await.status(), 200);
    }
    let (mut marker, mut found) = (String::new(), Vec::new());
    loop {
        let uri = format!("/bucket?uploads&delimiter=%2F&max-uploads=1{marker}");
        let (_, page) = text(&send(&fixture, "GET", &uri, &[], "").await);
        let texts = |name: &str| -> Vec<String> {
            let open = format!("<{name}>");
            let pieces = page.split(open.as_str()).skip(1).filter_map(|piece| piece.split('<').next());
            pieces.map(str::to_owned).collect()
        };
        found.extend(texts("Key").into_iter().chain(texts("Prefix")).filter(|text| !text.is_empty()));
        let Some(key) = texts("NextKeyMarker").pop() else { break };
        let id = texts("NextUploadIdMarker").pop().unwrap_or_default();
        marker = format!("&key-marker={key}&upload-id-marker={id}");
    }
    assert_eq!(found, ["a/", "b", "b", "c/"]);
}
