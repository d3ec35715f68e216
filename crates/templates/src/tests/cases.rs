//! `cases/NAME.yaml` (or `.json`) is a template, `NAME.options.json` what is given with it, `NAME.expected` what is read
//! out of it: resources in the order in which they are made, outputs and warnings, or the error. `UPDATE_EXPECT=1` writes.
//! What only a deployment can tell stands as `‹Resource.Attribute›`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::plan::resolve;
use crate::{Options, Place, Template, TemplateError};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn options(file: &Path) -> Options {
    let given = std::fs::read_to_string(file.with_extension("options.json")).unwrap_or_else(|_| "{}".into());
    let given: Value = serde_json::from_str(&given).expect("options are JSON");
    let map = |name: &str| serde_json::from_value(given[name].clone()).unwrap_or_default();
    Options {
        stack: "demo".into(),
        place: Place { account: "123456789012".into(), region: "eu-west-1".into() },
        parameters: map("parameters"),
        given_before: map("given_before"),
        exports: map("exports"),
        skip_unsupported: given["skip_unsupported"].as_bool().unwrap_or_default(),
        ..Options::default()
    }
}

fn read(file: &Path) -> Result<String, TemplateError> {
    let text = std::fs::read_to_string(file).expect("a case can be read");
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let template = Template::parse(&name, &text, &folder(), &options(file))?;
    let mut scope = template.scope.clone();
    scope.unknown.extend(template.resources.keys().cloned());
    let mut out = String::new();
    for id in template.order()? {
        let resource = &template.resources[&id];
        let properties = resolve(&template, &scope, &id)?;
        let keeping = match (resource.keeping.when_removed, resource.keeping.when_replaced) {
            (false, false) => "",
            (true, false) => " (kept when removed)",
            (false, true) => " (kept when replaced)",
            (true, true) => " (kept)",
        };
        let _ = writeln!(out, "{id} {}{keeping}", resource.kind);
        let _ = writeln!(out, "{}", serde_json::to_string_pretty(&properties).unwrap_or_default());
    }
    for (name, output) in &template.outputs {
        let value = scope.resolve(output).map_err(|fault| fault.what);
        let _ = writeln!(out, "output {name} {}", value.map_or_else(|what| what, |value| value.to_string()));
    }
    for warning in &template.warnings {
        let _ = writeln!(out, "warning {warning}");
    }
    Ok(out)
}

fn readable(text: &str) -> String {
    let mut out = text.replace("\\u0000known after deploy:", "‹").replace("\u{0}known after deploy:", "‹");
    out = out.replace("\\u0000", "›").replace('\u{0}', "›");
    out
}

#[test]
fn every_template_of_the_cases_means_what_is_expected() {
    let mut wrong = Vec::new();
    let entries = std::fs::read_dir(folder()).expect("cases are there");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let is_template = |file: &PathBuf| {
        let name = file.to_string_lossy();
        (name.ends_with(".yaml") || name.ends_with(".json"))
            && !name.ends_with(".options.json")
            && !name.ends_with(".asl.json")
    };
    files.retain(is_template);
    files.sort();
    assert!(files.len() > 10, "the cases are missing");
    for file in files {
        let found = read(&file).unwrap_or_else(|error| format!("error {error}\n"));
        let (found, expected_file) = (readable(&found), file.with_extension("expected"));
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if found != expected && std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected_file, &found).expect("expectations can be written");
        } else if found != expected {
            wrong.push(format!("{}:\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
