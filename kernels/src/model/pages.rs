//! The pool of keys and values, in pages of 64 tokens.
//!
//! A page holds all layers of its 64 positions, so a sequence is a list of pages and nothing else. Who
//! holds which page, and how often, is the engine's business; this file only keeps the bytes.
//!
//! ```text
//! page:  [layer][kv head] { keys [64 / 16][head width][16] | values [64][head width] }   all f16
//! ```

use super::Facts;
use crate::attention::PAGE_TOKENS;
use crate::memory::{OutOfMemory, Region};

/// The 0-based index of a page in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId(pub u32);

/// The pool. Pages that were never written take no memory on systems that support that.
#[derive(Debug)]
pub struct Pages {
    memory: Region,
    count: usize,
    /// u16 values per page, and per layer and kv head within it.
    page_len: usize,
    part_len: usize,
    kv_heads: usize,
}

impl Pages {
    /// A pool of so many pages for models with these facts.
    pub fn new(facts: &Facts, count: usize) -> Result<Self, OutOfMemory> {
        let page_bytes = facts.page_bytes as usize;
        let bytes = page_bytes.saturating_mul(count);
        Ok(Self {
            memory: Region::new(bytes, "pages of keys and values")?,
            count,
            page_len: page_bytes / 2,
            part_len: 2 * PAGE_TOKENS * facts.head_width,
            kv_heads: facts.kv_heads,
        })
    }

    /// Count of pages.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Makes page `to` a copy of page `from`.
    pub fn copy(&mut self, from: PageId, to: PageId) {
        let (from, to) = (from.0 as usize, to.0 as usize);
        assert!(from < self.count && to < self.count);
        let length = self.page_len;
        let all = self.memory.as_u16_mut();
        all.copy_within(from * length..(from + 1) * length, to * length);
    }

    /// Where a page's part for one layer and kv head begins in the pool.
    pub(crate) fn part_at(&self, page: PageId, layer: usize, kv_head: usize) -> usize {
        assert!(
            (page.0 as usize) < self.count,
            "page {} of {}",
            page.0,
            self.count
        );
        page.0 as usize * self.page_len + (layer * self.kv_heads + kv_head) * self.part_len
    }

    pub(crate) fn part_len(&self) -> usize {
        self.part_len
    }

    pub(crate) fn values_mut(&mut self) -> &mut [u16] {
        self.memory.as_u16_mut()
    }
}
