//! Queries that parse, and where others go wrong.

use super::parse;

#[test]
fn queries_of_the_manual_parse() {
    let queries = [
        "fields @timestamp, @message | sort @timestamp desc | limit 20",
        "fields @timestamp, @message\n| filter @message like /(?i)error/ # a comment\n| limit 5",
        "stats count(*) as n, avg(@duration), pct(@duration, 99.9) by bin(5m), @logStream",
        "filter level in ['ERROR', \"WARN\"] and not (n < 3 or isPresent(a.b.0))",
        r#"parse @message "user=*, took * ms" as user, took | stats sum(took) / count(*) as mean by user"#,
        "parse @message /took (?<took>\\d+)\\/s/ | filter took >= 2 * 10 ^ 2",
        "filter `strange-field` not like 'x' | dedup a, b | display a, concat(a, '-', b) as c",
        "| stats count() by datefloor(@timestamp, 1h) | sort n",
        "",
    ];
    for query in queries {
        assert!(parse(query).is_ok(), "{query}: {:?}", parse(query).err());
    }
}

#[test]
fn what_does_not_parse_is_told_with_its_place() {
    let cases = [
        ("fields @timestamp | fltr x", "unexpected symbol found fltr at line 1 and position 20", 20, 24),
        ("filter a =", "unexpected end of the query at line 1 and position 10", 10, 10),
        ("filter a == 1 b", "unexpected symbol found b at line 1 and position 14", 14, 15),
        ("fields a\n| limit x", "unexpected symbol found x at line 2 and position 8", 17, 18),
        ("limit 0", "a limit is a whole number from 1 to 10000 at line 1 and position 6", 6, 7),
        ("stats avg(*)", "avg needs a field at line 1 and position 6", 6, 11),
        ("filter count(*) > 2", "count is only known to stats at line 1 and position 7", 7, 13),
        ("stats count(*) by bin(5q)", "a period such as 5m is expected at line 1 and position 22", 22, 24),
        ("filter nofun(a)", "unknown function nofun at line 1 and position 7", 7, 13),
        ("filter a like /[/", "invalid regular expression /[/ at line 1 and position 14", 14, 17),
        (
            r#"parse @message "* *" as a"#,
            "the pattern has 2 wildcards and 1 names at line 1 and position 15",
            15,
            25,
        ),
        ("filter a = 'x", "a quotation mark is not closed at line 1 and position 11", 11, 11),
        (
            "pattern @message",
            "the command pattern is not implemented by this server at line 1 and position 0",
            0,
            7,
        ),
    ];
    for (query, message, start, end) in cases {
        let error = parse(query).expect_err(query);
        assert_eq!((error.message.as_str(), error.start, error.end), (message, start, end), "{query}");
    }
}

#[test]
fn deep_and_long_queries_are_refused() {
    let deep = format!("filter {}a{}", "(".repeat(400), ")".repeat(400));
    assert!(parse(&deep).is_err());
    assert!(parse(&format!("filter {}a", "-".repeat(5_000))).is_err());
    assert!(parse(&format!("filter a{}", " or a".repeat(1_000))).is_err());
    assert!(parse(&"limit 1|".repeat(1_000)).is_err());
    for length in 0..40 {
        let text: String = "stats pct(a, 9) by `b`, 'c'|parse /(?<é>/".chars().take(length).collect();
        let _ = parse(&text);
    }
}
