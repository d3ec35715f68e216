use super::profile::{Found, merged, of_output, of_profile};
use super::*;
use std::path::Path;
use std::time::Duration;

fn read(text: &str) -> Vec<Pointed> {
    pointed(&Settings::parse(Path::new("/p/passo.toml"), text).expect("a good file"))
}

#[test]
fn hosts_of_the_real_aws_are_those_of_its_models() {
    let cases = [
        ("dynamodb", "sa-east-1", "dynamodb.sa-east-1.amazonaws.com"),
        ("s3", "us-east-1", "s3.us-east-1.amazonaws.com"),
        ("cloudwatch", "us-east-1", "monitoring.us-east-1.amazonaws.com"),
        ("cloudwatchlogs", "cn-north-1", "logs.cn-north-1.amazonaws.com.cn"),
        ("ses", "eu-west-1", "email.eu-west-1.amazonaws.com"),
        ("cloudfront", "eu-west-1", "cloudfront.amazonaws.com"),
    ];
    for (name, region, host) in cases {
        assert_eq!(aws_host(name, region).as_deref(), Ok(host));
    }
    assert!(aws_host("dynamodb", "us-iso-east-1").is_err());
}

#[test]
fn only_tables_with_an_endpoint_elsewhere_point_there() {
    assert!(read("[services.dynamodb]\nendpoint = \"embedded\"").is_empty());
    let found = read("[services.cloudwatchlogs]\nendpoint = \"http://other:4566/\"\nregion = \"eu-west-1\"");
    assert_eq!(found[0].signing_name, "logs");
    assert_eq!(found[0].base("us-east-1").as_deref(), Ok("http://other:4566"));
    assert_eq!(found[0].source, Source::Chain);
}

#[tokio::test]
async fn user_code_gets_endpoint_and_keys_only_when_the_table_says_so() {
    let keys = "endpoint = \"http://other:1\"\naccess_key_id = \"AK\"\nsecret_access_key = \"S\"";
    let text = format!("[services.s3]\n{keys}\n[services.cloudwatchlogs]\n{keys}\ndirect = true");
    let outside = open(&read(&text)).await.expect("keys are given");
    assert!(outside.ways["s3"].variables("us-east-1").is_empty());
    let variables: BTreeMap<String, String> =
        outside.ways["logs"].variables("us-east-1").into_iter().collect();
    assert_eq!(variables["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"], "http://other:1");
    assert_eq!(variables["AWS_ACCESS_KEY_ID"], "AK");
    assert_eq!(outside.lines[0], "s3 is at http://other:1 with key AK");
}

#[tokio::test]
async fn code_cannot_be_given_two_sets_of_keys() {
    let table = |name: &str, key: &str| {
        format!(
            "[services.{name}]\nendpoint = \"aws\"\ndirect = true\naccess_key_id = \"{key}\"\nsecret_access_key = \"S\"\n"
        )
    };
    let refused = open(&read(&(table("s3", "A") + &table("sns", "B")))).await.err();
    assert_eq!(
        refused.as_deref(),
        Some("[services.sns]: functions and tasks cannot be given its keys and those of services.s3")
    );
}

#[test]
fn profiles_are_read_from_both_files() {
    let config = "[default]\nregion = x\n[profile dev]\naws_access_key_id=OLD\ncredential_process = echo\n[profile sso]\nsso_session = s\n";
    let credentials =
        "# keys\n[dev]\naws_access_key_id = AK\naws_secret_access_key = S=\ns3 =\n  region = y\n";
    let found = |name: &str| merged(name, credentials, config).map(|profile| of_profile(name, &profile));
    let keys = Credentials { access_key_id: "AK".into(), secret: "S=".into(), token: None, expires: None };
    assert_eq!(found("dev"), Some(Ok(Found::Keys(keys))));
    let said = |name: &str| found(name).and_then(Result::err).unwrap_or_default();
    assert!(said("sso").contains("credential_process = aws configure export-credentials --profile sso"));
    assert!(said("default").contains("has no aws_access_key_id"));
    assert_eq!(found("other"), None);
}

#[test]
fn what_a_credential_process_prints_is_checked() {
    let good = br#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","Expiration":"2030-01-01T00:00:00Z"}"#;
    let keys = of_output(good).expect("good output");
    assert_eq!((keys.token.as_deref(), keys.expires), (Some("T"), "2030-01-01T00:00:00Z".parse().ok()));
    for bad in [&b"nothing"[..], br#"{"Version":2}"#, br#"{"Version":1,"AccessKeyId":"A"}"#] {
        assert!(of_output(bad).is_err());
    }
}

#[test]
fn throttled_calls_are_made_three_times_with_growing_pauses() {
    let answer = |status: u16, body: &str| {
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = ::http::StatusCode::from_u16(status).expect("a status");
        Ok(response)
    };
    let again = |answer: &Result<Response<Bytes>, Unreachable>| {
        let mut attempts = retry::Attempts::new();
        let pauses: Vec<Duration> = std::iter::from_fn(|| attempts.pause_after(answer)).collect();
        assert!(
            pauses.iter().zip([1, 2]).all(|(pause, bound)| *pause <= Duration::from_secs(bound)),
            "{pauses:?}"
        );
        pauses.len()
    };
    let cases = [
        (400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#, 2),
        (400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", 2),
        (503, "<Error><Code>SlowDown</Code></Error>", 2),
        (429, "", 2),
        (500, "", 2),
        (400, r#"{"__type":"ValidationException"}"#, 0),
        (403, r#"{"__type":"InvalidSignatureException"}"#, 0),
        (200, "{}", 0),
    ];
    for (status, body, expected) in cases {
        assert_eq!(again(&answer(status, body)), expected, "{status} {body}");
    }
    assert_eq!(again(&Err(Unreachable::Connection("refused".into()))), 2);
    assert_eq!(again(&Err(Unreachable::TimedOut)), 0);
}
