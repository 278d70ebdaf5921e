//! Attention of queries over the keys and values in pages. docs/arithmetic.md, rule 7.
//!
//! ```text
//! s_j = (q . k_j) * scale          the dot product of rule 3
//! m   = max s_j                    p_j = exp(s_j - m)
//! in a chunk of 64 keys, in order: l = l + p_j        o = fma(p_j, v_j, o)     from zero
//! chunk by chunk, in order:        L = L + l          O = O + o                from zero
//! result                           O / L
//! ```
//!
//! A chunk is a page: positions 64 n to 64 n + 63. Keys a query may not see take no part. Keys and values
//! are f16. Keys lie with 16 positions side by side, so that the dot products of 16 keys are computed
//! in 16 lanes and each keeps its own order; values lie with their dimensions side by side.
//!
//! ```text
//! page, layer, kv head:   keys    [64 / 16][head width][16]      values  [64][head width]
//! ```

pub mod reference;
#[cfg(target_arch = "x86_64")]
mod simd;

use std::ops::Range;

use half::f16;

use crate::isa::Isa;
use crate::lanes::by_isa;
use crate::memory::Shared;

/// Tokens in a page, and keys in a chunk.
pub const PAGE_TOKENS: usize = 64;
/// Keys that lie side by side.
pub(crate) const KEYS: usize = 16;

/// The keys and values of one layer and one kv head: one slice of `2 * 64 * head width` per page.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    /// Width of a head.
    pub head_width: usize,
    /// The pages' parts, in the order of positions. The first begins a chunk, whatever its position.
    pub pages: &'a [&'a [u16]],
}

/// One query head at one position.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The query, after rope.
    pub q: &'a [f32],
    /// The first key it sees, counted from the first page's first.
    pub first: usize,
    /// The key after the last one it sees.
    pub end: usize,
}

/// Stores one key and one value at a position's place in its page. False if one overflows f16.
///
/// Several positions of one page may be stored at the same time, so this writes element by element.
///
/// # Safety
/// No other thread touches this slot of the part until the next barrier, and nobody reads the part.
#[must_use]
pub(crate) unsafe fn store(
    pages: &Shared<'_, u16>,
    part: Range<usize>,
    head_width: usize,
    slot: usize,
    key: &[f32],
    value: &[f32],
) -> bool {
    assert!(part.len() == 2 * PAGE_TOKENS * head_width && slot < PAGE_TOKENS);
    assert!(key.len() == head_width && value.len() == head_width);
    let mut finite = true;
    let group = part.start + (slot / KEYS) * KEYS * head_width + slot % KEYS;
    for (dimension, key) in key.iter().enumerate() {
        let half = f16::from_f32(*key);
        finite &= half.is_finite();
        // SAFETY: this element belongs to the slot, which is the caller's.
        unsafe { pages.write(group + dimension * KEYS, half.to_bits()) };
    }
    let row = part.start + (PAGE_TOKENS + slot) * head_width;
    for (dimension, value) in value.iter().enumerate() {
        let half = f16::from_f32(*value);
        finite &= half.is_finite();
        // SAFETY: as above.
        unsafe { pages.write(row + dimension, half.to_bits()) };
    }
    finite
}

/// `store` on memory that nobody else has, for tests and benches.
#[must_use]
pub fn store_alone(
    part: &mut [u16],
    head_width: usize,
    slot: usize,
    key: &[f32],
    value: &[f32],
) -> bool {
    let length = part.len();
    let pages = Shared::new(part);
    // SAFETY: the part is borrowed exclusively.
    unsafe { store(&pages, 0..length, head_width, slot, key, value) }
}

/// The result for some queries over the same cache, one row of `out` each. `scratch` holds scores and
/// is `scratch_len(keys)` long at least. False if a score is not finite.
#[must_use]
pub fn attend(
    isa: Isa,
    cache: Cache<'_>,
    scale: f32,
    queries: &[Query<'_>],
    scratch: &mut [f32],
    out: &mut [&mut [f32]],
) -> bool {
    assert_eq!(queries.len(), out.len());
    assert!(cache.head_width.is_multiple_of(KEYS));
    for (query, out) in queries.iter().zip(out.iter()) {
        assert!(query.first < query.end && query.end <= cache.pages.len() * PAGE_TOKENS);
        assert!(scratch.len() >= scratch_len(query.end));
        assert!(query.q.len() == cache.head_width && out.len() == cache.head_width);
    }
    let part_len = 2 * PAGE_TOKENS * cache.head_width;
    assert!(cache.pages.iter().all(|page| page.len() == part_len));
    by_isa!(
        isa,
        attend(cache, scale, queries, scratch, out),
        reference::attend_all(cache, scale, queries, scratch, out)
    )
}

/// Length of the scratch memory that queries over so many keys need.
pub fn scratch_len(keys: usize) -> usize {
    ROWS_MAX * keys.next_multiple_of(PAGE_TOKENS)
}

/// Rows of queries that a path works on at once, at most.
pub(crate) const ROWS_MAX: usize = 4;
