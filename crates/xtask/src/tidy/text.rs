//! Files: length, heads, and words that may not stand in the tree.

use std::path::Path;

use super::Source;

/// From here on a file is more than one idea.
const LINES_MAX: usize = 800;
/// Not finished, or skipped. Written in two parts so that this file does not find itself.
const UNFINISHED: [&str; 4] =
    [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ign", "ore"), concat!("should_", "panic")];
/// What every checkout must hold.
const REQUIRED: [&str; 6] =
    ["README.md", "README.pt-BR.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", ".ci/run"];

pub(super) fn check(root: &Path, sources: &[Source], findings: &mut Vec<String>) {
    for name in REQUIRED.iter().filter(|name| !root.join(name).exists()) {
        findings.push(format!("{name} is missing"));
    }
    for source in sources {
        let generated = source.path.ends_with("generated.rs");
        let lines = source.text.lines().count();
        if lines > LINES_MAX && !generated {
            findings.push(format!("{}: {lines} lines; a file is one idea", source.path));
        }
        if source.ships && !source.text.starts_with("//!") {
            findings.push(format!("{}: a module begins with //! lines that say what it is", source.path));
        }
        for (index, line) in source.text.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
                findings.push(format!("{}:{}: {word}", source.path, index + 1));
            }
        }
    }
}
