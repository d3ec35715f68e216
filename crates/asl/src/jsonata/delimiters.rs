//! The marks `{%` and `%}` that make a string an expression.

/// A string that begins or ends like an expression but not both, or not exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The JSONata expression is not enclosed in '{{%' and '%}}'")]
pub struct Malformed;

/// The text between the marks if `text` is an expression; `None` if it is an ordinary string.
///
/// The marks must be the first and the last two characters. One of them alone is malformed; with white space
/// on both sides of them it is an ordinary string (recorded).
pub fn is_expression(text: &str) -> Result<Option<&str>, Malformed> {
    match (text.starts_with("{%"), text.ends_with("%}")) {
        (false, false) => Ok(None),
        (true, true) if text.len() >= 4 => Ok(Some(text[2..text.len() - 2].trim())),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_marks_make_an_expression() {
        assert_eq!(is_expression("{% $x %}"), Ok(Some("$x")));
        assert_eq!(is_expression("{%%}"), Ok(Some("")));
        for text in ["", "x", "a {% b %} c", "%", "{", "{ % $x % }", " {% $x %} "] {
            assert_eq!(is_expression(text), Ok(None), "{text}");
        }
        for text in [" {% $x %}", "{% $x %} ", "{% $x", "$x %}", "{%}", "{% $x }"] {
            assert_eq!(is_expression(text), Err(Malformed), "{text}");
        }
    }
}
