//! Activations as small integers: one scale per group of 16. docs/arithmetic.md, rule 1.
//!
//! ```text
//! amax = max |x|       scale = amax / 127       q = clamp(round_ties_even(x * (127 / amax)), -127, 127)
//! mass of a block of 32 = fma(f32(sum 1), scale 1, f32(sum 0) * scale 0)
//! ```
//!
//! A group below `AMAX_MIN` is all zeros, because 127 / amax would overflow. A group that holds infinity
//! or NaN is all zeros too, and is reported: the request it belongs to fails.
//! Quantizing happens once per input of a matmul; q, k and v share it, and so do gate and up.

pub mod reference;
#[cfg(target_arch = "x86_64")]
mod simd;

use crate::block::BLOCK;
use crate::isa::Isa;
use crate::lanes::by_isa;

/// Activations that share a scale: half a block of weights. Groups of 32 would cost one instruction less
/// per block and nearly twice the divergence from the model.
pub const GROUP: usize = 16;

/// Below this largest magnitude a group counts as zero. 127 / 2^-100 is far from overflow, and no
/// product with such a value could be seen in any sum.
pub const AMAX_MIN: f32 = f32::from_bits((127 - 100) << 23);

/// Quantized rows of activations, one per token.
#[derive(Clone, Debug, Default)]
pub struct Quantized {
    /// Length of a row; a whole number of blocks of 32.
    pub columns: usize,
    /// The integers, row after row.
    pub q: Vec<i8>,
    /// One scale per group.
    pub scale: Vec<f32>,
    /// The sum of each group's integers.
    pub sum: Vec<i32>,
    /// What the integers of each block of 32 stand for, summed.
    pub mass: Vec<f32>,
}

/// A borrowed view of quantized rows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Length of a row; a whole number of blocks of 32.
    pub columns: usize,
    /// The integers, row after row.
    pub q: &'a [i8],
    /// One scale per group.
    pub scale: &'a [f32],
    /// The sum of each group's integers.
    pub sum: &'a [i32],
    /// What the integers of each block of 32 stand for, summed.
    pub mass: &'a [f32],
}

/// A borrowed view to write one or more rows to.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// The integers.
    pub q: &'a mut [i8],
    /// One scale per group.
    pub scale: &'a mut [f32],
    /// The sum of each group's integers.
    pub sum: &'a mut [i32],
    /// What the integers of each block of 32 stand for, summed.
    pub mass: &'a mut [f32],
}

impl Quantized {
    /// Quantizes whole rows. None if a value is not finite.
    pub fn new(isa: Isa, columns: usize, rows: &[f32]) -> Option<Self> {
        let mut all = Self {
            columns,
            q: vec![0; rows.len()],
            scale: vec![0.0; rows.len() / GROUP],
            sum: vec![0; rows.len() / GROUP],
            mass: vec![0.0; rows.len() / BLOCK],
        };
        let out = ViewMut {
            q: &mut all.q,
            scale: &mut all.scale,
            sum: &mut all.sum,
            mass: &mut all.mass,
        };
        quantize(isa, rows, out).then_some(all)
    }

    /// A view of all rows.
    pub fn view(&self) -> View<'_> {
        View {
            columns: self.columns,
            q: &self.q,
            scale: &self.scale,
            sum: &self.sum,
            mass: &self.mass,
        }
    }
}

/// Quantizes a run of whole blocks. False if a value is not finite.
#[must_use]
pub fn quantize(isa: Isa, x: &[f32], out: ViewMut<'_>) -> bool {
    assert!(x.len().is_multiple_of(BLOCK) && out.q.len() == x.len());
    assert!(out.scale.len() == x.len() / GROUP && out.sum.len() == x.len() / GROUP);
    assert_eq!(out.mass.len(), x.len() / BLOCK);
    by_isa!(isa, quantize(x, out), reference::quantize(x, out))
}
