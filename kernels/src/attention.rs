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
//! A chunk is a page: positions 64 n to 64 n + 63. Keys a query may not see take no part. Keys lie with 16
//! positions side by side, so that the dot products of 16 keys are computed in 16 lanes and each keeps its own
//! order; values lie with their dimensions side by side.
//!
//! ```text
//! page, layer, kv head:   keys    [64 / 16][head width][16]      values  [64][head width]
//! ```
//!
//! What is in a page is either f16, or int8 with a scale for each key and each value (rule 7b): little more than
//! half the bytes, and other bits. The two are never mixed in a sequence; [`PageKind`] says which it is.

mod page;
pub mod reference;
#[cfg(target_arch = "x86_64")]
mod simd;

use crate::isa::Isa;
use crate::lanes::by_isa;

pub(crate) use page::store;
pub use page::{PageKind, store_alone};

/// Tokens in a page, and keys in a chunk.
pub const PAGE_TOKENS: usize = 64;
/// Keys that lie side by side.
pub(crate) const KEYS: usize = 16;

/// The keys and values of one layer and one kv head: one slice of [`PageKind::part_bytes`] per page.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    /// What is in the pages.
    pub kind: PageKind,
    /// Width of a head.
    pub head_width: usize,
    /// The pages' parts, in the order of positions. The first begins a chunk, whatever its position.
    pub pages: &'a [&'a [u8]],
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
    let part_bytes = cache.kind.part_bytes(cache.head_width);
    assert!(cache.pages.iter().all(|page| page.len() == part_bytes));
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
