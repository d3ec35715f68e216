//! Definitions and what is said about them: every file of `definitions/` holds cases of the form
//!
//! ```text
//! === name of the case [EXPRESS]
//! {definition}
//! ---
//! SEVERITY CODE: message at location [line:column]
//! ```
//!
//! A case without lines after `---` must compile. `UPDATE_EXPECT=1` writes what is said now into the files.

use std::fmt::Write as _;
use std::path::PathBuf;

use asl::program::StateMachineType;
use asl::{CompileOptions, compile, compile_stored, diagnostic, validate};

#[test]
fn definitions_are_diagnosed_as_written_beside_them() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut differences = String::new();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut written = String::new();
        for case in text.split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').unwrap();
            let (definition, expected) = rest.split_once("\n---\n").unwrap();
            let found = findings(title, definition);
            count += 1;
            if found.trim() != expected.trim() {
                let _ = writeln!(
                    differences,
                    "{}: {title}\nfound:\n{found}expected:\n{expected}",
                    file.display()
                );
            }
            let _ = write!(written, "=== {title}\n{definition}\n---\n{found}\n");
        }
        if update {
            std::fs::write(&file, format!("{}\n", written.trim_end())).unwrap();
        }
    }
    assert!(count > 50, "{count} cases");
    assert!(update || differences.is_empty(), "{differences}");
}

fn findings(title: &str, definition: &str) -> String {
    let express = title.contains("[EXPRESS]");
    let machine_type = if express { StateMachineType::Express } else { StateMachineType::Standard };
    let options = CompileOptions { machine_type, ..CompileOptions::default() };
    let validation = validate(definition, &options);
    assert_eq!(validation.is_ok(), compile(definition, &options).is_ok(), "{title}");
    assert!(!validation.is_ok() || compile_stored(definition, machine_type).is_ok(), "{title}");
    let mut lines = String::new();
    for found in &validation.diagnostics {
        let (line, column) = diagnostic::line_and_column(definition, found.span.start);
        assert!(definition.get(found.span.clone()).is_some(), "{title}: the span is one of the text");
        let _ = writeln!(lines, "{} {found} [{line}:{column}]", found.severity.as_str());
    }
    lines
}
