//! From the body of `POST /v1/completions` to the requests that troop knows: one for each prompt.
//!
//! Control tokens in a prompt of text are text; a client that means them sends token ids.

pub mod answer;

use super::prompts;
use super::request::Asked;
use crate::json::Fields;
use crate::problem::Problem;
use serde_json::{Map, Value};
use troop_actors::generate::{Generate, Prompt, Task};
use troop_actors::ids::Passport;

/// A request for completions, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// What it has in common with others.
    pub asked: Asked,
    /// What to continue, each by as many choices as are asked for.
    pub prompts: Vec<Prompt>,
    /// Whether each text is to begin with its prompt.
    pub echo: bool,
    /// Of how many of the likeliest tokens to tell at each position; `None` to tell of no token.
    pub logprobs: Option<u8>,
}

impl Completion {
    /// Reads a body.
    pub fn read(body: &Map<String, Value>) -> Result<Completion, Problem> {
        let fields = Fields::new(body, "");
        let asked = Asked::read(&fields, &[])?;
        if fields
            .string("suffix")?
            .is_some_and(|suffix| !suffix.is_empty())
        {
            return Err(fields.unsupported("suffix"));
        }
        let best_of = fields.integer("best_of", 1, i64::MAX)?;
        if best_of.is_some_and(|best| best != i64::from(asked.choices)) {
            return Err(fields.unsupported("best_of"));
        }
        let logprobs = fields.integer("logprobs", 0, LOGPROBS_MAX)?;
        Ok(Completion {
            prompts: prompts::read(&fields, "prompt", PROMPTS_MAX)?,
            echo: fields.bool("echo")?.unwrap_or(false),
            logprobs: logprobs.map(|likeliest| likeliest as u8),
            asked: Asked {
                tokens_max: asked.tokens_max.or(Some(TOKENS_MAX_USUAL)),
                ..asked
            },
        })
    }

    /// The requests for `model`, which sees `context` tokens, one for each prompt. A client's own seed is each
    /// one's; without it each gets one of `seeds`.
    pub fn generate(
        self,
        model: Passport,
        context: u32,
        mut seeds: impl FnMut() -> u64,
        now_seconds: u64,
    ) -> Vec<Generate> {
        let Completion {
            asked,
            prompts,
            echo,
            logprobs,
        } = self;
        let one = |prompt| Generate {
            task: if echo { Task::Echo } else { Task::Continue },
            logprobs,
            ..asked.generate(prompt, model, context, seeds(), now_seconds)
        };
        prompts.into_iter().map(one).collect()
    }
}

/// Tokens of an answer where nothing is said, as in OpenAI's API.
const TOKENS_MAX_USUAL: u32 = 16;
/// Likeliest tokens told of at each position, at most; the number OpenAI's API allows.
const LOGPROBS_MAX: i64 = 5;
/// Prompts of one request, at most.
const PROMPTS_MAX: usize = 128;

#[cfg(test)]
mod tests;
