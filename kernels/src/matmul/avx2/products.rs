//! Products of codes with activations, eight rows at once: what AVX2 and AVX-VNNI differ in.
//!
//! With AVX2 alone they take two steps:
//!
//! ```text
//! bytes to pairs    vpmaddubsw   unsigned code * signed activation, two to an i16
//! pairs to fours    vpmaddwd     with ones, to an i32
//! ```
//!
//! Pairs are added as i16 as long as they cannot overflow, so that few of them have to be joined. A group has 8
//! pairs of products for each row, two in each of four registers:
//!
//! ```text
//! 4 and 5 bits      all four     8 * 31 * 127 = 31,496     8 vpmaddubsw and 2 vpmaddwd for each block
//! 6 bits            two          4 * 63 * 127 = 32,004     8 and 4
//! 8 bits            one          2 * 128 * 127 = 32,512    8 and 8, and 8 to move the weight's sign to the activation
//! ```
//!
//! The limit is two multiplications a cycle, with the 3 or 4 of floats: for 8 rows and 4 bits 7 cycles, 73 operations
//! a cycle; of 8 bits half as many. Broadcasting activations loads 11 times meanwhile, of 14 possible.
//!
//! With AVX-VNNI `vpdpbusd` does both and the addition, for every form 8 times each block: 6 cycles. Its codes are
//! unsigned, so those of 8 bits keep their centre of 128, and what that adds is subtracted as for the others.

use std::arch::x86_64::*;

use super::super::STRIP;
use super::sums;
use crate::quantize::View;

/// How products are made, and what must be enabled for it.
///
/// # Safety
/// Every method needs AVX2, FMA, F16C and what else its implementation names, on the machine. All but `sums` become
/// single instructions when they are inlined into a function that enables it, and must not be called from elsewhere.
pub(crate) trait Products {
    /// `super::sums` with the instruction set enabled.
    unsafe fn sums<const M: usize, const BITS: usize, const OFFSET: bool, const FINE: bool>(
        bytes: &[u8],
        x: View<'_>,
        token: usize,
        results: &mut [[f32; STRIP]; M],
    );
    /// Whether the centre of codes of so many bits is subtracted before they are multiplied.
    fn centred(bits: usize) -> bool;
    /// Adds the products of two registers of codes, four to a row, to the sums of eight rows.
    unsafe fn add<const BITS: usize>(
        sums: __m256i,
        codes: [__m256i; 2],
        fours: [__m256i; 2],
    ) -> __m256i;
    /// What `add` has added, as i32.
    unsafe fn whole<const BITS: usize>(sums: __m256i) -> __m256i;
}

/// With AVX2 alone. Sums are i16 and two for each row where all of a group fit in them, else i32.
pub(crate) struct ByPairs;

impl Products for ByPairs {
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn sums<const M: usize, const BITS: usize, const OFFSET: bool, const FINE: bool>(
        bytes: &[u8],
        x: View<'_>,
        token: usize,
        results: &mut [[f32; STRIP]; M],
    ) {
        // SAFETY: passed on from the caller; the instruction set is enabled here.
        unsafe { sums::<Self, M, BITS, OFFSET, FINE>(bytes, x, token, results) };
    }

    fn centred(bits: usize) -> bool {
        bits == 8
    }

    #[inline(always)]
    unsafe fn add<const BITS: usize>(
        sums: __m256i,
        codes: [__m256i; 2],
        fours: [__m256i; 2],
    ) -> __m256i {
        // SAFETY: the instruction set is enabled, by the contract of the trait.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            if BITS == 8 {
                let low = _mm256_madd_epi16(signed_pairs(codes[0], fours[0]), ones);
                let high = _mm256_madd_epi16(signed_pairs(codes[1], fours[1]), ones);
                return _mm256_add_epi32(sums, _mm256_add_epi32(low, high));
            }
            let low = _mm256_maddubs_epi16(codes[0], fours[0]);
            let pairs = _mm256_add_epi16(low, _mm256_maddubs_epi16(codes[1], fours[1]));
            match BITS {
                6 => _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, ones)),
                _ => _mm256_add_epi16(sums, pairs),
            }
        }
    }

    #[inline(always)]
    unsafe fn whole<const BITS: usize>(sums: __m256i) -> __m256i {
        match BITS {
            6 | 8 => sums,
            // SAFETY: the instruction set is enabled, by the contract of the trait.
            _ => unsafe { _mm256_madd_epi16(sums, _mm256_set1_epi16(1)) },
        }
    }
}

/// Pairs of products of codes of 8 bits, whose centre is 128, with activations.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_pairs(codes: __m256i, four: __m256i) -> __m256i {
    let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(four, signed))
}

/// Products of four at once. The instruction has one encoding in AVX-VNNI and another in AVX-512 VNNI, and most
/// machines have one of them only: with the other the tests prove all but the encoding.
macro_rules! by_fours {
    ($(#[$attribute:meta])* $name:ident, $features:literal, $multiply:ident) => {
        $(#[$attribute])*
        pub(crate) struct $name;

        $(#[$attribute])*
        impl Products for $name {
            #[target_feature(enable = $features)]
            unsafe fn sums<
                const M: usize,
                const BITS: usize,
                const OFFSET: bool,
                const FINE: bool,
            >(
                bytes: &[u8],
                x: View<'_>,
                token: usize,
                results: &mut [[f32; STRIP]; M],
            ) {
                // SAFETY: passed on from the caller; the instruction set is enabled here.
                unsafe { sums::<Self, M, BITS, OFFSET, FINE>(bytes, x, token, results) };
            }

            fn centred(_: usize) -> bool {
                false
            }

            #[inline(always)]
            unsafe fn add<const BITS: usize>(
                sums: __m256i,
                codes: [__m256i; 2],
                fours: [__m256i; 2],
            ) -> __m256i {
                // SAFETY: the instruction set is enabled, by the contract of the trait.
                unsafe {
                    let sums = $multiply(sums, codes[0], fours[0]);
                    $multiply(sums, codes[1], fours[1])
                }
            }

            #[inline(always)]
            unsafe fn whole<const BITS: usize>(sums: __m256i) -> __m256i {
                sums
            }
        }
    };
}

by_fours!(ByFours, "avx2,fma,f16c,avxvnni", _mm256_dpbusd_avx_epi32);
by_fours!(
    #[cfg(test)]
    ByFoursOfAvx512,
    "avx2,fma,f16c,avx512vl,avx512vnni",
    _mm256_dpbusd_epi32
);
