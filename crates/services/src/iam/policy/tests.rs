use super::*;
use serde_json::{Value, json};

fn keys(pairs: &[(&str, &str)]) -> Keys {
    let mut keys = Keys::default();
    for (name, value) in pairs {
        keys.set_all(name, value.split('|').map(str::to_owned).collect());
    }
    keys
}

fn verdict(statements: Value, action: &str, resource: &str, keys: &Keys) -> Verdict {
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    let policy = Policy::from_value(&document, Kind::Identity).unwrap();
    evaluate([&policy], action, resource, keys)
}

#[test]
fn statements_match_actions_and_resources() {
    let table = "arn:aws:dynamodb:us-east-1:000000000000:table/orders";
    let cases = [
        (json!([{"Effect":"Allow","Action":"dynamodb:PutItem","Resource":table}]), Verdict::Allowed),
        (json!({"Effect":"Allow","Action":"DYNAMODB:put*","Resource":"*"}), Verdict::Allowed),
        (
            json!([{"Effect":"Allow","Action":"dynamodb:Put?tem","Resource":"arn:aws:dynamodb:*:table/*"}]),
            Verdict::Allowed,
        ),
        (json!([{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":table}]), Verdict::Silent),
        (
            json!([{"Effect":"Allow","Action":"*","Resource":"arn:aws:dynamodb:*:*:table/other"}]),
            Verdict::Silent,
        ),
        (json!([{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}]), Verdict::Allowed),
        (json!([{"Effect":"Allow","NotAction":"dynamodb:*","Resource":"*"}]), Verdict::Silent),
        (json!([{"Effect":"Allow","Action":"*","NotResource":table}]), Verdict::Silent),
        (
            json!([{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"dynamodb:*","Resource":table}]),
            Verdict::Denied,
        ),
        (json!([]), Verdict::Silent),
    ];
    for (statements, expected) in cases {
        assert_eq!(
            verdict(statements.clone(), "dynamodb:PutItem", table, &Keys::default()),
            expected,
            "{statements}"
        );
    }
}

#[test]
fn variables_stand_for_values_of_the_request() {
    let allow = |resource: &str| json!([{"Effect":"Allow","Action":"s3:*","Resource":resource}]);
    let user = keys(&[("aws:username", "a*"), ("many", "x|y")]);
    let cases = [
        ("arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::home/a*/x", Verdict::Allowed),
        ("arn:aws:s3:::home/${AWS:UserName}/*", "arn:aws:s3:::home/a*/x", Verdict::Allowed),
        ("arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::home/ab/x", Verdict::Silent),
        ("arn:aws:s3:::home/${aws:none}/*", "arn:aws:s3:::home//x", Verdict::Silent),
        ("arn:aws:s3:::home/${aws:none, 'd'}/*", "arn:aws:s3:::home/d/x", Verdict::Allowed),
        ("arn:aws:s3:::${*}", "arn:aws:s3:::*", Verdict::Allowed),
        ("arn:aws:s3:::${*}", "arn:aws:s3:::b", Verdict::Silent),
        ("arn:aws:s3:::${many}", "arn:aws:s3:::x", Verdict::Silent),
        ("arn:aws:s3:::${open", "arn:aws:s3:::x", Verdict::Silent),
    ];
    for (pattern, resource, expected) in cases {
        assert_eq!(
            verdict(allow(pattern), "s3:GetObject", resource, &user),
            expected,
            "{pattern} {resource}"
        );
    }
}

#[test]
fn conditions_hold_as_iam_documents_them() {
    let request = keys(&[
        ("aws:SourceIp", "10.1.2.3"),
        ("aws:CurrentTime", "2026-03-01T12:00:00Z"),
        ("aws:PrincipalArn", "arn:aws:iam::1:role/r"),
        ("n", "10"),
        ("tags", "a|b"),
        ("flag", "true"),
    ]);
    let cases = [
        (json!({"StringEquals":{"FLAG":"true"}}), true),
        (json!({"StringEquals":{"flag":["x","true"]}}), true),
        (json!({"StringEquals":{"flag":"TRUE"}}), false),
        (json!({"StringEqualsIgnoreCase":{"flag":"TRUE"}}), true),
        (json!({"StringNotEquals":{"flag":["x","true"]}}), false),
        (json!({"StringNotEquals":{"none":"x"}}), true),
        (json!({"StringEquals":{"none":"x"}}), false),
        (json!({"StringEqualsIfExists":{"none":"x"}}), true),
        (json!({"StringLike":{"flag":"t*e"}}), true),
        (json!({"StringNotLike":{"flag":"t*e"}}), false),
        (json!({"Bool":{"flag":true}}), true),
        (json!({"NumericLessThan":{"n":11}}), true),
        (json!({"NumericGreaterThanEquals":{"n":"10.5"}}), false),
        (json!({"NumericNotEquals":{"n":10}}), false),
        (json!({"DateGreaterThan":{"aws:CurrentTime":"2026-03-01"}}), true),
        (json!({"DateLessThan":{"aws:CurrentTime":"2026-03-01T12:00:00Z"}}), false),
        (json!({"IpAddress":{"aws:SourceIp":["10.1.0.0/16"]}}), true),
        (json!({"IpAddress":{"aws:SourceIp":"10.1.2.3"}}), true),
        (json!({"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}), true),
        (json!({"NotIpAddress":{"aws:SourceIp":"10.2.0.0/16"}}), true),
        (json!({"IpAddress":{"aws:SourceIp":"::/0"}}), false),
        (json!({"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}), true),
        (json!({"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*"}}), false),
        (json!({"Null":{"none":"true","flag":"false"}}), true),
        (json!({"Null":{"flag":"true"}}), false),
        (json!({"ForAllValues:StringEquals":{"tags":["a","b","c"]}}), true),
        (json!({"ForAllValues:StringEquals":{"tags":["a"]}}), false),
        (json!({"ForAllValues:StringEquals":{"none":["a"]}}), true),
        (json!({"ForAnyValue:StringEquals":{"tags":["b"]}}), true),
        (json!({"ForAnyValue:StringEquals":{"none":["b"]}}), false),
        (json!({"StringEquals":{"flag":"true"},"NumericEquals":{"n":9}}), false),
    ];
    for (condition, expected) in cases {
        let statements = json!([{"Effect":"Allow","Action":"*","Resource":"*","Condition":condition}]);
        let allowed = verdict(statements, "a:B", "*", &request) == Verdict::Allowed;
        assert_eq!(allowed, expected, "{condition}");
    }
}

#[test]
fn malformed_documents_are_refused_in_the_words_of_iam() {
    let s = |statement: Value| json!({ "Version": "2012-10-17", "Statement": [statement] });
    let cases = [
        (json!([]), "Syntax errors in policy."),
        (
            json!({"Version":"2020-01-01","Statement":[]}),
            "Policy document must be version 2012-10-17 or greater.",
        ),
        (json!({"Version":"2012-10-17"}), "Missing required field Statement"),
        (s(json!({"Action":"*","Resource":"*"})), "Missing required field Effect"),
        (s(json!({"Effect":"Allow","Resource":"*"})), "Missing required field Action"),
        (s(json!({"Effect":"Allow","Action":"*"})), "Missing required field Resource"),
        (
            s(json!({"Effect":"Allow","Action":"Put","Resource":"*"})),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (
            s(json!({"Effect":"Allow","Action":"a:B","Resource":"table"})),
            "Resource table must be in ARN format or \"*\".",
        ),
        (
            s(json!({"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"StringIs":{"a":"b"}}})),
            "Invalid Condition type : StringIs",
        ),
        (
            s(json!({"Effect":"Allow","Action":"a:B","Resource":"*","Principal":"*"})),
            "Has prohibited field Principal",
        ),
        (s(json!({"Effect":"Allow","Action":"a:B","Resource":"*","Extra":1})), "Syntax errors in policy."),
    ];
    for (document, expected) in cases {
        assert_eq!(Policy::from_value(&document, Kind::Identity).unwrap_err().0, expected, "{document}");
    }
    assert!(Policy::parse("{", Kind::Trust).is_err());
    let trust = s(json!({"Effect":"Allow","Action":"sts:AssumeRole"}));
    assert_eq!(Policy::from_value(&trust, Kind::Trust).unwrap_err().0, "Missing required field Principal");
}

#[test]
fn principals_are_services_accounts_roles_and_sessions() {
    let session = Principal::RoleSession {
        account: "1".to_owned(),
        role_arn: "arn:aws:iam::1:role/p/r".to_owned(),
        role_id: "AROA".to_owned(),
        session_name: "s".to_owned(),
    };
    let service = Principal::Service { account: "1".to_owned(), name: "lambda.amazonaws.com".to_owned() };
    let cases = [
        (json!({"Service":"lambda.amazonaws.com"}), &service, PrincipalMatch::Direct),
        (json!({"Service":["x.amazonaws.com"]}), &service, PrincipalMatch::None),
        (json!({"AWS":"arn:aws:iam::1:root"}), &service, PrincipalMatch::None),
        (json!({"AWS":"*"}), &service, PrincipalMatch::Direct),
        (json!("*"), &session, PrincipalMatch::Direct),
        (json!({"AWS":"*"}), &session, PrincipalMatch::Direct),
        (json!({"AWS":["1"]}), &session, PrincipalMatch::Account),
        (json!({"AWS":"arn:aws:iam::1:root"}), &session, PrincipalMatch::Account),
        (json!({"AWS":"arn:aws:iam::1:role/p/r"}), &session, PrincipalMatch::Direct),
        (json!({"AWS":"arn:aws:sts::1:assumed-role/r/s"}), &session, PrincipalMatch::Direct),
        (json!({"AWS":"arn:aws:iam::1:role/other"}), &session, PrincipalMatch::None),
        (json!({"AWS":"2"}), &session, PrincipalMatch::None),
    ];
    for (named, principal, expected) in cases {
        let document = json!({"Statement":[{"Effect":"Allow","Principal":named,"Action":"sts:AssumeRole"}]});
        let policy = Policy::from_value(&document, Kind::Trust).unwrap();
        let (_, matched) = evaluate_for(&policy, principal, "sts:AssumeRole", None, &Keys::default());
        assert_eq!(matched, expected, "{named}");
    }
}
