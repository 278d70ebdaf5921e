//! Tools in a conversation, for templates that know them and for those that do not.
//!
//! A template that knows tools is given them as `transformers` gives them: the list as `tools`, calls as
//! `tool_calls` with their arguments as an object. To one that does not, the same is said in words: the tools
//! in the system's message, calls and their results as text within the marks of `grammar::call`. Which it is,
//! is found out by showing it a tool and looking whether it was printed.

use serde_json::{Value, json};

use super::{Conversation, Template, message};
use crate::grammar::{CALL_ARGUMENTS, CALL_CLOSE, CALL_NAME, CALL_OPEN};

impl Template {
    /// Whether it prints the tools it is given.
    pub fn knows_tools(&self) -> bool {
        let tools = json!([{"type": "function", "function": {
            "name": PROBE, "description": "", "parameters": {"type": "object", "properties": {}}}}]);
        let conversation = Conversation {
            messages: &[message("user", "")],
            tools: Some(&tools),
            now_seconds: Some(0),
            add_generation_prompt: true,
        };
        self.run(&conversation, conversation.messages, Some(&tools))
            .is_ok_and(|text| text.contains(PROBE))
    }
}

/// A message as templates have it: `more` are its other members, and of them those about tools count.
pub fn tool_message(role: &str, content: &str, more: &Value) -> Value {
    let mut told = message(role, content);
    for name in ["tool_calls", "tool_call_id", "name"] {
        if let Some(value) = more.get(name) {
            told[name] = value.clone();
        }
    }
    let calls = told.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        let arguments = call.pointer_mut("/function/arguments");
        if let Some(arguments @ Value::String(_)) = arguments
            && let Some(read) = arguments
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
            && Value::is_object(&read)
        {
            *arguments = read;
        }
    }
    told
}

/// The same conversation in words, for a template that knows no tools.
pub fn in_words(messages: &[Value], tools: Option<&Value>) -> Vec<Value> {
    let mut said: Vec<Value> = messages.iter().map(spoken).collect();
    if let Some(tools) = tools {
        let words = described(tools);
        match said.first_mut() {
            Some(first) if first["role"] == "system" => {
                let own = first["content"].as_str().unwrap_or_default();
                first["content"] = format!("{own}\n\n{words}").into();
            }
            _ => said.insert(0, message("system", &words)),
        }
    }
    said
}

fn described(tools: &Value) -> String {
    let functions = tools.as_array().into_iter().flatten();
    let lines: Vec<String> = functions
        .map(|tool| tool.get("function").unwrap_or(tool).to_string())
        .collect();
    format!(
        "You may call these functions, each of which is described on a line:\n<tools>\n{}\n</tools>\n\
         To call one, write its name and its arguments, and nothing else:\n\
         {CALL_OPEN}{CALL_NAME}function{CALL_ARGUMENTS}{{\"argument\": \"value\"}}{CALL_CLOSE}",
        lines.join("\n")
    )
}

fn spoken(told: &Value) -> Value {
    let role = told["role"].as_str().unwrap_or_default();
    let content = told["content"].as_str().unwrap_or_default();
    if role == "tool" {
        return message(
            "user",
            &format!("<tool_response>\n{content}\n</tool_response>"),
        );
    }
    let calls = told.get("tool_calls").and_then(Value::as_array);
    let calls = calls.into_iter().flatten().map(|call| {
        let function = call.get("function").unwrap_or(&Value::Null);
        let name = function["name"].as_str().unwrap_or_default();
        let arguments = &function["arguments"];
        format!("{CALL_OPEN}{CALL_NAME}{name}{CALL_ARGUMENTS}{arguments}{CALL_CLOSE}")
    });
    let own = (!content.is_empty()).then(|| content.to_owned());
    let parts: Vec<String> = own.into_iter().chain(calls).collect();
    message(role, &parts.join("\n"))
}

/// A name that no template says by itself.
const PROBE: &str = "troop_tool_probe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_their_results_are_said_in_words() {
        let called = json!({"tool_calls": [{"id": "1", "type": "function",
            "function": {"name": "add", "arguments": "{\"a\": 1}"}}]});
        let messages = [
            message("user", "1 + 1?"),
            tool_message("assistant", "", &called),
            tool_message("tool", "2", &json!({"tool_call_id": "1"})),
        ];
        assert_eq!(
            messages[1]["tool_calls"][0]["function"]["arguments"],
            json!({"a": 1})
        );
        let tools = json!([{"type": "function", "function": {"name": "add"}}]);

        let said = in_words(&messages, Some(&tools));

        let roles: Vec<&str> = said.iter().filter_map(|one| one["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert!(
            said[0]["content"]
                .as_str()
                .is_some_and(|text| text.contains("\n{\"name\":\"add\"}\n"))
        );
        assert_eq!(
            said[2]["content"],
            "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\":1}}\n</tool_call>"
        );
        assert_eq!(said[3]["content"], "<tool_response>\n2\n</tool_response>");
        let own = in_words(&[message("system", "Be brief.")], Some(&tools));
        assert!(
            own.len() == 1
                && own[0]["content"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("Be brief.\n\nYou"))
        );
    }
}
