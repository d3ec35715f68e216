mod forms;
mod kept;
mod laws;
mod told;

use crate::configuration::Enforce;
use crate::fixture::{ACCOUNT, Fixture, signed, text};
use crate::wire::{CallContext, Principal};
use bytes::Bytes;
use http::{Request, Response};

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = signed("s3", "test", None).method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

async fn send(
    fixture: &Fixture,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    fixture.services.handle(request(method, uri, headers, body)).await
}

async fn put(fixture: &Fixture, uri: &str, body: &str) {
    let (status, answer) = text(&send(fixture, "PUT", uri, &[], body).await);
    assert_eq!(status, 200, "{uri}: {answer}");
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// How many files hold bytes of objects.
fn file_count(fixture: &Fixture) -> usize {
    let directory = fixture.services.environment().directory().join("s3");
    let shards = std::fs::read_dir(directory).unwrap().map(|shard| shard.unwrap().path());
    shards.map(|shard| std::fs::read_dir(shard).unwrap().count()).sum()
}

#[tokio::test]
async fn an_object_survives_a_restart_and_files_without_an_object_do_not() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/key", "first").await;
    put(&fixture, "/bucket/key", "second").await;
    assert_eq!(file_count(&fixture), 1);
    let shard = fixture.services.environment().directory().join("s3/ab");
    std::fs::create_dir_all(&shard).unwrap();
    std::fs::write(shard.join("abcd"), "nobody's").unwrap();
    std::fs::write(shard.join("abce.unfinished"), "half").unwrap();
    let fixture = fixture.reopened().await;
    assert_eq!(file_count(&fixture), 1);
    let got = send(&fixture, "GET", "/bucket/key", &[], "").await;
    assert_eq!(text(&got), (200, "second".to_owned()));
    assert_eq!(header(&got, "etag"), "\"a9f0e61a137d86aa9db53465e0801612\"");
    assert_eq!(header(&got, "content-type"), "binary/octet-stream");
}

#[tokio::test]
async fn errors_are_those_of_aws() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/key", "0123456789").await;
    let none: &[(&str, &str)] = &[];
    let cases = [
        ("GET", "/missing/key", none, 404, "<Code>NoSuchBucket</Code>"),
        ("GET", "/bucket/missing", none, 404, "<Key>missing</Key>"),
        ("GET", "/bucket/key", &[("range", "bytes=10-")], 416, "<Code>InvalidRange</Code>"),
        ("GET", "/bucket/key", &[("if-match", "\"x\"")], 412, "<Condition>If-Match</Condition>"),
        ("PUT", "/bucket/key", &[("if-none-match", "*")], 412, "<Code>PreconditionFailed</Code>"),
        ("PUT", "/bucket/k", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], 400, "<Code>BadDigest</Code>"),
        ("PUT", "/bucket/k", &[("x-amz-checksum-crc32", "AAAAAQ==")], 400, "<Code>BadDigest</Code>"),
        ("PUT", "/bucket/k", &[("x-amz-server-side-encryption", "aws:kms")], 501, "NotImplemented"),
        ("PUT", "/bucket/key", &[("x-amz-acl", "public-read")], 400, "AccessControlListNotSupported"),
        ("PUT", "/bucket?website", none, 501, "s3:PutBucketWebsite is not implemented"),
        ("GET", "/bucket?cors", none, 404, "<Code>NoSuchCORSConfiguration</Code>"),
        ("PUT", "/bucket?cors", none, 400, "<Code>MalformedXML</Code>"),
        ("DELETE", "/bucket", none, 409, "<Code>BucketNotEmpty</Code>"),
        ("PUT", "/Bad_Name", none, 400, "<Code>InvalidBucketName</Code>"),
    ];
    for (method, uri, headers, status, expected) in cases {
        let (found, body) = text(&send(&fixture, method, uri, headers, "").await);
        assert_eq!(found, status, "{method} {uri}: {body}");
        assert!(body.contains(expected), "{method} {uri}: {body}");
    }
    // A refused write leaves no bytes behind.
    assert_eq!(file_count(&fixture), 1);
}

#[tokio::test]
async fn ranges_conditions_and_overrides_shape_the_answer() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/key", "0123456789").await;
    let part = send(&fixture, "GET", "/bucket/key", &[("range", "bytes=2-4")], "").await;
    assert_eq!(text(&part), (206, "234".to_owned()));
    assert_eq!(header(&part, "content-range"), "bytes 2-4/10");
    let etag = header(&part, "etag").to_owned();
    let same = send(&fixture, "GET", "/bucket/key", &[("if-none-match", &etag)], "").await;
    assert_eq!(text(&same), (304, String::new()));
    let typed = send(&fixture, "GET", "/bucket/key?response-content-type=text%2Fplain", &[], "").await;
    assert_eq!(header(&typed, "content-type"), "text/plain");
    let head = send(&fixture, "HEAD", "/key", &[("host", "bucket.s3.localhost:4566")], "").await;
    assert_eq!((text(&head), header(&head, "content-length")), ((200, String::new()), "10"));
}

#[tokio::test]
async fn chunked_bodies_are_joined_and_their_trailing_checksum_is_verified() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let headers = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "9"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let good = "4\r\n1234\r\n5\r\n56789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
    let put = send(&fixture, "PUT", "/bucket/key", &headers, good).await;
    assert_eq!(text(&put), (200, String::new()));
    assert_eq!(header(&put, "x-amz-checksum-crc32"), "y/Q5Jg==");
    let got = send(&fixture, "GET", "/bucket/key", &[], "").await;
    assert_eq!(text(&got).1, "123456789");
    assert_eq!(header(&got, "content-encoding"), "");
    let bad = good.replace("y/Q5Jg==", "AAAAAA==");
    assert_eq!(send(&fixture, "PUT", "/bucket/key", &headers, &bad).await.status(), 400);
    assert_eq!(send(&fixture, "PUT", "/bucket/key", &headers, &good[..12]).await.status(), 400);
}

#[tokio::test]
async fn keys_are_listed_in_pages_with_common_prefixes() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    for key in ["a/1", "a/2", "b", "c/1", "d%20e"] {
        put(&fixture, &format!("/bucket/{key}"), "x").await;
    }
    let (mut token, mut pages) = (String::new(), Vec::new());
    loop {
        let uri = format!("/bucket?list-type=2&delimiter=%2F&max-keys=2&encoding-type=url{token}");
        let (_, body) = text(&send(&fixture, "GET", &uri, &[], "").await);
        let all = |name: &str| -> Vec<String> {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            let pieces = body.split(open.as_str()).skip(1);
            pieces.map(|piece| piece.split(close.as_str()).next().unwrap_or_default().to_owned()).collect()
        };
        let prefixes = all("Prefix").into_iter().filter(|prefix| !prefix.is_empty());
        pages.push(all("Key").into_iter().chain(prefixes).collect::<Vec<_>>());
        match all("NextContinuationToken").first() {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    assert_eq!(pages, [vec!["b", "a/"], vec!["d%20e", "c/"]]);
}

#[tokio::test]
async fn an_upload_in_parts_becomes_one_object_and_its_other_files_go() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let (_, created) = text(&send(&fixture, "POST", "/bucket/key?uploads", &[], "").await);
    let id = created.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap();
    let mut tags = Vec::new();
    let first = "x".repeat(5 * 1024 * 1024);
    for (number, body) in [(1, first.as_str()), (2, "unused"), (3, "end"), (3, "END")] {
        let uri = format!("/bucket/key?partNumber={number}&uploadId={id}");
        tags.push(header(&send(&fixture, "PUT", &uri, &[], body).await, "etag").to_owned());
    }
    assert_eq!(file_count(&fixture), 3);
    let complete = |last: &str| {
        let part = |number: u32, tag: &str| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        };
        format!("<CompleteMultipartUpload>{}{}</CompleteMultipartUpload>", part(1, &tags[0]), part(3, last))
    };
    let uri = format!("/bucket/key?uploadId={id}");
    let (_, stale) = text(&send(&fixture, "POST", &uri, &[], &complete(&tags[2])).await);
    assert!(stale.contains("InvalidPart"), "{stale}");
    let (status, done) = text(&send(&fixture, "POST", &uri, &[], &complete(&tags[3])).await);
    assert!(status == 200 && done.contains("-2&quot;</ETag>"), "{done}");
    assert_eq!(file_count(&fixture), 2);
    let range = [("range", "bytes=5242879-")];
    assert_eq!(text(&send(&fixture, "GET", "/bucket/key", &range, "").await), (206, "xEND".to_owned()));
    let copied = send(&fixture, "PUT", "/bucket/copy", &[("x-amz-copy-source", "/bucket/key")], "").await;
    assert_eq!(copied.status(), 200);
    assert_eq!(send(&fixture, "DELETE", "/bucket/key", &[], "").await.status(), 204);
    assert_eq!(text(&send(&fixture, "GET", "/bucket/copy", &range, "").await).1, "xEND");
}

#[tokio::test]
async fn versions_and_delete_markers_keep_what_was_there() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/key", "old").await;
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    put(&fixture, "/bucket?versioning", enabled).await;
    put(&fixture, "/bucket/key", "new").await;
    let deleted = send(&fixture, "DELETE", "/bucket/key", &[], "").await;
    assert_eq!(header(&deleted, "x-amz-delete-marker"), "true");
    assert_eq!(send(&fixture, "GET", "/bucket/key", &[], "").await.status(), 404);
    assert_eq!(text(&send(&fixture, "GET", "/bucket/key?versionId=null", &[], "").await).1, "old");
    let marker = format!("/bucket/key?versionId={}", header(&deleted, "x-amz-version-id"));
    assert_eq!(send(&fixture, "GET", &marker, &[], "").await.status(), 405);
    assert_eq!(send(&fixture, "DELETE", &marker, &[], "").await.status(), 204);
    assert_eq!(text(&send(&fixture, "GET", "/bucket/key", &[], "").await).1, "new");
}

#[tokio::test]
async fn a_role_may_do_what_its_policy_or_the_buckets_says_and_no_more() {
    let fixture = Fixture::open(Enforce::On);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/in/key", "x").await;
    put(&fixture, "/bucket/out", "x").await;
    fixture.create_role("reader", "states.amazonaws.com").await;
    fixture.allow("reader", "s3:GetObject", "arn:aws:s3:::bucket/in/*").await;
    let role_arn = crate::fixture::role_arn("reader");
    let principal = fixture
        .services
        .iam()
        .role_session_for_service(&role_arn, "states.amazonaws.com", "session", None)
        .unwrap();
    let context = CallContext::of(principal, "us-east-1");
    let status = async |method: &str, uri: &str| {
        fixture.services.handle_for(context.clone(), request(method, uri, &[], "")).await.status().as_u16()
    };
    assert_eq!(status("GET", "/bucket/in/key").await, 200);
    assert_eq!(status("GET", "/bucket/out").await, 403);
    assert_eq!(status("PUT", "/bucket/in/key").await, 403);
    assert_eq!(status("GET", "/bucket").await, 403);
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{role_arn}"}},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"}}]}}"#
    );
    assert_eq!(send(&fixture, "PUT", "/bucket?policy", &[], &policy).await.status(), 204);
    assert_eq!(status("GET", "/bucket").await, 200);
}

#[tokio::test]
async fn a_call_that_is_sent_twice_has_one_effect() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    let mut context = CallContext::of(Principal::Root { account: ACCOUNT.to_owned() }, "us-east-1");
    context.invocation_id = Some("i-1".to_owned());
    for _ in 0..2 {
        let once = request("PUT", "/bucket/key", &[("if-none-match", "*")], "bytes");
        let answer = fixture.services.handle_for(context.clone(), once).await;
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(file_count(&fixture), 1);
}

#[tokio::test]
async fn a_presigned_url_ends() {
    let fixture = Fixture::open(Enforce::Off);
    put(&fixture, "/bucket", "").await;
    put(&fixture, "/bucket/key", "x").await;
    // The fixture's clock begins at 2027-01-15T08:00:00Z.
    let uri = "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20270115%2Fus-east-1%2Fs3%2Faws4_request\
               &X-Amz-Date=20270115T080000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    assert_eq!(send(&fixture, "GET", uri, &[], "").await.status(), 200);
    fixture.advance_seconds(61);
    let (status, body) = text(&send(&fixture, "GET", uri, &[], "").await);
    assert!(status == 403 && body.contains("Request has expired"), "{body}");
}
