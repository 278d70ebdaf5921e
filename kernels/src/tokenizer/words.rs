//! Cutting plain text into a vocabulary's tokens: byte-level BPE and SentencePiece.
//!
//! Both build a text up from its smallest parts, always joining the best pair of neighbours next; they
//! differ in what is best. Both take time in proportion to n log n at most, whatever the text, and are
//! offered only tokens that plain text may become, so no text becomes a control token.

use crate::gguf::{Gguf, GgufError, escaped};

use super::TokenizerError;
use super::join::{NONE, join_by_rank, join_by_score};
use super::lookup::Lookup;
use super::merges::Merges;
use super::pieces::{Pieces, decode_byte_level};
use super::split::{Rule, split};

/// How text becomes tokens.
pub(super) enum Words {
    /// Words are cut by a rule; in each, the pair of the lowest rank is joined first.
    Bytes {
        rule: Rule,
        whole_words: bool,
        lookup: Lookup,
        merges: Merges,
        single: [u32; 256],
    },
    /// All text is one word; the pair whose token has the highest score is joined first.
    Scores {
        lookup: Lookup,
        scores: Vec<f32>,
        bytes: [u32; 256],
        space_before: bool,
    },
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

impl Words {
    /// `usable` says which tokens plain text may become.
    pub(super) fn load(
        gguf: &Gguf<'_>,
        pieces: &Pieces,
        usable: impl Fn(u32) -> bool,
    ) -> Result<Words, TokenizerError> {
        let lookup = Lookup::new(pieces, (0..pieces.count()).filter(|id| usable(*id)));
        if is_spm(gguf)? {
            let mut bytes = [NONE; 256];
            for (id, token) in (0_u32..).zip(gguf.strings("tokenizer.ggml.tokens")?) {
                if let Some(byte) = super::pieces::hexadecimal(token) {
                    bytes[usize::from(byte)] = id;
                }
            }
            let space_before = gguf.bool_or("tokenizer.ggml.add_space_prefix", true)?;
            let scores = gguf.f32s("tokenizer.ggml.scores")?.collect();
            return Ok(Words::Scores {
                lookup,
                scores,
                bytes,
                space_before,
            });
        }
        let pre = gguf.str("tokenizer.ggml.pre").unwrap_or("default");
        let Some((_, rule, whole_words)) = RULES.iter().find(|rule| rule.0 == pre) else {
            let known: Vec<&str> = RULES.iter().map(|rule| rule.0).collect();
            let why = format!("{} is none of {}", escaped(pre), known.join(", "));
            return Err(TokenizerError::Vocabulary {
                field: "tokenizer.ggml.pre",
                why,
            });
        };
        let mut single = [NONE; 256];
        for byte in 0..=255_u8 {
            single[usize::from(byte)] = lookup.find(pieces, &[byte]).unwrap_or(NONE);
        }
        let stored = gguf.strings("tokenizer.ggml.merges")?;
        let mut merges = Vec::with_capacity(stored.len());
        let mut joined = Vec::new();
        for (rank, merge) in (0_u32..).zip(stored) {
            // The first character is never the separator: a space is spelt as another character.
            let cut = merge
                .char_indices()
                .skip(1)
                .find(|(_, character)| *character == ' ');
            let found = cut.and_then(|(cut, _)| {
                joined.clear();
                decode_byte_level(&merge[..cut], &mut joined);
                let middle = joined.len();
                decode_byte_level(&merge[cut + 1..], &mut joined);
                let find = |bytes: &[u8]| lookup.find(pieces, bytes);
                Some((
                    find(&joined[..middle])?,
                    find(&joined[middle..])?,
                    find(&joined)?,
                ))
            });
            let Some((left, right, whole)) = found else {
                let why = format!("merge {rank} is not of two tokens that make a third");
                return Err(TokenizerError::Vocabulary {
                    field: "tokenizer.ggml.merges",
                    why,
                });
            };
            merges.push((left, right, rank, whole));
        }
        let merges = Merges::new(merges, pieces.count());
        Ok(Words::Bytes {
            rule: *rule,
            whole_words: *whole_words,
            lookup,
            merges,
            single,
        })
    }

    /// Appends the tokens of a text in which no special token is to be recognised.
    pub(super) fn encode(
        &self,
        pieces: &Pieces,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        match self {
            Words::Bytes {
                rule,
                whole_words,
                lookup,
                merges,
                single,
            } => {
                let mut parts = Vec::new();
                for word in split(text, *rule) {
                    let whole = if *whole_words {
                        lookup.find(pieces, word.as_bytes())
                    } else {
                        None
                    };
                    if let Some(id) = whole {
                        ids.push(id);
                        continue;
                    }
                    parts.clear();
                    parts.extend(word.bytes().map(|byte| single[usize::from(byte)]));
                    join_by_rank(&mut parts, merges);
                    // A byte without a token is left out, as llama.cpp leaves it out.
                    ids.extend(parts.iter().filter(|id| **id != NONE));
                }
                Ok(())
            }
            Words::Scores {
                lookup,
                scores,
                bytes,
                space_before,
            } => {
                let mut text = text.replace('▁', " ");
                if *space_before {
                    text.insert(0, ' ');
                }
                for part in join_by_score(pieces, lookup, scores, &text) {
                    match lookup.find(pieces, part.as_bytes()) {
                        Some(id) => ids.push(id),
                        None => {
                            for byte in part.bytes() {
                                let id = bytes[usize::from(byte)];
                                if id == NONE {
                                    let why = format!("no token for byte {byte:#04x}");
                                    return Err(TokenizerError::Unencodable { why });
                                }
                                ids.push(id);
                            }
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// `tokenizer.ggml.pre`, the rule it means, and whether a word that is a token is taken whole. Those here
/// are the ones whose rule is known to be llama.cpp's.
const RULES: [(&str, Rule, bool); 8] = [
    ("smollm", Rule::Gpt2 { digits_apart: true }, false),
    ("starcoder", Rule::Gpt2 { digits_apart: true }, false),
    ("refact", Rule::Gpt2 { digits_apart: true }, false),
    (
        "gpt-2",
        Rule::Gpt2 {
            digits_apart: false,
        },
        false,
    ),
    ("llama-bpe", Rule::Llama3 { digits_max: 3 }, true),
    ("llama3", Rule::Llama3 { digits_max: 3 }, true),
    ("qwen2", Rule::Llama3 { digits_max: 1 }, false),
    ("deepseek-r1-qwen", Rule::Llama3 { digits_max: 1 }, false),
];
