//! Which KV pages are held, and by how many sequences.
//!
//! A page holds the keys and values of [`PAGE_TOKENS`] consecutive tokens. Sequences that begin alike hold
//! the same page, which is free again when the last of them lets go. This file only counts; the numbers in
//! the pages are the arithmetic's.

/// Tokens whose keys and values one page holds.
pub const PAGE_TOKENS: u32 = 64;

/// One page, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId(pub u32);

/// All pages of an engine.
#[derive(Debug)]
pub(super) struct Pool {
    /// Free pages; the one freed last is taken first, so that memory never touched stays untouched.
    free: Vec<PageId>,
    /// By page: how many sequences hold it.
    holders: Vec<u32>,
}

impl Pool {
    /// A pool of so many pages, all free.
    pub(super) fn new(pages: u32) -> Pool {
        Pool {
            free: (0..pages).rev().map(PageId).collect(),
            holders: vec![0; pages as usize],
        }
    }

    /// Pages nobody holds.
    pub(super) fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// Takes a free page, for one holder.
    pub(super) fn take(&mut self) -> Option<PageId> {
        let page = self.free.pop()?;
        let holders = &mut self.holders[page.0 as usize];
        assert_eq!(*holders, 0, "a free page has no holder");
        *holders = 1;
        Some(page)
    }

    /// One more sequence holds a page that is held already.
    pub(super) fn share(&mut self, page: PageId) {
        let holders = &mut self.holders[page.0 as usize];
        assert!(*holders > 0, "only a held page is shared");
        *holders += 1;
    }

    /// One holder lets go.
    pub(super) fn release(&mut self, page: PageId) {
        let holders = &mut self.holders[page.0 as usize];
        assert!(*holders > 0, "only a held page is released");
        *holders -= 1;
        if *holders == 0 {
            self.free.push(page);
        }
    }

    /// Asserts that exactly the sequences that list a page hold it, and that every other page is free.
    pub(super) fn check<'a>(&self, lists: impl IntoIterator<Item = &'a [PageId]>) {
        let mut counted = vec![0; self.holders.len()];
        for page in lists.into_iter().flatten() {
            counted[page.0 as usize] += 1;
        }
        assert_eq!(
            counted, self.holders,
            "pages are held by those who list them"
        );
        let unheld = counted.iter().filter(|holders| **holders == 0).count();
        assert_eq!(unheld, self.free.len(), "pages are conserved");
        let mut free = self.free.clone();
        free.sort_unstable();
        free.dedup();
        assert_eq!(free.len(), self.free.len(), "no page is free twice");
    }
}

/// Pages that so many tokens fill, the last one perhaps in part.
pub(super) fn pages_of(tokens: u32) -> u32 {
    tokens.div_ceil(PAGE_TOKENS)
}
