//! Rope over lanes: eight pairs of neighbours at a time.
//!
//! ```text
//! x0 x0 … * c s …   -+   x1 x1 … * s c …        minus in even lanes, plus in odd ones
//! ```
//!
//! Halves are a loop that the compiler makes vectors of, because each of its pairs stands alone.

use super::{Pairing, reference};
use crate::lanes::{LANES, Lanes, entries};

entries! {
    fn turn(pairing: Pairing, heads: &mut [f32], head_width: usize, turns: &[[f32; 2]]);
}

/// `rope::reference::turn`.
///
/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
unsafe fn turn<L: Lanes>(
    pairing: Pairing,
    heads: &mut [f32],
    head_width: usize,
    turns: &[[f32; 2]],
) {
    let turns_flat = turns.as_flattened();
    if pairing == Pairing::Halves || !turns_flat.len().is_multiple_of(LANES) {
        return reference::turn(pairing, heads, head_width, turns);
    }
    for head in heads.chunks_exact_mut(head_width) {
        let head = &mut head[..turns_flat.len()];
        for at in (0..turns_flat.len()).step_by(LANES) {
            // SAFETY: `at` and fifteen more are inside both slices; the rest is the caller's promise.
            unsafe {
                let x = head.as_mut_ptr().add(at);
                let values = L::load(x);
                let turns = L::load(turns_flat.as_ptr().add(at));
                let crossed = values.odd_twice().mul(turns.swap_pairs());
                values.even_twice().fma_alternating(turns, crossed).store(x);
            }
        }
    }
}
