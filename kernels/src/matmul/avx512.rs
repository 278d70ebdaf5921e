//! The matmul with AVX-512 and VNNI: 32 rows in the lanes of two registers, up to six tokens at once.
//!
//! ```text
//! per block and token:   8 loads of weights (4 unpacked to 8 for fewer than 8 bits)
//!                        16 dot products of 4 bytes, weights unsigned, activations signed and broadcast
//!                        per tile: convert two sums, scale and add them, scale by the weights' own scale;
//!                        with an offset, one more fused multiply-add
//! ```
//!
//! Weights are read once for all tokens of a block of tokens; a strip stays in the first-level cache
//! while the tokens stream past it. VNNI wants weights unsigned, so a format without an offset is stored
//! plus its centre, 128 for Q8_0, and the sum starts at that much less, times the sum of the activations.

use std::arch::x86_64::*;

use super::{Finish, Input, Layout, Output, STRIP, by_form, pack::TILE};
use crate::block::{BLOCK, Form};
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
    let sums = unsafe { by_form!(format, products::<M>(bytes, input.quantized, token)) };
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
/// As for `strip`, and the strip's format has this form.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn products<const M: usize, const BITS: usize, const OFFSET: bool>(
    bytes: &[u8],
    x: View<'_>,
    token: usize,
) -> [[__m512; 2]; M] {
    let layout = const {
        Layout::of(Form {
            bits: BITS,
            offset: OFFSET,
        })
    };
    let centre = layout.form.centre();
    let blocks = x.columns / BLOCK;
    assert!(bytes.len() == blocks * layout.bytes && x.mass.len() >= (token + M) * blocks);
    let low_half = _mm512_set1_epi8(15);
    let fifth = _mm512_set1_epi8(16);
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: the lengths asserted above, and by `matmul::multiply` for the activations, cover
    // every load below.
    unsafe {
        for block in 0..blocks {
            let at = bytes.as_ptr().add(block * layout.bytes);
            let line = |at_line: usize| _mm512_loadu_si512(at.add(at_line).cast());
            // Per token: group 0 of both tiles, then group 1.
            let mut dots = [[_mm512_setzero_si512(); 4]; M];
            if centre != 0 {
                for (m, dots) in dots.iter_mut().enumerate() {
                    let qsum = x.sum.as_ptr().add(2 * ((token + m) * blocks + block));
                    let group0 = _mm512_set1_epi32(-centre * *qsum);
                    let group1 = _mm512_set1_epi32(-centre * *qsum.add(1));
                    *dots = [group0, group0, group1, group1];
                }
            }
            // The fifth bits, moved down by one after each load.
            let mut fifths = match BITS {
                5 => [line(layout.fifths), line(layout.fifths + 64)],
                _ => [_mm512_setzero_si512(); 2],
            };
            for load in 0..4 {
                let codes = [line(layout.codes(0, load)), line(layout.codes(1, load))];
                let [mut group0, mut group1] = match BITS {
                    8 => {
                        let load = 4 + load;
                        [
                            codes,
                            [line(layout.codes(0, load)), line(layout.codes(1, load))],
                        ]
                    }
                    _ => [
                        codes.map(|codes| _mm512_and_si512(codes, low_half)),
                        codes
                            .map(|codes| _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low_half)),
                    ],
                };
                if BITS == 5 {
                    for tile in 0..2 {
                        let bits = fifths[tile];
                        let low = _mm512_and_si512(_mm512_slli_epi16::<4>(bits), fifth);
                        group0[tile] = _mm512_or_si512(group0[tile], low);
                        let high = _mm512_and_si512(bits, fifth);
                        group1[tile] = _mm512_or_si512(group1[tile], high);
                        fifths[tile] = _mm512_srli_epi16::<1>(bits);
                    }
                }
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q = x.q.as_ptr().add((token + m) * x.columns + block * BLOCK);
                    let four = _mm512_set1_epi32(q.add(load * 4).cast::<i32>().read_unaligned());
                    dots[0] = _mm512_dpbusd_epi32(dots[0], group0[0], four);
                    dots[1] = _mm512_dpbusd_epi32(dots[1], group0[1], four);
                    let four = q.add(16 + load * 4).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    dots[2] = _mm512_dpbusd_epi32(dots[2], group1[0], four);
                    dots[3] = _mm512_dpbusd_epi32(dots[3], group1[1], four);
                }
            }
            let number = |index: usize| halves(at.add(layout.numbers + index * 32));
            let scale = [number(0), number(1)];
            let offset = match OFFSET {
                true => [number(2), number(3)],
                false => [_mm512_setzero_ps(); 2],
            };
            for m in 0..M {
                let at = (token + m) * blocks + block;
                let scale0 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at));
                let scale1 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at + 1));
                for tile in 0..2 {
                    let both = scaled(dots[m][tile], scale0, dots[m][tile + 2], scale1);
                    sums[m][tile] = _mm512_fmadd_ps(both, scale[tile], sums[m][tile]);
                    if OFFSET {
                        let mass = _mm512_set1_ps(*x.mass.as_ptr().add(at));
                        sums[m][tile] = _mm512_fmadd_ps(mass, offset[tile], sums[m][tile]);
                    }
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
