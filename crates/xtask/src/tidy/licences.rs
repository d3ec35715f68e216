//! Licences of everything that is linked: permissive ones only.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences under which code may be linked into an Apache-2.0 binary without further duties on its users.
const ALLOWED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(super) fn check(root: &Path, findings: &mut Vec<String>) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output();
    let metadata: Value = match output {
        Ok(output) if output.status.success() => serde_json::from_slice(&output.stdout).unwrap_or_default(),
        Ok(output) => {
            findings.push(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
            return;
        }
        Err(error) => {
            findings.push(format!("cargo metadata: {error}"));
            return;
        }
    };
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence) {
            findings.push(format!("{} {}: licence '{licence}'", package["name"], package["version"]));
        }
    }
}

/// One allowed alternative of an SPDX expression is enough; all parts of a conjunction are needed.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" OR ").any(|choice| choice.split(" AND ").all(|part| ALLOWED.contains(&part.trim())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_expression_needs_one_permissive_choice() {
        assert!(super::is_allowed("MIT OR GPL-3.0"));
        assert!(super::is_allowed("MIT/Apache-2.0"));
        assert!(super::is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!super::is_allowed("AGPL-3.0"));
        assert!(!super::is_allowed(""));
    }
}
