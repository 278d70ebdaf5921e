//! Attention over lanes: up to four queries at once over the same keys and values, of either kind of page.
//!
//! ```text
//! scores   16 keys in 16 lanes; each lane walks its own key's dimensions in the order of rule 3. The
//!          tree is walked depth first, so that only a few sums of each query are alive at a time:
//!          ((0 8)(4 12)) ((2 10)(6 14))   ((1 9)(5 13)) ((3 11)(7 15))
//! weights  exp in 16 lanes; keys that a query does not see get weight zero, which changes no sum
//! values   64 dimensions in 4 registers per query; keys in order
//!
//! A page's part is a few KiB, far from the next one: while one is at work the next is fetched. One token at a depth
//! of 2,048 whose keys come from memory takes half the time for it.
//! ```

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

use super::{Cache, KEYS, PAGE_TOKENS, PageKind, Query, ROWS_MAX};
use crate::dot::BLOCK;
use crate::lanes::{self, LANES, Lanes, entries};

entries! {
    fn attend(
        cache: Cache<'_>,
        scale: f32,
        queries: &[Query<'_>],
        scratch: &mut [f32],
        out: &mut [&mut [f32]],
    ) -> bool;
}

/// Registers of values per query.
const REGISTERS: usize = 4;

/// What a kind of page makes different.
///
/// # Safety
/// Every method is called with the instruction set of `L` enabled, and with pointers to as many numbers as it loads.
trait Stored {
    const KIND: PageKind;
    /// Bytes of a number.
    const BYTES: usize;

    /// Sixteen numbers, widened.
    unsafe fn load<L: Lanes>(at: *const u8) -> L;
    /// Dot products with sixteen keys, times the scales of these keys.
    unsafe fn scaled<L: Lanes>(dots: L, scales: *const u8) -> L;
    /// The weight of a value, times the value's scale.
    unsafe fn weight(weight: f32, scale: *const u8) -> f32;
}

/// Pages of f16.
struct Halves;

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
impl Stored for Halves {
    const KIND: PageKind = PageKind::F16;
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> L {
        unsafe { L::load_half(at.cast()) }
    }
    #[inline(always)]
    unsafe fn scaled<L: Lanes>(dots: L, _: *const u8) -> L {
        dots
    }
    #[inline(always)]
    unsafe fn weight(weight: f32, _: *const u8) -> f32 {
        weight
    }
}

/// Pages of int8.
struct Integers;

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the contract of the trait covers them all"
)]
impl Stored for Integers {
    const KIND: PageKind = PageKind::Int8;
    const BYTES: usize = 1;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> L {
        unsafe { L::load_int8(at.cast()) }
    }
    #[inline(always)]
    unsafe fn scaled<L: Lanes>(dots: L, scales: *const u8) -> L {
        unsafe { dots.mul(L::load(scales.cast())) }
    }
    #[inline(always)]
    unsafe fn weight(weight: f32, scale: *const u8) -> f32 {
        unsafe { weight * scale.cast::<f32>().read_unaligned() }
    }
}

/// `attention::reference::attend_all`.
///
/// # Safety
/// The instruction set of `L` is enabled, and the lengths are as `attention::attend` asserts.
#[inline(always)]
unsafe fn attend<L: Lanes>(
    cache: Cache<'_>,
    scale: f32,
    queries: &[Query<'_>],
    scratch: &mut [f32],
    out: &mut [&mut [f32]],
) -> bool {
    // SAFETY: passed on from the caller.
    unsafe {
        match cache.kind {
            PageKind::F16 => attend_over::<L, Halves>(cache, scale, queries, scratch, out),
            PageKind::Int8 => attend_over::<L, Integers>(cache, scale, queries, scratch, out),
        }
    }
}

/// # Safety
/// As for `attend`; the cache's pages are of `S`.
#[inline(always)]
unsafe fn attend_over<L: Lanes, S: Stored>(
    cache: Cache<'_>,
    scale: f32,
    queries: &[Query<'_>],
    scratch: &mut [f32],
    out: &mut [&mut [f32]],
) -> bool {
    let mut finite = true;
    let rows = queries.chunks(ROWS_MAX).zip(out.chunks_mut(ROWS_MAX));
    for (index, (queries, out)) in rows.enumerate() {
        // The first of them bring keys and values into the cache.
        let fetches = index == 0;
        // SAFETY: passed on from the caller.
        finite &= unsafe {
            match queries.len() {
                1 => rows_of::<L, S, 1>(cache, scale, queries, scratch, out, fetches),
                2 => rows_of::<L, S, 2>(cache, scale, queries, scratch, out, fetches),
                3 => rows_of::<L, S, 3>(cache, scale, queries, scratch, out, fetches),
                _ => rows_of::<L, S, ROWS_MAX>(cache, scale, queries, scratch, out, fetches),
            }
        };
    }
    finite
}

/// # Safety
/// As for `attend`; there are `R` queries.
#[inline(always)]
unsafe fn rows_of<L: Lanes, S: Stored, const R: usize>(
    cache: Cache<'_>,
    scale: f32,
    queries: &[Query<'_>],
    scratch: &mut [f32],
    out: &mut [&mut [f32]],
    fetches: bool,
) -> bool {
    // What no query of these sees is not looked at.
    let first_key = queries.iter().map(|query| query.first).min().unwrap_or(0);
    let end_key = queries.iter().map(|query| query.end).max().unwrap_or(0);
    let first_chunk = first_key / PAGE_TOKENS;
    let chunks = first_chunk..end_key.div_ceil(PAGE_TOKENS);
    let stride = chunks.end * PAGE_TOKENS;
    let half = S::KIND.half_bytes(cache.head_width);
    let mut q = [std::ptr::null(); R];
    for (q, query) in q.iter_mut().zip(queries) {
        *q = query.q.as_ptr();
    }
    let scores = scratch[..R * stride].as_mut_ptr();
    let mut finite = true;
    let mut totals = [0.0f32; R];
    // SAFETY: scores has R rows of `stride`; pages cover all chunks and are as long as asserted.
    unsafe {
        for chunk in chunks.clone() {
            let page = cache.pages[chunk].as_ptr();
            let next = cache.pages[..chunks.end].get(chunk + 1);
            if let Some(next) = next.filter(|_| fetches) {
                fetch(next.as_ptr(), half);
            }
            let scales = page.add(PAGE_TOKENS * cache.head_width * S::BYTES);
            for group in 0..PAGE_TOKENS / KEYS {
                let keys = page.add(group * KEYS * cache.head_width * S::BYTES);
                let scales = scales.add(group * KEYS * size_of::<f32>());
                let dots = key_dots::<L, S, R>(keys, cache.head_width, &q);
                for (row, dot) in dots.into_iter().enumerate() {
                    let at = row * stride + chunk * PAGE_TOKENS + group * KEYS;
                    let dot = S::scaled(dot, scales);
                    dot.mul(L::splat(scale)).store(scores.add(at));
                }
            }
        }
        for (row, query) in queries.iter().enumerate() {
            finite &= weigh::<L>(scores.add(row * stride), query.first..query.end, stride);
        }
        for first in (0..cache.head_width).step_by(REGISTERS * LANES) {
            let registers = ((cache.head_width - first) / LANES).min(REGISTERS);
            for chunk in chunks.clone() {
                let next = cache.pages[..chunks.end].get(chunk + 1);
                if let Some(next) = next.filter(|_| fetches && first == 0) {
                    fetch(next.as_ptr().add(half), half);
                }
                let values = cache.pages[chunk].as_ptr().add(half);
                let weights = scores.add(chunk * PAGE_TOKENS);
                let keys = first_key.saturating_sub(chunk * PAGE_TOKENS)
                    ..(end_key - chunk * PAGE_TOKENS).min(PAGE_TOKENS);
                let width = cache.head_width;
                let is_first = chunk == first_chunk;
                let chunk_totals = match registers {
                    1 => values_of::<L, S, R, 1>(
                        values, width, weights, stride, keys, out, first, is_first,
                    ),
                    2 => values_of::<L, S, R, 2>(
                        values, width, weights, stride, keys, out, first, is_first,
                    ),
                    3 => values_of::<L, S, R, 3>(
                        values, width, weights, stride, keys, out, first, is_first,
                    ),
                    _ => values_of::<L, S, R, 4>(
                        values, width, weights, stride, keys, out, first, is_first,
                    ),
                };
                if first == 0 {
                    for (total, chunk) in totals.iter_mut().zip(chunk_totals) {
                        *total += chunk;
                    }
                }
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            for at in (0..cache.head_width).step_by(LANES) {
                let out = out.as_mut_ptr().add(at);
                L::load(out).div(L::splat(total)).store(out);
            }
        }
    }
    finite
}

/// Asks for so many bytes from memory, for soon.
///
/// # Safety
/// There are so many.
#[inline(never)]
unsafe fn fetch(at: *const u8, count: usize) {
    for line in (0..count).step_by(64) {
        // SAFETY: inside of what the caller promises.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.add(line).cast()) };
    }
}

/// The dot products of R queries with 16 keys.
///
/// # Safety
/// `keys` points to `width` times 16 numbers, each of `q` to `width`.
#[inline(always)]
unsafe fn key_dots<L: Lanes, S: Stored, const R: usize>(
    keys: *const u8,
    width: usize,
    q: &[*const f32; R],
) -> [L; R] {
    // SAFETY: passed on from the caller; a block ends at `width` at the latest.
    unsafe {
        let mut totals = [L::splat(0.0); R];
        for block in (0..width).step_by(BLOCK) {
            let end = (block + BLOCK).min(width);
            let at = Part {
                keys,
                q,
                block,
                end,
            };
            let two = |lane| at.two::<L, S>(lane);
            let left = join(join(two(0), two(4)), join(two(2), two(6)));
            let right = join(join(two(1), two(5)), join(two(3), two(7)));
            totals = join(totals, join(left, right));
        }
        totals
    }
}

/// A block of dimensions of 16 keys and R queries.
struct Part<'a, const R: usize> {
    keys: *const u8,
    q: &'a [*const f32; R],
    block: usize,
    end: usize,
}

impl<const R: usize> Part<'_, R> {
    /// The sums of lanes `lane` and `lane + 8` of rule 3, joined.
    #[inline(always)]
    unsafe fn two<L: Lanes, S: Stored>(&self, lane: usize) -> [L; R] {
        // SAFETY: the caller of `key_dots` promises the lengths.
        unsafe {
            let (mut low, mut high) = ([L::splat(0.0); R], [L::splat(0.0); R]);
            let mut dimension = self.block + lane;
            while dimension < self.end {
                let key: L = S::load(self.keys.add(dimension * KEYS * S::BYTES));
                for (low, q) in low.iter_mut().zip(self.q) {
                    *low = L::splat(*q.add(dimension)).fma(key, *low);
                }
                let key: L = S::load(self.keys.add((dimension + 8) * KEYS * S::BYTES));
                for (high, q) in high.iter_mut().zip(self.q) {
                    *high = L::splat(*q.add(dimension + 8)).fma(key, *high);
                }
                dimension += 16;
            }
            join(low, high)
        }
    }
}

/// # Safety
/// The instruction set of `L` is enabled.
#[inline(always)]
unsafe fn join<L: Lanes, const R: usize>(mut a: [L; R], b: [L; R]) -> [L; R] {
    for (a, b) in a.iter_mut().zip(b) {
        // SAFETY: passed on from the caller.
        *a = unsafe { a.add(b) };
    }
    a
}

/// Turns the scores of one query into weights; of keys it does not see, zeros. False if one is not finite.
///
/// # Safety
/// `scores` points to `stride` values, a whole number of chunks, of which `keys` are the query's.
#[inline(always)]
unsafe fn weigh<L: Lanes>(scores: *mut f32, keys: Range<usize>, stride: usize) -> bool {
    // SAFETY: all accesses are below `stride`.
    unsafe {
        let start = keys.start / LANES * LANES;
        let end = keys.end.next_multiple_of(LANES);
        for at in (start..keys.start).chain(keys.end..end) {
            // A copy of a score that takes part changes neither the maximum nor the check.
            *scores.add(at) = *scores.add(keys.start);
        }
        let mut largest = L::splat(f32::NEG_INFINITY);
        let mut magnitude = L::splat(0.0);
        for at in (start..end).step_by(LANES) {
            let score = L::load(scores.add(at));
            largest = largest.max(score);
            magnitude = magnitude.max_magnitude(score);
        }
        let finite = magnitude.magnitude_bits() < f32::INFINITY.to_bits();
        let largest = L::splat(largest.largest());
        for at in (start..end).step_by(LANES) {
            let at = scores.add(at);
            lanes::exp(L::load(at).sub(largest)).store(at);
        }
        for at in (0..keys.start).chain(keys.end..stride) {
            *scores.add(at) = 0.0;
        }
        finite
    }
}

/// Adds one chunk's weighted values to the results of R queries, and returns its sums of weights.
///
/// # Safety
/// `values` points to the chunk's values, `width` numbers each and then their scales, of which dimensions `first` and
/// on are taken, `V` registers of them; `weights` to R rows of weights `stride` apart; `out` has R rows.
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "it is one loop, cut out to fix its width"
)]
unsafe fn values_of<L: Lanes, S: Stored, const R: usize, const V: usize>(
    values: *const u8,
    width: usize,
    weights: *const f32,
    stride: usize,
    keys: Range<usize>,
    out: &mut [&mut [f32]],
    first: usize,
    is_first: bool,
) -> [f32; R] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; R];
        let mut totals = [0.0f32; R];
        let scales = values.add(PAGE_TOKENS * width * S::BYTES);
        for key in keys {
            let scale = scales.add(key * size_of::<f32>());
            let mut value = [L::splat(0.0); V];
            for (v, value) in value.iter_mut().enumerate() {
                *value = S::load(values.add((key * width + first + v * LANES) * S::BYTES));
            }
            for row in 0..R {
                let weight = *weights.add(row * stride + key);
                totals[row] += weight;
                let weight = L::splat(S::weight(weight, scale));
                for v in 0..V {
                    sums[row][v] = weight.fma(value[v], sums[row][v]);
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(sums) {
            for (v, sum) in sums.into_iter().enumerate() {
                let out = out.as_mut_ptr().add(first + v * LANES);
                // The first chunk is added to zero, which is what the results begin with.
                let before = if is_first {
                    L::splat(0.0)
                } else {
                    L::load(out)
                };
                before.add(sum).store(out);
            }
        }
        totals
    }
}
