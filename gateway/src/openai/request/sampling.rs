//! The fields that say how tokens are chosen.

use crate::json::Fields;
use crate::problem::Problem;
use troop_actors::generate::Sampling;

/// Reads them; the seed apart, since it may be absent.
pub(super) fn read(fields: &Fields) -> Result<(Sampling, Option<u64>), Problem> {
    let chosen = ["temperature", "top_k", "top_p", "min_p"];
    let usual = match chosen.iter().any(|name| fields.value(name).is_some()) {
        true => Sampling::default(),
        false => unasked(),
    };
    let repetition = fields.number("repetition_penalty", 0.01, 10.0)?;
    let repeat = fields.number("repeat_penalty", 0.01, 10.0)?;
    if repetition.is_some() && repeat.is_some() && repetition != repeat {
        return Err(Problem::field(
            "repeat_penalty",
            "repeat_penalty and repetition_penalty are the same setting, and they differ",
        ));
    }
    let number = |name, min, max, usual| -> Result<f32, Problem> {
        Ok(fields.number(name, min, max)?.unwrap_or(usual))
    };
    let sampling = Sampling {
        temperature: number("temperature", 0.0, 2.0, usual.temperature)?,
        // vLLM's clients say -1 for "all", others 0.
        top_k: fields
            .integer("top_k", -1, i64::from(u32::MAX))?
            .map_or(usual.top_k, |k| k.max(0) as u32),
        top_p: number("top_p", 0.0, 1.0, usual.top_p)?,
        min_p: number("min_p", 0.0, 1.0, usual.min_p)?,
        repetition_penalty: repetition.or(repeat).unwrap_or(usual.repetition_penalty),
        frequency_penalty: number("frequency_penalty", -2.0, 2.0, usual.frequency_penalty)?,
        presence_penalty: number("presence_penalty", -2.0, 2.0, usual.presence_penalty)?,
        logit_bias: logit_bias(fields)?,
        seed: 0,
    };
    // A negative seed is as good as any other: its bits are the seed.
    let seed = match fields.value("seed").and_then(serde_json::Value::as_u64) {
        Some(seed) => Some(seed),
        None => fields
            .integer("seed", i64::MIN, i64::MAX)?
            .map(|seed| seed as u64),
    };
    Ok((sampling, seed))
}

/// How tokens are chosen for a request that does not say. Small models lose themselves when every token may be
/// drawn, so the improbable ones are left out; a request that names one of the four gets just what it names.
fn unasked() -> Sampling {
    Sampling {
        temperature: 0.7,
        top_k: 40,
        top_p: 0.9,
        min_p: 0.05,
        ..Sampling::default()
    }
}

fn logit_bias(fields: &Fields) -> Result<Vec<(u32, f32)>, Problem> {
    let Some(biases) = fields.object("logit_bias")? else {
        return Ok(Vec::new());
    };
    let must = |must: &str| fields.out_of_bounds("logit_bias", must);
    if biases.len() > BIASES_MAX {
        return Err(must(&format!("at most {BIASES_MAX} tokens")));
    }
    let biases = Fields::new(biases, "logit_bias");
    let mut read = Vec::new();
    for token in biases.names() {
        let id: u32 = token
            .parse()
            .map_err(|_| must("an object whose keys are token ids"))?;
        if let Some(bias) = biases.number(token, -100.0, 100.0)? {
            read.push((id, bias));
        }
    }
    // The same wish in another order is the same request.
    read.sort_by_key(|(id, _)| *id);
    if read.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(must("without a token that stands twice"));
    }
    Ok(read)
}

/// Tokens whose logits one request may change; OpenAI's clients send a handful.
const BIASES_MAX: usize = 1024;
