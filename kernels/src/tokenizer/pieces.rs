//! The bytes of every token, in one buffer.

use crate::gguf::{Gguf, GgufError};

use super::words;

pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Where each token's bytes end; they begin where its predecessor's end.
    ends: Vec<u32>,
}

impl Pieces {
    pub(super) fn load(gguf: &Gguf<'_>) -> Result<Pieces, GgufError> {
        let tokens = gguf.strings("tokenizer.ggml.tokens")?;
        let spm = words::is_spm(gguf)?;
        let mut types = super::specials::types(gguf)?;
        let mut pieces = Pieces {
            bytes: Vec::new(),
            ends: Vec::with_capacity(tokens.len()),
        };
        for token in tokens {
            let kind = types.next().unwrap_or(super::specials::NORMAL);
            match () {
                () if super::specials::is_literal(kind) => {
                    pieces.bytes.extend(token.as_bytes());
                }
                () if spm => match hexadecimal(token) {
                    Some(byte) => pieces.bytes.push(byte),
                    None => {
                        for character in token.chars() {
                            push(
                                &mut pieces.bytes,
                                if character == '▁' { ' ' } else { character },
                            );
                        }
                    }
                },
                () => decode_byte_level(token, &mut pieces.bytes),
            }
            // The header is below 20 MiB and no token is longer here than there.
            pieces.ends.push(pieces.bytes.len() as u32);
        }
        Ok(pieces)
    }

    pub(super) fn count(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The bytes no token is alone.
    pub(super) fn missing_bytes(&self) -> Box<[bool; 256]> {
        let mut missing = Box::new([true; 256]);
        for id in 0..self.count() {
            if let [byte] = self.bytes(id) {
                missing[usize::from(*byte)] = false;
            }
        }
        missing
    }

    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let index = id as usize;
        let Some(end) = self.ends.get(index) else {
            return &[];
        };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..*end as usize]
    }
}

/// Appends the bytes that a byte-level vocabulary spells so. Characters it does not use are themselves.
pub(super) fn decode_byte_level(spelt: &str, bytes: &mut Vec<u8>) {
    for character in spelt.chars() {
        match BYTE_LEVEL.get(character as usize).copied().flatten() {
            Some(byte) => bytes.push(byte),
            None => push(bytes, character),
        }
    }
}

static BYTE_LEVEL: [Option<u8>; 512] = byte_level();

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A byte written as `<0x0A>`.
pub(super) fn hexadecimal(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if plain {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// The byte each character stands for in a byte-level vocabulary: printable characters of Latin-1 for
/// themselves, and 256, 257, … for the other bytes in order.
const fn byte_level() -> [Option<u8>; 512] {
    let mut table = [None; 512];
    let mut next = 256;
    let mut byte = 0;
    while byte < 256 {
        if matches!(byte as u8, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) {
            table[byte] = Some(byte as u8);
        } else {
            table[next] = Some(byte as u8);
            next += 1;
        }
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_exactly_one_character() {
        let mut bytes: Vec<u8> = byte_level().into_iter().flatten().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_level()['Ġ' as usize], Some(b' '));
        assert_eq!(byte_level()['Ċ' as usize], Some(b'\n'));
    }

    #[test]
    fn only_two_digits_make_a_byte() {
        assert_eq!(hexadecimal("<0x0A>"), Some(10));
        for other in ["<0x+A>", "<0xA>", "<0x0A", "0A", "<0x00A>"] {
            assert_eq!(hexadecimal(other), None, "{other}");
        }
    }
}
