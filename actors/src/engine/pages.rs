//! Which KV pages are held, and by how many sequences.
//!
//! A page holds the keys and values of [`PAGE_TOKENS`] consecutive tokens. Sequences that begin alike hold
//! the same page. When the last of them lets go the page is free, but as long as nobody else needs it, it
//! is *kept* if what it holds is remembered (see [`super::prefixes`]). This file only counts; the numbers in the
//! pages are the arithmetic's.
//!
//! Which kept page is taken first, its *rank* says: what it costs to compute again, times how often it was of use,
//! on top of a clock (GreedyDual). The clock is the rank of the page that was taken last, so whatever nobody uses
//! is overtaken in the end by what is let go later, sooner if it is cheap. A page without which others are of no
//! use ranks no lower than they: the ends of texts go before their beginnings.

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
    /// Free pages that are remembered, by rank and when they were let go.
    kept: BTreeMap<(u64, u64), PageId>,
    pages: Vec<Page>,
    releases: u64,
    /// The rank of the kept page that was taken last.
    clock: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// How many sequences hold it.
    holders: u32,
    /// Whether what it holds is remembered.
    remembered: bool,
    /// What computing it again costs; see [`Pool::remember`].
    cost: u32,
    /// How often it was met again.
    uses: u32,
    /// Its key in `kept`, while it is there: its rank, and when it was let go.
    rank: u64,
    let_go: u64,
}

impl Page {
    fn key(&self) -> (u64, u64) {
        (self.rank, self.let_go)
    }
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
            clock: 0,
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
            None => {
                let ((rank, _), page) = self.kept.pop_first()?;
                self.clock = self.clock.max(rank);
                (page, true)
            }
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
            let kept = self.kept.remove(&state.key());
            assert_eq!(kept, Some(page), "only a held or kept page is shared");
        }
        state.holders += 1;
    }

    /// What a remembered page holds was of use again. See [`Pool::release`] for `beyond` and what is returned.
    pub(super) fn met(&mut self, page: PageId, beyond: u64) -> u64 {
        let state = &mut self.pages[page.0 as usize];
        state.uses = (state.uses + 1).min(USES_MAX);
        self.share(page);
        self.release(page, beyond)
    }

    /// One holder lets go. A page that is remembered then ranks no lower than `beyond`; its rank is returned, or
    /// `beyond`.
    pub(super) fn release(&mut self, page: PageId, beyond: u64) -> u64 {
        let state = &mut self.pages[page.0 as usize];
        assert!(state.holders > 0, "only a held page is released");
        state.holders -= 1;
        if !state.remembered {
            if state.holders == 0 {
                self.free.push(page);
            }
            return beyond;
        }
        let worth = u64::from(state.cost) * u64::from(1 + state.uses);
        let rank = self.clock.saturating_add(worth).max(beyond);
        state.rank = state.rank.max(rank);
        if state.holders == 0 {
            state.let_go = self.releases;
            self.kept.insert(state.key(), page);
            self.releases += 1;
        }
        state.rank
    }

    /// What a held page holds is remembered from now on; computing it again would cost so much.
    pub(super) fn remember(&mut self, page: PageId, cost: u32) {
        let state = &mut self.pages[page.0 as usize];
        assert!(state.holders > 0, "who remembers a page holds it");
        *state = Page {
            remembered: true,
            cost,
            ..*state
        };
    }

    /// What a page holds is no longer remembered.
    pub(super) fn forget(&mut self, page: PageId) {
        let state = &mut self.pages[page.0 as usize];
        assert!(state.remembered, "only what is remembered is forgotten");
        state.remembered = false;
        if state.holders == 0 {
            self.kept.remove(&state.key());
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
        for (key, page) in &self.kept {
            assert_eq!(*key, self.pages[page.0 as usize].key());
        }
        let remembered = sorted(remembered);
        assert_eq!(free, of(&|page| page.holders == 0 && !page.remembered));
        assert_eq!(kept, of(&|page| page.holders == 0 && page.remembered));
        assert_eq!(remembered, of(&|page| page.remembered));
    }
}

/// Times that a page was of use which count: then it outlasts all that was met once, until that has filled the
/// pool some times over, and no longer.
const USES_MAX: u32 = 15;

/// Pages that so many tokens fill, the last one perhaps in part.
pub(super) fn pages_of(tokens: u32) -> u32 {
    tokens.div_ceil(PAGE_TOKENS)
}
