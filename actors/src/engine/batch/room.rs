//! Who gets pages, who waits for them, and who gives them up: rules B3, B4 and B5.

use super::super::pages::{PAGE_TOKENS, pages_of};
use super::{Batch, Group, Held, Key, PageCopy, Place};
use crate::ids::AttemptId;
use std::ops::Bound;

impl Batch {
    /// Gives every running sequence the pages its tokens need, oldest first. Whether any was evicted.
    pub(super) fn grow(&mut self) -> bool {
        let evictions = self.evictions;
        let keys: Vec<Key> = self.running.keys().copied().collect();
        for key in keys {
            let needed = pages_of(self.groups[&key.1.attempt].length(key.1.choice));
            while let Some(held) = self.running.get_mut(&key) {
                if held.pages.len() >= needed as usize {
                    break;
                }
                match self.pool.take() {
                    Some(page) => held.pages.push(page),
                    None => self.evict_youngest(),
                }
            }
        }
        self.evictions > evictions
    }

    fn evict_youngest(&mut self) {
        let youngest = self.running.keys().next_back().copied();
        let youngest = youngest.expect("if no page is free, somebody runs");
        self.drop_pages(youngest);
        self.waiting.insert(youngest);
        self.evictions += 1;
    }

    /// Lets waiting sequences run, oldest first; one that does not fit holds back all younger ones, so that
    /// it gets its turn.
    pub(super) fn admit(&mut self, copies: &mut Vec<PageCopy>) {
        let mut after = None;
        while self.running.len() < self.limits.sequences as usize {
            let next = match after {
                None => self.waiting.iter().next(),
                Some(key) => self
                    .waiting
                    .range((Bound::Excluded(key), Bound::Unbounded))
                    .next(),
            };
            let Some(key) = next.copied() else { return };
            let place = key.1;
            let group = &self.groups[&place.attempt];
            // What is evaluated of a sibling's prompt is evaluated for this one too, except for the last
            // token, after which each choice draws its own.
            let wanted = group.prompt.len() as u32 - 1;
            let sibling = self
                .siblings(group, place.attempt)
                .max_by_key(|(_, held)| held.done);
            let shared = sibling.map_or(0, |(_, held)| held.done.min(wanted));
            if sibling.is_some() && shared < wanted {
                // The sibling is at it; waiting for it costs less than evaluating the prompt twice.
                after = Some(key);
                continue;
            }
            let whole = (shared / PAGE_TOKENS) as usize;
            let length = group.length(place.choice);
            let roomy = (pages_of(length) + 1).min(pages_of(group.length_max));
            if self.pool.free() < roomy - whole as u32 {
                return;
            }
            let mut pages = Vec::with_capacity(pages_of(length) as usize);
            let partial = sibling.and_then(|(_, held)| {
                pages.extend_from_slice(&held.pages[..whole]);
                (!shared.is_multiple_of(PAGE_TOKENS)).then(|| held.pages[whole])
            });
            for page in &pages {
                self.pool.share(*page);
            }
            while pages.len() < pages_of(length) as usize {
                pages.push(self.pool.take().expect("as many pages were free"));
            }
            if let Some(from) = partial {
                let to = pages[whole];
                copies.push(PageCopy { from, to });
            }
            self.waiting.remove(&key);
            let done = shared;
            self.running.insert(key, Held { pages, done });
        }
    }

    pub(super) fn siblings<'a>(
        &'a self,
        group: &'a Group,
        attempt: AttemptId,
    ) -> impl Iterator<Item = (&'a Key, &'a Held)> {
        let first = (group.arrival, Place { attempt, choice: 0 });
        let last = (
            group.arrival,
            Place {
                attempt,
                choice: u32::MAX,
            },
        );
        self.running.range(first..=last)
    }

    pub(super) fn drop_pages(&mut self, key: Key) {
        for page in self
            .running
            .remove(&key)
            .into_iter()
            .flat_map(|held| held.pages)
        {
            self.pool.release(page);
        }
    }
}
