//! What can be told of a template before anything is made: that its references lead somewhere and its files are there.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::document::Document;
use crate::error::TemplateError;
use crate::intrinsics::{Scope, mentioned};
use crate::template::Resource;

/// Every name that functions and DependsOn use must be a parameter or a resource of the template.
pub(crate) fn references<'r>(
    resources: impl Iterator<Item = (&'r String, &'r Resource)> + Clone,
    document: &Document,
    scope: &Scope,
) -> Result<(), TemplateError> {
    let made: BTreeSet<&str> = resources.clone().map(|(id, _)| id.as_str()).collect();
    // A resource that is left out, by its condition or because it is not supported, is not unknown.
    let known = |name: &str| {
        made.contains(name)
            || scope.values.contains_key(name)
            || name.starts_with("AWS::")
            || !document.value["Resources"][name].is_null()
    };
    for (_, resource) in resources {
        let mut names = resource.depends_on.clone();
        mentioned(&resource.properties, &mut names);
        // SAM's `Function.Alias` and `Function.Version` are parts of a resource.
        names.retain(|name| !known(name) && !known(name.split('.').next().unwrap_or_default()));
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let names = names.join(", ");
            let what =
                format!("Unresolved resource dependencies [{names}] in the Resources block of the template");
            return Err(TemplateError::Invalid(document.place(&resource.pointer), what));
        }
    }
    Ok(())
}

/// Folders with code of functions must be there.
pub(crate) fn files<'r>(
    resources: impl Iterator<Item = (&'r String, &'r Resource)>,
    document: &Document,
    folder: &Path,
) -> Result<(), TemplateError> {
    for (id, resource) in resources {
        let Value::String(path) = &resource.properties["Code"]["Passo::Folder"] else { continue };
        if !folder.join(path).exists() {
            let what = format!("{id}: CodeUri: {path}: no such file or folder");
            return Err(TemplateError::Invalid(document.place(&resource.pointer), what));
        }
    }
    Ok(())
}
