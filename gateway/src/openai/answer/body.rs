//! The members of answers and chunks, as OpenAI names them.

use super::super::logprobs::Logprobs;
use super::super::tool_call::ToolCall;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Whole<'a> {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) choices: Vec<WholeChoice<'a>>,
    pub(super) usage: Usage,
    pub(super) system_fingerprint: String,
}

#[derive(Serialize)]
pub(super) struct WholeChoice<'a> {
    pub(super) index: usize,
    pub(super) message: Message<'a>,
    pub(super) logprobs: Option<Logprobs<'a>>,
    pub(super) finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) role: &'static str,
    pub(super) content: Option<&'a str>,
    pub(super) refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
pub(super) struct Chunk<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) system_fingerprint: &'a str,
    pub(super) choices: &'a [ChunkChoice<'a>],
    // Absent unless asked for; then null on every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
pub(super) struct ChunkChoice<'a> {
    pub(super) index: u32,
    pub(super) delta: Delta<'a>,
    pub(super) logprobs: Option<Logprobs<'a>>,
    pub(super) finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
pub(super) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::openai) struct Usage {
    pub(super) prompt_tokens: u32,
    completion_tokens: u32,
    pub(super) total_tokens: u64,
    pub(super) prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::openai) struct PromptDetails {
    pub(super) cached_tokens: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::openai) struct CompletionDetails {
    pub(super) reasoning_tokens: u32,
}

impl Usage {
    pub(in crate::openai) fn of(
        prompt_tokens: u32,
        cached_tokens: u32,
        completion_tokens: u32,
    ) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: u64::from(prompt_tokens) + u64::from(completion_tokens),
            prompt_tokens_details: PromptDetails { cached_tokens },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: 0,
            },
        }
    }
}
