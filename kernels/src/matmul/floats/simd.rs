//! Tiles of rows and tokens over lanes. The module above draws them.

#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over registers keeps them in memory"
)]

use std::arch::x86_64::*;

use super::super::finish::finish;
use super::super::{Input, Matrix, Output, STRIP};
use super::part::{Parts, ROWS, TOKENS};
use crate::dot::BLOCK;
use crate::gguf::Format;
use crate::lanes::{LANES, entries};

entries! {
    fn strip(
        matrix: &Matrix,
        format: Format,
        bytes: &[u8],
        strip: usize,
        input: Input<'_>,
        output: Output<'_>,
    );
}

/// Tokens whose sums are kept at once: as many rows of activations are near while a strip needs them.
const GROUP: usize = 64;

/// How a weight is stored.
trait Stored {
    const BYTES: usize;
    /// # Safety
    /// As for `Parts`.
    unsafe fn load<L: Parts>(at: *const u8) -> L::Part;
}

struct Single;
struct Half;
struct Brain;

impl Stored for Single {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<L: Parts>(at: *const u8) -> L::Part {
        // SAFETY: promised by the caller.
        unsafe { L::load_part(at.cast()) }
    }
}

impl Stored for Half {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<L: Parts>(at: *const u8) -> L::Part {
        // SAFETY: promised by the caller.
        unsafe { L::load_half_part(at.cast()) }
    }
}

impl Stored for Brain {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<L: Parts>(at: *const u8) -> L::Part {
        // SAFETY: promised by the caller.
        unsafe { L::load_brain_part(at.cast()) }
    }
}

/// `floats::strip`.
///
/// # Safety
/// The instruction set of `L` is enabled; no other thread touches the outputs of this strip until the next
/// barrier.
#[inline(always)]
unsafe fn strip<L: Parts>(
    matrix: &Matrix,
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    output: Output<'_>,
) {
    let columns = matrix.columns;
    // SAFETY: passed on from the caller.
    unsafe {
        match format {
            Format::F32 => groups::<L, Single>(columns, bytes, strip, input, output),
            Format::F16 => groups::<L, Half>(columns, bytes, strip, input, output),
            Format::BF16 => groups::<L, Brain>(columns, bytes, strip, input, output),
            other => unreachable!("{} has no rows of floats", other.name()),
        }
    }
}

/// # Safety
/// As for `strip`.
#[inline(always)]
unsafe fn groups<L: Parts, S: Stored>(
    columns: usize,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    output: Output<'_>,
) {
    assert_eq!(bytes.len(), STRIP * columns * S::BYTES);
    assert!(input.floats.len() >= input.tokens * columns);
    // SAFETY: passed on from the caller; the lengths are asserted.
    unsafe {
        if input.tokens <= L::TOKENS {
            let mut totals = [[0.0f32; STRIP]; TOKENS];
            let totals = &mut totals[..input.tokens];
            spans::<L, S>(columns, columns, bytes, input.floats, true, totals);
            finish::<L>(totals, 0, strip, output);
            return;
        }
        for first in (0..input.tokens).step_by(GROUP) {
            let mut totals = [[0.0f32; STRIP]; GROUP];
            let totals = &mut totals[..GROUP.min(input.tokens - first)];
            let x = &input.floats[first * columns..];
            spans::<L, S>(columns, BLOCK, bytes, x, first == 0, totals);
            finish::<L>(totals, first, strip, output);
        }
    }
}

/// Adds the products of all rows with as many tokens as there are totals, so many columns at a time.
///
/// # Safety
/// As for `strip`; `bytes` has a strip of rows, and `x` a row for each of the totals.
#[inline(always)]
unsafe fn spans<L: Parts, S: Stored>(
    columns: usize,
    span: usize,
    bytes: &[u8],
    x: &[f32],
    is_first: bool,
    totals: &mut [[f32; STRIP]],
) {
    let mut start = 0;
    while start < columns {
        let end = columns.min(start + span);
        for row in (0..STRIP).step_by(ROWS) {
            let mut token = 0;
            while token < totals.len() {
                let tile = Tile {
                    columns,
                    start,
                    end,
                    // SAFETY: the row is one of the strip's, and the token one of the totals.
                    weights: unsafe { bytes.as_ptr().add(row * columns * S::BYTES) },
                    // SAFETY: as above.
                    x: unsafe { x.as_ptr().add(token * columns) },
                    fetches: is_first && token == 0,
                    row,
                };
                let rest = &mut totals[token..];
                // SAFETY: passed on from the caller.
                unsafe {
                    match rest.len().min(L::TOKENS) {
                        1 => tile.run::<L, S, 1>(rest),
                        2 => tile.run::<L, S, 2>(rest),
                        3 => tile.run::<L, S, 3>(rest),
                        _ => tile.run::<L, S, TOKENS>(rest),
                    }
                }
                token += L::TOKENS;
            }
        }
        start = end;
    }
}

/// Four rows and some tokens, from column `start` to `end`.
struct Tile {
    columns: usize,
    start: usize,
    end: usize,
    /// The first of the rows.
    weights: *const u8,
    /// The first of the tokens.
    x: *const f32,
    /// Whether it fetches the weights of the next four rows to the second-level cache.
    fetches: bool,
    row: usize,
}

impl Tile {
    /// # Safety
    /// As for `strip`; there are so many rows and tokens.
    #[inline(always)]
    unsafe fn run<L: Parts, S: Stored, const M: usize>(&self, totals: &mut [[f32; STRIP]]) {
        // SAFETY: a block ends where the columns end at the latest; totals have a strip of rows each.
        unsafe {
            for block in (self.start..self.end).step_by(BLOCK) {
                let elements = BLOCK.min(self.end - block);
                let mut lanes = [[L::zero(); ROWS]; TOKENS];
                for first in (0..LANES).step_by(L::WIDTH) {
                    self.part::<L, S, M>(block, elements, first, &mut lanes);
                }
                let sums = L::sums(&lanes);
                for m in 0..M {
                    let total = totals[m].as_mut_ptr().add(self.row);
                    _mm_storeu_ps(total, _mm_add_ps(_mm_loadu_ps(total), sums[m]));
                }
            }
        }
    }

    /// Adds the lanes from `first` on, of one block, to those that are so far apart; the first become them.
    ///
    /// # Safety
    /// As for `run`, and the block's elements are the rows'.
    #[inline(always)]
    unsafe fn part<L: Parts, S: Stored, const M: usize>(
        &self,
        block: usize,
        elements: usize,
        first: usize,
        all: &mut [[L::Part; ROWS]; TOKENS],
    ) {
        // SAFETY: steps are as many as the elements fill; what is left is copied to where zeros fill it.
        unsafe {
            let mut lanes = [[L::zero(); ROWS]; M];
            let stride = self.columns * S::BYTES;
            let weights = self.weights.add(block * S::BYTES);
            let x = self.x.add(block);
            let whole = elements - elements % LANES;
            for at in (0..whole).step_by(LANES) {
                let weights = weights.add((at + first) * S::BYTES);
                if self.fetches && first == 0 {
                    for row in 0..ROWS {
                        let ahead = weights.wrapping_add((ROWS + row) * stride);
                        _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                    }
                }
                step::<L, S, M>(&mut lanes, weights, stride, x.add(at + first), self.columns);
            }
            if whole < elements {
                // Zeros add nothing but perhaps the sign of a zero, which the start of the total at +0
                // takes away again.
                let mut rest_of_weights = [[0u8; 4 * LANES]; ROWS];
                let mut rest_of_x = [[0.0f32; LANES]; M];
                let rest = elements - whole;
                for (row, rest_of_row) in rest_of_weights.iter_mut().enumerate() {
                    let from = weights.add(row * stride + whole * S::BYTES);
                    from.copy_to_nonoverlapping(rest_of_row.as_mut_ptr(), rest * S::BYTES);
                }
                for (m, rest_of_x) in rest_of_x.iter_mut().enumerate() {
                    let from = x.add(m * self.columns + whole);
                    from.copy_to_nonoverlapping(rest_of_x.as_mut_ptr(), rest);
                }
                let weights = rest_of_weights.as_ptr().cast::<u8>().add(first * S::BYTES);
                let x = rest_of_x.as_ptr().cast::<f32>().add(first);
                step::<L, S, M>(&mut lanes, weights, 4 * LANES, x, LANES);
            }
            for m in 0..M {
                for row in 0..ROWS {
                    all[m][row] = match first {
                        0 => lanes[m][row],
                        _ => L::add_parts(all[m][row], lanes[m][row]),
                    };
                }
            }
        }
    }
}

/// Adds one product to each lane of each row and token.
///
/// # Safety
/// The instruction set is enabled; each row and each token has a part's elements at its stride.
#[inline(always)]
unsafe fn step<L: Parts, S: Stored, const M: usize>(
    lanes: &mut [[L::Part; ROWS]; M],
    weights: *const u8,
    stride: usize,
    x: *const f32,
    columns: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut tokens = [L::zero(); M];
        for m in 0..M {
            tokens[m] = L::load_part(x.add(m * columns));
        }
        // One row at a time: with AVX2 this and the tokens are all that twelve sums leave room for.
        for row in 0..ROWS {
            let weights = S::load::<L>(weights.add(row * stride));
            for m in 0..M {
                lanes[m][row] = L::fma_parts(weights, tokens[m], lanes[m][row]);
            }
        }
    }
}
