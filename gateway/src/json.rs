//! Reading JSON that a stranger sent.
//!
//! A first pass over the bytes, without building anything, counts how deep they nest and how many values
//! there are; only then is a tree made of them, and a key that stands twice in one object is refused, since
//! two readers might believe different ones. The tree is then read field by field: a field of a wrong type
//! is an error that names it, an unknown one is nobody's business.

mod fields;

pub use fields::Fields;

use crate::problem::Problem;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// The object that `bytes` spell, if they do, within `depth_max` levels and `values_max` values.
pub fn object(
    bytes: &[u8],
    depth_max: usize,
    values_max: usize,
) -> Result<Map<String, Value>, Problem> {
    measure(bytes, depth_max, values_max)?;
    let parsed: Strict = serde_json::from_slice(bytes).map_err(|error| {
        Problem::body(format!(
            "the body is not valid JSON: {}",
            crate::text::plain(&error.to_string())
        ))
    })?;
    match parsed.0 {
        Value::Object(object) => Ok(object),
        other => Err(Problem::body(format!(
            "the body must be a JSON object, not {}",
            fields::kind(&other)
        ))),
    }
}

/// Counts nesting and values. It is exact for valid JSON, and never too low for what a parser would build.
fn measure(bytes: &[u8], depth_max: usize, values_max: usize) -> Result<(), Problem> {
    let (mut depth, mut values) = (0usize, 1usize);
    let mut text = bytes.iter();
    while let Some(byte) = text.next() {
        match byte {
            b'"' => loop {
                match text.next() {
                    Some(b'\\') => {
                        text.next();
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > depth_max {
                    return Err(Problem::body(format!(
                        "the body's JSON nests deeper than {depth_max} levels"
                    )));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if values > values_max {
            return Err(Problem::body(format!(
                "the body's JSON has more than {values_max} values"
            )));
        }
    }
    Ok(())
}

/// A [`Value`] in whose objects no key stood twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {} stands twice in one object",
                    crate::text::shown(&key)
                )));
            }
            let Strict(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Map<String, Value>, Problem> {
        object(text.as_bytes(), 64, 1000)
    }

    #[test]
    fn what_is_refused_and_what_the_refusal_says() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
        let wide = format!("{{\"a\":[{}0]}}", "0,".repeat(1000));
        let cases = [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("{}x", "not valid JSON"),
            ("[]", "must be a JSON object, not an array"),
            ("null", "must be a JSON object, not null"),
            (r#"{"a":1,"a":2}"#, "the key a stands twice"),
            (r#"{"b":[{"a":1,"a":2}]}"#, "the key a stands twice"),
            (r#"{"a":1e999}"#, "not valid JSON"),
            (r#"{"a":NaN}"#, "not valid JSON"),
            (r#"{"a":"\ud800"}"#, "not valid JSON"),
            (deep.as_str(), "deeper than 64 levels"),
            (wide.as_str(), "more than 1000 values"),
        ];
        for (text, expected) in cases {
            let refusal = read(text).expect_err(text);
            assert!(refusal.message.contains(expected), "{text}: {refusal}");
        }
        let bottomless = "[".repeat(100_000);
        assert!(read(&bottomless).is_err());
    }

    #[test]
    fn brackets_inside_strings_do_not_count() {
        let text = format!(r#"{{"a":"{}\"[[","b":1}}"#, "[,".repeat(2000));
        assert!(read(&text).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_never_panic(bytes: Vec<u8>) {
            let _ = object(&bytes, 64, 1000);
        }

        #[test]
        fn what_is_accepted_is_what_serde_json_reads(text in r#"[\[\]{}",:a\\0-9 ]{0,40}"#) {
            if let Ok(ours) = read(&text) {
                let theirs: Value = serde_json::from_str(&text).expect("accepted by us");
                prop_assert_eq!(Value::Object(ours), theirs);
            }
        }
    }
}
