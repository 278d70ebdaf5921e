//! What an answer is to look like: text, JSON, or calls of tools.
//!
//! Schemas and tools are strangers' JSON of any depth, so they travel as text and are parsed where they are
//! used: in the engine's child process.

use serde::{Deserialize, Serialize};

/// What an answer is to look like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Whatever the model says.
    #[default]
    Free,
    /// A JSON object.
    Object,
    /// JSON that this schema calls valid.
    Schema(String),
    /// Text, calls of tools, or both.
    Tools(Tools),
}

/// Which tools may be called, and whether one must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// The tools as in the API: a JSON array of functions. All of them are told to the model.
    pub list: String,
    /// The names of those that may be called; all, if there are none.
    pub allowed: Vec<String>,
    /// Whether the answer is to be a call and nothing else.
    pub forced: bool,
    /// Whether there may be more than one call.
    pub many: bool,
}

impl Tools {
    /// The names of the tools that may be called. A list that is not as it must be has none; the engine says
    /// what is wrong with it.
    pub fn names(&self) -> Vec<String> {
        let list: serde_json::Value = serde_json::from_str(&self.list).unwrap_or_default();
        let name =
            |tool: &serde_json::Value| Some(tool.pointer("/function/name")?.as_str()?.to_owned());
        let all = list.as_array().into_iter().flatten().filter_map(name);
        all.filter(|name| self.allowed.is_empty() || self.allowed.contains(name))
            .collect()
    }
}

impl Shape {
    /// Bytes of a prompt that it adds, at most. Templates print tools with line ends and indentation, and say
    /// what to do with them.
    pub fn bytes(&self) -> u64 {
        match self {
            Shape::Free | Shape::Object | Shape::Schema(_) => 0,
            Shape::Tools(tools) => (tools.list.len() as u64)
                .saturating_mul(PRINTED)
                .saturating_add(PREAMBLE_BYTES),
        }
    }
}

/// Bytes printed for each byte of a list of tools, at most.
const PRINTED: u64 = 4;
/// What a template says about tools before and after their list, at most; those known take a third.
const PREAMBLE_BYTES: u64 = 4_096;
