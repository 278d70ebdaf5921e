//! A call of a tool, in OpenAI's words: whole, or in the pieces of a stream.

use serde::Serialize;
use troop_actors::ids::RequestId;

/// A call or a piece of one.
#[derive(Serialize)]
pub struct ToolCall<'a> {
    // Which call a piece belongs to; a whole call needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    // The first piece says what is called, and no other does.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl<'a> ToolCall<'a> {
    /// A call, or the first piece of one.
    pub fn begun(
        index: Option<u32>,
        id: String,
        name: &'a str,
        arguments: &'a str,
    ) -> ToolCall<'a> {
        ToolCall {
            index,
            id: Some(id),
            kind: Some("function"),
            function: Function {
                name: Some(name),
                arguments,
            },
        }
    }

    /// All calls of a choice, by name and arguments.
    pub fn all(
        request: RequestId,
        choice: u32,
        calls: &'a [(String, String)],
    ) -> Vec<ToolCall<'a>> {
        let call = |(index, (name, arguments)): (usize, &'a (String, String))| {
            let id = call_id(request, choice, index as u32);
            ToolCall::begun(None, id, name, arguments)
        };
        calls.iter().enumerate().map(call).collect()
    }

    /// A later piece.
    pub fn more(index: u32, arguments: &'a str) -> ToolCall<'a> {
        ToolCall {
            index: Some(index),
            id: None,
            kind: None,
            function: Function {
                name: None,
                arguments,
            },
        }
    }
}

/// What a call takes beside its name and its arguments.
pub(super) const CALL_BYTES: usize = 128;

/// The id of a call: the same whenever and wherever the answer is told again.
pub(super) fn call_id(request: RequestId, choice: u32, index: u32) -> String {
    format!("call_{request}_{choice}_{index}")
}
