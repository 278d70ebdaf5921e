//! RMSNorm over lanes: the dot product as everywhere, and a loop that the compiler makes vectors of,
//! because each of its values stands alone.

use crate::dot::simd::dot;
use crate::lanes::{Lanes, entries};

entries! {
    fn rms(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> bool;
}

/// `norm::reference::rms`.
///
/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
unsafe fn rms<L: Lanes>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> bool {
    // SAFETY: passed on from the caller.
    let sum = unsafe { dot::<L>(x, x) };
    let r = super::reference::factor(sum, x.len(), epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * r) * weight;
    }
    sum.is_finite()
}
