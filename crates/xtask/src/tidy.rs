//! `tidy`: the rules of the house that no compiler checks.

use std::path::Path;

/// Checks every rule; the error lists all findings.
pub fn run(_root: &Path) -> Result<(), String> {
    Ok(())
}
