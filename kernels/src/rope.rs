//! Rotary positions. docs/arithmetic.md, rule 5.
//!
//! ```text
//! pair i of a head turns by   position * base^(-2 i / width)           (f64; cosine and sine by libm)
//! y0 = fma(x0, c, -(x1 * s))          y1 = fma(x0, s, x1 * c)          (f32; the table is rounded once)
//! ```
//!
//! Pairs are neighbours (2 i, 2 i + 1), as files of the llama architecture store them, or elements of both
//! halves (i, i + width / 2). The width is that of a head, or less: the elements after it are not turned.

pub mod reference;
#[cfg(target_arch = "x86_64")]
mod simd;

use crate::isa::Isa;
use crate::lanes::by_isa;

/// Which elements are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// 2 i and 2 i + 1.
    Neighbours,
    /// i and i + half of the width.
    Halves,
}

/// How a layer turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turning {
    /// Which elements are turned together.
    pub pairing: Pairing,
    /// Elements of a head that are turned.
    pub width: usize,
    /// What the frequencies are powers of.
    pub base: f32,
    /// What the frequencies are divided by; 1 changes nothing.
    pub slowing: f32,
    /// What cosines and sines are multiplied by; 1 changes nothing.
    pub lengthening: f32,
}

impl Turning {
    /// Of whole heads, by a base alone.
    pub fn plain(pairing: Pairing, width: usize, base: f32) -> Self {
        Self {
            pairing,
            width,
            base,
            slowing: 1.0,
            lengthening: 1.0,
        }
    }

    /// Bytes of the turns of one position.
    pub fn bytes(&self) -> u64 {
        (self.width / 2 * size_of::<[f32; 2]>()) as u64
    }

    /// The angle that a pair turns by at each position. `divisor` is the file's for this pair, or 1.
    pub(crate) fn frequency(&self, pair: usize, divisor: f32) -> f64 {
        let exponent = -((2 * pair) as f64) / self.width as f64;
        let frequency = libm::pow(f64::from(self.base), exponent) / f64::from(divisor);
        frequency / f64::from(self.slowing)
    }
}

/// Cosines and sines of every position so far. It grows as positions are used, since a model's whole
/// context would be megabytes that a short conversation never reads.
#[derive(Debug)]
pub struct Table {
    turning: Turning,
    frequencies: Vec<f64>,
    /// Per piece of positions, position and pair: cosine, sine. A piece is made whole and never moved.
    turns: Vec<Box<[[f32; 2]]>>,
}

impl Table {
    /// An empty table. `divisors` divide the frequencies, one per pair, where a file has them.
    pub fn new(turning: Turning, divisors: Option<&[f32]>) -> Self {
        let divisor = |pair: usize| divisors.map_or(1.0, |divisors| divisors[pair]);
        let pairs = 0..turning.width / 2;
        Self {
            turning,
            frequencies: pairs
                .map(|pair| turning.frequency(pair, divisor(pair)))
                .collect(),
            turns: Vec::new(),
        }
    }

    /// Positions that a table has when it reaches those below `end`.
    pub(crate) fn positions(end: usize) -> usize {
        end.next_multiple_of(PIECE)
    }

    /// Makes the table reach the positions below `end`.
    pub fn reach(&mut self, end: usize) {
        let longer = self.turning.lengthening;
        for piece in self.turns.len()..end.div_ceil(PIECE) {
            let positions = piece * PIECE..(piece + 1) * PIECE;
            let turn = |(position, frequency): (usize, &f64)| {
                let angle = position as f64 * frequency;
                [
                    libm::cos(angle) as f32 * longer,
                    libm::sin(angle) as f32 * longer,
                ]
            };
            let pairs = positions.flat_map(|at| self.frequencies.iter().map(move |f| (at, f)));
            self.turns.push(pairs.map(turn).collect());
        }
    }

    /// Which elements it turns together.
    pub fn pairing(&self) -> Pairing {
        self.turning.pairing
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

/// Turns some heads of so many elements in place.
pub fn turn(isa: Isa, pairing: Pairing, heads: &mut [f32], head_width: usize, turns: &[[f32; 2]]) {
    assert!(!turns.is_empty() && turns.len() * 2 <= head_width);
    assert!(heads.len().is_multiple_of(head_width));
    by_isa!(
        isa,
        turn(pairing, heads, head_width, turns),
        reference::turn(pairing, heads, head_width, turns)
    )
}
