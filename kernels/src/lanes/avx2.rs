//! Sixteen lanes in two AVX2 registers: lanes 0 to 7, and 8 to 15.

use std::arch::x86_64::*;

use super::Lanes;

/// Two registers.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// The tree (l, l+4), (l, l+2), (l, l+1) over eight lanes.
///
/// # Safety
/// AVX2 is enabled.
#[inline(always)]
pub(super) unsafe fn tree_sum_of_eight(eight: __m256) -> f32 {
    // SAFETY: promised by the caller.
    unsafe {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(eight),
            _mm256_extractf128_ps::<1>(eight),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The largest of eight i32.
#[inline(always)]
unsafe fn largest_of_eight(eight: __m256i) -> i32 {
    // SAFETY: AVX2 is enabled, by the contract of the trait.
    unsafe {
        let four = _mm_max_epi32(
            _mm256_castsi256_si128(eight),
            _mm256_extracti128_si256::<1>(eight),
        );
        let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    }
}

// SAFETY comments: every method is called with the instruction set enabled and with pointers to
// sixteen elements, which is the contract of the trait.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
impl Lanes for Pair {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))) }
    }
    #[inline(always)]
    unsafe fn load_half(at: *const u16) -> Self {
        unsafe {
            let low = _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
            Self(low, _mm256_cvtph_ps(_mm_loadu_si128(at.add(8).cast())))
        }
    }
    #[inline(always)]
    unsafe fn load_int8(at: *const i8) -> Self {
        unsafe {
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()));
            let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.add(8).cast()));
            Self(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe {
            _mm256_storeu_ps(at, self.0);
            _mm256_storeu_ps(at.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe {
            Self(
                _mm256_add_ps(self.0, other.0),
                _mm256_add_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe {
            Self(
                _mm256_sub_ps(self.0, other.0),
                _mm256_sub_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe {
            Self(
                _mm256_mul_ps(self.0, other.0),
                _mm256_mul_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe {
            Self(
                _mm256_div_ps(self.0, other.0),
                _mm256_div_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        unsafe {
            let low = _mm256_fmadd_ps(self.0, factor.0, addend.0);
            Self(low, _mm256_fmadd_ps(self.1, factor.1, addend.1))
        }
    }
    #[inline(always)]
    unsafe fn fma_alternating(self, factor: Self, other: Self) -> Self {
        unsafe {
            let low = _mm256_fmaddsub_ps(self.0, factor.0, other.0);
            Self(low, _mm256_fmaddsub_ps(self.1, factor.1, other.1))
        }
    }
    #[inline(always)]
    unsafe fn swap_pairs(self) -> Self {
        unsafe {
            let low = _mm256_permute_ps::<0b10_11_00_01>(self.0);
            Self(low, _mm256_permute_ps::<0b10_11_00_01>(self.1))
        }
    }
    #[inline(always)]
    unsafe fn even_twice(self) -> Self {
        unsafe { Self(_mm256_moveldup_ps(self.0), _mm256_moveldup_ps(self.1)) }
    }
    #[inline(always)]
    unsafe fn odd_twice(self) -> Self {
        unsafe { Self(_mm256_movehdup_ps(self.0), _mm256_movehdup_ps(self.1)) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe {
            let low = _mm256_round_ps::<NEAREST>(self.0);
            Self(low, _mm256_round_ps::<NEAREST>(self.1))
        }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), bias);
            let high = _mm256_add_epi32(_mm256_cvtps_epi32(self.1), bias);
            let low = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(low));
            Self(low, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(high)))
        }
    }
    #[inline(always)]
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self {
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, limit.0);
            let high = _mm256_cmp_ps::<_CMP_GT_OQ>(self.1, limit.1);
            let low = _mm256_blendv_ps(no.0, yes.0, low);
            Self(low, _mm256_blendv_ps(no.1, yes.1, high))
        }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe {
            Self(
                _mm256_max_ps(self.0, other.0),
                _mm256_max_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn tree_sum(self) -> f32 {
        unsafe { tree_sum_of_eight(_mm256_add_ps(self.0, self.1)) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe {
            let eight = _mm256_max_ps(self.0, self.1);
            let high = _mm256_extractf128_ps::<1>(eight);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), high);
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn max_magnitude(self, other: Self) -> Self {
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            let low = _mm256_max_epi32(
                _mm256_castps_si256(_mm256_andnot_ps(sign, self.0)),
                _mm256_castps_si256(_mm256_andnot_ps(sign, other.0)),
            );
            let high = _mm256_max_epi32(
                _mm256_castps_si256(_mm256_andnot_ps(sign, self.1)),
                _mm256_castps_si256(_mm256_andnot_ps(sign, other.1)),
            );
            Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
        }
    }
    #[inline(always)]
    unsafe fn magnitude_bits(self) -> u32 {
        unsafe {
            let (low, high) = (_mm256_castps_si256(self.0), _mm256_castps_si256(self.1));
            largest_of_eight(_mm256_max_epi32(low, high)) as u32
        }
    }
    #[inline(always)]
    unsafe fn store_i8(self, at: *mut i8) -> i32 {
        unsafe {
            let (low, high) = (_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
            // Packing works within halves of a register; the permutation puts quarters in order.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let high_words = _mm256_extracti128_si256::<1>(words);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), high_words);
            _mm_storeu_si128(at.cast(), bytes);
            let eight = _mm256_add_epi32(low, high);
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
        }
    }
}
