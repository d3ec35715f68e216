//! Expressions and the moments they name, as tables; and the parser and the search against a clock that is watched minute
//! by minute.

use super::*;
use proptest::prelude::*;

fn timetable(expression: &str, zone: &str, from: &str) -> Timetable {
    Timetable {
        expression: ScheduleExpression::parse(expression, Dialect::Scheduler).expect(expression),
        zone: time_zone(zone).expect(zone),
        anchor: from.parse().expect(from),
        start: None,
        end: None,
    }
}

/// The first moments from `from` on, in UTC, without the seconds where there are none.
fn moments(table: &Timetable, from: &str, count: usize) -> Vec<String> {
    let first = table.first_from(from.parse().expect(from));
    let all = std::iter::successors(first, |last| table.next_after(*last));
    all.take(count).map(|moment| moment.to_string().replace(":00Z", "Z")).collect()
}

const BOTH: &[&str] = &[
    "cron(0 10 * * ? *)",
    "cron(15 12 * * ? *)",
    "cron(0 18 ? * MON-FRI *)",
    "cron(0 8 1 * ? *)",
    "cron(0/15 * * * ? *)",
    "cron(0/5 8-17 ? * MON-FRI *)",
    "cron(0-15/1 8-8 ? * 2,3,4,5,6,7 *)",
    "cron(1-31/30 1-1 ? * 1,7 *)",
    "cron(30 0 L * ? *)",
    "cron(0 9 3W * ? *)",
    "cron(0 9 LW * ? *)",
    "cron(0 9 ? * 3#2 *)",
    "cron(0 9 ? * FRIL 2026-2030)",
    "cron(0 9 ? JAN,jul sun *)",
    "cron(* * * * ? *)",
    "rate(1 minute)",
    "rate(5 minutes)",
    "rate(1 hour)",
    "rate(30 days)",
];

const NEITHER: &[&str] = &[
    "",
    "cron",
    "cron()",
    "cron(INVALID)",
    "cron(0 10 * * ?)",
    "cron(0 10 * * ? * *)",
    "cron(0 1 * * * *)",
    "cron(7 20 * * 1-7 *)",
    "cron(7 20 * * NOT *)",
    "cron(0 10 ? * ? *)",
    "cron(0 dummy ? * MON-FRI *)",
    "cron(71 8 1 * ? *)",
    "cron(60 8 1 * ? *)",
    "cron(*/60 * * * ? *)",
    "cron(0 24 1 * ? *)",
    "cron(0 0 0 * ? *)",
    "cron(0 0 32 * ? *)",
    "cron(0 0 1 13 ? *)",
    "cron(0 0 ? * 0 *)",
    "cron(0 0 ? * 8 *)",
    "cron(0 0 ? * -1 *)",
    "cron(0 0 ? * 3#6 *)",
    "cron(0 0 ? * 3#1,6#3 *)",
    "cron(0 0 1 * ? 1969)",
    "cron(0 0 1 * ? 2200)",
    "cron(0 0 1 * ? 2030-2026)",
    "cron(0 0 W * ? *)",
    "cron(0/0 0 1 * ? *)",
    "cron(1- 0 1 * ? *)",
    "cron(,1 0 1 * ? *)",
    "rate()",
    "rate(10)",
    "rate(0 minutes)",
    "rate(-10 minutes)",
    "rate(+10 minutes)",
    "rate(foo minutes)",
    "rate(10 seconds)",
    "rate(10 years)",
    "rate(10 minutess)",
    "rate( 10 minutes )",
    " rate(10 minutes)",
    "rate(10 minutes) ",
    "rate(99999999999999999999 days)",
    "at(2021-12-31)",
    "at(2021-12-31T23:59:59Z)",
    "at(2021-12-31T23:59)",
    "at(2021-02-30T00:00:00)",
    "at(2021-12-31 23:59:59)",
];

const SCHEDULER_ONLY: [&str; 3] = ["at(2026-11-20T13:00:00)", "rate(1 minutes)", "rate(5 minute)"];

#[test]
fn expressions_are_taken_or_refused_as_on_aws() {
    use Dialect::{Rule, Scheduler};
    for text in BOTH {
        assert!(ScheduleExpression::parse(text, Scheduler).is_some(), "{text}");
        assert!(ScheduleExpression::parse(text, Rule).is_some(), "{text}");
    }
    for text in NEITHER {
        assert!(ScheduleExpression::parse(text, Scheduler).is_none(), "{text}");
        assert!(ScheduleExpression::parse(text, Rule).is_none(), "{text}");
    }
    for text in SCHEDULER_ONLY {
        assert!(ScheduleExpression::parse(text, Scheduler).is_some(), "{text}");
        assert!(ScheduleExpression::parse(text, Rule).is_none(), "{text}");
    }
}

#[test]
fn expressions_name_their_moments() {
    // 2026-11-20 is a Friday.
    let from = "2026-11-20T10:07:30Z";
    let cases: &[(&str, &[&str])] = &[
        ("cron(0 10 * * ? *)", &["2026-11-21T10:00Z", "2026-11-22T10:00Z"]),
        ("cron(0/20 10 * * ? *)", &["2026-11-20T10:20Z", "2026-11-20T10:40Z", "2026-11-21T10:00Z"]),
        ("cron(5-6,50/5 10 * * ? *)", &["2026-11-20T10:50Z", "2026-11-20T10:55Z", "2026-11-21T10:05Z"]),
        ("cron(0 18 ? * MON-FRI *)", &["2026-11-20T18:00Z", "2026-11-23T18:00Z"]),
        (
            "cron(0 8 ? * FRI-MON *)",
            &["2026-11-21T08:00Z", "2026-11-22T08:00Z", "2026-11-23T08:00Z", "2026-11-27T08:00Z"],
        ),
        (
            "cron(0 0 L * ? *)",
            &["2026-11-30T00:00Z", "2026-12-31T00:00Z", "2027-01-31T00:00Z", "2027-02-28T00:00Z"],
        ),
        ("cron(0 0 L-3 * ? *)", &["2026-11-27T00:00Z", "2026-12-28T00:00Z"]),
        ("cron(0 0 LW * ? *)", &["2026-11-30T00:00Z", "2026-12-31T00:00Z", "2027-01-29T00:00Z"]),
        // 2026-11-21 is a Saturday, 2027-08-01 a Sunday, 2027-05-01 a Saturday.
        ("cron(0 9 21W 11 ? *)", &["2027-11-22T09:00Z"]),
        ("cron(0 11 20W 11 ? 2026)", &["2026-11-20T11:00Z"]),
        ("cron(0 9 1W 5,8 ? 2027)", &["2027-05-03T09:00Z", "2027-08-02T09:00Z"]),
        ("cron(0 9 31W * ? 2027)", &["2027-01-29T09:00Z", "2027-03-31T09:00Z", "2027-05-31T09:00Z"]),
        ("cron(0 9 ? * 3#2 *)", &["2026-12-08T09:00Z", "2027-01-12T09:00Z"]),
        ("cron(0 9 ? * 1#5 *)", &["2026-11-29T09:00Z", "2027-01-31T09:00Z"]),
        ("cron(0 9 ? * 6L *)", &["2026-11-27T09:00Z", "2026-12-25T09:00Z"]),
        ("cron(0 9 ? * L *)", &["2026-11-21T09:00Z", "2026-11-28T09:00Z"]),
        ("cron(0 0 29 2 ? *)", &["2028-02-29T00:00Z", "2032-02-29T00:00Z"]),
        ("cron(0 0 1 1 ? 2027-2199/100)", &["2027-01-01T00:00Z", "2127-01-01T00:00Z"]),
        ("cron(0 0 31 2 ? *)", &[]),
        ("cron(0 0 1 1 ? 2020)", &[]),
        ("at(2026-11-20T13:00:00)", &["2026-11-20T13:00Z"]),
        ("at(2026-11-20T10:00:00)", &[]),
        ("rate(1 day)", &["2026-11-20T10:07:30Z", "2026-11-21T10:07:30Z"]),
    ];
    for (expression, expected) in cases {
        let table = timetable(expression, "UTC", from);
        assert_eq!(moments(&table, from, expected.len().max(1)), *expected, "{expression}");
    }
}

#[test]
fn time_zones_and_the_setting_of_clocks_are_as_in_the_manual() {
    let new_york = "America/New_York";
    let cases: &[(&str, &str, &str, &[&str])] = &[
        // No daylight saving since 2019: always three hours behind.
        (
            "cron(0 6 * * ? *)",
            "America/Sao_Paulo",
            "2026-10-31T00:00:00Z",
            &["2026-10-31T09:00Z", "2026-11-01T09:00Z"],
        ),
        // Before, the clocks went from 00:00 to 01:00 on 4 November 2018.
        (
            "cron(30 0 * * ? *)",
            "America/Sao_Paulo",
            "2018-11-03T00:00:00Z",
            &["2018-11-03T03:30Z", "2018-11-05T02:30Z"],
        ),
        // 02:00 to 03:00 on 8 March 2026.
        ("cron(0 6 * * ? *)", new_york, "2026-03-07T00:00:00Z", &["2026-03-07T11:00Z", "2026-03-08T10:00Z"]),
        ("cron(30 2 * * ? *)", new_york, "2026-03-07T00:00:00Z", &["2026-03-07T07:30Z", "2026-03-09T06:30Z"]),
        (
            "cron(0 1-4 * * ? *)",
            new_york,
            "2026-03-08T05:30:00Z",
            &["2026-03-08T06:00Z", "2026-03-08T07:00Z", "2026-03-08T08:00Z"],
        ),
        // 02:00 to 01:00 on 1 November 2026: half past one comes twice and is run once.
        ("cron(30 1 * * ? *)", new_york, "2026-10-31T12:00:00Z", &["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        ("cron(30 1 * * ? *)", new_york, "2026-11-01T05:45:00Z", &["2026-11-02T06:30Z"]),
        (
            "cron(0 * * * ? *)",
            new_york,
            "2026-11-01T04:00:00Z",
            &["2026-11-01T04:00Z", "2026-11-01T05:00Z", "2026-11-01T07:00Z"],
        ),
        // A day is 24 hours.
        ("rate(1 day)", new_york, "2026-03-07T11:00:00Z", &["2026-03-07T11:00Z", "2026-03-08T11:00Z"]),
        ("at(2026-03-08T02:30:00)", new_york, "2026-03-01T00:00:00Z", &["2026-03-08T07:30Z"]),
        ("at(2026-11-01T01:30:00)", new_york, "2026-03-01T00:00:00Z", &["2026-11-01T05:30Z"]),
        ("cron(15 12 * * ? *)", "Asia/Kathmandu", "2026-03-01T00:00:00Z", &["2026-03-01T06:30Z"]),
        // Samoa had no 30 December 2011.
        (
            "cron(0 12 * * ? *)",
            "Pacific/Apia",
            "2011-12-29T00:00:00Z",
            &["2011-12-29T22:00Z", "2011-12-30T22:00Z"],
        ),
    ];
    for (expression, zone, from, expected) in cases {
        let table = timetable(expression, zone, from);
        assert_eq!(moments(&table, from, expected.len()), *expected, "{expression} {zone} {from}");
    }
    for name in ["Mars/Olympus", "", "UTC+3", "America/New_York "] {
        assert!(time_zone(name).is_none(), "{name}");
    }
}

#[test]
fn start_and_end_bound_what_recurs() {
    let from = "2026-03-01T00:00:00Z";
    let day = |day: &str| Some(day.parse().unwrap());
    let mut table = timetable("cron(0 12 * * ? *)", "UTC", from);
    (table.start, table.end) = (day("2026-03-03T12:00:00Z"), day("2026-03-05T11:59:59Z"));
    assert_eq!(moments(&table, from, 5), ["2026-03-03T12:00Z", "2026-03-04T12:00Z"]);
    let mut table = timetable("rate(12 hours)", "UTC", "2026-03-02T01:00:00Z");
    table.end = day("2026-03-03T01:00:00Z");
    assert_eq!(moments(&table, from, 5), ["2026-03-02T01:00Z", "2026-03-02T13:00Z", "2026-03-03T01:00Z"]);
    let mut table = timetable("at(2026-03-02T01:00:00)", "UTC", from);
    table.end = day("2026-03-01T01:00:00Z");
    assert_eq!(moments(&table, from, 5), ["2026-03-02T01:00Z"]);
}

#[test]
fn a_cursor_left_behind_catches_up_in_order_and_drops_what_is_too_old() {
    let table = timetable("cron(0 0/6 * * ? *)", "UTC", "2026-03-01T00:00:00Z");
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let (oldest, now) = (at("2026-03-02T01:00:00Z"), at("2026-03-02T12:00:00Z"));
    let expected = |moments: &[&str], cursor: &str, dropped: Option<&str>| CaughtUp {
        moments: moments.iter().map(|moment| at(moment)).collect(),
        cursor: Some(at(cursor)),
        dropped: dropped.map(at),
    };
    let late = table.catch_up(at("2026-03-01T06:00:00Z"), oldest, now, 10);
    let both = ["2026-03-02T06:00:00Z", "2026-03-02T12:00:00Z"];
    assert_eq!(late, expected(&both, "2026-03-02T18:00:00Z", Some("2026-03-01T06:00:00Z")));
    let full = table.catch_up(at(both[0]), oldest, now, 1);
    assert_eq!(full, expected(&both[..1], both[1], None));
    let early = table.catch_up(at("2026-03-02T18:00:00Z"), oldest, now, 10);
    assert_eq!(early, expected(&[], "2026-03-02T18:00:00Z", None));
}

/// A field of a few numbers, as text and as a list.
fn field(least: i16, most: i16) -> impl Strategy<Value = (String, Vec<i16>)> {
    let all = (least..=most).collect::<Vec<_>>();
    prop_oneof![
        Just(("*".to_owned(), all)),
        (least..=most).prop_map(|value| (value.to_string(), vec![value])),
        (least..=most, least..=most).prop_map(|(a, b)| {
            let (first, last) = (a.min(b), a.max(b));
            (format!("{first}-{last}"), (first..=last).collect())
        }),
        (least..=most, 1..=most).prop_map(move |(first, step)| {
            let values = (first..=most).filter(|value| (value - first) % step == 0).collect();
            (format!("{first}/{step}"), values)
        }),
        prop::collection::vec(least..=most, 1..4).prop_map(|values| {
            let texts: Vec<String> = values.iter().map(i16::to_string).collect();
            (texts.join(","), values)
        }),
    ]
}

const ZONES: [&str; 5] =
    ["UTC", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Europe/Lisbon"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_is_a_panic(text in "(cron|rate|at)?\\(?[0-9A-Za-z*?,#/ LW:-]{0,24}\\)?") {
        for dialect in [Dialect::Scheduler, Dialect::Rule] {
            if let Some(expression) = ScheduleExpression::parse(&text, dialect) {
                let zone = TimeZone::UTC;
                let table = Timetable { expression, zone, anchor: Timestamp::UNIX_EPOCH, start: None, end: None };
                table.first_from(Timestamp::UNIX_EPOCH);
                table.first_from(Timestamp::MAX);
            }
        }
    }

    #[test]
    fn the_search_finds_what_a_watched_clock_shows(
        minutes in field(0, 59),
        hours in field(0, 23),
        days in field(1, 7),
        zone in prop::sample::select(&ZONES[..]),
        // Around both changes of 2026 in New York and Lisbon.
        begin in prop::sample::select(&["2026-03-07T00:00:00Z", "2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z", "2026-10-31T12:00:00Z"][..]),
        offset in 0_i64..1_440,
    ) {
        let text = format!("cron({} {} ? * {} *)", minutes.0, hours.0, days.0);
        let begin: Timestamp = begin.parse().unwrap();
        let begin = begin + SignedDuration::from_mins(offset);
        let table = timetable(&text, zone, &begin.to_string());
        let end = begin + SignedDuration::from_hours(40);
        let first = table.first_from(begin);
        let found: Vec<Timestamp> = std::iter::successors(first, |last| table.next_after(*last))
            .take_while(|moment| *moment < end).collect();
        let mut seen = std::collections::BTreeSet::new();
        let mut watched = Vec::new();
        // A day earlier, so that what is repeated has been seen before.
        let mut now = begin - SignedDuration::from_hours(24);
        while now < end {
            let local = table.zone.to_datetime(now);
            let weekday = i16::from(local.date().weekday().to_sunday_one_offset());
            let runs = minutes.1.contains(&local.minute().into()) && hours.1.contains(&local.hour().into())
                && days.1.contains(&weekday);
            if seen.insert(local) && runs && now >= begin {
                watched.push(now);
            }
            now += SignedDuration::from_mins(1);
        }
        prop_assert_eq!(found, watched, "{} {}", text, zone);
    }
}
