//! Tokens that are recognised in text as a whole, before it is cut into words.
//!
//! Control tokens are looked for in trusted text only; tokens a model's makers added by hand
//! ("user-defined") everywhere, as the model was trained so. Where two overlap the longer wins, then the
//! earlier. So the text is gone through once for each length that tokens have, longest first.

use std::ops::Range;

use crate::gguf::{Gguf, GgufError};

pub(super) struct Specials {
    /// Whether a token is a control token, by id.
    control: Vec<bool>,
    /// Whether plain text may become a token, by id: not control tokens, and not tokens for single bytes,
    /// which only stand in where there is no other.
    plain: Vec<bool>,
    ends: Vec<u32>,
    /// Tokens to look for, those of one length together, longest first.
    groups: Vec<Group>,
}

struct Group {
    length: usize,
    /// Whether any of them begins with a byte, for a quick look.
    first: Box<[bool; 256]>,
    /// Sorted by text, then id.
    candidates: Vec<Candidate>,
}

struct Candidate {
    text: String,
    id: u32,
    /// Only in trusted text.
    control: bool,
}

/// A token found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) id: u32,
}

/// The token types of the file, one per token, or none where it has none.
pub(super) fn types(gguf: &Gguf<'_>) -> Result<Box<dyn Iterator<Item = i32>>, GgufError> {
    if !gguf.has(TYPES) {
        return Ok(Box::new(std::iter::empty()));
    }
    Ok(Box::new(gguf.i32s(TYPES)?.collect::<Vec<_>>().into_iter()))
}

/// Whether a token's text is what it says, not spelt in the vocabulary's alphabet.
pub(super) fn is_literal(kind: i32) -> bool {
    matches!(kind, CONTROL | UNKNOWN | USER_DEFINED)
}

impl Specials {
    pub(super) fn load(gguf: &Gguf<'_>) -> Result<Specials, GgufError> {
        let tokens = gguf.strings("tokenizer.ggml.tokens")?;
        let count = tokens.len();
        let mut types = types(gguf)?;
        let mut specials = Specials {
            control: vec![false; count],
            plain: vec![false; count],
            ends: Vec::new(),
            groups: Vec::new(),
        };
        let mut candidates = Vec::new();
        for (id, text) in (0_u32..).zip(tokens) {
            let kind = types.next().unwrap_or(NORMAL);
            let control = matches!(kind, CONTROL | UNKNOWN);
            specials.control[id as usize] = kind == CONTROL;
            specials.plain[id as usize] = !control && kind != BYTE;
            if kind == CONTROL && ENDS.contains(&text) {
                specials.ends.push(id);
            }
            if !text.is_empty() && is_literal(kind) {
                if candidates.len() == LITERALS_MAX {
                    let limit = format!("{LITERALS_MAX} tokens that are taken whole");
                    return Err(GgufError::limit(TYPES, "more", limit));
                }
                candidates.push(Candidate {
                    text: text.to_owned(),
                    id,
                    control,
                });
            }
        }
        specials.groups = groups(candidates);
        if specials.groups.len() > LENGTHS_MAX {
            let limit = format!("{LENGTHS_MAX} lengths of tokens that are taken whole");
            return Err(GgufError::limit(TYPES, specials.groups.len(), limit));
        }
        for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
            let id = gguf.u32(&format!("tokenizer.ggml.{key}")).ok();
            if let Some(id) = id.filter(|id| (*id as usize) < count) {
                specials.ends.push(id);
                // Whatever its type says: a token that ends the text is not part of it.
                specials.control[id as usize] = true;
                specials.plain[id as usize] = false;
            }
        }
        specials.ends.sort_unstable();
        specials.ends.dedup();
        Ok(specials)
    }

    pub(super) fn control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(false)
    }

    /// Whether plain text may become this token.
    pub(super) fn plain(&self, id: u32) -> bool {
        self.plain.get(id as usize).copied().unwrap_or(false)
    }

    pub(super) fn control_texts(&self) -> impl Iterator<Item = &str> {
        let candidates = self.groups.iter().flat_map(|group| &group.candidates);
        candidates
            .filter(|one| one.control)
            .map(|one| one.text.as_str())
    }

    pub(super) fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// All tokens to be taken whole, in the order of the text, none overlapping another.
    pub(super) fn find(&self, text: &str, trusted: &[Range<usize>]) -> Vec<Found> {
        let mut found = Vec::new();
        // What no token has been found in yet.
        let mut free: Vec<Range<usize>> = std::iter::once(0..text.len()).collect();
        for group in &self.groups {
            let mut still = Vec::new();
            for range in free {
                let mut from = range.start;
                let mut at = range.start;
                while at + group.length <= range.end {
                    let Some(id) = group.at(text.as_bytes(), at, trusted) else {
                        at += 1;
                        continue;
                    };
                    found.push(Found {
                        start: at,
                        length: group.length,
                        id,
                    });
                    still.push(from..at);
                    at += group.length;
                    from = at;
                }
                still.push(from..range.end);
            }
            still.retain(|range| !range.is_empty());
            free = still;
        }
        found.sort_unstable_by_key(|one| one.start);
        found
    }
}

impl Group {
    /// The token at a place of the text; control tokens only wholly inside a trusted run.
    fn at(&self, text: &[u8], start: usize, trusted: &[Range<usize>]) -> Option<u32> {
        if !self.first[usize::from(text[start])] {
            return None;
        }
        let end = start + self.length;
        let word = &text[start..end];
        let from = self
            .candidates
            .partition_point(|one| one.text.as_bytes() < word);
        let same = self.candidates[from..]
            .iter()
            .take_while(|one| one.text.as_bytes() == word);
        let run = trusted.partition_point(|range| range.end < end);
        let inside = trusted.get(run).is_some_and(|range| range.start <= start);
        same.into_iter()
            .find(|one| inside || !one.control)
            .map(|one| one.id)
    }
}

fn groups(mut candidates: Vec<Candidate>) -> Vec<Group> {
    candidates.sort_by(|left, right| {
        let length = right.text.len().cmp(&left.text.len());
        length
            .then_with(|| left.text.cmp(&right.text))
            .then(left.id.cmp(&right.id))
    });
    // Of tokens with one text only the first can be found, and the first that is no control token.
    candidates.dedup_by(|later, earlier| {
        later.text == earlier.text && (later.control || !earlier.control)
    });
    let mut groups: Vec<Group> = Vec::new();
    for candidate in candidates {
        let length = candidate.text.len();
        if groups.last().is_none_or(|group| group.length != length) {
            let first = Box::new([false; 256]);
            groups.push(Group {
                length,
                first,
                candidates: Vec::new(),
            });
        }
        if let Some(group) = groups.last_mut() {
            group.first[usize::from(candidate.text.as_bytes()[0])] = true;
            group.candidates.push(candidate);
        }
    }
    groups
}

/// Real vocabularies have some thousand, most of them reserved.
const LITERALS_MAX: usize = 1 << 16;
/// A text is gone through once for each; real vocabularies have some dozen.
const LENGTHS_MAX: usize = 256;
const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Control tokens that end a turn in some family of models, though its files name only one of them.
const ENDS: [&str; 10] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<EOT>",
    "</s>",
];

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "a list of one run is what is meant"
)]
mod tests {
    use super::*;

    fn specials(tokens: &[(&str, bool)]) -> Specials {
        let candidate = |(id, token): (u32, &(&str, bool))| Candidate {
            text: token.0.to_owned(),
            id,
            control: token.1,
        };
        let groups = groups((0..).zip(tokens).map(candidate).collect());
        Specials {
            control: Vec::new(),
            plain: Vec::new(),
            ends: Vec::new(),
            groups,
        }
    }

    fn ids(found: &[Found]) -> Vec<(usize, u32)> {
        found.iter().map(|one| (one.start, one.id)).collect()
    }

    #[test]
    fn the_longest_of_overlapping_tokens_wins() {
        let specials = specials(&[("aa", true), ("aaa", true), ("ab", true)]);

        assert_eq!(ids(&specials.find("aaab", &[0..4])), [(0, 1)]);
        assert_eq!(ids(&specials.find("aaaaab", &[0..6])), [(0, 1), (3, 0)]);
        assert_eq!(ids(&specials.find("xab", &[0..3])), [(1, 2)]);
    }

    #[test]
    fn of_tokens_with_one_text_the_first_that_may_be_found_counts() {
        let tokens = [
            ("a", true),
            ("a", true),
            ("a", false),
            ("a", true),
            ("a", false),
        ];
        let specials = specials(&tokens);

        assert_eq!(specials.groups[0].candidates.len(), 2);
        assert_eq!(ids(&specials.find("a", &[])), [(0, 2)]);
        assert_eq!(ids(&specials.find("a", &[0..1])), [(0, 0)]);
    }

    #[test]
    fn a_control_token_is_found_only_wholly_inside_trusted_text() {
        let specials = specials(&[("<e>", true), ("<u>", false)]);
        let text = "<e><u><e><u>";

        assert_eq!(ids(&specials.find(text, &[])), [(3, 1), (9, 1)]);
        assert_eq!(ids(&specials.find(text, &[0..3])), [(0, 0), (3, 1), (9, 1)]);
        assert_eq!(ids(&specials.find(text, &[0..2, 7..12])), [(3, 1), (9, 1)]);
        assert_eq!(
            ids(&specials.find(text, &[0..1, 6..9])),
            [(3, 1), (6, 0), (9, 1)]
        );
    }
}
