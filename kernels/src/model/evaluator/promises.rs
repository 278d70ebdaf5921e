//! The engine's promises about its runs. Breaking one is a bug of the engine, hence assertions.

use super::super::{Facts, PageId, Run};
use crate::attention::PAGE_TOKENS;

pub(super) fn check(facts: &Facts, tokens_max: usize, runs: &[Run<'_>]) {
    let tokens: usize = runs.iter().map(|run| run.tokens.len()).sum();
    assert!(
        tokens <= tokens_max,
        "a step of {tokens} tokens, at most {tokens_max}"
    );
    for run in runs {
        let (start, end) = (run.start as usize, run.end());
        let known = |token: &u32| (*token as usize) < facts.vocabulary;
        assert!(!run.tokens.is_empty(), "a run without tokens");
        assert!(run.tokens.iter().all(known), "a token of no vocabulary");
        assert!(end <= facts.context, "position {end} of {}", facts.context);
        assert!(
            facts.page_bytes == 0 || end <= run.pages.len() * PAGE_TOKENS,
            "too few pages for position {end}"
        );
        if facts.window == 0 {
            assert!(run.window_pages.is_empty(), "no layer has a window");
        } else {
            let first = first_window_page(run).expect("the tail is not longer than the run's end");
            assert!(
                first <= (start + 1).saturating_sub(facts.window) / PAGE_TOKENS,
                "too few pages for a window of {} at position {start}",
                facts.window
            );
        }
    }
    if facts.page_bytes > 0 {
        one_writer(runs, |run| (run.pages, 0));
    }
    if facts.window > 0 {
        one_writer(runs, |run| {
            let first = first_window_page(run).unwrap_or(0);
            (run.window_pages, first)
        });
    }
}

/// The index, counted from position 0, of the first page of a run's tail; none if the tail is too long.
pub(in super::super) fn first_window_page(run: &Run<'_>) -> Option<usize> {
    let pages = run.end().div_ceil(PAGE_TOKENS);
    pages.checked_sub(run.window_pages.len())
}

/// Nobody reads or writes a page that another one writes. `table` has a run's pages and where they begin.
fn one_writer<'a>(runs: &[Run<'a>], table: impl Fn(&Run<'a>) -> (&'a [PageId], usize)) {
    let mut written = Vec::new();
    let mut read = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let (pages, first) = table(run);
        let whole = run.start as usize / PAGE_TOKENS - first;
        let pages = &pages[..run.end().div_ceil(PAGE_TOKENS) - first];
        written.extend(pages[whole..].iter().map(|page| (*page, index)));
        read.extend(pages.iter().map(|page| (*page, index)));
    }
    written.sort_unstable();
    for pair in written.windows(2) {
        assert!(
            pair[0].0 != pair[1].0,
            "page {} has two writers",
            pair[0].0.0
        );
    }
    for (page, index) in read {
        if let Ok(found) = written.binary_search_by_key(&page, |(page, _)| *page) {
            assert!(
                written[found].1 == index,
                "page {} is read while it is written",
                page.0
            );
        }
    }
}
