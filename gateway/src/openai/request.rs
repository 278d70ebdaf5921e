//! What conversations and plain prompts are asked alike: how many answers, how long, and how chosen.
//!
//! A field that would change the answer is honoured or refused by name, never dropped; one that would not is
//! ignored, and so is one that nobody has heard of.

mod sampling;
mod unsupported;

use crate::json::Fields;
use crate::problem::Problem;
use serde_json::Value;
use troop_actors::generate::{
    CHOICES_MAX, Generate, Prompt, STOP_BYTES_MAX, STOP_IDS_MAX, STOPS_MAX, Sampling,
};
use troop_actors::ids::Passport;

/// The fields, read and checked, but for what only the node knows: which model a name means.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The model by the client's name for it.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a stream is to end with a chunk of usage.
    pub include_usage: bool,
    /// How tokens are chosen, but for the seed.
    pub sampling: Sampling,
    /// The seed, if one was given.
    pub seed: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// Tokens of each answer, at most; the model's context where it is not given.
    pub tokens_max: Option<u32>,
    /// No token ends an answer before it has so many.
    pub tokens_min: u32,
    /// What ends an answer.
    pub stop: Vec<String>,
    /// Tokens that end an answer.
    pub stop_ids: Vec<u32>,
    /// Whether to go on past the model's own end.
    pub ignore_end: bool,
}

impl Asked {
    /// Reads the fields of a body; those of `read` are read by the caller.
    pub fn read(fields: &Fields, read: &[&str]) -> Result<Asked, Problem> {
        let model = match fields.required("model")? {
            Value::String(model) => model.clone(),
            _ => return Err(fields.wrong("model", "a string")),
        };
        unsupported::refuse(fields, read)?;
        let stream = fields.bool("stream")?.unwrap_or(false);
        let (sampling, seed) = sampling::read(fields)?;
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
        let tokens_max = tokens_max(fields)?;
        let most = i64::from(tokens_max.unwrap_or(u32::MAX));
        Ok(Asked {
            model,
            stream,
            include_usage: include_usage(fields, stream)?,
            sampling,
            seed,
            choices: fields
                .integer("n", 1, i64::from(CHOICES_MAX))?
                .map_or(1, |n| n as u32),
            tokens_max,
            tokens_min: fields
                .integer("min_tokens", 0, most)?
                .map_or(0, |least| least as u32),
            stop: stop(fields)?,
            stop_ids: stop_ids(fields)?,
            ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
        })
    }

    /// The request to continue `prompt` by `model`, which sees `context` tokens. `seed` is for a client that
    /// gave none.
    pub fn generate(
        &self,
        prompt: Prompt,
        model: Passport,
        context: u32,
        seed: u64,
        now_seconds: u64,
    ) -> Generate {
        Generate {
            sampling: Sampling {
                seed: self.seed.unwrap_or(seed),
                ..self.sampling.clone()
            },
            choices: self.choices,
            // More than the context cannot come, and must not be set aside in credits.
            tokens_max: self.tokens_max.map_or(context, |most| most.min(context)),
            tokens_min: self.tokens_min.min(context),
            stop: self.stop.clone(),
            stop_ids: self.stop_ids.clone(),
            ignore_end: self.ignore_end,
            now_seconds,
            ..Generate::new(model, prompt)
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

/// The tokens that end an answer.
fn stop_ids(fields: &Fields) -> Result<Vec<u32>, Problem> {
    let must = format!("an array of at most {STOP_IDS_MAX} token ids");
    let ids = fields.array("stop_token_ids")?.unwrap_or_default();
    if ids.len() > STOP_IDS_MAX {
        return Err(fields.out_of_bounds("stop_token_ids", must));
    }
    token_ids(ids).ok_or_else(|| fields.out_of_bounds("stop_token_ids", must))
}

/// Token ids as numbers, if all of them are.
pub(crate) fn token_ids(values: &[Value]) -> Option<Vec<u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    values.iter().map(id).collect()
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
