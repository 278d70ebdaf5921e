//! The gated activation between the two halves of a feed-forward layer: `silu(gate) * up`, or `gelu(gate) * up`.
//! docs/arithmetic.md, rule 6.

use crate::math::{gelu, silu};

/// What a gate is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// The tanh form of GELU, with one exponential.
    Gelu,
}

/// One value.
pub fn gated(kind: Gate, gate: f32, up: f32) -> f32 {
    match kind {
        Gate::Silu => silu(gate) * up,
        Gate::Gelu => gelu(gate) * up,
    }
}
