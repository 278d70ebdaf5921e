//! Cutting plain text into a vocabulary's tokens: byte-level BPE and SentencePiece.
//!
//! Both build a text up from its smallest parts, always joining the best pair of neighbours next; they
//! differ in what is best. Both take time in proportion to n log n at most, whatever the text, and are
//! offered only tokens that plain text may become, so no text becomes a control token.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::gguf::{Gguf, GgufError, escaped};

use super::TokenizerError;
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
        let mut merges = Vec::new();
        let mut joined = Vec::new();
        for (rank, merge) in (0_u32..).zip(gguf.strings("tokenizer.ggml.merges")?) {
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

/// Joins neighbours in the order of their merges' ranks; of equal ranks the leftmost first.
fn join_by_rank(parts: &mut Vec<u32>, merges: &Merges) {
    if parts.len() > SHORT {
        return join_by_rank_long(parts, merges);
    }
    // Most words are short, and looking at all pairs again beats keeping a queue of them.
    loop {
        let mut best: Option<(u32, usize, u32)> = None;
        for at in 1..parts.len() {
            if let Some((rank, whole)) = merges.find(parts[at - 1], parts[at])
                && best.is_none_or(|best| rank < best.0)
            {
                best = Some((rank, at, whole));
            }
        }
        let Some((_, at, whole)) = best else { return };
        parts[at - 1] = whole;
        parts.remove(at);
    }
}

fn join_by_rank_long(parts: &mut Vec<u32>, merges: &Merges) {
    let mut chain = Chain::new(parts.len());
    let mut queue = BinaryHeap::new();
    let offer = |queue: &mut BinaryHeap<_>, parts: &[u32], left: usize, right: usize| {
        let pair = (parts[left], parts[right]);
        if let Some((rank, whole)) = merges.find(pair.0, pair.1) {
            queue.push(Reverse((rank, left as u32, right as u32, pair, whole)));
        }
    };
    for right in 1..parts.len() {
        offer(&mut queue, parts, right - 1, right);
    }
    while let Some(Reverse((_, left, right, pair, whole))) = queue.pop() {
        let (left, right) = (left as usize, right as usize);
        // Either side may have been joined to something else since.
        if chain.next(left) != Some(right) || (parts[left], parts[right]) != pair {
            continue;
        }
        parts[left] = whole;
        chain.join(left, right);
        if let Some(before) = chain.before(left) {
            offer(&mut queue, parts, before, left);
        }
        if let Some(after) = chain.next(left) {
            offer(&mut queue, parts, left, after);
        }
    }
    *parts = chain.heads().map(|at| parts[at]).collect();
}

/// Joins neighbours in the order of their tokens' scores, highest first; of equals the leftmost first.
fn join_by_score<'t>(
    pieces: &Pieces,
    lookup: &Lookup,
    scores: &[f32],
    text: &'t str,
) -> Vec<&'t str> {
    let starts: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).collect();
    let mut ends: Vec<u32> = starts.iter().skip(1).copied().collect();
    ends.push(text.len() as u32);
    let mut chain = Chain::new(starts.len());
    let mut queue = BinaryHeap::new();
    let offer = |queue: &mut BinaryHeap<_>, ends: &[u32], left: usize, right: usize| {
        let joined = &text.as_bytes()[starts[left] as usize..ends[right] as usize];
        if let Some(id) = lookup.find(pieces, joined) {
            let score = scores.get(id as usize).copied().unwrap_or(0.0);
            queue.push((
                Score(score),
                Reverse(left as u32),
                right as u32,
                ends[right],
            ));
        }
    };
    for right in 1..starts.len() {
        offer(&mut queue, &ends, right - 1, right);
    }
    while let Some((_, Reverse(left), right, end)) = queue.pop() {
        let (left, right) = (left as usize, right as usize);
        // The left side can only have grown, and then its neighbour is another.
        if chain.next(left) != Some(right) || ends[right] != end {
            continue;
        }
        ends[left] = end;
        chain.join(left, right);
        if let Some(before) = chain.before(left) {
            offer(&mut queue, &ends, before, left);
        }
        if let Some(after) = chain.next(left) {
            offer(&mut queue, &ends, left, after);
        }
    }
    chain
        .heads()
        .map(|at| &text[starts[at] as usize..ends[at] as usize])
        .collect()
}

/// Scores are never NaN: the linter has looked.
#[derive(Clone, Copy, PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Parts of a text and their neighbours, as parts are joined to the one on their left.
struct Chain {
    next: Vec<u32>,
    before: Vec<u32>,
}

impl Chain {
    fn new(count: usize) -> Self {
        // Texts are below 4 MiB, so indices fit.
        let count = count as u32;
        let next = (1..=count)
            .map(|at| if at == count { NONE } else { at })
            .collect();
        let before = (0..count)
            .map(|at| if at == 0 { NONE } else { at - 1 })
            .collect();
        Self { next, before }
    }

    fn next(&self, at: usize) -> Option<usize> {
        Some(self.next[at])
            .filter(|next| *next != NONE)
            .map(|next| next as usize)
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.before[at])
            .filter(|before| *before != NONE)
            .map(|before| before as usize)
    }

    /// Takes `right` out, for it is now part of `left`, its neighbour.
    fn join(&mut self, left: usize, right: usize) {
        self.next[left] = self.next[right];
        self.next[right] = NONE;
        if let Some(after) = self.next(left) {
            self.before[after] = left as u32;
        }
    }

    /// The parts that are left, in order.
    fn heads(&self) -> impl Iterator<Item = usize> {
        let first = (!self.next.is_empty()).then_some(0);
        std::iter::successors(first, |at| self.next(*at))
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
/// No token, no neighbour. Vocabularies and texts are smaller.
const NONE: u32 = u32::MAX;
/// Up to so many bytes, trying all pairs again is faster than a queue.
const SHORT: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_joining_agree() {
        // Five letters; merges in an order that has no order.
        let mut merges = Vec::new();
        let mut word = 12_345_u64;
        let mut roll = |end: u64| {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (word >> 33) % end
        };
        for rank in 0..60 {
            merges.push((roll(30) as u32, roll(30) as u32, rank, 5 + roll(25) as u32));
        }
        let merges = Merges::new(merges, 30);
        for _ in 0..2000 {
            let length = roll(SHORT as u64 + 1) as usize;
            let mut short: Vec<u32> = (0..length).map(|_| roll(5) as u32).collect();
            let mut long = short.clone();
            join_by_rank(&mut short, &merges);
            join_by_rank_long(&mut long, &merges);
            assert_eq!(short, long);
        }
    }
}
