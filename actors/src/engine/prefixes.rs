//! What the pages hold: which tokens, after which others.
//!
//! ```text
//! root ── 64 tokens ──> chain ── 64 tokens ──> chain ── 17 tokens
//!                         └───── 40 tokens
//! ```
//!
//! A node is a page and the tokens it holds; it hangs under the digest of everything before it, and the
//! first digest is the tenant's, so nobody meets a page by another tenant's text, nor learns by the speed of
//! an answer what others asked. Only full pages have something after them. A node may lack its window page,
//! which slides away sooner.
//!
//! This file refuses to hold pages: that is [`super::pages`]'s. It forgets what it is told to.

use super::pages::{PAGE_TOKENS, PageId};
use crate::ids::{Digest, digest};
use std::collections::BTreeMap;

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// By what is before them.
    nodes: BTreeMap<Digest, Vec<Node>>,
    /// Under which digest a page's node hangs.
    whole: BTreeMap<PageId, Digest>,
    window: BTreeMap<PageId, Digest>,
}

/// One page, or two of the same tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// 1 to 64 of them.
    tokens: Box<[u32]>,
    /// Their page of the layers that see everything.
    pub(super) whole: PageId,
    /// And of the layers with a window.
    pub(super) window: Option<PageId>,
}

impl Node {
    /// How many tokens it holds.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens.len() as u32
    }
}

/// The digest of a page's tokens and of everything before it.
pub(super) fn chain(before: Digest, tokens: &[u32]) -> Digest {
    let bytes: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
    digest("troop/prefix/v1", &[&before.0, &bytes])
}

impl Prefixes {
    /// The node under `before` that begins with the most of `tokens`, and how many of them.
    pub(super) fn longest(&self, before: Digest, tokens: &[u32]) -> Option<(&Node, u32)> {
        let nodes = self.nodes.get(&before)?.iter();
        let alike = |node: &Node| {
            let pairs = node.tokens.iter().zip(tokens);
            pairs.take_while(|(known, token)| known == token).count() as u32
        };
        let best = nodes.map(|node| (node, alike(node)));
        best.max_by_key(|(node, alike)| (*alike, node.window.is_some()))
            .filter(|(_, alike)| *alike > 0)
    }

    /// Remembers a page, or two, and says which. What is known already is not remembered twice, but a
    /// window page that slid away is put back.
    pub(super) fn add(
        &mut self,
        before: Digest,
        tokens: &[u32],
        whole: PageId,
        window: Option<PageId>,
    ) -> (Option<PageId>, Option<PageId>) {
        assert!((1..=PAGE_TOKENS as usize).contains(&tokens.len()));
        assert!(!self.whole.contains_key(&whole), "a page holds one thing");
        let nodes = self.nodes.entry(before).or_default();
        // The same digest and tokens again, by whoever was a moment later.
        if let Some(node) = nodes.iter_mut().find(|node| *node.tokens == *tokens) {
            if node.window.is_some() || window.is_none() {
                return (None, None);
            }
            node.window = window;
            self.window.extend(window.map(|page| (page, before)));
            return (None, window);
        }
        nodes.push(Node {
            tokens: tokens.into(),
            whole,
            window,
        });
        self.whole.insert(whole, before);
        self.window.extend(window.map(|page| (page, before)));
        (Some(whole), window)
    }

    /// Forgets a page that now holds something else, and returns the window page that is forgotten with
    /// it. What hangs under it can no longer be reached; its pages go as others need them.
    pub(super) fn forget_whole(&mut self, page: PageId) -> Option<PageId> {
        let before = self.whole.remove(&page).expect("it was remembered");
        let nodes = self.nodes.get_mut(&before).expect("its node hangs there");
        let at = nodes.iter().position(|node| node.whole == page);
        let node = nodes.swap_remove(at.expect("its node hangs there"));
        if nodes.is_empty() {
            self.nodes.remove(&before);
        }
        if let Some(window) = node.window {
            self.window.remove(&window);
        }
        node.window
    }

    /// Forgets a window page that now holds something else.
    pub(super) fn forget_window(&mut self, page: PageId) {
        let before = self.window.remove(&page).expect("it was remembered");
        let nodes = self.nodes.get_mut(&before).expect("its node hangs there");
        let node = nodes.iter_mut().find(|node| node.window == Some(page));
        node.expect("its node hangs there").window = None;
    }

    /// Every page that is remembered: those of the layers that see everything, and the window ones.
    pub(super) fn pages(&self) -> (Vec<PageId>, Vec<PageId>) {
        let nodes: Vec<&Node> = self.nodes.values().flatten().collect();
        assert_eq!(nodes.len(), self.whole.len(), "a node for each page");
        let window: Vec<PageId> = nodes.iter().filter_map(|node| node.window).collect();
        assert_eq!(window.len(), self.window.len(), "a node for each page");
        (nodes.iter().map(|node| node.whole).collect(), window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Digest = Digest([0; 32]);

    #[test]
    fn the_longest_beginning_is_found_and_only_under_what_was_before_it() {
        let mut prefixes = Prefixes::default();
        prefixes.add(ROOT, &[1, 2, 3], PageId(0), None);
        prefixes.add(ROOT, &[1, 2, 4, 5], PageId(1), Some(PageId(9)));
        let after = chain(ROOT, &[1, 2, 3]);
        prefixes.add(after, &[7], PageId(2), None);
        let find = |before, tokens: &[u32]| {
            let found = prefixes.longest(before, tokens);
            found.map(|(node, alike)| (node.whole, alike))
        };
        assert_eq!(find(ROOT, &[1, 2, 4, 6]), Some((PageId(1), 3)));
        assert_eq!(find(ROOT, &[1, 2, 3, 4]), Some((PageId(0), 3)));
        // Of two that are equally long, the one whose window page is still there serves more.
        assert_eq!(find(ROOT, &[1, 2]), Some((PageId(1), 2)));
        assert_eq!(find(ROOT, &[2]), None);
        assert_eq!(find(after, &[7, 7]), Some((PageId(2), 1)));
        assert_eq!(find(chain(ROOT, &[1, 2]), &[7]), None);
    }

    #[test]
    fn what_is_forgotten_is_gone_and_what_is_known_is_not_added_twice() {
        let mut prefixes = Prefixes::default();
        let window = Some(PageId(5));
        let added = prefixes.add(ROOT, &[1, 2], PageId(0), window);
        assert_eq!(added, (Some(PageId(0)), window));
        let again = prefixes.add(ROOT, &[1, 2], PageId(1), Some(PageId(6)));
        assert_eq!(again, (None, None));
        prefixes.forget_window(PageId(5));
        let back = prefixes.add(ROOT, &[1, 2], PageId(1), Some(PageId(6)));
        assert_eq!(back, (None, Some(PageId(6))));
        assert_eq!(prefixes.pages(), (vec![PageId(0)], vec![PageId(6)]));
        assert_eq!(prefixes.forget_whole(PageId(0)), Some(PageId(6)));
        assert_eq!(prefixes.pages(), (vec![], vec![]));
        assert_eq!(prefixes.longest(ROOT, &[1, 2]), None);
    }
}
