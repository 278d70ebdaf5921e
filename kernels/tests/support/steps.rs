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

/// The same, from a llama.cpp that computes GELU instead of reading it from a table of f16.
pub fn gemma_steps_with_computed_gelu() -> Steps {
    #[derive(Deserialize)]
    struct Computed {
        prompts: Vec<ComputedPrompt>,
    }
    #[derive(Deserialize)]
    struct ComputedPrompt {
        name: String,
        steps: Vec<[f64; 5]>,
    }
    let text = include_str!("../golden/gemma3-steps-computed-gelu.json");
    let computed: Computed = serde_json::from_str(text).unwrap();
    let mut all = gemma_steps();
    assert_eq!(all.prompts.len(), computed.prompts.len());
    for (prompt, computed) in all.prompts.iter_mut().zip(computed.prompts) {
        assert_eq!(prompt.name, computed.name);
        assert_eq!(prompt.steps.len(), computed.steps.len());
        for (step, values) in prompt.steps.iter_mut().zip(computed.steps) {
            assert_eq!(step.top.len(), values.len());
            let pairs = step.top.iter_mut().zip(values);
            pairs.for_each(|((_, expected), value)| *expected = value);
        }
    }
    all
}

/// Whether tests may take as long as they like.
pub fn is_long() -> bool {
    std::env::var("TROOP_LONG").is_ok_and(|long| long == "1")
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
    longest(steps())
}

/// The same for Gemma 3.
pub fn gemma_long_ids() -> Vec<u32> {
    longest(gemma_steps())
}

fn longest(steps: Steps) -> Vec<u32> {
    let length = |prompt: &Prompt| prompt.ids.len();
    steps.prompts.into_iter().max_by_key(length).unwrap().ids
}
