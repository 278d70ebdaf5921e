//! The memory of an engine's sequences: which pages each holds, and what is here already of its beginning.
//!
//! There are two kinds of pages. *Whole* ones are for the layers that see everything: a sequence has one for
//! each 64 of its tokens. *Window* ones are for the layers that see so many tokens back and no more: a
//! sequence has those that its next tokens can still see, and lets go of the others as it moves on.
//!
//! ```text
//! whole   0 1 2 3 4 5 6 7 8          both end with the page of the last token
//! window            5 6 7 8          first = 5
//! ```
//!
//! What is let go is remembered (prefix cache): who begins with the same tokens shares the full pages and
//! copies the last one before writing to it. The same keys and values would have been computed again, to
//! the bit, so nobody can tell but by the time it takes; and only the same tenant finds them.

use super::pages::{PAGE_TOKENS, PageId, Pool, Taken, pages_of};
use super::prefixes::{Prefixes, chain};
use crate::ids::Digest;

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Whole pages.
    pub(super) pages: u32,
    /// Window pages.
    pub(super) window_pages: u32,
    /// Tokens that layers with a window see, their own included; 0 if there are none such.
    pub(super) window: u32,
    /// Tokens of one sequence in a step, at most.
    pub(super) step_max: u32,
}

/// All pages, held and free.
#[derive(Debug)]
pub(super) struct Memory {
    sizes: Sizes,
    whole: Pool,
    window: Pool,
    prefixes: Prefixes,
    /// What computing some tokens costs, by the position of the first of them and their count.
    cost: fn(u32, u32) -> u32,
}

/// The pages of one sequence.
#[derive(Debug)]
pub(super) struct Table {
    whole: Vec<PageId>,
    /// The number of the first window page within the sequence.
    first: u32,
    window: Vec<PageId>,
    root: Digest,
    /// By full page: the digest of its tokens and all before them.
    chains: Vec<Digest>,
}

/// What is here of a sequence's beginning. Nothing is held by it.
#[derive(Debug)]
pub(super) struct Found {
    whole: Vec<PageId>,
    first: u32,
    window: Vec<PageId>,
    /// The pages to copy: their first tokens are those that come next.
    last: Option<(PageId, Option<PageId>)>,
    /// What was met again: pages that others than the choices of one attempt have use of.
    met: Vec<(PageId, Option<PageId>)>,
    root: Digest,
    chains: Vec<Digest>,
    /// Tokens that need not be evaluated again.
    pub(super) done: u32,
}

/// A page whose content another page of the same kind is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCopy {
    /// The page to read.
    pub from: PageId,
    /// The page to overwrite.
    pub to: PageId,
}

/// Copies to be made before anything is evaluated, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Of whole pages.
    pub whole: Vec<PageCopy>,
    /// Of window pages.
    pub window: Vec<PageCopy>,
}

impl Sizes {
    /// Window pages of one sequence of `length` tokens, at most.
    pub(super) fn window_pages_max(window: u32, step_max: u32, length: u32) -> u32 {
        match window {
            0 => 0,
            // What the first token of a step sees, the step itself, and the page that both are cut in.
            _ => (pages_of(window.saturating_add(step_max)) + 1).min(pages_of(length)),
        }
    }
}

impl Memory {
    pub(super) fn new(sizes: Sizes) -> Memory {
        Memory {
            sizes,
            whole: Pool::new(sizes.pages),
            window: Pool::new(sizes.window_pages),
            prefixes: Prefixes::default(),
            cost,
        }
    }

    /// Whole pages nobody holds.
    pub(super) fn pages_free(&self) -> u32 {
        self.whole.free()
    }

    /// What is remembered of a tenant's text that begins with these tokens.
    pub(super) fn find(&self, root: Digest, tokens: &[u32]) -> Found {
        let mut best = Found {
            whole: Vec::new(),
            first: 0,
            window: Vec::new(),
            last: None,
            met: Vec::new(),
            root,
            chains: Vec::new(),
            done: 0,
        };
        let mut chains = Vec::new();
        let mut path: Vec<(PageId, Option<PageId>)> = Vec::new();
        let mut before = root;
        for wanted in tokens.chunks(PAGE_TOKENS as usize) {
            let Some((node, alike)) = self.prefixes.longest(before, wanted) else {
                break;
            };
            let full = path.len() as u32;
            let done = full * PAGE_TOKENS + alike;
            path.push((node.whole, node.window));
            let first = self.first(done);
            let seen = &path[first.min(full + 1) as usize..];
            if self.sizes.window == 0 || seen.iter().all(|(_, window)| window.is_some()) {
                let shared = if alike == PAGE_TOKENS { full + 1 } else { full };
                let pages = &path[..shared as usize];
                let window = pages.get(first as usize..).unwrap_or_default();
                best.whole = pages.iter().map(|(whole, _)| *whole).collect();
                best.window = window.iter().filter_map(|(_, window)| *window).collect();
                best.first = first;
                best.last = (alike < PAGE_TOKENS).then_some((node.whole, node.window));
                best.done = done;
                // A text that goes on where another one ended has a page of its own for both then.
                let met = path.len() - usize::from(alike == node.tokens() && alike < PAGE_TOKENS);
                best.met = path[..met].to_vec();
            }
            if alike < PAGE_TOKENS {
                break;
            }
            before = chain(before, wanted);
            chains.push(before);
        }
        chains.truncate(best.whole.len());
        best.chains = chains;
        best
    }

    /// What a sequence that begins with the same `shared` tokens holds of them, if its windows have not
    /// moved past them. It has evaluated at least those.
    pub(super) fn fork(&self, table: &Table, shared: u32) -> Option<Found> {
        let first = self.first(shared);
        if first < table.first {
            return None;
        }
        let full = shared / PAGE_TOKENS;
        let window = |page: u32| table.window.get((page - table.first) as usize).copied();
        let cut = !shared.is_multiple_of(PAGE_TOKENS);
        Some(Found {
            whole: table.whole[..full as usize].to_vec(),
            first,
            window: (first..full).filter_map(window).collect(),
            last: cut.then(|| (table.whole[full as usize], window(full))),
            met: Vec::new(),
            root: table.root,
            chains: table.chains[..full as usize].to_vec(),
            done: shared,
        })
    }

    /// Whether there are pages for a sequence of `length` tokens and `spare` more pages, given what was
    /// found of it.
    pub(super) fn fits(&self, found: &Found, length: u32, spare: u32) -> bool {
        let free = |pool: &Pool, found: &[PageId]| {
            let revived = found.iter().filter(|page| pool.is_kept(**page)).count();
            pool.free() - revived as u32
        };
        let whole = pages_of(length) + spare - found.whole.len() as u32;
        let window = self.window_end(length, found.done) - found.first - found.window.len() as u32;
        free(&self.whole, &found.whole) >= whole && free(&self.window, &found.window) >= window
    }

    /// The pages for a sequence of `length` tokens, which fit.
    pub(super) fn open(&mut self, found: Found, length: u32, copies: &mut Copies) -> Table {
        let Found { last, done, .. } = found;
        let at = found.whole.len();
        let at_window = found.window.len();
        let mut beyond = 0;
        for (whole, window) in found.met.iter().rev() {
            beyond = self.whole.met(*whole, beyond);
            if let Some(page) = window {
                self.window.met(*page, 0);
            }
        }
        (found.whole.iter()).for_each(|page| self.whole.share(*page));
        (found.window.iter()).for_each(|page| self.window.share(*page));
        let mut table = Table {
            whole: found.whole,
            first: found.first,
            window: found.window,
            root: found.root,
            chains: found.chains,
        };
        let grown = self.grow(&mut table, length, done);
        assert!(grown, "as many pages were free");
        // What is copied may be one of the pages just taken. It still holds what it did, since all copies
        // are made before anything is evaluated, in this order.
        if let Some((whole, window)) = last {
            let to = table.whole[at];
            copies.whole.push(PageCopy { from: whole, to });
            if self.sizes.window > 0 {
                let from = window.expect("what is found can be seen");
                let to = table.window[at_window];
                copies.window.push(PageCopy { from, to });
            }
        }
        table
    }

    /// Gives a sequence the pages that `length` tokens need, of which `done` are evaluated. False if there
    /// are none left; it keeps what it got.
    pub(super) fn grow(&mut self, table: &mut Table, length: u32, done: u32) -> bool {
        while table.whole.len() < pages_of(length) as usize {
            let Some(Taken { page, forgotten }) = self.whole.take() else {
                return false;
            };
            if forgotten && let Some(window) = self.prefixes.forget_whole(page) {
                self.window.forget(window);
            }
            table.whole.push(page);
        }
        let end = self.window_end(length, done);
        while table.first + (table.window.len() as u32) < end {
            let Some(Taken { page, forgotten }) = self.window.take() else {
                return false;
            };
            if forgotten {
                self.prefixes.forget_window(page);
            }
            table.window.push(page);
        }
        true
    }

    /// Takes back what a sequence of `length` tokens does not need.
    pub(super) fn shrink(&mut self, table: &mut Table, length: u32) {
        let whole = pages_of(length) as usize;
        let window = whole.saturating_sub(table.first as usize);
        for page in table.whole.drain(whole.min(table.whole.len())..) {
            self.whole.release(page, 0);
        }
        for page in table.window.drain(window.min(table.window.len())..) {
            self.window.release(page, 0);
        }
    }

    /// The length of the longest sequence that a table's pages hold the end of.
    pub(super) fn room(&self, table: &Table) -> u32 {
        let whole = table.whole.len() as u32;
        let window = table.first + table.window.len() as u32;
        let pages = match self.sizes.window {
            0 => whole,
            _ => whole.min(window),
        };
        pages * PAGE_TOKENS
    }

    /// So many tokens of a sequence are evaluated; `tokens` gives some of them, by position and count.
    /// What is full is remembered, what is seen no more is let go.
    pub(super) fn evaluated(
        &mut self,
        table: &mut Table,
        done: u32,
        tokens: impl Fn(u32, u32) -> Vec<u32>,
    ) {
        while (table.chains.len() as u32 + 1) * PAGE_TOKENS <= done {
            let at = table.chains.len() as u32 * PAGE_TOKENS;
            let ids = tokens(at, PAGE_TOKENS);
            let before = self.remember(table, &ids);
            table.chains.push(chain(before, &ids));
        }
        let first = self.first(done);
        while table.first < first {
            if !table.window.is_empty() {
                self.window.release(table.window.remove(0), 0);
            }
            table.first += 1;
        }
    }

    /// Lets go of a sequence's pages, of which `done` tokens are evaluated, and remembers what they hold.
    pub(super) fn close(&mut self, table: Table, done: u32, tokens: impl Fn(u32, u32) -> Vec<u32>) {
        let at = table.chains.len() as u32 * PAGE_TOKENS;
        if done > at {
            self.remember(&table, &tokens(at, done - at));
        }
        // The end of a text is of no use without its beginning: it is let go first, and forgotten first.
        let pages = table.whole.iter().rev();
        pages.fold(0, |beyond, page| self.whole.release(*page, beyond));
        for page in table.window.iter().rev() {
            self.window.release(*page, 0);
        }
    }

    /// Asserts that pages are held and remembered as the tables and the prefixes say.
    pub(super) fn check<'a>(&self, tables: impl Iterator<Item = &'a Table> + Clone) {
        let (whole, window) = self.prefixes.pages();
        let lists = tables.clone().map(|table| table.whole.as_slice());
        self.whole.check(lists, whole);
        let lists = tables.map(|table| table.window.as_slice());
        self.window.check(lists, window);
    }

    /// Remembers the page after a table's chains, and returns the digest it hangs under.
    fn remember(&mut self, table: &Table, ids: &[u32]) -> Digest {
        let at = table.chains.len();
        let before = table.chains.last().copied().unwrap_or(table.root);
        let window = (at as u32).checked_sub(table.first);
        let window = window.and_then(|at| table.window.get(at as usize).copied());
        let (whole, window) = self.prefixes.add(before, ids, table.whole[at], window);
        let cost = (self.cost)(at as u32 * PAGE_TOKENS, ids.len() as u32);
        (whole.into_iter()).for_each(|page| self.whole.remember(page, cost));
        (window.into_iter()).for_each(|page| self.window.remember(page, cost));
        before
    }

    /// The number of the first page that the token at position `done`, and those after it, see through
    /// their windows.
    fn first(&self, done: u32) -> u32 {
        match self.sizes.window {
            0 => 0,
            window => (done + 1).saturating_sub(window) / PAGE_TOKENS,
        }
    }

    /// The number of the page after the last window page that the next step may need.
    fn window_end(&self, length: u32, done: u32) -> u32 {
        match self.sizes.window {
            0 => 0,
            _ => pages_of(length.min(done.saturating_add(self.sizes.step_max))),
        }
    }
}

impl Table {
    /// The whole pages of the first so many tokens.
    pub(super) fn pages(&self, tokens: u32) -> Vec<PageId> {
        self.whole[..pages_of(tokens) as usize].to_vec()
    }

    /// The window pages up to there: the end of the list of all of them.
    pub(super) fn window_pages(&self, tokens: u32) -> Vec<PageId> {
        let end = pages_of(tokens).saturating_sub(self.first) as usize;
        self.window[..end.min(self.window.len())].to_vec()
    }
}

/// What computing `count` tokens from position `at` costs, in tokens at the beginning of a text: each looks at all
/// that are before it.
fn cost(at: u32, count: u32) -> u32 {
    count + (u64::from(count) * u64::from(at) / u64::from(DEPTH)) as u32
}

/// The position at which looking back costs as much as everything else: 4,000 in SmolLM2, and more in larger models.
const DEPTH: u32 = 4_096;

#[cfg(test)]
mod tests;
