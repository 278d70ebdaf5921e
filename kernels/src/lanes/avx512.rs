//! Sixteen lanes in one AVX-512 register.

use std::arch::x86_64::*;

use super::Lanes;

/// One register.
#[derive(Clone, Copy)]
pub(crate) struct Wide(pub(crate) __m512);

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// SAFETY comments: every method is called with the instruction set enabled and with pointers to
// sixteen elements, which is the contract of the trait.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
impl Lanes for Wide {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(at)) }
    }
    #[inline(always)]
    unsafe fn load_half(at: *const u16) -> Self {
        unsafe { Self(_mm512_cvtph_ps(_mm256_loadu_si256(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_int8(at: *const i8) -> Self {
        unsafe {
            let whole = _mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()));
            Self(_mm512_cvtepi32_ps(whole))
        }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { _mm512_storeu_ps(at, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(_mm512_div_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
    }
    #[inline(always)]
    unsafe fn fma_alternating(self, factor: Self, other: Self) -> Self {
        unsafe { Self(_mm512_fmaddsub_ps(self.0, factor.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn swap_pairs(self) -> Self {
        unsafe { Self(_mm512_permute_ps::<0b10_11_00_01>(self.0)) }
    }
    #[inline(always)]
    unsafe fn even_twice(self) -> Self {
        unsafe { Self(_mm512_moveldup_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn odd_twice(self) -> Self {
        unsafe { Self(_mm512_movehdup_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { Self(_mm512_roundscale_ps::<NEAREST>(self.0)) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        unsafe {
            let n = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(n)))
        }
    }
    #[inline(always)]
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self {
        unsafe {
            let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, limit.0);
            Self(_mm512_mask_blend_ps(greater, no.0, yes.0))
        }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(_mm512_max_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn tree_sum(self) -> f32 {
        unsafe {
            let high = _mm512_extractf32x8_ps::<1>(self.0);
            super::avx2::tree_sum_of_eight(_mm256_add_ps(_mm512_castps512_ps256(self.0), high))
        }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn max_magnitude(self, other: Self) -> Self {
        unsafe {
            let a = _mm512_castps_si512(_mm512_abs_ps(self.0));
            let b = _mm512_castps_si512(_mm512_abs_ps(other.0));
            Self(_mm512_castsi512_ps(_mm512_max_epi32(a, b)))
        }
    }
    #[inline(always)]
    unsafe fn magnitude_bits(self) -> u32 {
        unsafe { _mm512_reduce_max_epi32(_mm512_castps_si512(self.0)) as u32 }
    }
    #[inline(always)]
    unsafe fn store_i8(self, at: *mut i8) -> i32 {
        unsafe {
            let whole = _mm512_cvtps_epi32(self.0);
            _mm_storeu_si128(at.cast(), _mm512_cvtsepi32_epi8(whole));
            _mm512_reduce_add_epi32(whole)
        }
    }
}
