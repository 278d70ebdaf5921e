//! The matmul with AVX2: 8 rows in the lanes of a register, a quarter of a strip at a time, two tokens
//! at once.
//!
//! ```text
//! bytes to pairs    vpmaddubsw   unsigned weight * signed activation, two to an i16
//! pairs to fours    vpmaddwd     with ones, to an i32: one block's sum per row after 8 of them
//! ```
//!
//! An i16 holds two products exactly: codes of 6 bits reach 2 * 63 * 127. For Q8_0 the weight's sign is
//! moved to the activation, so a pair reaches 2 * 128 * 127 = 32,512.

use std::arch::x86_64::*;

use super::{Finish, Input, Layout, Output, STRIP, by_form, pack::TILE};
use crate::block::{BLOCK, Form};
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
            by_form!(
                format,
                products::<M>(bytes, quarter, input.quantized, token)
            )
        };
        for (result, sum) in results.iter_mut().zip(sums) {
            // SAFETY: eight floats from `quarter * ROWS` are inside the result.
            unsafe { _mm256_storeu_ps(result.as_mut_ptr().add(quarter * ROWS), sum) };
        }
    }
    for (index, result) in results.iter().enumerate() {
        // SAFETY: the outputs of this strip are this thread's.
        let out = unsafe { output.values.slice_mut(output.at(token + index, strip)) };
        match output.finish {
            Finish::Store => out.copy_from_slice(result),
            Finish::Add => out
                .iter_mut()
                .zip(result)
                .for_each(|(out, result)| *out += result),
            Finish::Gate(kind) => {
                for (row, out) in out.iter_mut().enumerate() {
                    *out = gated(kind, result[row], result[row + TILE]);
                }
            }
        }
    }
}

/// # Safety
/// As for `strip`, the strip's format has this form, and `quarter` is below 4.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn products<const M: usize, const BITS: usize, const OFFSET: bool, const FINE: bool>(
    bytes: &[u8],
    quarter: usize,
    x: View<'_>,
    token: usize,
) -> [__m256; M] {
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
    let (tile, half) = (quarter / 2, quarter % 2 * 32);
    let low_half = _mm256_set1_epi8(15);
    let upper = _mm256_set1_epi8(if BITS == 6 { 48 } else { 16 });
    let mut sums = [_mm256_setzero_ps(); M];
    // SAFETY: the lengths asserted above, and by `matmul::multiply` for the activations, cover
    // every load below.
    unsafe {
        for block in 0..blocks {
            let first = bytes.as_ptr().add(block / together * layout.bytes);
            let at = first.add(block % together * layout.block);
            let line = |at_line: usize| _mm256_loadu_si256(at.add(at_line + half).cast());
            let mut dots = [[_mm256_setzero_si256(); 2]; M];
            if BITS != 8 && centre != 0 {
                for (m, dots) in dots.iter_mut().enumerate() {
                    let qsum = x.sum.as_ptr().add(2 * ((token + m) * blocks + block));
                    *dots = [0, 1].map(|group| _mm256_set1_epi32(-centre * *qsum.add(group)));
                }
            }
            // The upper bits of groups 0 and 1, moved down after each load; those of 5 bits share a line.
            let mut uppers = match BITS {
                5 => [line(layout.upper(tile, 0)); 2],
                6 => [0, 1].map(|group| line(layout.upper(tile, group))),
                _ => [_mm256_setzero_si256(); 2],
            };
            for load in 0..4 {
                let codes = line(layout.codes(tile, load));
                let mut groups = match BITS {
                    8 => [codes, line(layout.codes(tile, 4 + load))],
                    _ => [codes, _mm256_srli_epi16::<4>(codes)]
                        .map(|codes| _mm256_and_si256(codes, low_half)),
                };
                if BITS == 5 || BITS == 6 {
                    let moved = [
                        _mm256_slli_epi16::<4>(uppers[0]),
                        match BITS {
                            5 => uppers[1],
                            _ => _mm256_slli_epi16::<4>(uppers[1]),
                        },
                    ];
                    for (group, bits) in groups.iter_mut().zip(moved) {
                        *group = _mm256_or_si256(*group, _mm256_and_si256(bits, upper));
                    }
                    uppers = uppers.map(|bits| match BITS {
                        5 => _mm256_srli_epi16::<1>(bits),
                        _ => _mm256_srli_epi16::<2>(bits),
                    });
                }
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q = x.q.as_ptr().add((token + m) * x.columns + block * BLOCK);
                    for (group, dot) in dots.iter_mut().enumerate() {
                        let four = q.add(group * 16 + load * 4).cast::<i32>();
                        let four = _mm256_set1_epi32(four.read_unaligned());
                        let pairs = match BITS {
                            8 => signed_pairs(groups[group], four),
                            _ => _mm256_maddubs_epi16(groups[group], four),
                        };
                        *dot = add_fours(*dot, pairs);
                    }
                }
            }
            let number = |index: usize| {
                let at = layout.numbers + index * STRIP * 2;
                halves(first.add(at + quarter * ROWS * 2))
            };
            let fine = |index: usize| {
                small::<OFFSET>(at.add(layout.fine + index * STRIP + quarter * ROWS))
            };
            // The scale of group 0, or of both.
            let scale = match FINE {
                false => number(0),
                true => _mm256_mul_ps(number(0), fine(0)),
            };
            for m in 0..M {
                let at = (token + m) * blocks + block;
                if FINE && !OFFSET {
                    let [dot0, dot1] = dots[m].map(|dot| _mm256_cvtepi32_ps(dot));
                    let t = _mm256_mul_ps(dot0, _mm256_set1_ps(x.scale[2 * at]));
                    sums[m] = _mm256_fmadd_ps(t, scale, sums[m]);
                    let t = _mm256_mul_ps(dot1, _mm256_set1_ps(x.scale[2 * at + 1]));
                    sums[m] = _mm256_fmadd_ps(t, _mm256_mul_ps(number(0), fine(1)), sums[m]);
                } else {
                    sums[m] = _mm256_fmadd_ps(scaled(dots[m], x.scale, at), scale, sums[m]);
                }
                if OFFSET {
                    let mass = _mm256_set1_ps(*x.mass.as_ptr().add(at));
                    sums[m] = match FINE {
                        false => _mm256_fmadd_ps(mass, number(1), sums[m]),
                        true => {
                            let offset = _mm256_mul_ps(number(1), fine(1));
                            _mm256_fnmadd_ps(mass, offset, sums[m])
                        }
                    };
                }
            }
        }
    }
    sums
}

/// Pairs of products of codes of 8 bits, whose centre is 128, with activations.
#[target_feature(enable = "avx2")]
fn signed_pairs(codes: __m256i, four: __m256i) -> __m256i {
    let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(four, signed))
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

/// Eight fine numbers: unsigned beside an offset, or signed.
///
/// # Safety
/// `at` points to 8 bytes.
#[target_feature(enable = "avx2")]
unsafe fn small<const OFFSET: bool>(at: *const u8) -> __m256 {
    // SAFETY: promised by the caller.
    let bytes = unsafe { _mm_loadl_epi64(at.cast()) };
    _mm256_cvtepi32_ps(match OFFSET {
        true => _mm256_cvtepu8_epi32(bytes),
        false => _mm256_cvtepi8_epi32(bytes),
    })
}
