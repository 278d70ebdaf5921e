//! The conversation: roles, and content as a string or as parts of text.

use crate::json::Fields;
use crate::problem::Problem;
use crate::text::shown;
use serde_json::{Map, Value};
use troop_actors::generate::Turn;

/// Reads `messages`.
pub(super) fn read(fields: &Fields, messages_max: usize) -> Result<Vec<Turn>, Problem> {
    let Value::Array(messages) = fields.required("messages")? else {
        return Err(fields.wrong("messages", "an array"));
    };
    if messages.is_empty() || messages.len() > messages_max {
        let must = format!("1 to {messages_max} messages; there are {}", messages.len());
        return Err(fields.out_of_bounds("messages", must));
    }
    let turns = messages.iter().enumerate().map(|(index, message)| {
        let path = format!("messages[{index}]");
        turn(&Fields::of(message, &path)?)
    });
    turns.collect()
}

fn turn(message: &Fields) -> Result<Turn, Problem> {
    let role = match required_string(message, "role")? {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" => {
            required_string(message, "tool_call_id")?;
            "tool"
        }
        "function" => "tool",
        other => {
            let must = "system, developer, user, assistant, tool or function, not";
            return Err(message.out_of_bounds("role", format!("{must} {}", shown(other))));
        }
    };
    message.string("name")?;
    message.string("reasoning_content")?;
    let calls = match role {
        "assistant" => tool_calls(message)?,
        _ => None,
    };
    if message.value("function_call").is_some() {
        return Err(message.unsupported("function_call"));
    }
    let content = match (message.value("content"), message.string("refusal")?) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(Value::Array(parts)), _) => parts_text(message, parts)?,
        // An assistant that refused said only that.
        (None, Some(refusal)) if role == "assistant" => refusal.to_owned(),
        // And one that only called a tool said nothing.
        (None, None) if calls.is_some() => String::new(),
        _ => return Err(message.wrong("content", "a string or an array of parts")),
    };
    let mut more = Map::new();
    if let Some(calls) = calls {
        more.insert("tool_calls".into(), calls.into());
    }
    if role == "tool" {
        for name in ["tool_call_id", "name"] {
            let value = message.value(name).filter(|value| value.is_string());
            more.extend(value.map(|value| (name.to_owned(), value.clone())));
        }
    }
    let calls = match more.is_empty() {
        true => String::new(),
        false => Value::Object(more).to_string(),
    };
    Ok(Turn {
        calls,
        ..Turn::new(role, content)
    })
}

/// Calls that an assistant made before, as they were told to the client; nothing if there were none.
fn tool_calls(message: &Fields) -> Result<Option<Vec<Value>>, Problem> {
    let calls = message.array("tool_calls")?.unwrap_or_default();
    for (index, call) in calls.iter().enumerate() {
        let path = format!("{}[{index}]", message.path("tool_calls"));
        let call = Fields::of(call, &path)?;
        required_string(&call, "id")?;
        if call.string("type")?.is_some_and(|kind| kind != "function") {
            return Err(call.out_of_bounds("type", "function"));
        }
        let path = call.path("function");
        let function = Fields::of(call.required("function")?, &path)?;
        required_string(&function, "name")?;
        required_string(&function, "arguments")?;
    }
    Ok((!calls.is_empty()).then(|| calls.to_vec()))
}

/// Parts are joined by line ends, as other servers do.
fn parts_text(message: &Fields, parts: &[Value]) -> Result<String, Problem> {
    let mut texts = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{}[{index}]", message.path("content"));
        let unseen = |what| Problem::field(&path, format!("this model does not support {what}"));
        let part = Fields::of(part, &path)?;
        let field = match required_string(&part, "type")? {
            "text" => "text",
            "refusal" => "refusal",
            "image_url" => return Err(unseen("images")),
            "input_audio" => return Err(unseen("audio")),
            "file" => return Err(unseen("files")),
            other => {
                return Err(part.out_of_bounds("type", format!("text, not {}", shown(other))));
            }
        };
        texts.push(required_string(&part, field)?);
    }
    Ok(texts.join("\n"))
}

fn required_string<'a>(fields: &Fields<'a, '_>, name: &str) -> Result<&'a str, Problem> {
    match fields.required(name)? {
        Value::String(text) => Ok(text),
        _ => Err(fields.wrong(name, "a string")),
    }
}
