//! The dot product over lanes: one register of running sums per block of 256.

use super::BLOCK;
use crate::lanes::{LANES, Lanes, entries};

entries! {
    fn dot(a: &[f32], b: &[f32]) -> f32;
}

/// `dot::reference::dot`.
///
/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
pub(crate) unsafe fn dot<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        // SAFETY: the chunks are as long as their pointers are read; the instruction set is the
        // caller's promise.
        unsafe {
            let mut lanes = L::splat(0.0);
            let whole = a.len() - a.len() % LANES;
            for at in (0..whole).step_by(LANES) {
                lanes = L::load(a.as_ptr().add(at)).fma(L::load(b.as_ptr().add(at)), lanes);
            }
            if whole < a.len() {
                // Zeros add nothing but perhaps the sign of a zero, which the start of the total
                // at +0 takes away again.
                let (mut rest_a, mut rest_b) = ([0.0; LANES], [0.0; LANES]);
                rest_a[..a.len() - whole].copy_from_slice(&a[whole..]);
                rest_b[..b.len() - whole].copy_from_slice(&b[whole..]);
                lanes = L::load(rest_a.as_ptr()).fma(L::load(rest_b.as_ptr()), lanes);
            }
            total += lanes.tree_sum();
        }
    }
    total
}
