//! OpenAI's dialect: chat completions, models, errors.

pub mod answer;
pub mod chat;
pub mod error;
pub mod logprobs;
pub mod models;
pub mod request;
pub mod tool_call;
