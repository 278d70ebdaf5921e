//! The tools of a request: which functions there are, and what their arguments may be.

use serde_json::Value;

use super::GrammarError;
use super::schema;

/// A function a model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The schema of its arguments, checked.
    pub parameters: Value,
    /// Where that schema stood.
    pub(super) at: String,
}

/// Reads tools as they come in the API: an array of `{"type": "function", "function": {…}}`.
pub fn tools(text: &str) -> Result<Vec<Tool>, GrammarError> {
    let list = schema::parse(text)?;
    let list = list
        .as_array()
        .ok_or_else(|| GrammarError::new("", "must be an array"))?;
    if !(1..=TOOLS_MAX).contains(&list.len()) {
        let why = format!("{} tools is outside 1 to {TOOLS_MAX}", list.len());
        return Err(GrammarError::new("", why));
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
    for (index, tool) in list.iter().enumerate() {
        let tool = read(tool, index)?;
        if tools.iter().any(|other| other.name == tool.name) {
            let why = format!("there are two tools of the name {}", tool.name);
            return Err(GrammarError::new(format!("/{index}/function/name"), why));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn read(tool: &Value, index: usize) -> Result<Tool, GrammarError> {
    if tool.get("type").and_then(Value::as_str) != Some("function") {
        return Err(GrammarError::new(
            format!("/{index}/type"),
            "must be function",
        ));
    }
    let function = tool.get("function").unwrap_or(&Value::Null);
    let name = function.get("name").and_then(Value::as_str).unwrap_or("");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(plain) {
        let why = format!(
            "must be 1 to {NAME_BYTES_MAX} letters, digits, underscores, dashes, dots and colons"
        );
        return Err(GrammarError::new(format!("/{index}/function/name"), why));
    }
    let at = format!("/{index}/function/parameters");
    let parameters = match function.get("parameters") {
        None | Some(Value::Null) => {
            serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false })
        }
        Some(parameters @ Value::Object(_)) => {
            let mut checked = schema::check(parameters, &at)?;
            // Arguments are named, so they are an object, whether or not their schema says so.
            if let Some(map) = checked.as_object_mut()
                && !map.contains_key("type")
            {
                map.insert("type".into(), "object".into());
            }
            if checked["type"] != "object" {
                return Err(GrammarError::new(format!("{at}/type"), "must be object"));
            }
            checked
        }
        Some(_) => return Err(GrammarError::new(at, "must be a schema")),
    };
    Ok(Tool {
        name: name.to_owned(),
        parameters,
        at,
    })
}

/// Tools of one request; the number that OpenAI's API allows.
const TOOLS_MAX: usize = 128;
/// Bytes of a name; twice what OpenAI's API allows, since servers of tools put their own name before it.
const NAME_BYTES_MAX: usize = 128;
