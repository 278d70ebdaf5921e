//! What llama.cpp computes with the real models in f32, and the models themselves.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use serde::Deserialize;

#[path = "test_model.rs"]
mod test_model;

#[derive(Deserialize)]
pub struct Steps {
    pub prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
pub struct Prompt {
    pub name: String,
    pub ids: Vec<u32>,
    pub steps: Vec<Step>,
}

/// One greedy step: the id taken, and the five likeliest with their log-probabilities.
#[derive(Deserialize)]
pub struct Step {
    pub id: u32,
    pub top: Vec<(u32, f64)>,
}

pub fn steps() -> Steps {
    serde_json::from_str(include_str!("../golden/smollm2-steps.json")).unwrap()
}

/// The same of Gemma 3.
pub fn gemma_steps() -> Steps {
    serde_json::from_str(include_str!("../golden/gemma3-steps.json")).unwrap()
}

/// The text that perplexity is measured on.
pub const PERPLEXITY_TEXT: &str = include_str!("../golden/perplexity.txt");

/// The bytes of the model file.
pub fn model() -> Vec<u8> {
    std::fs::read(test_model::test_model()).unwrap()
}

/// The bytes of Gemma 3's file.
pub fn gemma() -> Vec<u8> {
    std::fs::read(test_model::gemma()).unwrap()
}

/// A text of 1,500 tokens and more.
pub fn long_ids() -> Vec<u32> {
    let longest = |prompt: &Prompt| prompt.ids.len();
    steps().prompts.into_iter().max_by_key(longest).unwrap().ids
}
