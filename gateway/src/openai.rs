//! OpenAI's dialect: chat completions, models, errors.

pub mod answer;
pub mod chat;
pub mod completion;
pub mod embedding;
pub mod error;
pub mod logprobs;
pub mod models;
pub mod request;
pub mod tool_call;

pub(crate) mod prompts;
