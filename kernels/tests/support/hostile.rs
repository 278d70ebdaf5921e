//! A whole small model to break, ways to break it, and what an engine would do with what is left.

#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::ops::Range;
use std::sync::Arc;

use troop_kernels::gguf::{Format, Gguf};
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PageId, Pages, Run, Want};
use troop_kernels::template::{self, Conversation, Template, TemplateError};
use troop_kernels::tokenizer::{Specials, Tokenizer};

use super::gguf_file::File;
use super::measure::{Spent, measure};
use super::synthetic::{Shape, Synthetic};

/// A whole small model: weights, a vocabulary of five, a template.
pub fn whole() -> Vec<u8> {
    let types: Vec<u8> = [1_i32, 1, 1, 1, 3]
        .iter()
        .flat_map(|kind| kind.to_le_bytes())
        .collect();
    let words = File::new()
        .word("general.alignment", 32)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", &["a", "b", "c", "ab", "<|x|>"])
        .strings("tokenizer.ggml.merges", &["a b"])
        .raw_array("tokenizer.ggml.token_type", 5, 5, &types)
        .word("tokenizer.ggml.bos_token_id", 4)
        .word("tokenizer.ggml.eos_token_id", 4)
        .text(
            "tokenizer.chat_template",
            "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}",
        );
    let shape = Shape {
        width: 32,
        heads: 2,
        kv_heads: 1,
        head_width: 16,
        feed: 32,
        layers: 1,
        vocabulary: 5,
        context: 64,
    };
    Synthetic::new(shape, Format::Q8_0, 1).write(words)
}

/// What became of a file, and what it took.
#[derive(Debug)]
pub struct Considered {
    /// The first refusal, if there was one, and its field.
    pub refused: Option<(String, String)>,
    /// For linting the header.
    pub header: Spent,
    /// For everything after that.
    pub rest: Spent,
}

/// Does with a file what an engine does: lints it, loads its words, renders and encodes a message,
/// loads its weights, and evaluates a token.
pub fn consider(file: &[u8]) -> Considered {
    let (gguf, header) = measure(|| Gguf::parse(file));
    let (refused, rest) = measure(|| match &gguf {
        Err(error) => Some((error.field().to_owned(), error.to_string())),
        Ok(gguf) => use_all(gguf, file).err(),
    });
    Considered {
        refused,
        header,
        rest,
    }
}

fn use_all(gguf: &Gguf<'_>, file: &[u8]) -> Result<(), (String, String)> {
    let text = |error: &dyn std::fmt::Display| (String::new(), error.to_string());
    let tokenizer = Tokenizer::load(gguf).map_err(|error| text(&error))?;
    // A vocabulary may have no tokens for a text; then it says so.
    let _ = tokenizer.encode("ab <|x|> ä\n", Specials::Parse, true);
    match Template::load(gguf, &tokenizer) {
        Err(TemplateError::Missing) => {}
        Err(error) => return Err(text(&error)),
        Ok(template) => {
            let conversation = Conversation {
                messages: &[template::message("user", "ab <|x|>")],
                tools: None,
                now_seconds: Some(0),
                add_generation_prompt: true,
            };
            let _ = template.prompt(&tokenizer, &conversation, "");
        }
    }
    let model = Model::load(gguf, file, Isa::detect());
    let model = model.map_err(|error| (error.field().to_owned(), error.to_string()))?;
    let mut pages = Pages::new(model.facts(), 1, 0).map_err(|error| text(&error))?;
    let mut evaluator = Evaluator::new(Arc::new(model), 1, 1).map_err(|error| text(&error))?;
    let run = Run {
        tokens: &[0],
        start: 0,
        pages: &[PageId(0)],
        window_pages: &[],
        want: Want::Logits,
    };
    let result = evaluator.step(&mut pages, &[run]).swap_remove(0);
    result.map(drop).map_err(|error| text(&error))
}

/// A generator of its own, so that a failure comes again.
pub struct Dice(pub u64);

impl Dice {
    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    /// A copy with something changed: overwritten, inserted, taken out, or cut off.
    pub fn mutate(&mut self, good: &[u8], range: Range<usize>) -> Vec<u8> {
        let mut file = good.to_vec();
        for _ in 0..=self.below(3) {
            let at = range.start + self.below(range.len());
            match self.below(6) {
                0 => file.truncate(at),
                1 => {
                    let end = (at + self.below(16)).min(file.len());
                    file.drain(at.min(end)..end);
                }
                2 => {
                    let at = at.min(file.len());
                    file.splice(at..at, self.roll().to_le_bytes());
                }
                _ => {
                    let end = range.end.min(file.len());
                    if range.start < end {
                        drop(self.overwrite(&mut file, range.start..end));
                    }
                }
            }
        }
        file
    }

    /// Overwrites a few bytes in place and gives back what undoes it.
    pub fn overwrite(
        &mut self,
        file: &mut [u8],
        range: Range<usize>,
    ) -> impl FnOnce(&mut [u8]) + use<> {
        let at = range.start + self.below(range.len());
        let powers = 1_u64 << self.below(64);
        let word = match self.below(6) {
            0 => powers,
            1 => powers.wrapping_sub(1),
            2 => u64::MAX - self.roll() % 64,
            3 => self.roll() % 16,
            _ => self.roll(),
        };
        let width = [1, 1, 4, 8][self.below(4)].min(file.len() - at);
        let before = file[at..at + width].to_vec();
        file[at..at + width].copy_from_slice(&word.to_le_bytes()[..width]);
        move |file| file[at..at + before.len()].copy_from_slice(&before)
    }
}
