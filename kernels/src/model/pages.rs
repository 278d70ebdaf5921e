//! The pools of keys and values, in pages of 64 tokens.
//!
//! A page holds 64 positions of every layer that sees the whole sequence, so such a sequence is a list of
//! pages and nothing else. Layers with a window have a pool of their own, with pages that hold 64 positions of
//! those layers: what has left the window can be given back while the rest stays. Who holds which page, and
//! how often, is the engine's business; this file only keeps the bytes.
//!
//! ```text
//! page:  [layer of its kind][kv head] { keys | values }        as attention/page.rs says, all f16 or all int8
//! ```

use super::Facts;
use crate::attention::PageKind;
use crate::memory::{OutOfMemory, Region};

/// The 0-based index of a page in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId(pub u32);

/// Both pools. Pages that were never written take no memory on systems that support that.
#[derive(Debug)]
pub struct Pages {
    all: Pool,
    window: Pool,
    kind: PageKind,
    part_bytes: usize,
}

/// The pages of one kind of layers.
#[derive(Debug)]
struct Pool {
    memory: Region,
    count: usize,
    page_bytes: usize,
}

impl Pages {
    /// Pools for models with these facts, of the kind of page that they say: so many pages for layers that see
    /// everything, and so many for layers with a window.
    pub fn new(facts: &Facts, pages: usize, window_pages: usize) -> Result<Self, OutOfMemory> {
        Ok(Self {
            all: Pool::new(facts.page_bytes, pages)?,
            window: Pool::new(facts.window_page_bytes, window_pages)?,
            kind: facts.page_kind,
            part_bytes: facts.page_kind.part_bytes(facts.head_width),
        })
    }

    /// Count of pages for layers that see everything.
    pub fn count(&self) -> usize {
        self.all.count
    }

    /// Count of pages for layers with a window.
    pub fn window_count(&self) -> usize {
        self.window.count
    }

    /// Makes page `to` a copy of page `from`, of layers that see everything.
    pub fn copy(&mut self, from: PageId, to: PageId) {
        self.all.copy(from, to);
    }

    /// Makes page `to` a copy of page `from`, of layers with a window.
    pub fn copy_window(&mut self, from: PageId, to: PageId) {
        self.window.copy(from, to);
    }

    /// Where a page of layers that see everything begins in its pool.
    pub(crate) fn at(&self, page: PageId) -> usize {
        self.all.at(page)
    }

    /// Where a page of layers with a window begins in its pool.
    pub(crate) fn window_at(&self, page: PageId) -> usize {
        self.window.at(page)
    }

    /// What is in them.
    pub(crate) fn kind(&self) -> PageKind {
        self.kind
    }

    /// Bytes of a page's part for one layer and kv head.
    pub(crate) fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    /// Both pools, that of everything first.
    pub(crate) fn bytes_mut(&mut self) -> [&mut [u8]; 2] {
        [&mut self.all, &mut self.window].map(|pool| pool.memory.bytes_mut())
    }
}

impl Pool {
    fn new(page_bytes: u64, count: usize) -> Result<Self, OutOfMemory> {
        let bytes = (page_bytes as usize).saturating_mul(count);
        Ok(Self {
            memory: Region::new(bytes, "pages of keys and values")?,
            count,
            page_bytes: page_bytes as usize,
        })
    }

    fn copy(&mut self, from: PageId, to: PageId) {
        let (from, to) = (self.at(from), self.at(to));
        let all = self.memory.bytes_mut();
        all.copy_within(from..from + self.page_bytes, to);
    }

    fn at(&self, page: PageId) -> usize {
        let index = page.0 as usize;
        assert!(index < self.count, "page {index} of {}", self.count);
        index * self.page_bytes
    }
}
