//! The fields that say what an answer is to look like: `response_format`, `tools`, and what goes with them.
//!
//! Here it is seen to that the fields are of the right kind. Whether a schema can be kept to is said by the
//! engine, which has the same names for the same places.

use crate::json::Fields;
use crate::problem::Problem;
use crate::text::shown;
use serde_json::Value;
use troop_actors::generate::{Shape, Tools};

/// Reads them.
pub(super) fn read(fields: &Fields) -> Result<Shape, Problem> {
    let format = format(fields)?;
    let Some(tools) = tools(fields)? else {
        return Ok(format);
    };
    if format != Shape::Free {
        return Err(Problem::field(
            "response_format",
            "response_format cannot be combined with tools that may be called; \
             set tool_choice to none, or leave one of them out",
        ));
    }
    // The tokens of a call are not those of its arguments.
    if fields.bool("logprobs")?.unwrap_or(false) {
        let message = "logprobs cannot be combined with tools that may be called";
        return Err(Problem::field("logprobs", message));
    }
    Ok(Shape::Tools(tools))
}

fn format(fields: &Fields) -> Result<Shape, Problem> {
    let Some(format) = fields.object("response_format")? else {
        return Ok(Shape::Free);
    };
    let format = Fields::new(format, "response_format");
    match required_string(&format, "type")? {
        "text" => Ok(Shape::Free),
        // llama.cpp's clients put a schema beside it.
        "json_object" => match format.value("schema") {
            Some(schema) => Ok(Shape::Schema(schema.to_string())),
            None => Ok(Shape::Object),
        },
        "json_schema" => {
            let path = format.path("json_schema");
            let named = Fields::of(format.required("json_schema")?, &path)?;
            named.string("name")?;
            named.string("description")?;
            named.bool("strict")?;
            match named.required("schema")? {
                schema @ (Value::Object(_) | Value::Bool(_)) => {
                    Ok(Shape::Schema(schema.to_string()))
                }
                _ => Err(named.wrong("schema", "a JSON schema")),
            }
        }
        other => {
            let must = format!("text, json_object or json_schema, not {}", shown(other));
            Err(format.out_of_bounds("type", must))
        }
    }
}

fn tools(fields: &Fields) -> Result<Option<Tools>, Problem> {
    let many = fields.bool("parallel_tool_calls")?;
    let list = fields.array("tools")?.unwrap_or_default();
    let mut names = Vec::with_capacity(list.len());
    for (index, tool) in list.iter().enumerate() {
        let path = format!("tools[{index}]");
        let tool = Fields::of(tool, &path)?;
        if required_string(&tool, "type")? != "function" {
            return Err(tool.out_of_bounds("type", "function"));
        }
        let path = tool.path("function");
        let function = Fields::of(tool.required("function")?, &path)?;
        function.string("description")?;
        function.bool("strict")?;
        function.object("parameters")?;
        names.push(required_string(&function, "name")?.to_owned());
    }
    let Some(choice) = choice(fields, &names)? else {
        return Ok(None);
    };
    if list.is_empty() {
        return Ok(None);
    }
    let (allowed, forced, one) = choice;
    Ok(Some(Tools {
        list: Value::Array(list.to_vec()).to_string(),
        allowed,
        forced,
        many: many.unwrap_or(true) && !one,
    }))
}

/// Which tools may be called, by name, or all; whether one must be; and whether only one. Nothing if none may.
type Choice = (Vec<String>, bool, bool);

fn choice(fields: &Fields, names: &[String]) -> Result<Option<Choice>, Problem> {
    let needs = |choice: Choice| match names.is_empty() {
        true => Err(Problem::field(
            "tool_choice",
            "tool_choice needs tools to choose from",
        )),
        false => Ok(Some(choice)),
    };
    let choice = match fields.value("tool_choice") {
        None => return Ok(Some((Vec::new(), false, false))),
        Some(Value::String(word)) => match word.as_str() {
            "none" => return Ok(None),
            "auto" => return Ok(Some((Vec::new(), false, false))),
            "required" => return needs((Vec::new(), true, false)),
            _ => {
                let must = format!("none, auto, required or an object, not {}", shown(word));
                return Err(fields.out_of_bounds("tool_choice", must));
            }
        },
        Some(Value::Object(choice)) => Fields::new(choice, "tool_choice"),
        Some(_) => return Err(fields.wrong("tool_choice", "a string or an object")),
    };
    match required_string(&choice, "type")? {
        "function" => {
            let path = choice.path("function");
            let name = name(choice.required("function")?, &path, names)?;
            needs((vec![name], true, true))
        }
        "allowed_tools" => {
            let path = choice.path("allowed_tools");
            let allowed = Fields::of(choice.required("allowed_tools")?, &path)?;
            let forced = match required_string(&allowed, "mode")? {
                "auto" => false,
                "required" => true,
                other => {
                    let must = format!("auto or required, not {}", shown(other));
                    return Err(allowed.out_of_bounds("mode", must));
                }
            };
            let tools = allowed.array("tools")?.unwrap_or_default();
            if tools.is_empty() {
                return Err(allowed.out_of_bounds("tools", "an array of at least one tool"));
            }
            let mut chosen = Vec::with_capacity(tools.len());
            for (index, tool) in tools.iter().enumerate() {
                let path = format!("{}[{index}]", allowed.path("tools"));
                let tool = Fields::of(tool, &path)?;
                let path = tool.path("function");
                chosen.push(name(tool.required("function")?, &path, names)?);
            }
            needs((chosen, forced, false))
        }
        other => {
            let must = format!("function or allowed_tools, not {}", shown(other));
            Err(choice.out_of_bounds("type", must))
        }
    }
}

/// The name of one of the tools.
fn name(function: &Value, path: &str, names: &[String]) -> Result<String, Problem> {
    let function = Fields::of(function, path)?;
    let name = required_string(&function, "name")?;
    match names.iter().any(|known| known == name) {
        true => Ok(name.to_owned()),
        false => {
            Err(function.out_of_bounds("name", format!("one of the tools, not {}", shown(name))))
        }
    }
}

fn required_string<'a>(fields: &Fields<'a, '_>, name: &str) -> Result<&'a str, Problem> {
    match fields.required(name)? {
        Value::String(text) => Ok(text),
        _ => Err(fields.wrong(name, "a string")),
    }
}
