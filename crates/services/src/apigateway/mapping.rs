//! Mapping templates: references such as `$input.json('$')` in a text. Directives (`#set`, `#if`, `#foreach`) are refused
//! when the template is put, so that none is silently sent as text.

use serde_json::{Map, Value};

const DIRECTIVES: [&str; 8] = ["#set", "#if", "#foreach", "#else", "#end", "#macro", "#define", "#evaluate"];

/// How deep calls of `$util` may stand in each other.
const CALLS_MAX: usize = 8;
/// AWS's longest mapping template.
const TEMPLATE_BYTES_MAX: usize = 300 << 10;
/// The longest text that a template may become: AWS's largest payload.
const OUTPUT_BYTES_MAX: usize = 10 << 20;

/// What references see.
pub(super) struct View<'a> {
    pub body: &'a str,
    pub path: &'a Map<String, Value>,
    pub query: &'a Map<String, Value>,
    pub headers: &'a Map<String, Value>,
    pub context: &'a Value,
    pub variables: &'a Value,
}

/// Why a template cannot be used here.
pub(super) fn check(template: &str) -> Result<(), String> {
    if template.len() > TEMPLATE_BYTES_MAX {
        return Err(format!("Mapping templates have at most {TEMPLATE_BYTES_MAX} bytes."));
    }
    match DIRECTIVES.iter().find(|directive| template.contains(*directive)) {
        Some(directive) => {
            Err(format!("Mapping templates with {directive} are not supported by this server."))
        }
        None => Ok(()),
    }
}

impl View<'_> {
    /// The template with its references replaced; those that lead nowhere stay, as in Velocity. A text that grows beyond
    /// [`OUTPUT_BYTES_MAX`] ends there, which is too much for an answer anyway.
    pub fn render(&self, template: &str) -> String {
        let mut output = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            output.push_str(&rest[..at]);
            rest = &rest[at..];
            let (used, text) = self.reference(&rest[1..], CALLS_MAX).unwrap_or((0, "$".to_owned()));
            output.push_str(&text);
            if output.len() > OUTPUT_BYTES_MAX {
                return output;
            }
            rest = &rest[used + 1..];
        }
        output.push_str(rest);
        output
    }

    /// How many bytes after the dollar sign a reference takes, and its text.
    fn reference(&self, text: &str, calls: usize) -> Option<(usize, String)> {
        let (text, around) = match text.strip_prefix('{') {
            Some(inner) => (inner, 1),
            None => (text, 0),
        };
        let (used, value) = self.expression(text, calls)?;
        let is_closed = around == 0 || text[used..].starts_with('}');
        is_closed.then(|| (used + 2 * around, shown(&value)))
    }

    fn expression(&self, text: &str, calls: usize) -> Option<(usize, Value)> {
        let (name, mut used) = (identifier(text), identifier(text).len());
        if name == "util" {
            return self.utility(text, calls.checked_sub(1)?);
        }
        let mut value = match name {
            "context" => self.context.clone(),
            "stageVariables" => self.variables.clone(),
            "input" => {
                let method = identifier(text[used..].strip_prefix('.')?);
                used += 1 + method.len();
                if method == "body" {
                    return Some((used, self.body.into()));
                }
                let argument = argument(&text[used..])?;
                used += argument.0;
                self.input(method, argument.1)?
            }
            _ => return None,
        };
        while let Some(member) =
            text[used..].strip_prefix('.').map(identifier).filter(|name| !name.is_empty())
        {
            value = value.get(member)?.clone();
            used += 1 + member.len();
        }
        Some((used, value))
    }

    fn input(&self, method: &str, argument: &str) -> Option<Value> {
        let body = || serde_json::from_str::<Value>(self.body).unwrap_or_else(|_| self.body.into());
        match method {
            "json" => {
                Some(Value::String(at(&body(), argument).map_or_else(String::new, |value| value.to_string())))
            }
            "path" => Some(at(&body(), argument).unwrap_or_else(|| "".into())),
            "params" if argument.is_empty() => {
                let all = [("path", self.path), ("querystring", self.query), ("header", self.headers)];
                Some(
                    all.iter()
                        .map(|(name, map)| ((*name).to_owned(), Value::Object((*map).clone())))
                        .collect(),
                )
            }
            "params" => {
                let found =
                    [self.path, self.query, self.headers].iter().find_map(|map| map.get(argument).cloned());
                Some(found.unwrap_or_else(|| "".into()))
            }
            _ => None,
        }
    }

    /// `$util.escapeJavaScript(REFERENCE)`, `base64Encode`, `urlEncode`.
    fn utility(&self, text: &str, calls: usize) -> Option<(usize, Value)> {
        let rest = text.strip_prefix("util.")?;
        let function = identifier(rest);
        let inner = rest[function.len()..].strip_prefix('(')?;
        let (used, value) = self.reference(inner.strip_prefix('$')?, calls)?;
        inner[used + 1..].strip_prefix(')')?;
        let escaped = match function {
            "escapeJavaScript" => {
                let quoted = Value::from(value).to_string();
                quoted[1..quoted.len() - 1].replace('\'', "\\'")
            }
            "base64Encode" => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(value)
            }
            "urlEncode" => {
                percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC).to_string()
            }
            _ => return None,
        };
        Some(("util.".len() + function.len() + 1 + used + 1 + 1, escaped.into()))
    }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-');
    &text[..end.unwrap_or(text.len())]
}

/// `('…')`, `("…")` or `()`: how many bytes, and what stands in it.
fn argument(text: &str) -> Option<(usize, &str)> {
    let inner = text.strip_prefix('(')?;
    let end = inner.find(')')?;
    let written = inner[..end].trim();
    Some((end + 2, written.trim_matches(|letter| letter == '\'' || letter == '"')))
}

/// A path of names and indexes, such as `$.pets[0].name`.
fn at(value: &Value, path: &str) -> Option<Value> {
    let mut found = value;
    let rest = path.strip_prefix('$').unwrap_or(path).replace('[', ".").replace(']', "");
    for step in rest.split('.').filter(|step| !step.is_empty()) {
        let step = step.trim_matches(|letter| letter == '\'' || letter == '"');
        found = match found {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            other => other.get(step)?,
        };
    }
    Some(found.clone())
}

/// As Java prints it: maps as `{a=b}`.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_replaced_and_what_leads_nowhere_stays() {
        let query = json!({ "param1": "Hello", "param2": "World" });
        let (empty, context) =
            (Map::new(), json!({ "stage": "dev", "identity": { "sourceIp": "127.0.0.1" } }));
        let view = View {
            body: r#"{"a": [{"b": "it's \"x\""}]}"#,
            path: &empty,
            query: query.as_object().expect("an object"),
            headers: &empty,
            context: &context,
            variables: &json!({ "v": "1" }),
        };
        for (template, expected) in [
            ("$input.json('$.a[0]')", r#"{"b":"it's \"x\""}"#),
            ("$input.params().querystring", "{param1=Hello, param2=World}"),
            ("$input.params('param1')/${context.identity.sourceIp}", "Hello/127.0.0.1"),
            ("\"$util.escapeJavaScript($input.json('$.a[0].b'))\"", r#""\"it\'s \\\"x\\\"\"""#),
            ("$stageVariables.v $input.path('$.a[0].b')", "1 it's \"x\""),
            ("$nothing costs $5", "$nothing costs $5"),
        ] {
            assert_eq!(view.render(template), expected, "{template}");
        }
        assert!(check("#set($x = 1)").is_err());
        let nested = "$util.base64Encode(".repeat(10_000) + "$context.stage" + &")".repeat(10_000);
        assert!(view.render(&nested).len() < 2 * nested.len());
        assert!(view.render(&"$input.body".repeat(1 << 20)).len() <= OUTPUT_BYTES_MAX + 100);
    }
}
