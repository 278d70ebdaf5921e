//! The fields that would change the answer and are not served.

use crate::json::Fields;
use crate::problem::Problem;
use serde_json::Value;

/// Refuses what would change the answer and is not served; a value that means "as usual" passes, and so do
/// the fields of `read`, which this route serves.
pub(super) fn refuse(fields: &Fields, read: &[&str]) -> Result<(), Problem> {
    for (name, usual) in UNSUPPORTED.iter().filter(|(name, _)| !read.contains(name)) {
        let Some(value) = fields.value(name) else {
            continue;
        };
        let as_usual = match usual {
            Usual::Nothing => false,
            Usual::Empty => match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => return Err(fields.wrong(name, "an array or an object")),
            },
            Usual::False => !fields.bool(name)?.unwrap_or(false),
            Usual::Number(usual) => match value.as_f64() {
                Some(number) => number == *usual,
                None => return Err(fields.wrong(name, "a number")),
            },
            Usual::Words(words) => match value.as_str() {
                Some(word) => words.contains(&word),
                None if value.is_object() => false,
                None => return Err(fields.wrong(name, "a string")),
            },
            Usual::Type(usual) => match value.get("type") {
                Some(Value::String(kind)) => kind == usual,
                _ if value.is_object() => {
                    let path = format!("{name}.type");
                    return Err(Problem::field(&path, format!("{path} must be a string")));
                }
                _ => return Err(fields.wrong(name, "an object")),
            },
            Usual::Text => value
                .as_array()
                .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text")),
        };
        if !as_usual {
            return Err(fields.unsupported(name));
        }
    }
    Ok(())
}

/// The value of an unsupported field that asks for nothing.
enum Usual {
    Nothing,
    Empty,
    False,
    Number(f64),
    Words(&'static [&'static str]),
    Type(&'static str),
    Text,
}

/// Fields that clients of this route, of vLLM's or of llama.cpp's send, and that change the answer.
const UNSUPPORTED: &[(&str, Usual)] = &[
    ("tools", Usual::Empty),
    ("functions", Usual::Empty),
    ("tool_choice", Usual::Words(&["none", "auto"])),
    ("function_call", Usual::Words(&["none", "auto"])),
    ("response_format", Usual::Type("text")),
    ("reasoning_effort", Usual::Words(&["none"])),
    ("verbosity", Usual::Words(&["medium"])),
    ("modalities", Usual::Text),
    ("audio", Usual::Nothing),
    ("web_search_options", Usual::Nothing),
    ("typical_p", Usual::Number(1.0)),
    ("bad_words", Usual::Empty),
    ("allowed_token_ids", Usual::Empty),
    ("use_beam_search", Usual::False),
    ("truncate_prompt_tokens", Usual::Nothing),
    ("structured_outputs", Usual::Nothing),
    ("guided_json", Usual::Nothing),
    ("guided_regex", Usual::Nothing),
    ("guided_choice", Usual::Nothing),
    ("guided_grammar", Usual::Nothing),
    ("grammar", Usual::Nothing),
    ("json_schema", Usual::Nothing),
    ("chat_template", Usual::Nothing),
    ("chat_template_kwargs", Usual::Empty),
    ("documents", Usual::Empty),
    ("mirostat", Usual::Number(0.0)),
    ("num_ctx", Usual::Nothing),
    ("options", Usual::Empty),
];
