//! `POST /v1/embeddings`: a vector for each input.
//!
//! A vector is the mean of the model's last hidden states over the input's tokens, made as long as 1; so a
//! shorter one is its beginning, made as long as 1 again. Any model that is served has vectors; one that was
//! not trained for it has poor ones.

use super::answer::too_large;
use super::prompts;
use crate::dialect::Whole;
use crate::json::Fields;
use crate::problem::Problem;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};
use troop_actors::generate::{Generate, Prompt, Task, Vector};
use troop_actors::ids::Passport;
use troop_actors::session::protocol::Delivery;

/// A request for vectors, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The model by the client's name for it.
    pub model: String,
    /// What each vector is of.
    pub inputs: Vec<Prompt>,
    /// How vectors are written.
    pub form: Form,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// As base64 of 32-bit floats, lowest byte first, and not as an array of numbers.
    pub base64: bool,
    /// Only so many numbers of each.
    pub dimensions: Option<usize>,
}

impl Embedding {
    /// Reads a body.
    pub fn read(body: &Map<String, Value>) -> Result<Embedding, Problem> {
        let fields = Fields::new(body, "");
        let model = match fields.required("model")? {
            Value::String(model) => model.clone(),
            _ => return Err(fields.wrong("model", "a string")),
        };
        let base64 = match fields.string("encoding_format")? {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(fields.out_of_bounds("encoding_format", "float or base64")),
        };
        let dimensions = fields.integer("dimensions", 1, i64::MAX)?;
        fields.string("user")?;
        let inputs = prompts::read(&fields, "input", INPUTS_MAX)?;
        if let Some(index) = inputs.iter().position(|input| input.bytes() == 0) {
            let path = match inputs.len() {
                1 => "input".to_owned(),
                _ => format!("input[{index}]"),
            };
            let message = format!("{path} is empty, and nothing has no vector");
            return Err(Problem::field(&path, message));
        }
        Ok(Embedding {
            model,
            inputs,
            form: Form {
                base64,
                dimensions: dimensions.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            },
        })
    }

    /// The requests for `model`, one for each input.
    pub fn generate(self, model: Passport) -> Vec<Generate> {
        let one = |prompt| Generate {
            task: Task::Embed,
            ..Generate::new(model, prompt)
        };
        self.inputs.into_iter().map(one).collect()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry<'a> {
    object: &'static str,
    index: usize,
    embedding: &'a Written,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// A vector as it is written.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Written {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Gathers the vectors.
pub struct Gathered {
    model: String,
    form: Form,
    vectors: Vec<Option<Written>>,
    done: usize,
    prompt_tokens: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Gathered {
    /// None yet of `inputs`, and never more than `bytes_max` of what is written.
    pub fn new(model: String, form: Form, inputs: usize, bytes_max: usize) -> Gathered {
        Gathered {
            model,
            form,
            vectors: (0..inputs).map(|_| None).collect(),
            done: 0,
            prompt_tokens: 0,
            bytes: 0,
            bytes_max,
        }
    }

    fn body(&self) -> Vec<u8> {
        let entries = self.vectors.iter().flatten().enumerate();
        let body = Body {
            object: "list",
            data: entries
                .map(|(index, embedding)| Entry {
                    object: "embedding",
                    index,
                    embedding,
                })
                .collect(),
            model: &self.model,
            usage: Usage {
                prompt_tokens: self.prompt_tokens,
                total_tokens: self.prompt_tokens,
            },
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl Whole for Gathered {
    fn take(&mut self, source: usize, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem> {
        match delivery {
            Delivery::Embedding { vector } => {
                let numbers = shortened(&vector, self.form.dimensions)?;
                self.bytes += numbers.len() * NUMBER_BYTES_MAX;
                if self.bytes > self.bytes_max {
                    return Err(too_large(self.bytes_max));
                }
                if let Some(place) = self.vectors.get_mut(source) {
                    *place = Some(written(numbers, self.form.base64));
                }
            }
            Delivery::Done { prompt_tokens, .. } => {
                self.done += 1;
                self.prompt_tokens += u64::from(prompt_tokens);
                if self.done == self.vectors.len() {
                    return Ok(Some(self.body()));
                }
            }
            Delivery::Failed(trouble) => {
                let count = self.vectors.len();
                return Err(prompts::problem(&trouble, "input", source, count));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// The first `dimensions` numbers of a vector, as long as 1 together.
fn shortened(vector: &Vector, dimensions: Option<usize>) -> Result<Vec<f32>, Problem> {
    let width = vector.bits().len();
    let kept = dimensions.unwrap_or(width);
    if kept > width {
        let message = format!("dimensions must be at most {width}, as this model's vectors have");
        return Err(Problem::field("dimensions", message));
    }
    let numbers = || vector.values().take(kept).map(f64::from);
    let length = numbers().map(|number| number * number).sum::<f64>().sqrt();
    // A vector of nothing but zeros has no direction, and stays.
    let divisor = if length > 0.0 { length } else { 1.0 };
    Ok(numbers().map(|number| (number / divisor) as f32).collect())
}

fn written(numbers: Vec<f32>, base64: bool) -> Written {
    match base64 {
        false => Written::Numbers(numbers),
        true => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|one| one.to_le_bytes()).collect();
            Written::Base64(BASE64_STANDARD.encode(bytes))
        }
    }
}

/// Inputs of one request, at most; the number OpenAI's API allows.
const INPUTS_MAX: usize = 2048;
/// Bytes of a number between -1 and 1 and its comma, at most, as it is written.
const NUMBER_BYTES_MAX: usize = 18;

#[cfg(test)]
mod tests;
