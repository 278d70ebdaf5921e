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

use super::{Finish, Input, Layout, Output, ahead, by_form, pack::TILE};
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
                1 => some::<1>(format, bytes, strip, input, token, output),
                2 => some::<2>(format, bytes, strip, input, token, output),
                3 => some::<3>(format, bytes, strip, input, token, output),
                4 => some::<4>(format, bytes, strip, input, token, output),
                5 => some::<5>(format, bytes, strip, input, token, output),
                _ => some::<TOKENS>(format, bytes, strip, input, token, output),
            }
        }
        token += TOKENS;
    }
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn some<const M: usize>(
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    token: usize,
    output: Output<'_>,
) {
    // SAFETY: passed on from the caller.
    unsafe { by_form!(format, tokens::<M>(bytes, strip, input, token, output)) };
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tokens<const M: usize, const BITS: usize, const OFFSET: bool, const FINE: bool>(
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    token: usize,
    output: Output<'_>,
) {
    // SAFETY: passed on from the caller.
    let sums = unsafe { products::<M, BITS, OFFSET, FINE>(bytes, input.quantized, token) };
    for (index, [low, high]) in sums.into_iter().enumerate() {
        // SAFETY: the outputs of this strip are this thread's, and the slice is as long as what is
        // stored to it.
        unsafe {
            let out = output.values.slice_mut(output.at(token + index, strip));
            let out = out.as_mut_ptr();
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
                Finish::Gate(kind) => {
                    _mm512_storeu_ps(out, gated(kind, Wide(low), Wide(high)).0);
                }
            }
        }
    }
}

/// # Safety
/// As for `strip`, and the strip's format has this form.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn products<const M: usize, const BITS: usize, const OFFSET: bool, const FINE: bool>(
    bytes: &[u8],
    x: View<'_>,
    token: usize,
) -> [[__m512; 2]; M] {
    let layout = const {
        Layout::of(Form {
            bits: BITS,
            offset: OFFSET,
            fine: FINE,
        })
    };
    let centre = layout.form.centre();
    let blocks = x.columns / BLOCK;
    let together = layout.form.together();
    assert!(
        bytes.len() == blocks / together * layout.bytes && x.mass.len() >= (token + M) * blocks
    );
    let low_half = _mm512_set1_epi8(15);
    let upper = _mm512_set1_epi8(if BITS == 6 { 48 } else { 16 });
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: the lengths asserted above, and by `matmul::multiply` for the activations, cover
    // every load below.
    unsafe {
        for block in 0..blocks {
            let first = bytes.as_ptr().add(block / together * layout.bytes);
            let at = first.add(block % together * layout.block);
            let line = |at_line: usize| _mm512_loadu_si512(at.add(at_line).cast());
            if token == 0 {
                let share = layout.bytes / together;
                let ahead = bytes
                    .as_ptr()
                    .wrapping_add(block * share + const { ahead(M) });
                for line in (0..share).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line).cast());
                }
            }
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
            // The upper bits of groups 0 and 1, moved down after each load; those of 5 bits share a line.
            let zeros = [_mm512_setzero_si512(); 2];
            let upper_lines = |index| [0, 1].map(|tile| line(layout.upper(tile, index)));
            let mut uppers = match BITS {
                5 => [upper_lines(0), zeros],
                6 => [upper_lines(0), upper_lines(1)],
                _ => [zeros; 2],
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
                for tile in 0..if BITS == 5 || BITS == 6 { 2 } else { 0 } {
                    let [bits0, bits1] = [uppers[0][tile], uppers[1][tile]];
                    match BITS {
                        5 => {
                            let moved = _mm512_slli_epi16::<4>(bits0);
                            group0[tile] = with(group0[tile], moved, upper);
                            group1[tile] = with(group1[tile], bits0, upper);
                            uppers[0][tile] = _mm512_srli_epi16::<1>(bits0);
                        }
                        6 => {
                            let moved = _mm512_slli_epi16::<4>(bits0);
                            group0[tile] = with(group0[tile], moved, upper);
                            let moved = _mm512_slli_epi16::<4>(bits1);
                            group1[tile] = with(group1[tile], moved, upper);
                            uppers[0][tile] = _mm512_srli_epi16::<2>(bits0);
                            uppers[1][tile] = _mm512_srli_epi16::<2>(bits1);
                        }
                        _ => {}
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
            let (zero, times) = ([_mm512_setzero_ps(); 2], |a, b| _mm512_mul_ps(a, b));
            let number = |index: usize| halves(first.add(layout.numbers + index * 32));
            let fine = |index: usize| small::<OFFSET>(at.add(layout.fine + index * 16));
            let [scale, other, offset] = match (FINE, OFFSET) {
                (false, false) => [[number(0), number(1)], zero, zero],
                (false, true) => [[number(0), number(1)], zero, [number(2), number(3)]],
                // The scale of each group.
                (true, false) => [
                    [times(number(0), fine(0)), times(number(1), fine(1))],
                    [times(number(0), fine(2)), times(number(1), fine(3))],
                    zero,
                ],
                // The offset is taken away.
                (true, true) => [
                    [times(number(0), fine(0)), times(number(1), fine(1))],
                    zero,
                    [times(number(2), fine(2)), times(number(3), fine(3))],
                ],
            };
            for m in 0..M {
                let at = (token + m) * blocks + block;
                let scale0 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at));
                let scale1 = _mm512_set1_ps(*x.scale.as_ptr().add(2 * at + 1));
                let mass = _mm512_set1_ps(*x.mass.as_ptr().add(at));
                for tile in 0..2 {
                    let sum = sums[m][tile];
                    let (dot0, dot1) = (dots[m][tile], dots[m][tile + 2]);
                    let scaled_sum = match FINE && !OFFSET {
                        false => {
                            let both = scaled(dot0, scale0, dot1, scale1);
                            _mm512_fmadd_ps(both, scale[tile], sum)
                        }
                        true => {
                            let t = times(_mm512_cvtepi32_ps(dot0), scale0);
                            let sum = _mm512_fmadd_ps(t, scale[tile], sum);
                            let t = times(_mm512_cvtepi32_ps(dot1), scale1);
                            _mm512_fmadd_ps(t, other[tile], sum)
                        }
                    };
                    sums[m][tile] = match (OFFSET, FINE) {
                        (false, _) => scaled_sum,
                        (true, false) => _mm512_fmadd_ps(mass, offset[tile], scaled_sum),
                        (true, true) => _mm512_fnmadd_ps(mass, offset[tile], scaled_sum),
                    };
                }
            }
        }
    }
    sums
}

/// Codes with the masked upper bits.
#[target_feature(enable = "avx512f")]
fn with(codes: __m512i, bits: __m512i, mask: __m512i) -> __m512i {
    _mm512_or_si512(codes, _mm512_and_si512(bits, mask))
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

/// Sixteen fine numbers: unsigned beside an offset, or signed.
///
/// # Safety
/// `at` points to 16 bytes.
#[target_feature(enable = "avx512f")]
unsafe fn small<const OFFSET: bool>(at: *const u8) -> __m512 {
    // SAFETY: promised by the caller.
    let bytes = unsafe { _mm_loadu_si128(at.cast()) };
    _mm512_cvtepi32_ps(match OFFSET {
        true => _mm512_cvtepu8_epi32(bytes),
        false => _mm512_cvtepi8_epi32(bytes),
    })
}
