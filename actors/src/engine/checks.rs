//! What an engine accepts: an allow-list of fields with ranges, looked at before anything is computed.
//!
//! The session has checked the same already; but an engine serves strangers, and believes no one.

use crate::generate::{
    CHOICES_MAX, Failure, Generate, Prompt, Resume, STOP_BYTES_MAX, STOP_IDS_MAX, STOPS_MAX,
    Sampling, Shape, Task, Turn,
};
use troop_kernels::sample::Params;

/// Checks a request and returns its sampling parameters.
pub(super) fn generate(generate: &Generate, vocabulary: u32) -> Result<Params, Failure> {
    let Generate {
        model: _,
        prompt,
        task,
        sampling,
        choices,
        tokens_max,
        stop,
        stop_ids,
        ignore_end: _,
        tokens_min,
        logprobs,
        now_seconds: _,
        shape,
    } = generate;
    if !(1..=CHOICES_MAX).contains(choices) {
        let message = format!("{choices} is outside 1 to {CHOICES_MAX}");
        return Err(invalid("choices", message));
    }
    if *tokens_max == 0 {
        return Err(invalid("tokens_max", "must be at least 1"));
    }
    let single = matches!(task, Task::Embed | Task::Read);
    if single && (*choices, *tokens_max) != (1, 1) || *task == Task::Embed && logprobs.is_some() {
        let message = "there is one choice of one token, and a vector has no odds";
        return Err(invalid("task", message));
    }
    if stop.len() > STOPS_MAX {
        let message = format!("{} strings, at most {STOPS_MAX} are allowed", stop.len());
        return Err(invalid("stop", message));
    }
    for string in stop {
        if !(1..=STOP_BYTES_MAX).contains(&string.len()) {
            let message = format!("{} bytes is outside 1 to {STOP_BYTES_MAX}", string.len());
            return Err(invalid("stop", message));
        }
    }
    if stop_ids.len() > STOP_IDS_MAX {
        let message = format!(
            "{} tokens, at most {STOP_IDS_MAX} are allowed",
            stop_ids.len()
        );
        return Err(invalid("stop_token_ids", message));
    }
    ids("stop_token_ids", stop_ids, vocabulary)?;
    if tokens_min > tokens_max {
        let message = format!("{tokens_min} is more than the {tokens_max} there may be");
        return Err(invalid("min_tokens", message));
    }
    if let Prompt::Chat(turns) = prompt {
        chat(turns)?;
    }
    if let (Shape::Tools(_), Prompt::Text(_) | Prompt::Tokens(_)) = (shape, prompt) {
        return Err(invalid("tools", "are for conversations"));
    }
    if prompt.bytes() > PROMPT_BYTES_MAX {
        let message = format!(
            "{} bytes, at most {PROMPT_BYTES_MAX} are allowed",
            prompt.bytes()
        );
        return Err(invalid("prompt", message));
    }
    let params = Params {
        logprobs: *logprobs,
        ..Params::from(sampling)
    };
    params
        .check()
        .map_err(|error| invalid(error.field, format!("must be {}", error.limit)))?;
    if let Some((id, _)) = params.bias.iter().find(|(id, _)| *id >= vocabulary) {
        let message = format!("token {id} is outside the vocabulary of {vocabulary}");
        return Err(invalid("logit_bias", message));
    }
    Ok(params)
}

impl From<&Sampling> for Params {
    fn from(sampling: &Sampling) -> Params {
        Params {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repetition_penalty: sampling.repetition_penalty,
            frequency_penalty: sampling.frequency_penalty,
            presence_penalty: sampling.presence_penalty,
            bias: sampling.logit_bias.clone(),
            seed: sampling.seed,
            logprobs: None,
        }
    }
}

/// Checks that `resume` goes with `generate`.
pub(super) fn resume(resume: &Resume, generate: &Generate) -> Result<(), Failure> {
    if resume.choices.len() != generate.choices as usize {
        let message = format!(
            "{} choices, the request has {}",
            resume.choices.len(),
            generate.choices
        );
        return Err(invalid("resume.choices", message));
    }
    Ok(())
}

/// Checks that every id is in the vocabulary.
pub(super) fn ids(field: &'static str, ids: &[u32], vocabulary: u32) -> Result<(), Failure> {
    match ids.iter().find(|id| **id >= vocabulary) {
        Some(id) => {
            let message = format!("token {id} is outside the vocabulary of {vocabulary}");
            Err(invalid(field, message))
        }
        None => Ok(()),
    }
}

/// A field is outside what the engine accepts.
pub(super) fn invalid(field: &str, message: impl Into<String>) -> Failure {
    Failure::Invalid {
        field: field.into(),
        message: message.into(),
    }
}

fn chat(turns: &[Turn]) -> Result<(), Failure> {
    if turns.is_empty() || turns.len() > TURNS_MAX {
        let message = format!("{} messages is outside 1 to {TURNS_MAX}", turns.len());
        return Err(invalid("messages", message));
    }
    let known = ["system", "user", "assistant", "tool"];
    if turns
        .iter()
        .any(|turn| !known.contains(&turn.role.as_str()))
    {
        return Err(invalid(
            "role",
            format!("must be one of {}", known.join(", ")),
        ));
    }
    Ok(())
}

/// Bytes of a prompt, at most; the size of the largest body the gateway takes.
const PROMPT_BYTES_MAX: u64 = 8 << 20;
/// Messages of a conversation, at most.
const TURNS_MAX: usize = 2_048;
