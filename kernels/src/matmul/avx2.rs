//! The matmul in registers of 256 bits: 8 rows in the lanes of one, a quarter of a strip, up to six tokens at once.
//!
//! `avx2/products.rs` says how codes are multiplied with activations, with AVX2 alone and with AVX-VNNI, and what
//! that costs. The rest is here, once: how codes are unpacked, and what becomes of the sums. All quarters of a block
//! are multiplied before the next one, so weights are read once, in order, for all tokens of a tile.

mod products;
#[cfg(test)]
mod tests;

use std::arch::x86_64::*;

use super::finish::finish;
use super::{Input, Layout, Output, STRIP, ahead, by_form};
use crate::block::{BLOCK, Form};
use crate::gguf::Format;
use crate::lanes::avx2::Pair;
use crate::quantize::View;

use products::Products;
pub(super) use products::{ByFours, ByPairs};

/// Tokens whose sums are in registers at once.
const TOKENS: usize = 6;
/// Rows in a register.
const ROWS: usize = 8;

/// All outputs of one interleaved strip.
///
/// # Safety
/// The machine has AVX2, FMA, F16C and what `P` needs; no other thread touches the outputs of this strip until the
/// next barrier.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn strip<P: Products>(
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
                1 => tokens::<P, 1>(format, bytes, strip, input, token, output),
                2 => tokens::<P, 2>(format, bytes, strip, input, token, output),
                3 => tokens::<P, 3>(format, bytes, strip, input, token, output),
                4 => tokens::<P, 4>(format, bytes, strip, input, token, output),
                5 => tokens::<P, 5>(format, bytes, strip, input, token, output),
                _ => tokens::<P, TOKENS>(format, bytes, strip, input, token, output),
            }
        }
        token += TOKENS;
    }
}

/// # Safety
/// As for `strip`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tokens<P: Products, const M: usize>(
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    token: usize,
    output: Output<'_>,
) {
    let mut results = [[0.0f32; STRIP]; M];
    // SAFETY: passed on from the caller.
    unsafe {
        by_form!(
            format,
            <P>::sums::<M>(bytes, input.quantized, token, &mut results)
        );
        finish::<Pair>(&results, token, strip, output);
    }
}

/// The sums of a strip's 32 rows, for some tokens.
///
/// # Safety
/// As for `strip`, the strip's format has this form, and the instruction set is enabled in the caller.
#[inline(always)]
unsafe fn sums<
    P: Products,
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
    // SAFETY: the lengths asserted above, and by `matmul::multiply` for the activations, cover
    // every load below; a prefetch may be of any address.
    unsafe {
        let low_half = _mm256_set1_epi8(15);
        let upper = _mm256_set1_epi8(if BITS == 6 { 48 } else { 16 });
        let mut all_sums = [[_mm256_setzero_ps(); M]; STRIP / ROWS];
        for index in 0..blocks * (STRIP / ROWS) {
            let (block, quarter) = (index / (STRIP / ROWS), index % (STRIP / ROWS));
            let first = bytes.as_ptr().add(block / together * layout.bytes);
            let at = first.add(block % together * layout.block);
            if token == 0 && quarter == 0 {
                let share = layout.bytes / together;
                let ahead = bytes
                    .as_ptr()
                    .wrapping_add(block * share + const { ahead(M) });
                for line in (0..share).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line).cast());
                }
            }
            let (tile, half) = (quarter / 2, quarter % 2 * 32);
            let line = |at_line: usize| _mm256_loadu_si256(at.add(at_line + half).cast());
            let mut dots = [[_mm256_setzero_si256(); 2]; M];
            // The upper bits of groups 0 and 1, moved down after each load; those of 5 bits share a line.
            let mut uppers = match BITS {
                5 => [line(layout.upper(tile, 0)); 2],
                6 => [line(layout.upper(tile, 0)), line(layout.upper(tile, 1))],
                _ => [_mm256_setzero_si256(); 2],
            };
            for pair in 0..2 {
                // Of two loads, the codes of both groups.
                let mut both = [[_mm256_setzero_si256(); 2]; 2];
                for (index, groups) in both.iter_mut().enumerate() {
                    let load = 2 * pair + index;
                    let codes = line(layout.codes(tile, load));
                    *groups = match BITS {
                        8 => [codes, line(layout.codes(tile, 4 + load))],
                        _ => [
                            _mm256_and_si256(codes, low_half),
                            _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_half),
                        ],
                    };
                    if BITS == 5 || BITS == 6 {
                        let low = _mm256_slli_epi16::<4>(uppers[0]);
                        let high = match BITS {
                            5 => uppers[1],
                            _ => _mm256_slli_epi16::<4>(uppers[1]),
                        };
                        groups[0] = _mm256_or_si256(groups[0], _mm256_and_si256(low, upper));
                        groups[1] = _mm256_or_si256(groups[1], _mm256_and_si256(high, upper));
                        uppers = match BITS {
                            5 => [_mm256_srli_epi16::<1>(uppers[0]); 2],
                            _ => [
                                _mm256_srli_epi16::<2>(uppers[0]),
                                _mm256_srli_epi16::<2>(uppers[1]),
                            ],
                        };
                    }
                }
                for (m, dots) in dots.iter_mut().enumerate() {
                    let q = x.q.as_ptr().add((token + m) * x.columns + block * BLOCK);
                    for (group, dot) in dots.iter_mut().enumerate() {
                        let q = q.add(group * 16 + pair * 8).cast::<i32>();
                        let fours = [
                            _mm256_set1_epi32(q.read_unaligned()),
                            _mm256_set1_epi32(q.add(1).read_unaligned()),
                        ];
                        *dot = P::add::<BITS>(*dot, [both[0][group], both[1][group]], fours);
                    }
                }
            }
            let sums = &mut all_sums[quarter];
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
                let mut dots = [P::whole::<BITS>(dots[m][0]), P::whole::<BITS>(dots[m][1])];
                if centre != 0 && !P::centred(BITS) {
                    let shift = _mm_cvtsi32_si128(centre.trailing_zeros() as i32);
                    let q_sum = x.sum.as_ptr().add(2 * at);
                    for (group, dot) in dots.iter_mut().enumerate() {
                        let less = _mm256_sll_epi32(_mm256_set1_epi32(*q_sum.add(group)), shift);
                        *dot = _mm256_sub_epi32(*dot, less);
                    }
                }
                if FINE && !OFFSET {
                    let scales = x.scale.as_ptr().add(2 * at);
                    let t = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[0]), _mm256_set1_ps(*scales));
                    sums[m] = _mm256_fmadd_ps(t, scale, sums[m]);
                    let other = _mm256_set1_ps(*scales.add(1));
                    let t = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[1]), other);
                    sums[m] = _mm256_fmadd_ps(t, _mm256_mul_ps(number(0), fine(1)), sums[m]);
                } else {
                    sums[m] =
                        _mm256_fmadd_ps(scaled(dots, x.scale.as_ptr().add(2 * at)), scale, sums[m]);
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
        for (quarter, sums) in all_sums.iter().enumerate() {
            for (result, sum) in results.iter_mut().zip(sums) {
                _mm256_storeu_ps(result[quarter * ROWS..][..ROWS].as_mut_ptr(), *sum);
            }
        }
    }
}

/// The sums of a block's two groups of activations, scaled and added.
///
/// # Safety
/// `scales` points to two of them.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn scaled(dots: [__m256i; 2], scales: *const f32) -> __m256 {
    // SAFETY: promised by the caller.
    let (scale0, scale1) = unsafe { (_mm256_set1_ps(*scales), _mm256_set1_ps(*scales.add(1))) };
    let group0 = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[0]), scale0);
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[1]), scale1, group0)
}

/// Eight f16 numbers, widened.
///
/// # Safety
/// `at` points to 16 bytes.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: promised by the caller.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}

/// Eight fine numbers: unsigned beside an offset, or signed.
///
/// # Safety
/// `at` points to 8 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn small<const OFFSET: bool>(at: *const u8) -> __m256 {
    // SAFETY: promised by the caller.
    let bytes = unsafe { _mm_loadl_epi64(at.cast()) };
    _mm256_cvtepi32_ps(match OFFSET {
        true => _mm256_cvtepu8_epi32(bytes),
        false => _mm256_cvtepi8_epi32(bytes),
    })
}
