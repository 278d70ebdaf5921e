//! Where the parts of interleaved blocks are, in the 32 rows of a strip.
//!
//! Four neighbouring codes of 16 rows, a tile, fill one 64-byte line: byte 4 r + b is code b of row r.
//!
//! ```text
//! 4 to 6 bits   tile 0: 4 x 64   line i: codes 4 i + b in the low halves, 16 + 4 i + b in the high ones
//!               tile 1: 4 x 64   the same for rows 16..32
//! 5 bits also   tile 0: 64       bit k: the fifth bit of code 4 k + b
//!               tile 1: 64
//! 6 bits also   tile 0: 2 x 64   bits 2 k and 2 k + 1 of line i: the upper bits of code 16 i + 4 k + b
//!               tile 1: 2 x 64
//! 8 bits        tile 0: 8 x 64   line i: codes 4 i + b
//!               tile 1: 8 x 64
//! fine numbers  32 x 8 bits, twice
//! ```
//!
//! After the one block, or the eight, that are stored together come their f16 numbers: 32 scales, then 32
//! offsets where there are any. So a strip has the size of its rows in the file; only the fine numbers of Q4_K
//! and Q5_K are a byte here and 6 bits there, which makes 2.8 % and 2.3 %.

use super::pack::{STRIP, TILE};
use crate::block::{BLOCK, Form, Parts};

/// Bytes of a register, which is a cache line.
const LINE: usize = 64;

/// Where the parts are: of a block from its first byte, of the f16 numbers from the first of the blocks that
/// are stored together.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) form: Form,
    /// Lines of codes in a tile, the upper bits left out.
    loads: usize,
    /// Lines of upper bits in a tile.
    uppers: usize,
    /// Where a block has its fine numbers.
    pub(crate) fine: usize,
    /// Bytes of a block.
    pub(crate) block: usize,
    /// Where the f16 numbers are.
    pub(crate) numbers: usize,
    /// Bytes of what is stored together.
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) const fn of(form: Form) -> Self {
        let (loads, uppers) = if form.bits == 8 {
            (8, 0)
        } else {
            (4, form.bits - 4)
        };
        let fine = 2 * (loads + uppers) * LINE;
        let block = fine + if form.fine { 2 * STRIP } else { 0 };
        let numbers = block * form.together();
        Self {
            form,
            loads,
            uppers,
            fine,
            block,
            numbers,
            bytes: numbers + form.halves() * STRIP * 2,
        }
    }

    /// Where a tile's line of codes is.
    pub(crate) const fn codes(&self, tile: usize, load: usize) -> usize {
        (tile * self.loads + load) * LINE
    }

    /// Where a tile's line of upper bits is.
    pub(crate) const fn upper(&self, tile: usize, line: usize) -> usize {
        (2 * self.loads + tile * self.uppers + line) * LINE
    }

    /// Writes a row's part of one of the blocks that are stored together.
    #[inline(always)]
    pub(crate) fn write(&self, stored: &mut [u8], index: usize, row: usize, parts: &Parts) {
        let (tile, at) = (row / TILE, row % TILE * 4);
        let block = &mut stored[index * self.block..][..self.block];
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
        for line in 0..self.uppers {
            let codes = codes.iter().skip(4 * line).take(self.codes_in_upper());
            let bits = codes.enumerate();
            let bits = bits.map(|(k, word)| (word >> 4 & self.upper_mask()) << (self.uppers * k));
            put(self.upper(tile, line), bits.sum());
        }
        if self.form.fine {
            for (number, fine) in parts.fine.into_iter().enumerate() {
                block[self.fine + number * STRIP + row] = fine;
            }
        }
        for (number, half) in parts.halves[..self.form.halves()].iter().enumerate() {
            let at = self.numbers + (number * STRIP + row) * 2;
            stored[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
    }

    /// A row's part of one of the blocks that are stored together, as it was written.
    pub(crate) fn read(&self, stored: &[u8], index: usize, row: usize) -> Parts {
        let (tile, at) = (row / TILE, row % TILE * 4);
        let block = &stored[index * self.block..][..self.block];
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
            if self.uppers > 0 {
                let (line, k) = (four / self.codes_in_upper(), four % self.codes_in_upper());
                let upper = word(self.upper(tile, line)) >> (self.uppers * k);
                code |= (upper & self.upper_mask()) << 4;
            }
            *codes = code.to_le_bytes();
        }
        let mut parts = Parts {
            codes: codes.as_flattened().try_into().expect("eight times four"),
            halves: [0; 2],
            fine: [0; 2],
        };
        if self.form.fine {
            parts.fine = [0, 1].map(|number| block[self.fine + number * STRIP + row]);
        }
        let halves = &mut parts.halves[..self.form.halves()];
        for (number, half) in halves.iter_mut().enumerate() {
            let at = self.numbers + (number * STRIP + row) * 2;
            *half = u16::from_le_bytes([stored[at], stored[at + 1]]);
        }
        parts
    }

    /// Codes of a row, in fours, whose upper bits share a line: all eight, or four.
    const fn codes_in_upper(&self) -> usize {
        8 / self.uppers
    }

    /// The upper bits of four codes, moved down.
    const fn upper_mask(&self) -> u32 {
        ONE * ((1 << self.uppers) - 1)
    }
}

/// The low half of each byte.
const LOW: u32 = 0x0f0f_0f0f;
/// The lowest bit of each byte.
const ONE: u32 = 0x0101_0101;
