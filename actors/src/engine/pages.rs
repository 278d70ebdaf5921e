//! Which KV pages are held, and by how many sequences.
//!
//! A page holds the keys and values of [`PAGE_TOKENS`] consecutive tokens. Sequences that begin alike hold
//! the same page. When the last of them lets go the page is free, but as long as nobody else needs it, it
//! is *kept* if what it holds is remembered (see [`super::prefixes`]): the page let go longest ago is taken
//! first. This file only counts; the numbers in the pages are the arithmetic's.

use std::collections::BTreeMap;

/// Tokens whose keys and values one page holds.
pub const PAGE_TOKENS: u32 = 64;

/// One page, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId(pub u32);

/// All pages of one kind.
#[derive(Debug)]
pub(super) struct Pool {
    /// Free pages that nothing is remembered of; the one freed last is taken first, so that memory never
    /// touched stays untouched.
    free: Vec<PageId>,
    /// Free pages that are remembered, by when they were let go.
    kept: BTreeMap<u64, PageId>,
    pages: Vec<Page>,
    releases: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// How many sequences hold it.
    holders: u32,
    /// Whether what it holds is remembered.
    remembered: bool,
    /// Its key in `kept`, while it is there.
    let_go: u64,
}

/// A page that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Which.
    pub(super) page: PageId,
    /// Whether it was remembered until now: it no longer holds what it did.
    pub(super) forgotten: bool,
}

impl Pool {
    /// A pool of so many pages, all free.
    pub(super) fn new(pages: u32) -> Pool {
        Pool {
            free: (0..pages).rev().map(PageId).collect(),
            kept: BTreeMap::new(),
            pages: vec![Page::default(); pages as usize],
            releases: 0,
        }
    }

    /// Pages nobody holds.
    pub(super) fn free(&self) -> u32 {
        (self.free.len() + self.kept.len()) as u32
    }

    /// Whether nobody holds a page that is remembered.
    pub(super) fn is_kept(&self, page: PageId) -> bool {
        let page = &self.pages[page.0 as usize];
        page.remembered && page.holders == 0
    }

    /// Takes a free page, for one holder.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let (page, forgotten) = match self.free.pop() {
            Some(page) => (page, false),
            None => (self.kept.pop_first()?.1, true),
        };
        let state = &mut self.pages[page.0 as usize];
        assert_eq!(state.holders, 0, "a free page has no holder");
        assert_eq!(
            state.remembered, forgotten,
            "only kept pages are remembered"
        );
        *state = Page {
            holders: 1,
            ..Page::default()
        };
        Some(Taken { page, forgotten })
    }

    /// One more sequence holds a page that is held or kept.
    pub(super) fn share(&mut self, page: PageId) {
        let state = &mut self.pages[page.0 as usize];
        if state.holders == 0 {
            let kept = self.kept.remove(&state.let_go);
            assert_eq!(kept, Some(page), "only a held or kept page is shared");
        }
        state.holders += 1;
    }

    /// One holder lets go.
    pub(super) fn release(&mut self, page: PageId) {
        let state = &mut self.pages[page.0 as usize];
        assert!(state.holders > 0, "only a held page is released");
        state.holders -= 1;
        if state.holders > 0 {
            return;
        }
        if state.remembered {
            state.let_go = self.releases;
            self.kept.insert(self.releases, page);
            self.releases += 1;
        } else {
            self.free.push(page);
        }
    }

    /// What a held page holds is remembered from now on.
    pub(super) fn remember(&mut self, page: PageId) {
        let state = &mut self.pages[page.0 as usize];
        assert!(state.holders > 0, "who remembers a page holds it");
        state.remembered = true;
    }

    /// What a page holds is no longer remembered.
    pub(super) fn forget(&mut self, page: PageId) {
        let state = &mut self.pages[page.0 as usize];
        assert!(state.remembered, "only what is remembered is forgotten");
        state.remembered = false;
        if state.holders == 0 {
            self.kept.remove(&state.let_go);
            self.free.push(page);
        }
    }

    /// Asserts that exactly the sequences that list a page hold it, that every other page is free, and that
    /// exactly the given pages are remembered.
    pub(super) fn check<'a>(
        &self,
        lists: impl IntoIterator<Item = &'a [PageId]>,
        remembered: Vec<PageId>,
    ) {
        let mut holders = vec![0; self.pages.len()];
        for page in lists.into_iter().flatten() {
            holders[page.0 as usize] += 1;
        }
        let counted: Vec<u32> = self.pages.iter().map(|page| page.holders).collect();
        assert_eq!(holders, counted, "pages are held by those who list them");
        let of = |choose: &dyn Fn(&Page) -> bool| -> Vec<PageId> {
            let pages = (0..).zip(&self.pages).filter(|(_, page)| choose(page));
            pages.map(|(index, _)| PageId(index)).collect()
        };
        let sorted = |mut pages: Vec<PageId>| {
            pages.sort_unstable();
            pages
        };
        let free = sorted(self.free.clone());
        let kept = sorted(self.kept.values().copied().collect());
        let remembered = sorted(remembered);
        assert_eq!(free, of(&|page| page.holders == 0 && !page.remembered));
        assert_eq!(kept, of(&|page| page.holders == 0 && page.remembered));
        assert_eq!(remembered, of(&|page| page.remembered));
    }
}

/// Pages that so many tokens fill, the last one perhaps in part.
pub(super) fn pages_of(tokens: u32) -> u32 {
    tokens.div_ceil(PAGE_TOKENS)
}
