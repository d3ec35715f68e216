//! Which resource of a deployed API a path means: names before variables, variables before greedy ones.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// The resource that a path leads to, with the values of its variables.
pub(super) fn find<'a>(resources: &'a Value, path: &str) -> Option<(&'a Value, Map<String, Value>)> {
    let wanted: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let candidates = resources.as_object()?.values();
    let matched = candidates.filter_map(|resource| {
        let pattern: Vec<&str> =
            resource["path"].as_str()?.split('/').filter(|part| !part.is_empty()).collect();
        let (rank, variables) = matches(&pattern, &wanted)?;
        Some((rank, resource, variables))
    });
    let best = matched.min_by(|(a, ..), (b, ..)| a.cmp(b))?;
    Some((best.1, best.2))
}

/// How well a pattern fits, part by part; smaller is better.
fn matches(pattern: &[&str], wanted: &[&str]) -> Option<(Vec<u8>, Map<String, Value>)> {
    let (mut rank, mut variables) = (Vec::new(), Map::new());
    for (index, part) in pattern.iter().enumerate() {
        let variable = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match variable {
            Some(greedy) if greedy.ends_with('+') => {
                let rest = wanted.get(index..).filter(|rest| !rest.is_empty())?;
                variables.insert(greedy.trim_end_matches('+').to_owned(), decoded(&rest.join("/")));
                rank.push(2);
                return Some((rank, variables));
            }
            Some(name) => {
                variables.insert(name.to_owned(), decoded(wanted.get(index)?));
                rank.push(1);
            }
            None if wanted.get(index)? == part => rank.push(0),
            None => return None,
        }
    }
    (pattern.len() == wanted.len()).then_some((rank, variables))
}

fn decoded(text: &str) -> Value {
    percent_decode_str(text).decode_utf8_lossy().into_owned().into()
}
