//! Rotary positions. docs/arithmetic.md, rule 5.
//!
//! ```text
//! pair i of a head turns by   position * base^(-2 i / head width)      (f64; cosine and sine by libm)
//! y0 = fma(x0, c, -(x1 * s))          y1 = fma(x0, s, x1 * c)          (f32; the table is rounded once)
//! ```
//!
//! Pairs are neighbours (2 i, 2 i + 1), as files of the llama architecture store them.

pub mod reference;
#[cfg(target_arch = "x86_64")]
mod simd;

use crate::isa::Isa;
use crate::lanes::by_isa;

/// Cosines and sines of every position so far. It grows as positions are used, since a model's whole
/// context would be megabytes that a short conversation never reads.
#[derive(Debug)]
pub struct Table {
    frequencies: Vec<f64>,
    /// Per piece of positions, position and pair: cosine, sine. A piece is made whole and never moved.
    turns: Vec<Box<[[f32; 2]]>>,
}

impl Table {
    /// An empty table. `factors` divide the frequencies, one per pair, where a file has them.
    pub fn new(head_width: usize, base: f32, factors: Option<&[f32]>) -> Self {
        let frequencies = (0..head_width / 2)
            .map(|pair| {
                let exponent = -((2 * pair) as f64) / head_width as f64;
                let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
                libm::pow(f64::from(base), exponent) / factor
            })
            .collect();
        Self {
            frequencies,
            turns: Vec::new(),
        }
    }

    /// Bytes of a table that reaches the positions below `end`.
    pub fn bytes(head_width: usize, end: usize) -> u64 {
        (end.next_multiple_of(PIECE) * (head_width / 2) * size_of::<[f32; 2]>()) as u64
    }

    /// Makes the table reach the positions below `end`.
    pub fn reach(&mut self, end: usize) {
        for piece in self.turns.len()..end.div_ceil(PIECE) {
            let positions = piece * PIECE..(piece + 1) * PIECE;
            let turn = |(position, frequency): (usize, &f64)| {
                let angle = position as f64 * frequency;
                [libm::cos(angle) as f32, libm::sin(angle) as f32]
            };
            let pairs = positions.flat_map(|at| self.frequencies.iter().map(move |f| (at, f)));
            self.turns.push(pairs.map(turn).collect());
        }
    }

    /// The turns of one position, one per pair.
    pub fn at(&self, position: usize) -> &[[f32; 2]] {
        let pairs = self.frequencies.len();
        let first = position % PIECE * pairs;
        &self.turns[position / PIECE][first..first + pairs]
    }
}

/// Positions whose turns are made together.
const PIECE: usize = 64;

/// Turns the pairs of neighbours of some heads in place; each head is `2 * turns.len()` wide.
pub fn turn(isa: Isa, heads: &mut [f32], turns: &[[f32; 2]]) {
    assert!(!turns.is_empty() && heads.len().is_multiple_of(turns.len() * 2));
    by_isa!(isa, turn(heads, turns), reference::turn(heads, turns))
}
