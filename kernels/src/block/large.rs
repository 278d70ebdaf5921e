//! Formats that store 256 elements together, as eight blocks of 32. ggml's names and layouts.
//!
//! ```text
//! Q4_K   | d | m | 12 bytes of fine numbers | 128 bytes of halves |
//! Q5_K   | d | m | 12 bytes of fine numbers | 32 bytes: bit s of byte j is the fifth bit of element j
//!                                             of block s | 128 bytes of halves |
//!        halves: element j of block s in byte 32 (s / 2) + j, low for even s, high for odd ones
//!        fine numbers: a scale and an offset of 6 bits for each block
//!          byte s, s < 4:   low 6 bits: scale s     high 2: bits 4 and 5 of scale s + 4
//!          byte s + 4:      low 6 bits: offset s    high 2: bits 4 and 5 of offset s + 4
//!          byte s + 8:      low 4 bits: of scale s + 4      high 4: low bits of offset s + 4
//! Q6_K   | 128 bytes of halves | 64 bytes of pairs | 16 signed bytes: the scale of each 16 elements | d |
//!        halves: element j of block s in byte 64 (s / 4) + 32 (s % 2) + j, low for s % 4 < 2, or high
//!        pairs: bits 4 and 5 of element j of block s are bits 2 (s % 4) and the next of byte 32 (s / 4) + j
//! ```

use super::{BLOCK, Form, Parts};

/// Where the f16 numbers are.
pub(super) const fn numbers(form: Form) -> usize {
    if form.offset { 0 } else { 208 }
}

#[inline(always)]
pub(super) fn parts(form: Form, stored: &[u8], index: usize) -> Parts {
    match form.offset {
        true => with_offset(form, stored, index),
        false => without_offset(form, stored, index),
    }
}

fn half(form: Form, stored: &[u8], number: usize) -> u16 {
    let at = numbers(form) + 2 * number;
    u16::from_le_bytes([stored[at], stored[at + 1]])
}

/// Q4_K and Q5_K.
#[inline(always)]
fn with_offset(form: Form, stored: &[u8], index: usize) -> Parts {
    let (packed, integers) = stored[4..].split_at(12);
    let fine = match index {
        0..4 => [packed[index] & 63, packed[index + 4] & 63],
        _ => {
            let (scale, offset, low) = (packed[index - 4], packed[index], packed[index + 4]);
            [low & 15 | scale >> 6 << 4, low >> 4 | offset >> 6 << 4]
        }
    };
    let (fifths, nibbles) = integers.split_at(integers.len() - 4 * BLOCK);
    let mut codes = [0; BLOCK];
    for (code, byte) in codes.iter_mut().zip(&nibbles[index / 2 * BLOCK..]) {
        *code = byte >> (index % 2 * 4) & 15;
    }
    if form.bits == 5 {
        for (code, byte) in codes.iter_mut().zip(fifths) {
            *code |= (byte >> index & 1) << 4;
        }
    }
    Parts {
        codes,
        halves: [half(form, stored, 0), half(form, stored, 1)],
        fine,
    }
}

/// Q6_K.
#[inline(always)]
fn without_offset(form: Form, stored: &[u8], index: usize) -> Parts {
    let (quarter, part) = (index / 4, index % 4);
    let nibbles = &stored[quarter * 2 * BLOCK + part % 2 * BLOCK..][..BLOCK];
    let pairs = &stored[4 * BLOCK + quarter * BLOCK..][..BLOCK];
    let mut codes = [0; BLOCK];
    for ((code, nibble), pair) in codes.iter_mut().zip(nibbles).zip(pairs) {
        *code = nibble >> (part / 2 * 4) & 15 | (pair >> (2 * part) & 3) << 4;
    }
    let scales = &stored[6 * BLOCK + 2 * index..][..2];
    Parts {
        codes,
        halves: [half(form, stored, 0), 0],
        fine: [scales[0], scales[1]],
    }
}
