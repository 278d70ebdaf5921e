//! The sixteen lanes of rule 3 in parts: one AVX-512 register, or two AVX2 registers one after the other.
//!
//! Lanes l and l + 8 are in different AVX2 registers, which live in different passes over a block: so a tile has
//! all registers for itself in each.

use std::arch::x86_64::*;

use crate::lanes::{LANES, Lanes, avx2::Pair, avx512::Wide};

/// Rows in a tile.
pub(super) const ROWS: usize = 4;
/// Tokens that `sums` joins at once, and the most in a tile.
pub(super) const TOKENS: usize = 4;

/// The sixteen lanes as parts of them.
///
/// # Safety
/// Every method needs the instruction set of its implementation, and pointers to `WIDTH` elements.
pub(super) trait Parts: Lanes {
    /// Some of the lanes, in one register.
    type Part: Copy;
    /// Lanes in a part.
    const WIDTH: usize;
    /// Tokens in a tile.
    const TOKENS: usize;

    unsafe fn zero() -> Self::Part;
    unsafe fn load_part(at: *const f32) -> Self::Part;
    /// F16, widened.
    unsafe fn load_half_part(at: *const u16) -> Self::Part;
    /// BF16, widened.
    unsafe fn load_brain_part(at: *const u16) -> Self::Part;
    unsafe fn add_parts(a: Self::Part, b: Self::Part) -> Self::Part;
    /// `a * b + c`, rounded once.
    unsafe fn fma_parts(a: Self::Part, b: Self::Part, c: Self::Part) -> Self::Part;
    /// For each token and row, the sum of a register's lanes by the tree; where there are two parts, of what
    /// the addition of both left.
    unsafe fn sums(lanes: &[[Self::Part; ROWS]; TOKENS]) -> [__m128; TOKENS];
}

// SAFETY comments: every method is called with the instruction set enabled and with pointers to as many
// elements as it reads, which is the contract of the trait.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
impl Parts for Wide {
    type Part = __m512;
    const WIDTH: usize = LANES;
    const TOKENS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load_part(at: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn load_half_part(at: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_brain_part(at: *const u16) -> __m512 {
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }
    #[inline(always)]
    unsafe fn add_parts(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma_parts(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sums(lanes: &[[__m512; ROWS]; TOKENS]) -> [__m128; TOKENS] {
        unsafe {
            let (a, b) = (wide::twos(lanes, 0, 1), wide::twos(lanes, 2, 3));
            let even = _mm512_shuffle_ps::<0b10_00_10_00>(a, b);
            let all = _mm512_add_ps(even, _mm512_shuffle_ps::<0b11_01_11_01>(a, b));
            [
                _mm512_castps512_ps128(all),
                _mm512_extractf32x4_ps::<1>(all),
                _mm512_extractf32x4_ps::<2>(all),
                _mm512_extractf32x4_ps::<3>(all),
            ]
        }
    }
}

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
impl Parts for Pair {
    type Part = __m256;
    const WIDTH: usize = LANES / 2;
    const TOKENS: usize = 3;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load_part(at: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn load_half_part(at: *const u16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_brain_part(at: *const u16) -> __m256 {
        unsafe {
            let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
        }
    }
    #[inline(always)]
    unsafe fn add_parts(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma_parts(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sums(lanes: &[[__m256; ROWS]; TOKENS]) -> [__m128; TOKENS] {
        unsafe {
            let (low, high) = (pair::two_tokens(lanes, 0), pair::two_tokens(lanes, 2));
            [
                _mm256_castps256_ps128(low),
                _mm256_extractf128_ps::<1>(low),
                _mm256_castps256_ps128(high),
                _mm256_extractf128_ps::<1>(high),
            ]
        }
    }
}

/// Steps of the tree in AVX-512 registers. They are functions, and not closures, so that they are inlined.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
mod wide {
    use super::*;

    /// Halves of a register: two tokens' lanes 0 to 7.
    #[inline(always)]
    unsafe fn eights(a: __m512, b: __m512) -> __m512 {
        unsafe {
            let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
            _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b))
        }
    }

    /// Quarters of a register: four tokens' lanes 0 to 3.
    #[inline(always)]
    unsafe fn fours(lanes: &[[__m512; ROWS]; TOKENS], row: usize) -> __m512 {
        unsafe {
            let a = eights(lanes[0][row], lanes[1][row]);
            let b = eights(lanes[2][row], lanes[3][row]);
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
            _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b))
        }
    }

    /// Within quarters: two rows' lanes 0 and 1.
    #[inline(always)]
    pub(super) unsafe fn twos(
        lanes: &[[__m512; ROWS]; TOKENS],
        row: usize,
        other: usize,
    ) -> __m512 {
        unsafe {
            let (a, b) = (fours(lanes, row), fours(lanes, other));
            let low = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
            _mm512_add_ps(low, _mm512_shuffle_ps::<0b11_10_11_10>(a, b))
        }
    }
}

/// The same in AVX2 registers.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
mod pair {
    use super::*;

    /// Halves of a register: two tokens' lanes 0 to 3.
    #[inline(always)]
    unsafe fn fours(lanes: &[[__m256; ROWS]; TOKENS], token: usize, row: usize) -> __m256 {
        unsafe {
            let (a, b) = (lanes[token][row], lanes[token + 1][row]);
            let low = _mm256_permute2f128_ps::<0x20>(a, b);
            _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(a, b))
        }
    }

    /// Within halves: two rows' lanes 0 and 1.
    #[inline(always)]
    unsafe fn twos(lanes: &[[__m256; ROWS]; TOKENS], token: usize, row: usize) -> __m256 {
        unsafe {
            let (a, b) = (fours(lanes, token, row), fours(lanes, token, row + 1));
            let low = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            _mm256_add_ps(low, _mm256_shuffle_ps::<0b11_10_11_10>(a, b))
        }
    }

    /// Four rows' sums, of two tokens.
    #[inline(always)]
    pub(super) unsafe fn two_tokens(lanes: &[[__m256; ROWS]; TOKENS], token: usize) -> __m256 {
        unsafe {
            let (a, b) = (twos(lanes, token, 0), twos(lanes, token, 2));
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(a, b);
            _mm256_add_ps(even, _mm256_shuffle_ps::<0b11_01_11_01>(a, b))
        }
    }
}
