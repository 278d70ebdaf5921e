//! Quantizing over lanes: a group is two registers.
//!
//! Magnitudes are compared as integers, which orders finite numbers as floats do and puts infinity and NaN
//! above them all, so one comparison finds both the largest value and a value that is not finite.

use super::{AMAX_MIN, ViewMut};
use crate::block::GROUP;
use crate::lanes::{LANES, Lanes, entries};

entries! {
    fn quantize(x: &[f32], out: ViewMut<'_>) -> bool;
}

/// `quantize::reference::quantize`.
///
/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
unsafe fn quantize<L: Lanes>(x: &[f32], out: ViewMut<'_>) -> bool {
    let mut finite = true;
    let groups = x.chunks_exact(GROUP).zip(out.q.chunks_exact_mut(GROUP));
    for ((x, q), (scale, sum)) in groups.zip(out.scale.iter_mut().zip(out.sum)) {
        // SAFETY: a group is two times sixteen values; the instruction set is the caller's promise.
        unsafe {
            let low = L::load(x.as_ptr());
            let high = L::load(x.as_ptr().add(LANES));
            let bits = low.max_magnitude(high).magnitude_bits();
            let group_finite = bits < f32::INFINITY.to_bits();
            finite &= group_finite;
            let amax = f32::from_bits(bits);
            if !group_finite || amax < AMAX_MIN {
                q.fill(0);
                *scale = 0.0;
                *sum = 0;
                continue;
            }
            // |x * inverse| is at most 127 and a rounding, so the clamp of the definition is idle.
            let inverse = L::splat(127.0 / amax);
            *sum = low.mul(inverse).store_i8(q.as_mut_ptr())
                + high.mul(inverse).store_i8(q.as_mut_ptr().add(LANES));
            *scale = amax / 127.0;
        }
    }
    finite
}
