//! A leaf: what a model's own header says about it, for people and for whoever has to find room for it.

use super::manifest::{Manifest, Store, StoreError, disk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use troop_kernels::gguf::{Gguf, GgufError};

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The kind of model, as in `llama`.
    pub architecture: String,
    /// What its makers call it, if they say.
    pub title: Option<String>,
    /// The licence, if they say.
    pub license: Option<String>,
    /// Number of layers.
    pub layers: u32,
    /// Numbers per position between layers.
    pub width: u32,
    /// The longest text it was made for, in tokens.
    pub context: u32,
    /// Number of tokens it knows.
    pub vocabulary: u64,
    /// Number of weights.
    pub parameters: u64,
    /// The format that most of its bytes are in.
    pub quantization: String,
    /// How many tensors are in each format.
    pub formats: BTreeMap<String, u32>,
    /// Whether it has a chat template; one without completes text and does not chat.
    pub template: bool,
}

impl Facts {
    /// Reads them from a linted header. A file without an architecture or without tensors is no model.
    pub fn of(gguf: &Gguf<'_>) -> Result<Facts, GgufError> {
        let architecture = gguf.architecture()?;
        let missing = || GgufError::Missing {
            field: "tensors".to_owned(),
        };
        let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
        let mut formats: BTreeMap<String, u32> = BTreeMap::new();
        for tensor in gguf.tensors() {
            *bytes.entry(tensor.format.name()).or_default() += tensor.range.len();
            *formats.entry(tensor.format.name().to_owned()).or_default() += 1;
        }
        let (quantization, _) = bytes
            .iter()
            .max_by_key(|(_, bytes)| **bytes)
            .ok_or_else(missing)?;
        let number = |key: &str| gguf.u32(&format!("{architecture}.{key}"));
        let words = |key: &str| gguf.str(key).ok().map(plain);
        Ok(Facts {
            architecture: architecture.to_owned(),
            title: words("general.name"),
            license: words("general.license"),
            layers: number("block_count")?,
            width: number("embedding_length")?,
            context: number("context_length")?,
            vocabulary: gguf
                .array("tokenizer.ggml.tokens")
                .map_or(0, |tokens| tokens.len() as u64),
            parameters: gguf
                .tensors()
                .iter()
                .fold(0, |sum, tensor| sum.saturating_add(tensor.elements())),
            quantization: (*quantization).to_owned(),
            formats,
            template: gguf.has("tokenizer.chat_template"),
        })
    }
}

impl Store {
    /// What the header of a model that is here says.
    pub fn facts(&self, manifest: &Manifest) -> Result<Facts, StoreError> {
        self.header(manifest, |gguf| {
            Facts::of(gguf).map_err(|error| error.to_string())
        })
    }

    /// What `read` finds in the header of a model that is here.
    pub fn header<T>(
        &self,
        manifest: &Manifest,
        read: impl FnOnce(&Gguf<'_>) -> Result<T, String>,
    ) -> Result<T, StoreError> {
        let path = self.blob(manifest);
        let file = File::open(&path).map_err(disk(&path))?;
        // SAFETY: files of the store are named by their content and are never written again.
        let file = unsafe { memmap2::Mmap::map(&file) }.map_err(disk(&path))?;
        let gguf = Gguf::parse(&file).map_err(|error| error.to_string());
        gguf.and_then(|gguf| read(&gguf))
            .map_err(|message| StoreError::Damaged { path, message })
    }
}

/// A line of a stranger's text that is safe on a terminal.
fn plain(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|character| {
            character.is_alphanumeric() || character.is_ascii_graphic() || *character == ' '
        })
        .take(80)
        .collect()
}
