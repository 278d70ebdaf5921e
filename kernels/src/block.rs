//! How a stored row of weights is taken apart: once for every format, here.
//!
//! A row is a run of blocks. A float format has blocks of one element. A quantized one has blocks of 32:
//! integers, and the numbers that turn them back into weights.
//!
//! ```text
//! weight = scale * q            formats without an offset: q = code - centre, the centre of the codes' range
//! weight = scale * q + offset   formats with one: q = code
//! ```
//!
//! A code is the integer as it is packed for multiplication, unsigned, of 4, 5, 6 or 8 bits. `block/small.rs`
//! finds the codes in the bytes of formats that store 32 elements together, `block/large.rs` of those that
//! store 256: there eight blocks share their f16 numbers, and have two fine ones each. Other formats are
//! refused here, by name, so that no operation has to ask again.

mod large;
mod small;

use half::{bf16, f16};

use crate::gguf::Format;

/// Elements in a block of a quantized format.
pub const BLOCK: usize = 32;

/// The formats that operations are defined for, in the order they were added.
pub const SUPPORTED: [Format; 11] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q4_1,
    Format::Q8_0,
    Format::Q4_0,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q4_K,
    Format::Q5_K,
    Format::Q6_K,
];

/// What the blocks of a quantized format are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Bits of a code.
    pub bits: usize,
    /// Whether an offset is added to every weight of a block.
    pub offset: bool,
    /// Whether eight blocks share their f16 numbers, and each has two fine numbers of its own: a scale and
    /// an offset, or, without an offset, a scale for each half.
    pub fine: bool,
}

/// One block of 32 weights with its integers unpacked: `weight = scale * q + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// The integers, sign and all.
    pub q: [i8; BLOCK],
    /// What one unit of the integers is worth.
    pub scale: Scale,
    /// What is added to every weight; zero for formats without an offset.
    pub offset: f32,
}

/// The scale of a block, or of its halves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// One for all 32 weights.
    Whole(f32),
    /// One for the first 16 weights, one for the others.
    Halves([f32; 2]),
}

/// One block of 32 weights taken apart and not yet understood: what packing moves from one order to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The integers, plus the centre of their range where the format has no offset.
    pub(crate) codes: [u8; BLOCK],
    /// The f16 numbers as bits: the scale; the offset, or zero.
    pub(crate) halves: [u16; 2],
    /// The block's fine numbers, or zeros.
    pub(crate) fine: [u8; 2],
}

impl Form {
    /// The form of a quantized format; none for any other.
    pub const fn of(format: Format) -> Option<Self> {
        let (bits, offset, fine) = match format {
            Format::Q4_0 => (4, false, false),
            Format::Q4_1 => (4, true, false),
            Format::Q5_0 => (5, false, false),
            Format::Q5_1 => (5, true, false),
            Format::Q8_0 => (8, false, false),
            Format::Q4_K => (4, true, true),
            Format::Q5_K => (5, true, true),
            Format::Q6_K => (6, false, true),
            _ => return None,
        };
        Some(Self { bits, offset, fine })
    }

    /// What is subtracted from a code to get its integer.
    pub const fn centre(self) -> i32 {
        if self.offset { 0 } else { 1 << (self.bits - 1) }
    }

    /// Blocks of 32 that are stored together.
    pub(crate) const fn together(self) -> usize {
        if self.fine { 8 } else { 1 }
    }

    /// Count of f16 numbers in what is stored together.
    pub(crate) const fn halves(self) -> usize {
        1 + self.offset as usize
    }
}

impl Parts {
    /// The block that these parts stand for.
    pub(crate) fn block(&self, form: Form) -> Block {
        let [d, m] = self.halves.map(|bits| f16::from_bits(bits).to_f32());
        // The products are exact: eight bits times the eleven of an f16.
        let (scale, offset) = match (form.fine, form.offset) {
            (false, _) => (Scale::Whole(d), m),
            (true, true) => {
                let [scale, offset] = self.fine.map(f32::from);
                (Scale::Whole(d * scale), -(m * offset))
            }
            (true, false) => {
                let scales = self.fine.map(|fine| d * f32::from(fine as i8));
                (Scale::Halves(scales), 0.0)
            }
        };
        let q = self
            .codes
            .map(|code| (i32::from(code) - form.centre()) as i8);
        Block { q, scale, offset }
    }
}

impl Block {
    /// The weights: `fma(q, scale, offset)`.
    pub(crate) fn unpack(&self, out: &mut [f32]) {
        let [first, second] = match self.scale {
            Scale::Whole(scale) => [scale; 2],
            Scale::Halves(scales) => scales,
        };
        for (index, (out, q)) in out.iter_mut().zip(self.q).enumerate() {
            let scale = if index < BLOCK / 2 { first } else { second };
            *out = f32::from(q).mul_add(scale, self.offset);
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
        .flat_map(move |stored| {
            (0..form.together()).map(move |index| parts(form, stored, index).block(form))
        })
}

/// One of the blocks that are stored together, in parts.
#[inline(always)]
pub(crate) fn parts(form: Form, stored: &[u8], index: usize) -> Parts {
    match form.fine {
        false => small::parts(form, stored),
        true => large::parts(form, stored, index),
    }
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
            let form = form(format);
            let at = match form.fine {
                false => 0,
                true => large::numbers(form),
            };
            let block = match form.offset {
                false => first(bytes, size, |block| wrong(block, at)),
                true => first(bytes, size, |block| {
                    wrong(block, at) || wrong(block, at + 2)
                }),
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
