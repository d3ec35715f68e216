//! What a crate may not touch: clocks, chance, files and sockets in the core; the environment outside the binary; `step`
//! outside the runtime.

use super::Source;

/// Crates, words that may not stand in their shipping code, and why.
const FORBIDDEN: [(&[&str], &[&str], &str); 4] = [
    (
        &["asl", "engine"],
        &[
            "SystemTime",
            "Instant::now",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "tokio",
            "getrandom",
            "async fn",
        ],
        "the core has no clock, no chance, no I/O and no async: they come in as arguments",
    ),
    (&["api"], &["rusqlite", "SELECT ", "store::Sqlite"], "the API does not know SQL"),
    (&["store"], &["asl::program", "Program"], "the store does not know Program"),
    (
        &["asl", "engine", "store", "runtime", "api", "integrations", "templates"],
        &["std::env::var", "std::env::args"],
        "only the binary reads flags and environment",
    ),
];

pub(super) fn check(sources: &[Source], findings: &mut Vec<String>) {
    for source in sources.iter().filter(|source| source.ships) {
        for (crates, words, why) in FORBIDDEN {
            if !crates.contains(&source.krate.as_str()) {
                continue;
            }
            for (number, line) in code(&source.text) {
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    findings.push(format!("{}:{number}: {word}: {why}", source.path));
                }
            }
        }
        let steps = !matches!(source.krate.as_str(), "engine" | "runtime" | "testkit" | "xtask");
        for (number, line) in code(&source.text).filter(|_| steps) {
            if line.contains("engine::step(") {
                findings.push(format!("{}:{number}: only runtime and testkit call step", source.path));
            }
        }
    }
}

/// Lines of code with their numbers: no comments, and nothing from the first module of tests on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}
