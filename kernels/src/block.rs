//! How a stored row of weights is taken apart: once for every format, here.
//!
//! A row is a run of blocks. A float format has blocks of one element. A quantized one has blocks of 32:
//! integers, and the f16 numbers that turn them back into weights.
//!
//! ```text
//! weight = scale * q            formats without an offset: q = code - centre, the centre of the codes' range
//! weight = scale * q + offset   formats with one: q = code
//! ```
//!
//! A code is the integer as it is packed for multiplication, unsigned, of 4, 5 or 8 bits; `block/small.rs`
//! finds the codes in a file's bytes. Other formats are refused here, by name, so that no operation has to
//! ask again.

mod small;

use half::{bf16, f16};

use crate::gguf::Format;

/// Elements in a block of a quantized format.
pub const BLOCK: usize = 32;

/// The formats that operations are defined for, in the order they were added.
pub const SUPPORTED: [Format; 8] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q4_1,
    Format::Q8_0,
    Format::Q4_0,
    Format::Q5_0,
    Format::Q5_1,
];

/// What the blocks of a quantized format are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Bits of a code.
    pub bits: usize,
    /// Whether an offset is added to every weight of a block.
    pub offset: bool,
}

/// One block of 32 weights with its integers unpacked: `weight = scale * q + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// The integers, sign and all.
    pub q: [i8; BLOCK],
    /// What one unit of the integers is worth.
    pub scale: f32,
    /// What is added to every weight; zero for formats without an offset.
    pub offset: f32,
}

/// One block of 32 weights taken apart and not yet understood: what packing moves from one order to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The integers, plus the centre of their range where the format has no offset.
    pub(crate) codes: [u8; BLOCK],
    /// The f16 numbers as bits: the scale; the offset, or zero.
    pub(crate) halves: [u16; 2],
}

impl Form {
    /// The form of a quantized format; none for any other.
    pub const fn of(format: Format) -> Option<Self> {
        let (bits, offset) = match format {
            Format::Q4_0 => (4, false),
            Format::Q4_1 => (4, true),
            Format::Q5_0 => (5, false),
            Format::Q5_1 => (5, true),
            Format::Q8_0 => (8, false),
            _ => return None,
        };
        Some(Self { bits, offset })
    }

    /// What is subtracted from a code to get its integer.
    pub const fn centre(self) -> i32 {
        if self.offset { 0 } else { 1 << (self.bits - 1) }
    }

    /// Count of f16 numbers in a block.
    pub(crate) const fn halves(self) -> usize {
        1 + self.offset as usize
    }
}

impl Parts {
    /// The block that these parts stand for.
    pub(crate) fn block(&self, form: Form) -> Block {
        let [scale, offset] = self.halves.map(|bits| f16::from_bits(bits).to_f32());
        let q = self
            .codes
            .map(|code| (i32::from(code) - form.centre()) as i8);
        Block { q, scale, offset }
    }
}

impl Block {
    /// The weights: `fma(q, scale, offset)`.
    pub(crate) fn unpack(&self, out: &mut [f32]) {
        for (out, q) in out.iter_mut().zip(self.q) {
            *out = f32::from(q).mul_add(self.scale, self.offset);
        }
    }
}

/// Whether weights of this format are multiplied as integers, with quantized activations.
pub fn is_quantized(format: Format) -> bool {
    Form::of(format).is_some()
}

/// The blocks of a stored row of a quantized format.
pub fn blocks(format: Format, row: &[u8]) -> impl Iterator<Item = Block> {
    let form = form(format);
    row.chunks_exact(format.block_bytes())
        .map(move |stored| parts(form, stored).block(form))
}

/// A stored block of a quantized format, in parts.
#[inline(always)]
pub(crate) fn parts(form: Form, stored: &[u8]) -> Parts {
    small::parts(form, stored)
}

fn form(format: Format) -> Form {
    Form::of(format).unwrap_or_else(|| panic!("{} has no blocks of integers", format.name()))
}

/// Turns a stored row back into floats. Weights of quantized formats are `fma(q, scale, offset)`.
pub fn unpack_row(format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(Some(bytes.len()), format.row_bytes(out.len()));
    match format {
        Format::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *out = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        Format::F16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            }
        }
        Format::BF16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            }
        }
        _ => {
            for (out, block) in out.chunks_exact_mut(BLOCK).zip(blocks(format, bytes)) {
                block.unpack(out);
            }
        }
    }
}

/// The first element of a stored row that does not stand for a finite number; of a block with such a scale
/// or offset, its first element.
pub fn not_finite(format: Format, bytes: &[u8]) -> Option<usize> {
    let half = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let wrong = |bytes: &[u8], at: usize| half(bytes, at) & 0x7c00 == 0x7c00;
    match format {
        Format::F32 => first(bytes, 4, |one| {
            u32::from_le_bytes([one[0], one[1], one[2], one[3]]) & 0x7f80_0000 == 0x7f80_0000
        }),
        Format::F16 => first(bytes, 2, |one| wrong(one, 0)),
        Format::BF16 => first(bytes, 2, |one| half(one, 0) & 0x7f80 == 0x7f80),
        _ => {
            let size = format.block_bytes();
            let block = match form(format).offset {
                false => first(bytes, size, |block| wrong(block, 0)),
                true => first(bytes, size, |block| wrong(block, 0) || wrong(block, 2)),
            };
            block.map(|block| block * format.block_elements())
        }
    }
}

/// The first of the pieces that is bad. Nearly always none is, and a fold that asks them all becomes
/// vectors.
fn first(bytes: &[u8], piece: usize, bad: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut pieces = bytes.chunks_exact(piece);
    let any = pieces.clone().fold(false, |any, one| any | bad(one));
    any.then(|| pieces.position(bad)).flatten()
}

#[cfg(test)]
mod tests;
