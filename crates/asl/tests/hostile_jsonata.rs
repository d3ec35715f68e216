//! Hostile expressions end within their limits: no hang, no abort, less than 256 MiB.
//!
//! One process runs them all, so that its peak of memory covers each of them.

use std::thread;
use std::time::{Duration, Instant};

use asl::entropy::SeededEntropy;
use asl::jsonata::{EvaluationError, Expression, Interrupt, JsonataScope, Limits};
use asl::scope::NoVariables;
use asl::timestamp::Timestamp;
use serde_json::json;

/// Names and expressions.
const EXPRESSIONS: [(&str, &str); 46] = [
    ("recursion", "($f := function($n) { 1 + $f($n + 1) }; $f(0))"),
    ("tail", "($f := function($n) { $f($n + 1) }; $f(0))"),
    ("range", "[1..10000000]"),
    ("ranges", "$map([1..1000], function($i) { [1..100000] })"),
    ("rangespath", "[1..1000].[1..100000]"),
    ("many", "[1..1000000].[$]"),
    ("objects", "[1..1000000].{'a': $}"),
    ("pad", "$pad('', 100000000)"),
    ("pads", "[1..10000].$pad('', 100000)"),
    ("double", "($f := function($s, $n) { $n = 0 ? $s : $f($s & $s, $n - 1) }; $f('ab', 40))"),
    ("doubles", "[1..100].($f := function($s, $n) { $n = 0 ? $s : $f($s & $s, $n - 1) }; $f('a', 19))"),
    ("append", "($f := function($s, $n) { $n = 0 ? $s : $f($append($s, $s), $n - 1) }; $f([1], 40))"),
    ("dag", "($f := function($s, $n) { $n = 0 ? $s : $f([[$s, $s]], $n - 1) }; $f([1], 40))"),
    ("replace", "$replace($pad('', 1000000), ' ', $pad('', 1000000))"),
    ("replacechain", "$pad('', 1000000) ~> $replace(' ', $pad('', 1000000))"),
    ("replacectx", "$pad('', 1000000).$replace(' ', $pad('', 1000000))"),
    ("replacealias", "($r := $replace; $r($pad('', 1000000), ' ', $pad('', 1000000)))"),
    ("replaceregex", "$replace($pad('', 1000000), / /, 'ab')"),
    ("matchregex", "$match($pad('', 1000000), / /)"),
    ("splitregex", "$split($pad('', 1000000), / /)"),
    ("split", "$split($pad('', 1000000), '')"),
    ("redos", "$match($pad('', 40, 'a') & 'b', /^(a+)+$/)"),
    ("redos2", "$contains($pad('', 30000, 'a'), /(a*)*(a*)*c/)"),
    ("sort", "$sort([1..1000000], function($a, $b) { $a < $b })"),
    ("sortnative", "$sort([1..1000000])"),
    ("distinct", "$distinct([1..100000])"),
    ("distinctstrings", "$distinct([1..100000].$string($))"),
    ("format", "$formatNumber(1, $pad('', 1000000, '0'))"),
    ("format2", "$formatNumber(123456789, $pad('', 1000000, '#,'))"),
    ("formatbig", "$formatNumber(1e300, '#,##0.' & $pad('', 100000, '0'))"),
    ("zip", "$zip([1..1000000], [1..1000000], [1..1000000])"),
    ("reduce", "$reduce([1..100000], function($a, $i) { $append($a, $i) })"),
    ("join", "$join([1..1000000].$string($))"),
    ("power", "$reduce([1..1000], function($a, $i) { $a * 10 })"),
    ("shuffle", "$shuffle([1..1000000])"),
    ("group", "[1..200000]{$string($): $}"),
    ("deepvalue", "($f := function($s, $n) { $n = 0 ? $s : $f({'a': $s}, $n - 1) }; $f(1, 100000))"),
    ("base64", "$base64encode($pad('', 1000000)) ~> $base64decode()"),
    ("spread", "$spread([1..300000].{'a': 1, 'b': 2})"),
    ("each", "$each($merge([1..200000].{$string($): $}), function($v, $k) { $k })"),
    ("toMillis", "$toMillis($pad('', 100000, '9'), $pad('', 100000, '[Y]'))"),
    ("fromMillis", "$fromMillis(1, $pad('', 300000, '[Y]'))"),
    ("formatInteger", "$formatInteger(123, $pad('', 1000000, '#'))"),
    ("words", "$formatInteger(1e300, 'w')"),
    ("roman", "$formatInteger(1e9, 'I')"),
    ("alpha", "$formatInteger(1e300, 'a')"),
];

/// Less than the second AWS allows, to be done sooner.
const ALLOWED: Duration = Duration::from_millis(300);
/// A single call of a built-in function is not interrupted; debug builds are slow.
const TAKEN_MAX: Duration = Duration::from_secs(60);
const PEAK_KIB_MAX: u64 = 256 * 1024;

#[test]
fn hostile_expressions_end_within_their_limits() {
    for (name, text) in EXPRESSIONS {
        let started = Instant::now();
        // Some of them are merely slow and succeed: only how they end matters.
        let _ = evaluate(text);
        let taken = started.elapsed();
        let peak = peak_kib();
        assert!(taken < TAKEN_MAX, "{name} took {taken:?}");
        assert!(peak < PEAK_KIB_MAX, "{name} took {peak} KiB");
    }
}

fn evaluate(text: &str) -> Result<bool, EvaluationError> {
    let interrupt = Interrupt::new();
    let limits = Limits { interrupt: Some(interrupt.clone()), ..Limits::default() };
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(ALLOWED).is_err() {
            interrupt.raise();
        }
    });
    let input = json!({});
    let scope = JsonataScope {
        input: &input,
        result: None,
        error_output: None,
        context: &input,
        variables: &NoVariables,
        now: Timestamp::default(),
    };
    let expression = Expression::compile(text).expect(text);
    let result = expression.evaluate(&scope, &mut SeededEntropy::new(1), &limits);
    drop(ended);
    watch.join().expect("the watch does not panic");
    result.map(|value| value.is_some())
}

/// The process's peak of resident memory; zero where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
