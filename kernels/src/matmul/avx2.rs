//! The matmul with AVX2: 8 rows in the lanes of a register, a quarter of a strip at a time, two tokens
//! at once.
//!
//! ```text
//! bytes to pairs    vpmaddubsw   unsigned weight * signed activation, two to an i16
//! pairs to fours    vpmaddwd     with ones, to an i32: one block's sum per row after 8 of them
//! ```
//!
//! An i16 holds two products exactly: Q4_1 reaches 2 * 15 * 127. For Q8_0 the weight's sign is moved to the
//! activation, so a pair reaches 2 * 128 * 127 = 32,512.

use std::arch::x86_64::*;

use super::{Finish, Input, Output, STRIP, pack::TILE};
use crate::block::BLOCK;
use crate::gate::gated;
use crate::gguf::Format;
use crate::quantize::View;

/// Tokens whose sums are in registers at once.
const TOKENS: usize = 2;
/// Rows in a register.
const ROWS: usize = 8;

/// All outputs of one interleaved strip.
///
/// # Safety
/// The machine has AVX2, FMA and F16C; no other thread touches the outputs of this strip until the
/// next barrier.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn strip(
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    output: Output<'_>,
) {
    let mut token = 0;
    while token < input.tokens {
        // SAFETY: passed on from the caller.
        unsafe {
            match input.tokens - token {
                1 => tokens::<1>(format, bytes, strip, input, token, output),
                _ => tokens::<TOKENS>(format, bytes, strip, input, token, output),
            }
        }
        token += TOKENS;
    }
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tokens<const M: usize>(
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    token: usize,
    output: Output<'_>,
) {
    let mut results = [[0.0f32; STRIP]; M];
    for quarter in 0..STRIP / ROWS {
        // SAFETY: passed on from the caller.
        let sums = unsafe {
            match format {
                Format::Q4_1 => q4_1::<M>(bytes, quarter, input.quantized, token),
                Format::Q8_0 => q8_0::<M>(bytes, quarter, input.quantized, token),
                other => unreachable!("{} is not interleaved", other.name()),
            }
        };
        for (result, sum) in results.iter_mut().zip(sums) {
            // SAFETY: eight floats from `quarter * ROWS` are inside the result.
            unsafe { _mm256_storeu_ps(result.as_mut_ptr().add(quarter * ROWS), sum) };
        }
    }
    for (index, result) in results.iter().enumerate() {
        let width = if output.finish == Finish::Gate {
            TILE
        } else {
            STRIP
        };
        let at = (token + index) * output.stride + strip * width;
        // SAFETY: the outputs of this strip are this thread's.
        let out = unsafe { output.values.slice_mut(at..at + width) };
        match output.finish {
            Finish::Store => out.copy_from_slice(result),
            Finish::Add => out
                .iter_mut()
                .zip(result)
                .for_each(|(out, result)| *out += result),
            Finish::Gate => {
                for (row, out) in out.iter_mut().enumerate() {
                    *out = gated(result[row], result[row + TILE]);
                }
            }
        }
    }
}

/// # Safety
/// As for `strip`; `quarter` is below 4.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_1<const M: usize>(
    bytes: &[u8],
    quarter: usize,
    x: View<'_>,
    token: usize,
) -> [__m256; M] {
    let blocks = x.columns / BLOCK;
    assert!(bytes.len() == blocks * 640 && x.mass.len() >= (token + M) * blocks);
    let low_half = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); M];
    // SAFETY: the lengths asserted above, and by `matmul::multiply` for the activations, cover
    // every load below.
    unsafe {
        for block in 0..blocks {
            let at = bytes.as_ptr().add(block * 640);
            let weights = at.add((quarter / 2) * 256 + (quarter % 2) * 32);
            let mut dots = [[_mm256_setzero_si256(); 2]; M];
            for load in 0..4 {
                let both = _mm256_loadu_si256(weights.add(load * 64).cast());
                let low = _mm256_and_si256(both, low_half);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_half);
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q =
                        x.q.as_ptr()
                            .add((token + m) * x.columns + block * BLOCK + load * 4);
                    let four = _mm256_set1_epi32(q.cast::<i32>().read_unaligned());
                    dots[0] = add_fours(dots[0], _mm256_maddubs_epi16(low, four));
                    let four = _mm256_set1_epi32(q.add(16).cast::<i32>().read_unaligned());
                    dots[1] = add_fours(dots[1], _mm256_maddubs_epi16(high, four));
                }
            }
            let d = halves(at.add(512 + quarter * 16));
            let offset = halves(at.add(576 + quarter * 16));
            for m in 0..M {
                let at = (token + m) * blocks + block;
                let sum = _mm256_fmadd_ps(scaled(dots[m], x.scale, at), d, sums[m]);
                let mass = _mm256_set1_ps(*x.mass.as_ptr().add(at));
                sums[m] = _mm256_fmadd_ps(mass, offset, sum);
            }
        }
    }
    sums
}

/// # Safety
/// As for `q4_1`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q8_0<const M: usize>(
    bytes: &[u8],
    quarter: usize,
    x: View<'_>,
    token: usize,
) -> [__m256; M] {
    let blocks = x.columns / BLOCK;
    assert!(bytes.len() == blocks * 1088 && x.mass.len() >= (token + M) * blocks);
    let flip = _mm256_set1_epi8(-128);
    let mut sums = [_mm256_setzero_ps(); M];
    // SAFETY: as in `q4_1`.
    unsafe {
        for block in 0..blocks {
            let at = bytes.as_ptr().add(block * 1088);
            let weights = at.add((quarter / 2) * 512 + (quarter % 2) * 32);
            let mut dots = [[_mm256_setzero_si256(); 2]; M];
            for load in 0..8 {
                let stored = _mm256_loadu_si256(weights.add(load * 64).cast());
                let signed = _mm256_xor_si256(stored, flip);
                let magnitude = _mm256_abs_epi8(signed);
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q =
                        x.q.as_ptr()
                            .add((token + m) * x.columns + block * BLOCK + load * 4);
                    let four = _mm256_set1_epi32(q.cast::<i32>().read_unaligned());
                    let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(four, signed));
                    dots[load / 4] = add_fours(dots[load / 4], pairs);
                }
            }
            let d = halves(at.add(1024 + quarter * 16));
            for m in 0..M {
                let at = (token + m) * blocks + block;
                sums[m] = _mm256_fmadd_ps(scaled(dots[m], x.scale, at), d, sums[m]);
            }
        }
    }
    sums
}

/// Adds pairs of products, joined to fours, to the sums of eight rows.
#[target_feature(enable = "avx2")]
fn add_fours(sums: __m256i, pairs: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// The sums of a block's two groups of activations, scaled and added.
#[target_feature(enable = "avx2,fma")]
fn scaled(dots: [__m256i; 2], scales: &[f32], block: usize) -> __m256 {
    let scale = |group: usize| _mm256_set1_ps(scales[2 * block + group]);
    let group0 = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[0]), scale(0));
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[1]), scale(1), group0)
}

/// Eight f16 numbers, widened.
///
/// # Safety
/// `at` points to 16 bytes.
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: promised by the caller.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}
