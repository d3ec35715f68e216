//! A template's parameters: their values, and what the template asks of them.
//!
//! What is given wins, then what was given to the last deployment, then the template's default. A value marked `NoEcho`
//! is never shown, not even to say what is wrong with it.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::document::Document;
use crate::error::TemplateError;
use crate::intrinsics::text;
use crate::stack::Parameter;
use crate::template::Options;

/// The value of every declared parameter, checked.
pub(crate) fn settle(
    document: &Document,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, Parameter>, TemplateError> {
    let declared = document.value["Parameters"].as_object().cloned().unwrap_or_default();
    if let Some(unknown) = options.parameters.keys().find(|name| !declared.contains_key(*name)) {
        let names: Vec<&str> = declared.keys().map(String::as_str).collect();
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        let what = format!("the template has no parameter '{unknown}' (it has {known})");
        return Err(TemplateError::Invalid(document.place("/Parameters"), what));
    }
    let mut settled = BTreeMap::new();
    for (name, declaration) in &declared {
        let invalid =
            |what: String| TemplateError::Invalid(document.place(&format!("/Parameters/{name}")), what);
        let given = options.parameters.get(name).or_else(|| options.given_before.get(name));
        let default = declaration.get("Default").map(text);
        let Some(value) = given.cloned().or(default) else {
            let what =
                format!("Parameters: [{name}] must have values; give it with --parameter {name}=VALUE");
            return Err(invalid(what));
        };
        let no_echo = text(&declaration["NoEcho"]).eq_ignore_ascii_case("true");
        let rule = check(declaration, &value, warnings).map_err(|rule| {
            let constraint = declaration["ConstraintDescription"].as_str();
            let rule =
                constraint.map_or(rule, |constraint| format!("failed to satisfy constraint: {constraint}"));
            let shown = if no_echo { String::new() } else { format!(" (it is '{value}')") };
            invalid(format!("Parameter '{name}' {rule}{shown}"))
        });
        rule?;
        settled.insert(name.clone(), Parameter { value, no_echo, given: given.is_some() });
    }
    Ok(settled)
}

/// What functions see: lists are lists.
pub(crate) fn values(
    parameters: &BTreeMap<String, Parameter>,
    document: &Document,
) -> BTreeMap<String, Value> {
    let value = |(name, parameter): (&String, &Parameter)| {
        let kind = document.value["Parameters"][name]["Type"].as_str().unwrap_or("String");
        let value = match is_list(kind) {
            true => items(&parameter.value).map(Value::from).collect(),
            false => parameter.value.as_str().into(),
        };
        (name.clone(), value)
    };
    parameters.iter().map(value).collect()
}

fn is_list(kind: &str) -> bool {
    kind == "CommaDelimitedList" || kind.starts_with("List<")
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

/// The rule that a value breaks, in words that follow the parameter's name.
fn check(declaration: &Value, value: &str, warnings: &mut Vec<String>) -> Result<(), String> {
    let kind = declaration["Type"].as_str().unwrap_or("String");
    if kind.starts_with("AWS::SSM::Parameter") {
        return Err(format!("has type {kind}, which is not supported: there is no parameter store here"));
    }
    let single: Vec<&str> = if is_list(kind) { items(value).collect() } else { vec![value] };
    if let Some(allowed) = declaration["AllowedValues"].as_array() {
        let allowed: Vec<String> = allowed.iter().map(text).collect();
        if single.iter().any(|item| !allowed.iter().any(|allowed| allowed == item)) {
            return Err(format!("must be one of AllowedValues [{}]", allowed.join(", ")));
        }
    }
    let limit = |name: &str| text(&declaration[name]).parse::<f64>().ok();
    if matches!(kind, "Number" | "List<Number>") {
        for item in &single {
            let number: f64 = item.parse().map_err(|_| "must be a number".to_string())?;
            if limit("MinValue").is_some_and(|least| number < least) {
                return Err(format!("must be a number not less than {}", text(&declaration["MinValue"])));
            }
            if limit("MaxValue").is_some_and(|most| number > most) {
                return Err(format!("must be a number not greater than {}", text(&declaration["MaxValue"])));
            }
        }
    }
    let length = value.chars().count() as f64;
    if limit("MinLength").is_some_and(|least| length < least) {
        return Err(format!("must contain at least {} characters", text(&declaration["MinLength"])));
    }
    if limit("MaxLength").is_some_and(|most| length > most) {
        return Err(format!("must contain at most {} characters", text(&declaration["MaxLength"])));
    }
    pattern(declaration, value, warnings)
}

fn pattern(declaration: &Value, value: &str, warnings: &mut Vec<String>) -> Result<(), String> {
    let Some(pattern) = declaration["AllowedPattern"].as_str() else { return Ok(()) };
    match Regex::new(&format!("^(?:{pattern})$")) {
        Ok(compiled) if !compiled.is_match(value) => Err(format!("must match pattern {pattern}")),
        Ok(_) => Ok(()),
        // Java's expressions can look ahead and back, which ours cannot.
        Err(_) => {
            warnings.push(format!("the AllowedPattern {pattern} cannot be checked here"));
            Ok(())
        }
    }
}
