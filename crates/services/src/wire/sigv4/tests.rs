use super::*;
use http::Request;

/// The key of AWS's published test suite.
const SUITE: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// Requests of AWS's test suite with their signatures.
#[test]
fn requests_of_awss_test_suite_have_the_published_signatures() {
    let scope = Scope { time: "20150830T123600Z", region: "us-east-1", service: "service" };
    let base = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    let cases = [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ];
    for (method, uri, expected) in cases {
        let signed = ["host".to_owned(), "x-amz-date".to_owned()];
        let canonical = canonical_request(&parts(method, uri, &base), &signed, EMPTY, "service");
        assert_eq!(
            scope.sign(SUITE.1, &scope.string_to_sign(&canonical)),
            expected,
            "{method} {uri}\n{canonical}"
        );
    }
}

/// The example of S3's reference: a ranged GET.
#[test]
fn the_example_of_s3s_reference_has_its_published_signature() {
    let headers = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
    ];
    let signed = headers.map(|(name, _)| name.to_owned());
    let canonical = canonical_request(&parts("GET", "/test.txt", &headers), &signed, EMPTY, "s3");
    let scope = Scope { time: "20130524T000000Z", region: "us-east-1", service: "s3" };
    let signature = scope.sign("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope.string_to_sign(&canonical));
    assert_eq!(signature, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

#[test]
fn a_client_signs_what_it_sends() {
    let mut parts = parts("GET", "/", &[("host", "example.amazonaws.com"), ("user-agent", "x")]);
    let signer = Signer { access_key_id: SUITE.0, secret: SUITE.1, session_token: None };
    let now: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
    signer.sign(&mut parts, b"", ("us-east-1", "service"), now).unwrap();
    assert_eq!(
        parts.headers["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
}

#[test]
fn paths_and_queries_have_one_form() {
    let path = |uri: &str, service: &str| {
        let canonical = canonical_request(&parts("GET", uri, &[]), &[], "", service);
        canonical.lines().skip(1).take(2).collect::<Vec<_>>().join("?")
    };
    assert_eq!(path("/a%2Fb//c%20d/é", "s3"), "/a/b//c%20d/%C3%A9?");
    assert_eq!(path("/functions/arn%3Aaws/invocations/", "lambda"), "/functions/arn%253Aaws/invocations/?");
    assert_eq!(path("//a/./b/../c", "lambda"), "/a/c?");
    assert_eq!(path("/?b=2&a=1&a=0&flag&X-Amz-Signature=x&s=~*", "s3"), "/?a=0&a=1&b=2&flag=&s=~%2A");
}
