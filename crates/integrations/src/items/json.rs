//! Where JSON values begin and end in text of which only a part is there yet.
//!
//! Invariant: `None` means that more text is needed to tell. It finds ends only; whether a value is good JSON is told by the
//! parser that gets it.

/// Offset of the first byte that is no white space.
pub(super) fn skip_space(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.iter().position(|byte| !byte.is_ascii_whitespace()).map(|offset| from + offset)
}

/// End of the value that begins at `from`. A number or word ends where the text does if there is `no_more`.
pub(super) fn value_end(text: &[u8], from: usize, no_more: bool) -> Option<usize> {
    match *text.get(from)? {
        b'"' => string_end(text, from),
        b'{' | b'[' => container_end(text, from),
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}' | b':');
            let end = text[from..].iter().position(ends).map(|offset| from + offset);
            end.or_else(|| no_more.then_some(text.len()))
        }
    }
}

fn string_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn container_end(text: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_usize);
    loop {
        match *text.get(at)? {
            b'"' => at = string_end(text, at)? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// Where a JSON Pointer leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// The value begins here.
    At(usize),
    /// There is no such value.
    Nowhere,
}

/// Follows the reference tokens of an `ItemsPointer` from the value at `from`.
pub(super) fn locate(text: &[u8], from: usize, tokens: &[String]) -> Option<Located> {
    let mut at = skip_space(text, from)?;
    for token in tokens {
        at = match *text.get(at)? {
            b'{' => match member(text, at, token)? {
                Located::At(value) => value,
                Located::Nowhere => return Some(Located::Nowhere),
            },
            b'[' => match element(text, at, token)? {
                Located::At(value) => value,
                Located::Nowhere => return Some(Located::Nowhere),
            },
            _ => return Some(Located::Nowhere),
        };
    }
    Some(Located::At(at))
}

fn member(text: &[u8], object: usize, name: &str) -> Option<Located> {
    let mut at = skip_space(text, object + 1)?;
    while *text.get(at)? == b'"' {
        let end = string_end(text, at)?;
        let key: Option<String> = serde_json::from_slice(&text[at..end]).ok();
        let colon = skip_space(text, end)?;
        let value = skip_space(text, colon + 1)?;
        if key.as_deref() == Some(name) {
            return Some(Located::At(value));
        }
        at = skip_space(text, value_end(text, value, false)?)?;
        if text[at] != b',' {
            break;
        }
        at = skip_space(text, at + 1)?;
    }
    Some(Located::Nowhere)
}

fn element(text: &[u8], array: usize, index: &str) -> Option<Located> {
    let Ok(mut left) = index.parse::<usize>() else { return Some(Located::Nowhere) };
    let mut at = skip_space(text, array + 1)?;
    while text[at] != b']' {
        if left == 0 {
            return Some(Located::At(at));
        }
        left -= 1;
        at = skip_space(text, value_end(text, at, false)?)?;
        if text[at] != b',' {
            break;
        }
        at = skip_space(text, at + 1)?;
    }
    Some(Located::Nowhere)
}

/// The reference tokens of a JSON Pointer (RFC 6901); none if it is not one.
pub(super) fn tokens(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let tokens = pointer.strip_prefix('/')?.split('/');
    Some(tokens.map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end_and_nothing_is_told_too_early() {
        let cases = [
            (r#"{"a":"}\"]"} ,"#, Some(12)),
            (r#"[[1],[2]]x"#, Some(9)),
            ("12,", Some(2)),
            ("12", None),
            (r#"{"a":[1"#, None),
        ];
        for (text, end) in cases {
            assert_eq!(value_end(text.as_bytes(), 0, false), end, "{text}");
        }
    }

    #[test]
    fn pointers_lead_through_objects_and_arrays() {
        let text = br#" {"x": {"y":[0]}, "a/b": [ {"c~": [7]} ] } "#;
        let at = |pointer: &str| locate(text, 0, &tokens(pointer).unwrap_or_default());
        let place = text.windows(3).position(|window| window == b"[7]");
        assert_eq!(at("/a~1b/0/c~0"), place.map(Located::At));
        assert_eq!(at("/a~1b/1"), Some(Located::Nowhere));
        assert_eq!(at("/x/y/z"), Some(Located::Nowhere));
        assert_eq!(locate(br#"{"x":[1,"#, 0, &["y".to_string()]), None);
    }
}
