//! Text to token ids and back.
//!
//! Text from a stranger and text from a chat template look alike once they are one string, and a
//! control token such as `<|im_end|>` means something only when the template wrote it. So text comes in
//! as runs, each with its origin: control tokens are recognised in runs the template wrote and nowhere
//! else, while everything between two control tokens is encoded in one piece, whoever wrote it. The ids
//! of a conversation are therefore those of llama.cpp to the last one wherever no user wrote the text of
//! a control token (a blank line at the start of a message merges with the template's newline before
//! it), and differ exactly there, where llama.cpp would obey the user.
//!
//! Back from ids the unit is bytes: one token may hold half a character.
//!
//! This file refuses vocabularies whose kind it cannot vouch for, texts above 4 MiB, and to let plain
//! text become a control token by any path.

mod join;
mod letters;
mod lookup;
mod merges;
mod pieces;
mod specials;
mod split;
mod words;

use std::ops::Range;

use thiserror::Error;

use crate::gguf::{Gguf, GgufError};
use pieces::Pieces;
use specials::Specials as Table;
use words::Words;

/// A model's vocabulary and the way it cuts text into it.
pub struct Tokenizer {
    words: Words,
    specials: Table,
    pieces: Pieces,
    /// Of a byte-level vocabulary: the bytes it has no token for. They are left out, as in llama.cpp.
    missing: Option<Box<[bool; 256]>>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
}

/// What becomes of the text of a control token, such as `<|im_start|>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// It is text like any other.
    Text,
    /// It is that token. Only for text no user wrote.
    Parse,
}

/// A run of text and how far it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The text.
    pub text: String,
    /// Who wrote it.
    pub from: Origin,
}

/// Who wrote a run of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The model's chat template: control tokens in it are meant.
    Template,
    /// A message: control tokens in it are only text.
    User,
}

/// Why text could not be encoded, or a vocabulary not be loaded. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenizerError {
    /// The file's vocabulary is not as it must be.
    #[error(transparent)]
    File(#[from] GgufError),
    /// The file's vocabulary is of a kind this program cannot use.
    #[error("{field}: {why}")]
    Vocabulary {
        /// The key of the file.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The text is too long.
    #[error("text: {bytes} bytes is above the limit of {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The vocabulary has no tokens for this text.
    #[error("text: cannot be encoded with this vocabulary: {why}")]
    Unencodable {
        /// What went wrong.
        why: String,
    },
}

impl Tokenizer {
    /// Loads the vocabulary of a linted file.
    pub fn load(gguf: &Gguf<'_>) -> Result<Tokenizer, TokenizerError> {
        let pieces = Pieces::load(gguf)?;
        let specials = Table::load(gguf)?;
        let count = pieces.count();
        let id = |key: &str| gguf.u32(key).ok().filter(|id| *id < count);
        let spm = words::is_spm(gguf)?;
        Ok(Tokenizer {
            words: Words::load(gguf, &pieces, |id| specials.plain(id))?,
            missing: (!spm).then(|| pieces.missing_bytes()),
            specials,
            pieces,
            bos: id("tokenizer.ggml.bos_token_id"),
            eos: id("tokenizer.ggml.eos_token_id"),
            add_bos: gguf.bool_or("tokenizer.ggml.add_bos_token", spm)?,
            add_eos: gguf.bool_or("tokenizer.ggml.add_eos_token", false)?,
        })
    }

    /// Token ids of a text. With `add_special`, the model's tokens for beginning and end are put around
    /// it, where the model wants them.
    pub fn encode(
        &self,
        text: &str,
        specials: Specials,
        add_special: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        let all = 0..text.len();
        let trusted: &[Range<usize>] = match specials {
            Specials::Parse => std::slice::from_ref(&all),
            Specials::Text => &[],
        };
        self.encode_runs(text, trusted, add_special)
    }

    /// Token ids of a rendered conversation. Control tokens count only where one stands wholly inside a
    /// run the template wrote.
    pub fn encode_segments(
        &self,
        segments: &[Segment],
        add_special: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        let mut text = String::new();
        let mut trusted: Vec<Range<usize>> = Vec::new();
        for segment in segments {
            let from = text.len();
            text.push_str(&segment.text);
            if segment.from == Origin::Template {
                match trusted.last_mut() {
                    Some(last) if last.end == from => last.end = text.len(),
                    _ => trusted.push(from..text.len()),
                }
            }
        }
        self.encode_runs(&text, &trusted, add_special)
    }

    /// The bytes a token adds to the visible text. A control token adds none; a token may hold part of
    /// a character only. Unknown ids are empty.
    pub fn piece(&self, id: u32) -> &[u8] {
        if self.control(id) {
            &[]
        } else {
            self.pieces.bytes(id)
        }
    }

    /// The bytes a token stands for, control tokens included: for logs and log-probabilities, never for
    /// the visible text.
    pub fn name(&self, id: u32) -> &[u8] {
        self.pieces.bytes(id)
    }

    /// Whether generation ends with this token.
    pub fn is_end(&self, id: u32) -> bool {
        self.specials.is_end(id)
    }

    /// All tokens that end generation, ascending.
    pub fn ends(&self) -> &[u32] {
        self.specials.ends()
    }

    /// Whether a token is a control token: it steers the model and has no visible text.
    pub fn control(&self, id: u32) -> bool {
        self.specials.control(id)
    }

    /// The text of every control token.
    pub fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.specials.control_texts()
    }

    /// The token for the beginning of a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token for the end of a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the model wants `bos` before a text.
    pub fn adds_bos(&self) -> bool {
        self.add_bos
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.pieces.count() as usize
    }

    fn encode_runs(
        &self,
        text: &str,
        trusted: &[Range<usize>],
        add_special: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenizerError::TooLong {
                bytes: text.len(),
                limit: TEXT_BYTES_MAX,
            });
        }
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        if add_special && self.add_bos {
            ids.extend(self.bos);
        }
        let mut plain_from = 0;
        for found in self.specials.find(text, trusted) {
            self.encode_plain(&text[plain_from..found.start], &mut ids)?;
            ids.push(found.id);
            plain_from = found.start + found.length;
        }
        self.encode_plain(&text[plain_from..], &mut ids)?;
        if add_special && self.add_eos {
            ids.extend(self.eos);
        }
        Ok(ids)
    }

    /// Encodes text without special tokens, and makes sure that nothing of it was lost.
    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        if text.is_empty() {
            return Ok(());
        }
        let from = ids.len();
        self.words.encode(&self.pieces, text, ids)?;
        if let Some(missing) = &self.missing {
            let written = text.bytes().filter(|byte| !missing[usize::from(*byte)]);
            let read = ids[from..]
                .iter()
                .flat_map(|id| self.pieces.bytes(*id))
                .copied();
            if !written.eq(read) {
                let why = "the bytes of the ids are not those of the text".to_owned();
                return Err(TokenizerError::Unencodable { why });
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("vocabulary", &self.vocabulary())
            .finish()
    }
}

/// Some ten times what the longest contexts in use hold. The worst text takes 40 bytes of memory per byte.
const TEXT_BYTES_MAX: usize = 4 << 20;
