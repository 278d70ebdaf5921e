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

use std::ops::Range;

use crate::isa::Isa;
use crate::lanes::by_isa;

/// Cosines and sines of every position so far. It grows as positions are used, since a model's whole
/// context would be megabytes that a short conversation never reads.
#[derive(Debug)]
pub struct Table {
    frequencies: Vec<f64>,
    /// Per position and pair: cosine, sine.
    turns: Vec<[f32; 2]>,
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

    /// Makes the table reach the positions below `end`.
    pub fn reach(&mut self, end: usize) {
        let first = self.turns.len() / self.frequencies.len().max(1);
        for position in first..end {
            for frequency in &self.frequencies {
                let angle = position as f64 * frequency;
                self.turns
                    .push([libm::cos(angle) as f32, libm::sin(angle) as f32]);
            }
        }
    }

    /// The turns of one position, one per pair.
    pub fn at(&self, position: usize) -> &[[f32; 2]] {
        let pairs = self.frequencies.len();
        let range: Range<usize> = position * pairs..(position + 1) * pairs;
        &self.turns[range]
    }
}

/// Turns the pairs of neighbours of some heads in place; each head is `2 * turns.len()` wide.
pub fn turn(isa: Isa, heads: &mut [f32], turns: &[[f32; 2]]) {
    assert!(!turns.is_empty() && heads.len().is_multiple_of(turns.len() * 2));
    by_isa!(isa, turn(heads, turns), reference::turn(heads, turns))
}
