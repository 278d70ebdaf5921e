//! Where an answer is in its JSON, as far as numbers need it: so that none goes on forever.
//!
//! Between quotes all is text. Outside, after [`DIGITS_MAX`] digits in a row, tokens that begin with a digit
//! may not come, unless nothing else may: a schema that wants longer numbers gets them.

use llguidance::toktrie::TokTrie;

/// Digits in a row, at most, where a number can end: more than any two machines agree on.
pub const DIGITS_MAX: u32 = 17;

/// What the bytes so far amount to.
#[derive(Clone, Debug, Default)]
pub(super) struct Digits {
    quoted: bool,
    escaped: bool,
    depth: u32,
    run: u32,
    last: u8,
}

impl Digits {
    /// Takes more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.quoted {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.quoted = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.quoted = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                self.run = if byte.is_ascii_digit() {
                    self.run + 1
                } else {
                    0
                };
            }
            self.last = *byte;
        }
    }

    /// Whether a value that has an end of its own has just ended, within no other.
    pub(super) fn closed(&self) -> bool {
        !self.quoted && self.depth == 0 && matches!(self.last, b'}' | b']' | b'"')
    }

    /// Takes tokens that would go on with a number that is too long out of a mask, if others are left.
    pub(super) fn limit(&self, mask: &mut [u32], trie: &TokTrie) {
        if self.quoted || self.run < DIGITS_MAX {
            return;
        }
        let begins = |id: u32| trie.token(id).first().is_some_and(u8::is_ascii_digit);
        let allowed = |mask: &[u32], id: u32| mask[id as usize / 32] >> (id % 32) & 1 == 1;
        let count = trie.vocab_size() as u32;
        let digits: Vec<u32> = (0..count)
            .filter(|id| allowed(mask, *id) && begins(*id))
            .collect();
        let all: u32 = mask.iter().map(|word| word.count_ones()).sum();
        if digits.len() < all as usize {
            for id in digits {
                mask[id as usize / 32] &= !(1 << (id % 32));
            }
        }
    }
}
