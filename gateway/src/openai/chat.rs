//! From the body of `POST /v1/chat/completions` to the one request that troop knows.
//!
//! A conversation whose last message is the assistant's is answered by what continues that message, as
//! llama.cpp does; the answer has only what is new.

mod messages;
mod shape;

use super::request::Asked;
use crate::json::Fields;
use crate::limits::Limits;
use crate::problem::Problem;
use serde_json::{Map, Value};
use troop_actors::generate::{Generate, LIKELIEST_MAX, Prompt, Shape, Turn};
use troop_actors::ids::Passport;

/// A chat request, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// What it has in common with others.
    pub asked: Asked,
    /// The conversation.
    pub turns: Vec<Turn>,
    /// What the answer is to look like.
    pub shape: Shape,
    /// Of how many of the likeliest tokens to tell at each position; `None` to tell of no token.
    pub logprobs: Option<u8>,
}

impl Chat {
    /// Reads a body.
    pub fn read(body: &Map<String, Value>, limits: &Limits) -> Result<Chat, Problem> {
        let fields = Fields::new(body, "");
        let asked = Asked::read(&fields, &["response_format", "tools", "tool_choice"])?;
        let turns = messages::read(&fields, limits.messages_max)?;
        begun(&fields, &turns)?;
        Ok(Chat {
            asked,
            turns,
            shape: shape::read(&fields)?,
            logprobs: logprobs(&fields)?,
        })
    }

    /// The request for `model`, which sees `context` tokens.
    pub fn generate(self, model: Passport, context: u32, seed: u64, now_seconds: u64) -> Generate {
        let prompt = Prompt::Chat(self.turns);
        Generate {
            logprobs: self.logprobs,
            shape: self.shape,
            ..self
                .asked
                .generate(prompt, model, context, seed, now_seconds)
        }
    }
}

/// What vLLM's clients say of a last message that is the assistant's must be what is done with it.
fn begun(fields: &Fields, turns: &[Turn]) -> Result<(), Problem> {
    let begun = turns.last().is_some_and(|turn| turn.role == "assistant");
    if begun && turns.last().is_some_and(|turn| !turn.calls.is_empty()) {
        let must = "followed by what the tools answered, where the last of them has tool_calls";
        return Err(fields.out_of_bounds("messages", must));
    }
    for (name, as_done) in [
        ("continue_final_message", begun),
        ("add_generation_prompt", !begun),
    ] {
        if fields.bool(name)?.is_some_and(|wanted| wanted != as_done) {
            let must = match begun {
                true => "as the last message is: the assistant's, which is continued",
                false => "as the last message is: not the assistant's, so a new one is begun",
            };
            return Err(fields.out_of_bounds(name, must));
        }
    }
    Ok(())
}

fn logprobs(fields: &Fields) -> Result<Option<u8>, Problem> {
    let wanted = fields.bool("logprobs")?.unwrap_or(false);
    let likeliest = fields.integer("top_logprobs", 0, LIKELIEST_MAX.into())?;
    match likeliest {
        Some(1..) if !wanted => Err(Problem::field(
            "top_logprobs",
            "top_logprobs is only allowed when logprobs is true",
        )),
        likeliest => Ok(wanted.then_some(likeliest.unwrap_or(0) as u8)),
    }
}

#[cfg(test)]
mod tests;
