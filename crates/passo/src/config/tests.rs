use super::*;
use std::collections::BTreeMap;

fn findings(text: &str) -> Vec<String> {
    read(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_is_found_with_its_place_and_the_nearest_known_key() {
    let cases: &[(&str, &[&str])] = &[
        ("lissten = \"127.0.0.1:1\"", &["1:1: unknown key 'lissten'; did you mean 'listen'?"]),
        ("host = \"x\"", &["1:1: unknown key 'host'; did you mean 'smtp.host'?"]),
        ("# é\n\n[smtp]\n host = 3", &["4:9: 'smtp.host': expected some text, in quotes"]),
        ("nonsense = 1", &["1:1: unknown key 'nonsense'"]),
        ("smtp = 3", &["1:1: 'smtp' is a table: [smtp]"]),
        ("iam = \"maybe\"", &["1:7: 'iam': expected one of off, log, on"]),
        ("[smtp]\nhost = \"h\"\nport = 70000", &["3:8: 'smtp.port': expected a port, such as 25"]),
        ("[smtp]\nport = 25", &["2:1: [smtp] has 'port' and no 'host'"]),
        ("account = \"1\"", &["1:11: 'account': expected an account of twelve digits"]),
        (
            "[services.dynamo]\nendpoint = \"aws\"",
            &[
                "1:11: unknown key 'services.dynamo': services are named as in aws-sdk: resources; did you mean 'services.dynamodb'?",
            ],
        ),
        (
            "[services.logs]\nendpoint = \"aws\"",
            &[
                "1:11: unknown key 'services.logs': services are named as in aws-sdk: resources; did you mean 'services.cloudwatchlogs'?",
            ],
        ),
        (
            "[services.iam]\nendpoint = \"aws\"",
            &[
                "1:11: 'iam' cannot be pointed elsewhere: roles and policies of this server's executions and functions are kept here",
            ],
        ),
        (
            "[services.s3]\nendpoint = \"ftp://x\"",
            &[
                "2:12: 'services.s3.endpoint': expected embedded, aws, or a URL that begins with http:// or https://",
            ],
        ),
        ("[services.s3]\nregion = \"eu-west-1\"", &["2:1: [services.s3] has 'region' and no 'endpoint'"]),
        (
            "[services.s3]\nendpoint = \"aws\"\nprofile = \"p\"\naccess_key_id = \"a\"\nsecret_access_key = \"s\"",
            &["3:1: [services.s3] has both 'profile' and 'access_key_id'"],
        ),
        (
            "[services.ses]\nendpoint = \"aws\"\n[services.sesv2]\nendpoint = \"aws\"",
            &["4:1: 'ses' and 'sesv2' are one service in requests (ses); point one of them"],
        ),
        (
            "[keys.AKIAEXAMPLE]\naccount = \"111122223333\"",
            &["2:1: [keys.AKIAEXAMPLE] has 'account' and no 'secret'"],
        ),
        (
            "[keys.\"a b\"]\nsecret = \"s\"",
            &["1:7: 'a b' is no access key id: 3 to 128 letters, digits and underscores"],
        ),
        (
            "listen = \"x\"\niam = true",
            &[
                "1:10: 'listen': expected ADDRESS:PORT, such as 127.0.0.1:4566",
                "2:7: 'iam': expected one of off, log, on, in quotes",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(text), *expected, "{text}");
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_place() {
    let found = findings("listen = \n");
    assert!(found.len() == 1 && found[0].starts_with("1:"), "{found:?}");
    assert!(!findings("iam = \"on\"\niam = \"off\"").is_empty());
}

#[test]
fn values_are_read_and_paths_start_at_the_files_folder() {
    let text = "data = \"store\"\nlisten = \"127.0.0.1:0\"\n[smtp]\nhost = \"mail\"\nport = 2525\n\
                [services.s3]\nendpoint = \"https://minio:9000\"\ndirect = true\n[services.dynamodb]\nendpoint = \"aws\"";
    let settings = Settings::parse(Path::new("/etc/passo/passo.toml"), text).expect("a good file");
    assert_eq!(settings.path(&["data"]), Some("/etc/passo/store".into()));
    assert_eq!(settings.address(&["listen"]), "127.0.0.1:0".parse().ok());
    assert_eq!(settings.port(&["smtp", "port"]), Some(2525));
    assert_eq!(settings.names("services"), ["s3", "dynamodb"]);
    assert!(
        settings.flag(&["services", "s3", "direct"]) && !settings.flag(&["services", "dynamodb", "direct"])
    );
    assert_eq!(settings.text(&["smtp", "from"]), None);
}

/// The reference has a heading for each key and a line with its default; nothing else may be a heading of that kind.
#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let reference = include_str!("../../../../docs/configuration.md");
    let mut documented: BTreeMap<&str, &str> = BTreeMap::new();
    let mut heading = None;
    for line in reference.lines() {
        if let Some(rest) = line.strip_prefix("### `") {
            heading = rest.strip_suffix('`');
            documented.insert(heading.expect("a heading ends with its key"), "");
        }
        if let (Some(key), Some(rest)) = (heading, line.strip_prefix("Default: `")) {
            documented.insert(key, rest.split('`').next().unwrap_or_default());
        }
    }
    let known: BTreeMap<&str, &str> = KEYS.iter().map(|key| (key.path, key.default)).collect();
    assert_eq!(documented, known);
    for variable in KEYS.iter().filter_map(|key| key.variable) {
        assert!(reference.contains(variable), "{variable} is not in the reference");
    }
}
