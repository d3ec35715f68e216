//! Patterns of `parse`, `like` and `=~`: a glob whose stars are what is taken, or a regular expression with named groups.

use regex::{Regex, RegexBuilder};

/// Compiled regular expressions are held to a size, since callers write them.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A regular expression as it stands between slashes.
pub(super) fn expression(source: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(source).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|_| format!("invalid regular expression /{source}/"))
}

/// A text that must be contained.
pub(super) fn contained(text: &str) -> Result<Regex, String> {
    expression(&regex::escape(text))
}

/// A glob and the number of its stars. Each takes as little as it can; one at the end takes the rest.
pub(super) fn glob(text: &str) -> Result<(Regex, usize), String> {
    let pieces: Vec<&str> = text.split('*').collect();
    let stars = pieces.len() - 1;
    let mut source = String::from("(?s)");
    for (index, piece) in pieces.iter().enumerate() {
        source.push_str(&regex::escape(piece));
        if index + 1 < pieces.len() {
            let to_the_end = index + 2 == pieces.len() && pieces[index + 1].is_empty();
            source.push_str(if to_the_end { "(.*)" } else { "(.*?)" });
        }
    }
    Ok((expression(&source)?, stars))
}
