//! Which of our crates may use which: the table of ARCHITECTURE.md, executed.

use std::path::Path;

/// Crate, and those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 14] = [
    ("asl", &[]),
    ("engine", &["asl"]),
    ("store", &["engine"]),
    ("integrations", &["asl"]),
    ("runtime", &["engine", "store", "integrations", "asl"]),
    ("services", &[]),
    ("api", &["runtime", "engine", "asl"]),
    ("templates", &[]),
    ("graph", &[]),
    (
        "passo",
        &["api", "asl", "engine", "graph", "integrations", "runtime", "services", "store", "templates"],
    ),
    ("testkit", &["asl", "engine", "store", "runtime"]),
    ("fuzz", &["asl", "templates"]),
    ("powercut", &[]),
    ("xtask", &[]),
];

pub(super) fn check(root: &Path, findings: &mut Vec<String>) {
    let ours: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let folders = std::fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    for folder in folders.map(|entry| entry.path()) {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(format!(
                "crates/{name}: not in the table of arrows; add it there and in ARCHITECTURE.md"
            ));
            continue;
        };
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        for dependency in dependencies(&manifest) {
            if ours.contains(&dependency) && !allowed.contains(&dependency) {
                findings.push(format!("crates/{name}/Cargo.toml: {name} may not use {dependency}"));
            }
        }
    }
}

/// Names below `[dependencies]`; what only tests use is not an arrow of the house.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
            return None;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        (inside && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_dependencies_that_ship_are_arrows() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nasl.workspace = true\n[dev-dependencies]\nstore.workspace = true\n";
        assert_eq!(super::dependencies(manifest).collect::<Vec<_>>(), ["asl"]);
    }
}
