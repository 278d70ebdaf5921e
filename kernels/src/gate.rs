//! The gated activation between the two halves of a feed-forward layer: `silu(gate) * up`.
//! docs/arithmetic.md, rule 6.

use crate::math::silu;

/// One value.
pub fn gated(gate: f32, up: f32) -> f32 {
    silu(gate) * up
}
