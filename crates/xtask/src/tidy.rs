//! `tidy`: the rules of the house that no compiler checks. The test command runs it, too.

mod arrows;
mod licences;
mod purity;
mod text;

use std::path::{Path, PathBuf};

/// Checks every rule; the error lists all findings.
pub fn run(root: &Path) -> Result<(), String> {
    let sources = sources(root);
    let mut findings = Vec::new();
    arrows::check(root, &mut findings);
    purity::check(&sources, &mut findings);
    text::check(root, &sources, &mut findings);
    licences::check(root, &mut findings);
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n")) }
}

/// A Rust file of a crate.
pub(crate) struct Source {
    /// Name of the crate's folder.
    pub krate: String,
    /// Path below the root.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Does it ship (below `src/`, and not a module of tests)?
    pub ships: bool,
}

fn sources(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root.join("crates"), &mut files);
    files.sort();
    files
        .into_iter()
        .filter_map(|file| {
            let path = file.strip_prefix(root).ok()?.to_string_lossy().into_owned();
            let krate = path.split('/').nth(1)?.to_string();
            let text = std::fs::read_to_string(&file).ok()?;
            let ships = path.contains("/src/") && !path.ends_with("tests.rs") && !path.contains("/tests/");
            Some(Source { krate, path, text, ships })
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        if let Err(findings) = super::run(&crate::workspace_root()) {
            panic!("{findings}");
        }
    }
}
