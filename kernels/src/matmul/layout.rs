//! Where the parts of an interleaved block are, in the 32 rows of a strip.
//!
//! Four neighbouring codes of 16 rows, a tile, fill one 64-byte register: byte 4 r + b is code b of row r.
//!
//! ```text
//! 4 and 5 bits   tile 0: 4 x 64   load i: codes 4 i + b in the low halves, 16 + 4 i + b in the high ones
//!                tile 1: 4 x 64   the same for rows 16..32
//! 5 bits also    tile 0: 64       bit k: the fifth bit of code 4 k + b
//!                tile 1: 64
//! 8 bits         tile 0: 8 x 64   load i: codes 4 i + b
//!                tile 1: 8 x 64
//! all            the scales as 32 x f16, then the offsets as 32 x f16 where there are any
//! ```
//!
//! So a block of a strip has the size of its 32 blocks in the file.

use super::pack::{STRIP, TILE};
use crate::block::{BLOCK, Form, Parts};

/// Bytes of a register, which is a cache line.
const LINE: usize = 64;

/// Where the parts of an interleaved block are.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) form: Form,
    /// Lines of codes in a tile, the fifth bits left out.
    loads: usize,
    /// Where the fifth bits are.
    pub(crate) fifths: usize,
    /// Where the f16 numbers are.
    pub(crate) numbers: usize,
    /// Bytes of a block of a strip.
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) const fn of(form: Form) -> Self {
        let loads = if form.bits == 8 { 8 } else { 4 };
        let fifths = 2 * loads * LINE;
        let numbers = fifths + if form.bits == 5 { 2 * LINE } else { 0 };
        let bytes = numbers + form.halves() * STRIP * 2;
        Self {
            form,
            loads,
            fifths,
            numbers,
            bytes,
        }
    }

    /// Where a tile's line of codes is.
    pub(crate) const fn codes(&self, tile: usize, load: usize) -> usize {
        (tile * self.loads + load) * LINE
    }

    /// Writes a row's part of a block.
    #[inline(always)]
    pub(crate) fn write(&self, block: &mut [u8], row: usize, parts: &Parts) {
        let (tile, at) = (row / TILE, row % TILE * 4);
        let mut put = |line: usize, word: u32| {
            block[line + at..][..4].copy_from_slice(&word.to_le_bytes());
        };
        let codes: [u32; BLOCK / 4] = std::array::from_fn(|four| {
            let codes = &parts.codes[four * 4..][..4];
            u32::from_le_bytes([codes[0], codes[1], codes[2], codes[3]])
        });
        if self.form.bits == 8 {
            for (load, word) in codes.into_iter().enumerate() {
                put(self.codes(tile, load), word);
            }
        } else {
            for load in 0..4 {
                let (low, high) = (codes[load], codes[load + 4]);
                put(self.codes(tile, load), low & LOW | (high & LOW) << 4);
            }
        }
        if self.form.bits == 5 {
            let fifths = (0..)
                .zip(codes)
                .map(|(four, word)| (word >> 4 & ONE) << four);
            put(self.fifths + tile * LINE, fifths.sum());
        }
        let halves = parts.halves[..self.form.halves()].iter().enumerate();
        for (number, half) in halves {
            let at = self.numbers + (number * STRIP + row) * 2;
            block[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
    }

    /// A row's part of a block, as it was written.
    pub(crate) fn read(&self, block: &[u8], row: usize) -> Parts {
        let (tile, at) = (row / TILE, row % TILE * 4);
        let word = |line: usize| {
            let word = &block[line + at..][..4];
            u32::from_le_bytes([word[0], word[1], word[2], word[3]])
        };
        let mut codes = [[0; 4]; BLOCK / 4];
        for (four, codes) in codes.iter_mut().enumerate() {
            let mut code = match self.form.bits {
                8 => word(self.codes(tile, four)),
                _ => word(self.codes(tile, four % 4)) >> (four / 4 * 4) & LOW,
            };
            if self.form.bits == 5 {
                code |= (word(self.fifths + tile * LINE) >> four & ONE) << 4;
            }
            *codes = code.to_le_bytes();
        }
        let mut halves = [0; 2];
        for (number, half) in halves[..self.form.halves()].iter_mut().enumerate() {
            let at = self.numbers + (number * STRIP + row) * 2;
            *half = u16::from_le_bytes([block[at], block[at + 1]]);
        }
        Parts {
            codes: codes.as_flattened().try_into().expect("eight times four"),
            halves,
        }
    }
}

/// The low half of each byte.
const LOW: u32 = 0x0f0f_0f0f;
/// The lowest bit of each byte.
const ONE: u32 = 0x0101_0101;
