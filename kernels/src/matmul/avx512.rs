//! The matmul with AVX-512 and VNNI: 32 rows in the lanes of two registers, up to six tokens at once.
//!
//! ```text
//! per block and token:   8 loads of weights (4 unpacked to 8)
//!                        16 dot products of 4 bytes, weights unsigned, activations signed and broadcast
//!                        per tile: convert two sums, scale and add them, scale by the weights' own scale;
//!                        with an offset, one more fused multiply-add
//! ```
//!
//! Weights are read once for all tokens of a block of tokens; a strip stays in the first-level cache
//! while the tokens stream past it. Q8_0 is stored plus 128, so the sum starts at -128 times the sum of
//! the activations.

use std::arch::x86_64::*;

use super::{Finish, Input, Output, STRIP, pack::TILE};
use crate::block::BLOCK;
use crate::gguf::Format;
use crate::lanes::avx512::Wide;
use crate::lanes::gated;
use crate::quantize::View;

/// Tokens whose sums are in registers at once.
const TOKENS: usize = 6;

/// All outputs of one interleaved strip.
///
/// # Safety
/// The machine has AVX-512 with VNNI; the strip holds `input.columns` weights in each row; no other
/// thread touches the outputs of this strip until the next barrier.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
                2 => tokens::<2>(format, bytes, strip, input, token, output),
                3 => tokens::<3>(format, bytes, strip, input, token, output),
                4 => tokens::<4>(format, bytes, strip, input, token, output),
                5 => tokens::<5>(format, bytes, strip, input, token, output),
                _ => tokens::<TOKENS>(format, bytes, strip, input, token, output),
            }
        }
        token += TOKENS;
    }
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tokens<const M: usize>(
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    token: usize,
    output: Output<'_>,
) {
    // SAFETY: passed on from the caller.
    let sums = unsafe {
        match format {
            Format::Q4_1 => q4_1::<M>(bytes, input.quantized, token),
            Format::Q8_0 => q8_0::<M>(bytes, input.quantized, token),
            other => unreachable!("{} is not interleaved", other.name()),
        }
    };
    for (index, [low, high]) in sums.into_iter().enumerate() {
        let width = if output.finish == Finish::Gate {
            TILE
        } else {
            STRIP
        };
        let at = (token + index) * output.stride + strip * width;
        // SAFETY: the outputs of this strip are this thread's, and the slice is as long as what is
        // stored to it.
        unsafe {
            let out = output.values.slice_mut(at..at + width).as_mut_ptr();
            match output.finish {
                Finish::Store => {
                    _mm512_storeu_ps(out, low);
                    _mm512_storeu_ps(out.add(TILE), high);
                }
                Finish::Add => {
                    _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), low));
                    let out = out.add(TILE);
                    _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), high));
                }
                Finish::Gate => _mm512_storeu_ps(out, gated(Wide(low), Wide(high)).0),
            }
        }
    }
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn q4_1<const M: usize>(bytes: &[u8], x: View<'_>, token: usize) -> [[__m512; 2]; M] {
    let blocks = x.columns / BLOCK;
    assert!(bytes.len() == blocks * 640 && x.mass.len() >= (token + M) * blocks);
    let low_half = _mm512_set1_epi8(15);
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: the lengths asserted above, and by `matmul::multiply` for the activations, cover
    // every load below.
    unsafe {
        for block in 0..blocks {
            let at = bytes.as_ptr().add(block * 640);
            // Per token: group 0 (the low halves) of both tiles, then group 1.
            let mut dots = [[_mm512_setzero_si512(); 4]; M];
            for load in 0..4 {
                let tile0 = _mm512_loadu_si512(at.add(load * 64).cast());
                let tile1 = _mm512_loadu_si512(at.add(256 + load * 64).cast());
                let low = [
                    _mm512_and_si512(tile0, low_half),
                    _mm512_and_si512(tile1, low_half),
                ];
                let high = [
                    _mm512_and_si512(_mm512_srli_epi16::<4>(tile0), low_half),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(tile1), low_half),
                ];
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q = x.q.as_ptr().add((token + m) * x.columns + block * BLOCK);
                    let four = _mm512_set1_epi32(q.add(load * 4).cast::<i32>().read_unaligned());
                    dots[0] = _mm512_dpbusd_epi32(dots[0], low[0], four);
                    dots[1] = _mm512_dpbusd_epi32(dots[1], low[1], four);
                    let four = q.add(16 + load * 4).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    dots[2] = _mm512_dpbusd_epi32(dots[2], high[0], four);
                    dots[3] = _mm512_dpbusd_epi32(dots[3], high[1], four);
                }
            }
            let d = [halves(at.add(512)), halves(at.add(544))];
            let offset = [halves(at.add(576)), halves(at.add(608))];
            for m in 0..M {
                let at = (token + m) * blocks + block;
                let scale0 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at));
                let scale1 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at + 1));
                let mass = _mm512_set1_ps(*x.mass.as_ptr().add(at));
                for tile in 0..2 {
                    let both = scaled(dots[m][tile], scale0, dots[m][tile + 2], scale1);
                    let sum = _mm512_fmadd_ps(both, d[tile], sums[m][tile]);
                    sums[m][tile] = _mm512_fmadd_ps(mass, offset[tile], sum);
                }
            }
        }
    }
    sums
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn q8_0<const M: usize>(bytes: &[u8], x: View<'_>, token: usize) -> [[__m512; 2]; M] {
    let blocks = x.columns / BLOCK;
    assert!(bytes.len() == blocks * 1088 && x.mass.len() >= (token + M) * blocks);
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: as in `q4_1`.
    unsafe {
        for block in 0..blocks {
            let at = bytes.as_ptr().add(block * 1088);
            let mut dots = [[_mm512_setzero_si512(); 4]; M];
            for (m, dots) in dots.iter_mut().enumerate() {
                let qsum = x.sum.as_ptr().add(2 * ((token + m) * blocks + block));
                let group0 = _mm512_set1_epi32(-128 * *qsum);
                let group1 = _mm512_set1_epi32(-128 * *qsum.add(1));
                *dots = [group0, group0, group1, group1];
            }
            for load in 0..4 {
                let at = at.add(load * 64);
                let group0 = [
                    _mm512_loadu_si512(at.cast()),
                    _mm512_loadu_si512(at.add(512).cast()),
                ];
                let at = at.add(256);
                let group1 = [
                    _mm512_loadu_si512(at.cast()),
                    _mm512_loadu_si512(at.add(512).cast()),
                ];
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q =
                        x.q.as_ptr()
                            .add((token + m) * x.columns + block * BLOCK + load * 4);
                    let four = _mm512_set1_epi32(q.cast::<i32>().read_unaligned());
                    dots[0] = _mm512_dpbusd_epi32(dots[0], group0[0], four);
                    dots[1] = _mm512_dpbusd_epi32(dots[1], group0[1], four);
                    let four = _mm512_set1_epi32(q.add(16).cast::<i32>().read_unaligned());
                    dots[2] = _mm512_dpbusd_epi32(dots[2], group1[0], four);
                    dots[3] = _mm512_dpbusd_epi32(dots[3], group1[1], four);
                }
            }
            let d = [halves(at.add(1024)), halves(at.add(1056))];
            for m in 0..M {
                let at = (token + m) * blocks + block;
                let scale0 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at));
                let scale1 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at + 1));
                for tile in 0..2 {
                    let both = scaled(dots[m][tile], scale0, dots[m][tile + 2], scale1);
                    sums[m][tile] = _mm512_fmadd_ps(both, d[tile], sums[m][tile]);
                }
            }
        }
    }
    sums
}

/// The sums of a block's two groups of activations, scaled and added.
#[target_feature(enable = "avx512f")]
fn scaled(dot0: __m512i, scale0: __m512, dot1: __m512i, scale1: __m512) -> __m512 {
    let group0 = _mm512_mul_ps(_mm512_cvtepi32_ps(dot0), scale0);
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot1), scale1, group0)
}

/// Sixteen f16 numbers, widened.
///
/// # Safety
/// `at` points to 32 bytes.
#[target_feature(enable = "avx512f")]
unsafe fn halves(at: *const u8) -> __m512 {
    // SAFETY: promised by the caller.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
}
