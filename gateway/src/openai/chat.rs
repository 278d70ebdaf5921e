//! From the body of `POST /v1/chat/completions` to the one request that troop knows.
//!
//! A field that would change the answer is honoured or refused by name, never dropped; one that would not is
//! ignored, and so is one that nobody has heard of. A conversation whose last message is the assistant's is
//! answered by a new turn, not by a continuation of that message.

mod messages;
mod sampling;

use crate::json::Fields;
use crate::limits::Limits;
use crate::problem::Problem;
use serde_json::{Map, Value};
use troop_actors::generate::{
    CHOICES_MAX, Generate, Prompt, STOP_BYTES_MAX, STOPS_MAX, Sampling, Turn,
};
use troop_actors::ids::Passport;

/// A chat request, read and checked, but for what only the node knows: which model its name means.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// The model by the client's name for it.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a stream is to end with a chunk of usage.
    pub include_usage: bool,
    /// The conversation.
    pub turns: Vec<Turn>,
    /// How tokens are chosen, but for the seed.
    pub sampling: Sampling,
    /// The seed, if one was given.
    pub seed: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// Tokens of each answer, at most; the model's context where it is not given.
    pub tokens_max: Option<u32>,
    /// What ends an answer.
    pub stop: Vec<String>,
    /// Whether to go on past the model's own end.
    pub ignore_end: bool,
}

impl Chat {
    /// Reads a body.
    pub fn read(body: &Map<String, Value>, limits: &Limits) -> Result<Chat, Problem> {
        let fields = Fields::new(body, "");
        let model = match fields.required("model")? {
            Value::String(model) => model.clone(),
            _ => return Err(fields.wrong("model", "a string")),
        };
        refuse_unsupported(&fields)?;
        let stream = fields.bool("stream")?.unwrap_or(false);
        let (sampling, seed) = sampling::read(&fields)?;
        for ignored in [
            "user",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
        ] {
            fields.string(ignored)?;
        }
        fields.bool("store")?;
        fields.object("metadata")?;
        Ok(Chat {
            model,
            stream,
            include_usage: include_usage(&fields, stream)?,
            turns: messages::read(&fields, limits.messages_max)?,
            sampling,
            seed,
            choices: fields
                .integer("n", 1, i64::from(CHOICES_MAX))?
                .map_or(1, |n| n as u32),
            tokens_max: tokens_max(&fields)?,
            stop: stop(&fields)?,
            ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
        })
    }

    /// The request for `model`, which sees `context` tokens.
    pub fn generate(self, model: Passport, context: u32, seed: u64, now_seconds: u64) -> Generate {
        Generate {
            model,
            prompt: Prompt::Chat(self.turns),
            sampling: Sampling {
                seed: self.seed.unwrap_or(seed),
                ..self.sampling
            },
            choices: self.choices,
            // More than the context cannot come, and must not be set aside in credits.
            tokens_max: self.tokens_max.map_or(context, |most| most.min(context)),
            stop: self.stop,
            ignore_end: self.ignore_end,
            now_seconds,
        }
    }
}

fn include_usage(fields: &Fields, stream: bool) -> Result<bool, Problem> {
    let Some(options) = fields.object("stream_options")? else {
        return Ok(false);
    };
    if !stream {
        return Err(Problem::field(
            "stream_options",
            "stream_options is only allowed when stream is true",
        ));
    }
    let options = Fields::new(options, "stream_options");
    options.bool("include_obfuscation")?;
    Ok(options.bool("include_usage")?.unwrap_or(false))
}

fn tokens_max(fields: &Fields) -> Result<Option<u32>, Problem> {
    let read = |name| fields.integer(name, 1, i64::MAX);
    let most = match (read("max_completion_tokens")?, read("max_tokens")?) {
        (Some(new), Some(old)) if new != old => {
            return Err(Problem::field(
                "max_tokens",
                "max_tokens and max_completion_tokens are the same limit, and they differ",
            ));
        }
        (new, old) => new.or(old),
    };
    Ok(most.map(|most| u32::try_from(most).unwrap_or(u32::MAX)))
}

fn stop(fields: &Fields) -> Result<Vec<String>, Problem> {
    let strings = match fields.value("stop") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) if many.len() <= STOPS_MAX => many
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| fields.out_of_bounds("stop", "a string or an array of strings"))?,
        Some(Value::Array(_)) => {
            return Err(fields.out_of_bounds("stop", format!("at most {STOPS_MAX} strings")));
        }
        Some(_) => return Err(fields.wrong("stop", "a string or an array of strings")),
    };
    if strings
        .iter()
        .any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX)
    {
        let must = format!("made of strings of 1 to {STOP_BYTES_MAX} bytes");
        return Err(fields.out_of_bounds("stop", must));
    }
    Ok(strings)
}

/// Refuses what would change the answer and is not served; a value that means "as usual" passes.
fn refuse_unsupported(fields: &Fields) -> Result<(), Problem> {
    for (name, usual) in UNSUPPORTED {
        let Some(value) = fields.value(name) else {
            continue;
        };
        let as_usual = match usual {
            Usual::Nothing => false,
            Usual::Empty => match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => return Err(fields.wrong(name, "an array or an object")),
            },
            Usual::False => !fields.bool(name)?.unwrap_or(false),
            Usual::Number(usual) => match value.as_f64() {
                Some(number) => number == *usual,
                None => return Err(fields.wrong(name, "a number")),
            },
            Usual::Words(words) => match value.as_str() {
                Some(word) => words.contains(&word),
                None if value.is_object() => false,
                None => return Err(fields.wrong(name, "a string")),
            },
            Usual::Type(usual) => match value.get("type") {
                Some(Value::String(kind)) => kind == usual,
                _ if value.is_object() => {
                    let path = format!("{name}.type");
                    return Err(Problem::field(&path, format!("{path} must be a string")));
                }
                _ => return Err(fields.wrong(name, "an object")),
            },
            Usual::Text => value
                .as_array()
                .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text")),
        };
        if !as_usual {
            return Err(fields.unsupported(name));
        }
    }
    Ok(())
}

/// The value of an unsupported field that asks for nothing.
enum Usual {
    Nothing,
    Empty,
    False,
    Number(f64),
    Words(&'static [&'static str]),
    Type(&'static str),
    Text,
}

/// Fields that clients of this route, of vLLM's or of llama.cpp's send, and that change the answer.
const UNSUPPORTED: &[(&str, Usual)] = &[
    ("tools", Usual::Empty),
    ("functions", Usual::Empty),
    ("tool_choice", Usual::Words(&["none", "auto"])),
    ("function_call", Usual::Words(&["none", "auto"])),
    ("response_format", Usual::Type("text")),
    ("logprobs", Usual::False),
    ("top_logprobs", Usual::Number(0.0)),
    ("reasoning_effort", Usual::Words(&["none"])),
    ("verbosity", Usual::Words(&["medium"])),
    ("modalities", Usual::Text),
    ("audio", Usual::Nothing),
    ("web_search_options", Usual::Nothing),
    ("typical_p", Usual::Number(1.0)),
    ("min_tokens", Usual::Number(0.0)),
    ("stop_token_ids", Usual::Empty),
    ("bad_words", Usual::Empty),
    ("allowed_token_ids", Usual::Empty),
    ("use_beam_search", Usual::False),
    ("truncate_prompt_tokens", Usual::Nothing),
    ("continue_final_message", Usual::False),
    ("structured_outputs", Usual::Nothing),
    ("guided_json", Usual::Nothing),
    ("guided_regex", Usual::Nothing),
    ("guided_choice", Usual::Nothing),
    ("guided_grammar", Usual::Nothing),
    ("grammar", Usual::Nothing),
    ("json_schema", Usual::Nothing),
    ("chat_template", Usual::Nothing),
    ("chat_template_kwargs", Usual::Empty),
    ("documents", Usual::Empty),
    ("mirostat", Usual::Number(0.0)),
    ("num_ctx", Usual::Nothing),
    ("options", Usual::Empty),
];

#[cfg(test)]
mod tests;
