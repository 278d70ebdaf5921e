//! Cutting plain text into a vocabulary's tokens.
//!
//! `shimmytok` does the cutting. It is kept behind one small trait, is shown a file only after our own
//! linter has passed it, and is believed only as far as it can be checked: for a byte-level vocabulary
//! the bytes of the ids must be the bytes of the text.

use crate::gguf::{Gguf, GgufError, escaped};

use super::TokenizerError;

/// Encodes text in which no special token is to be recognised.
pub(super) trait Words: Send + Sync {
    fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError>;
}

/// Whether the vocabulary is a SentencePiece one; otherwise it is byte-level BPE. Others are refused.
pub(super) fn is_spm(gguf: &Gguf<'_>) -> Result<bool, GgufError> {
    match gguf.str("tokenizer.ggml.model")? {
        "gpt2" => Ok(false),
        "llama" => Ok(true),
        other => Err(GgufError::limit(
            "tokenizer.ggml.model",
            escaped(other),
            "gpt2 or llama",
        )),
    }
}

pub(super) fn load(gguf: &Gguf<'_>, bytes: &[u8]) -> Result<Box<dyn Words>, TokenizerError> {
    if !is_spm(gguf)? {
        let pre = gguf.str("tokenizer.ggml.pre").unwrap_or("default");
        if !PRE.contains(&pre) {
            let why = format!("{} is none of {}", escaped(pre), PRE.join(", "));
            return Err(TokenizerError::Vocabulary {
                field: "tokenizer.ggml.pre",
                why,
            });
        }
    }
    let header = &bytes[..gguf.data_offset().min(bytes.len())];
    let inner =
        shimmytok::Tokenizer::from_bytes(header).map_err(|error| TokenizerError::Vocabulary {
            field: "tokenizer.ggml.tokens",
            why: error.to_string(),
        })?;
    Ok(Box::new(Shimmy { inner }))
}

struct Shimmy {
    inner: shimmytok::Tokenizer,
}

impl Words for Shimmy {
    fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.inner
            .encode(text, false)
            .map_err(|error| TokenizerError::Unencodable {
                why: error.to_string(),
            })
    }
}

/// The ways of cutting text into words that are known to be those of llama.cpp.
const PRE: [&str; 6] = ["smollm", "gpt-2", "llama-bpe", "llama3", "qwen2", "default"];
