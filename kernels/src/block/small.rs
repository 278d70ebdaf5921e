//! Formats with blocks of 32: the f16 numbers first, then the integers. ggml's names and layouts.
//!
//! ```text
//! Q4_0   | d | 16 bytes: element j in the low half of byte j, element 16 + j in the high half |
//! Q4_1   | d | m | 16 bytes as above |
//! Q5_0   | d | u32: bit j is the fifth bit of element j | 16 bytes as above |
//! Q5_1   | d | m | u32 as above | 16 bytes as above |
//! Q8_0   | d | 32 bytes, signed |
//! ```

use super::{BLOCK, Form, Parts};

#[inline(always)]
pub(super) fn parts(form: Form, block: &[u8]) -> Parts {
    let (numbers, integers) = block.split_at(2 * form.halves());
    let mut halves = [0; 2];
    for (half, bytes) in halves.iter_mut().zip(numbers.chunks_exact(2)) {
        *half = u16::from_le_bytes([bytes[0], bytes[1]]);
    }
    let mut codes = [0; BLOCK];
    if form.bits == 8 {
        // The sign bit of a byte is 128 too much or too little of an unsigned one.
        for (code, byte) in codes.iter_mut().zip(integers) {
            *code = byte ^ 0x80;
        }
        return Parts {
            codes,
            halves,
            fine: [0; 2],
        };
    }
    let (fifths, nibbles) = integers.split_at(integers.len() - BLOCK / 2);
    for (j, byte) in nibbles.iter().enumerate() {
        codes[j] = byte & 15;
        codes[j + BLOCK / 2] = byte >> 4;
    }
    if let &[a, b, c, d] = fifths {
        let fifths = u32::from_le_bytes([a, b, c, d]);
        for (j, code) in codes.iter_mut().enumerate() {
            *code |= ((fifths >> j) as u8 & 1) << 4;
        }
    }
    Parts {
        codes,
        halves,
        fine: [0; 2],
    }
}
