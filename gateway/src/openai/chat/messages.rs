//! The conversation: roles, and content as a string or as parts of text.

use crate::json::Fields;
use crate::problem::Problem;
use crate::text::shown;
use serde_json::Value;
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
    if message
        .array("tool_calls")?
        .is_some_and(|calls| !calls.is_empty())
    {
        return Err(message.unsupported("tool_calls"));
    }
    if message.value("function_call").is_some() {
        return Err(message.unsupported("function_call"));
    }
    let content = match (message.value("content"), message.string("refusal")?) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(Value::Array(parts)), _) => parts_text(message, parts)?,
        // An assistant that refused said only that.
        (None, Some(refusal)) if role == "assistant" => refusal.to_owned(),
        _ => return Err(message.wrong("content", "a string or an array of parts")),
    };
    Ok(Turn {
        role: role.to_owned(),
        content,
    })
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
