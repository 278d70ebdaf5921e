//! Quantizing over lanes: a group is one register.
//!
//! Magnitudes are compared as integers, which orders finite numbers as floats do and puts infinity and NaN
//! above them all, so one comparison finds both the largest value and a value that is not finite.

use super::{AMAX_MIN, GROUP, ViewMut};
use crate::block::BLOCK;
use crate::lanes::{Lanes, entries};

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
    for (block, (x, q)) in (x.chunks_exact(BLOCK).zip(out.q.chunks_exact_mut(BLOCK))).enumerate() {
        // SAFETY: a block is two times sixteen values; the instruction set is the caller's promise.
        unsafe {
            let (scale0, sum0) = group::<L>(x.as_ptr(), q.as_mut_ptr(), &mut finite);
            let at = x.as_ptr().add(GROUP);
            let (scale1, sum1) = group::<L>(at, q.as_mut_ptr().add(GROUP), &mut finite);
            out.scale[2 * block..][..2].copy_from_slice(&[scale0, scale1]);
            out.sum[2 * block..][..2].copy_from_slice(&[sum0, sum1]);
            out.mass[block] = (sum1 as f32).mul_add(scale1, sum0 as f32 * scale0);
        }
    }
    finite
}

/// One group: its scale and the sum of its integers.
///
/// # Safety
/// The instruction set of `L` is enabled; both pointers are to sixteen values.
#[inline(always)]
unsafe fn group<L: Lanes>(x: *const f32, q: *mut i8, finite: &mut bool) -> (f32, i32) {
    // SAFETY: promised by the caller.
    unsafe {
        let x = L::load(x);
        let bits = x.max_magnitude(x).magnitude_bits();
        let group_finite = bits < f32::INFINITY.to_bits();
        *finite &= group_finite;
        let amax = f32::from_bits(bits);
        if !group_finite || amax < AMAX_MIN {
            L::splat(0.0).store_i8(q);
            return (0.0, 0);
        }
        // |x * inverse| is at most 127 and a rounding, so the clamp of the definition is idle.
        let sum = x.mul(L::splat(127.0 / amax)).store_i8(q);
        (amax / 127.0, sum)
    }
}
