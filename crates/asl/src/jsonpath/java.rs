//! How Java prints JSON values, because AWS shows some of them so.

use serde_json::{Number, Value};

/// The text of `Object.toString()`: maps as `{a=1}`, lists as JSON, strings bare.
pub fn java_string(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => text.push_str(string),
        Value::Number(number) => text.push_str(&java_number(number)),
        Value::Object(object) => {
            text.push('{');
            for (index, (key, value)) in object.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                text.push_str(key);
                text.push('=');
                write(value, text);
            }
            text.push('}');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The text of a number: `Double.toString` has an exponent from 10^7 on and below 10^-3.
pub(crate) fn java_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            let magnitude = float.abs();
            if magnitude != 0.0 && !(1e-3..1e7).contains(&magnitude) {
                let text = format!("{float:E}");
                let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
                let point = if mantissa.contains('.') { "" } else { ".0" };
                format!("{mantissa}{point}E{exponent}")
            } else {
                format!("{float:?}")
            }
        }
        _ => number.to_string(),
    }
}

/// The class Jayway's JSON provider has for a value.
pub(super) fn java_class(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "java.lang.Boolean",
        Value::String(_) => "java.lang.String",
        Value::Array(_) => "net.minidev.json.JSONArray",
        Value::Object(_) => "java.util.LinkedHashMap",
        Value::Number(number) => match number.as_i64() {
            Some(integer) if i32::try_from(integer).is_ok() => "java.lang.Integer",
            Some(_) => "java.lang.Long",
            None if number.is_u64() => "java.math.BigInteger",
            None => "java.lang.Double",
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_java_prints_them() {
        for (value, text) in [
            (json!({"Id": "a", "n": {"x": [1, "b", null]}}), "{Id=a, n={x=[1,\"b\",null]}}"),
            (json!(1.5), "1.5"),
            (json!(1e10), "1.0E10"),
            (json!(1.25e-7), "1.25E-7"),
            (json!(100.0), "100.0"),
            (json!(12345678), "12345678"),
            (json!(null), "null"),
        ] {
            assert_eq!(java_string(&value), text);
        }
    }
}
