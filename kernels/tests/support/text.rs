//! The real models and what llama.cpp makes of text with them.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::fs;

use serde::Deserialize;

#[path = "test_model.rs"]
mod test_model;

#[derive(Deserialize)]
pub struct TextGolden {
    pub model_sha256: String,
    #[serde(default)]
    pub chat_template: String,
    pub prompts: Vec<Prompt>,
    #[serde(default)]
    pub chat: Vec<Chat>,
}

#[derive(Deserialize)]
pub struct Prompt {
    pub name: String,
    pub text: String,
    pub ids_plain: Vec<u32>,
    pub ids_add_special: Vec<u32>,
    pub ids_parse_special: Vec<u32>,
    pub ids_add_parse: Vec<u32>,
}

#[derive(Deserialize)]
pub struct Chat {
    pub messages: serde_json::Value,
    pub prompt: String,
    pub ids: Vec<u32>,
}

pub fn golden() -> TextGolden {
    serde_json::from_str(include_str!("../golden/smollm2-text.json")).unwrap()
}

pub fn model() -> Vec<u8> {
    fs::read(test_model::test_model()).unwrap()
}

/// Gemma 3's file has no chat template, so there is nothing of conversations.
pub fn gemma_golden() -> TextGolden {
    serde_json::from_str(include_str!("../golden/gemma3-text.json")).unwrap()
}

pub fn gemma() -> Vec<u8> {
    fs::read(test_model::gemma()).unwrap()
}
