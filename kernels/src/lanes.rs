//! Sixteen f32 lanes, as one AVX-512 register or as two AVX2 ones.
//!
//! The arithmetic is defined in sixteen lanes, so a kernel written once over this trait is exact with
//! either register width. Only what differs in more than width has a file per instruction set.
//!
//! The methods become single instructions when they are inlined into a function that enables the
//! instruction set, and must not be called from elsewhere. Hence every kernel over lanes is an unsafe
//! function, and whoever calls it holds an `Isa` that the machine has.

#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_macros, unused_imports)
)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

use crate::gate::Gate;
use crate::math::{
    EXP_COEFFICIENTS, EXP_MAX, EXP_MIN, GELU_CUBE, GELU_SLOPE, LN2_HIGH, LN2_LOW, LOG2_E,
};

/// Count of lanes.
pub(crate) const LANES: usize = 16;

/// Sixteen f32 values in order.
///
/// # Safety
/// Every method needs the instruction set of its implementation, and pointers to sixteen elements.
pub(crate) trait Lanes: Copy {
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    /// Sixteen f16 values, widened.
    unsafe fn load_half(at: *const u16) -> Self;
    /// Sixteen i8 values, widened.
    unsafe fn load_int8(at: *const i8) -> Self;
    unsafe fn store(self, at: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    unsafe fn fma(self, factor: Self, addend: Self) -> Self;
    /// `self * factor - other` in even lanes and `+ other` in odd ones, rounded once.
    unsafe fn fma_alternating(self, factor: Self, other: Self) -> Self;
    /// Lanes 1 0 3 2 5 4 …
    unsafe fn swap_pairs(self) -> Self;
    /// Lanes 0 0 2 2 4 4 …
    unsafe fn even_twice(self) -> Self;
    /// Lanes 1 1 3 3 5 5 …
    unsafe fn odd_twice(self) -> Self;
    /// To the nearest whole number, ties to even.
    unsafe fn round(self) -> Self;
    /// Two to the power of each lane, a whole number in -126..=127.
    unsafe fn power_of_two(self) -> Self;
    /// `yes` in the lanes where `self > limit`, else `no`. A NaN is not greater.
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self;
    /// The larger of two, where neither is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// The sum by the tree (l, l+8), (l, l+4), (l, l+2), (l, l+1).
    unsafe fn tree_sum(self) -> f32;
    /// The largest lane, where none is NaN.
    unsafe fn largest(self) -> f32;
    /// The larger bits of two magnitudes; infinity and NaN are above all numbers.
    unsafe fn max_magnitude(self, other: Self) -> Self;
    /// The largest bits of what `max_magnitude` kept.
    unsafe fn magnitude_bits(self) -> u32;
    /// Sixteen whole numbers within -127..=127 as i8, and their sum.
    unsafe fn store_i8(self, at: *mut i8) -> i32;
}

/// `math::exp` in every lane.
///
/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L) -> L {
    // SAFETY: promised by the caller.
    unsafe {
        let n = x.mul(L::splat(LOG2_E)).round();
        let r = n.fma(L::splat(-LN2_HIGH), x);
        let r = n.fma(L::splat(-LN2_LOW), r);
        let mut p = L::splat(EXP_COEFFICIENTS[0]);
        for coefficient in &EXP_COEFFICIENTS[1..] {
            p = p.fma(r, L::splat(*coefficient));
        }
        let y = p.fma(r.mul(r), r).add(L::splat(1.0));
        let y = y.mul(n.power_of_two());
        let y = x.if_greater(L::splat(EXP_MAX), L::splat(f32::INFINITY), y);
        L::splat(EXP_MIN).if_greater(x, L::splat(0.0), y)
    }
}

/// `gate::gated` in every lane.
///
/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
pub(crate) unsafe fn gated<L: Lanes>(kind: Gate, gate: L, up: L) -> L {
    // SAFETY: promised by the caller.
    unsafe {
        let steep = match kind {
            Gate::Silu => gate,
            Gate::Gelu => {
                let bent = gate.mul(gate);
                let bent = bent.fma(L::splat(GELU_CUBE), L::splat(1.0));
                gate.mul(L::splat(GELU_SLOPE)).mul(bent)
            }
        };
        let minus = L::splat(-0.0).sub(steep);
        let active = gate.div(L::splat(1.0).add(exp(minus)));
        active.mul(up)
    }
}

/// Chooses the kernel of an `Isa` from the module `simd` beside the caller, or the reference.
macro_rules! by_isa {
    ($isa:expr, $kernel:ident ( $($argument:expr),* ), $reference:expr) => {{
        #[cfg(target_arch = "x86_64")]
        {
            match $isa {
                $crate::isa::Isa::Reference => $reference,
                // AVX-VNNI has AVX2 and adds nothing to it but products of integers.
                // SAFETY: a model or a test holds only an `Isa` that the machine has; see `Isa`.
                $crate::isa::Isa::Avx2 | $crate::isa::Isa::AvxVnni => unsafe { simd::avx2::$kernel($($argument),*) },
                // SAFETY: as above.
                $crate::isa::Isa::Avx512 => unsafe { simd::avx512::$kernel($($argument),*) },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            $reference
        }
    }};
}

/// Makes a module per instruction set, with an entry that runs a kernel over lanes.
macro_rules! entries {
    ($(fn $kernel:ident ( $($argument:ident : $kind:ty),* $(,)? ) $(-> $result:ty)? ;)*) => {
        /// The kernels with AVX-512.
        pub(super) mod avx512 {
            #[allow(unused_imports, reason = "each set of entries needs others")]
            use super::*;
            $(
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                pub(in super::super) unsafe fn $kernel($($argument: $kind),*) $(-> $result)? {
                    // SAFETY: the instruction set is enabled here; the caller has checked for it.
                    unsafe { super::$kernel::<crate::lanes::avx512::Wide>($($argument),*) }
                }
            )*
        }
        /// The kernels with AVX2.
        pub(super) mod avx2 {
            #[allow(unused_imports, reason = "each set of entries needs others")]
            use super::*;
            $(
                #[target_feature(enable = "avx2,fma,f16c")]
                pub(in super::super) unsafe fn $kernel($($argument: $kind),*) $(-> $result)? {
                    // SAFETY: the instruction set is enabled here; the caller has checked for it.
                    unsafe { super::$kernel::<crate::lanes::avx2::Pair>($($argument),*) }
                }
            )*
        }
    };
}

pub(crate) use {by_isa, entries};
