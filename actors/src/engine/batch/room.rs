//! Who gets pages, who waits for them, and who gives them up: rules B3 to B6.

use super::super::pages::pages_of;
use super::{Batch, Group, Held, Key, Place, Plan, Reads, Run};
use crate::ids::AttemptId;
use std::ops::Bound;

impl Batch {
    /// Gives every running sequence the pages its tokens need, oldest first. Whether any was evicted.
    pub(super) fn grow(&mut self) -> bool {
        let evictions = self.evictions;
        let keys: Vec<Key> = self.running.keys().copied().collect();
        for key in keys {
            let length = self.groups[&key.1.attempt].length(key.1.choice);
            while let Some(held) = self.running.get_mut(&key) {
                if self.memory.grow(&mut held.table, length, held.done) {
                    break;
                }
                self.evict_youngest();
            }
        }
        self.evictions > evictions
    }

    /// Lengthens a run that draws after a single token by drafts of the tokens after it: by as many as may be drawn,
    /// and as there is room for without taking it from anybody.
    pub fn draft(&mut self, run: &mut Run, drafts: &[u32]) {
        assert!(run.draws && run.tokens.len() == 1 && run.reads == Reads::Last);
        let Place { attempt, choice } = run.place;
        let group = &self.groups[&attempt];
        let held = self.running.get_mut(&(group.arrival, run.place));
        let held = held.expect("who has a run runs");
        // After the last draft one more token is drawn.
        let length = group.length(choice);
        let wanted = (group.length_max - length - 1).min(drafts.len() as u32);
        self.memory
            .grow(&mut held.table, length + wanted, held.done);
        let room = self.memory.room(&held.table) - length;
        let drafts = &drafts[..wanted.min(room) as usize];
        if !drafts.is_empty() {
            run.tokens.extend(drafts);
            let end = run.start + run.tokens.len() as u32;
            run.pages = held.table.pages(end);
            run.window_pages = held.table.window_pages(end);
            run.reads = Reads::Drafted;
        }
    }

    /// Takes back the pages that only drafts needed (B6).
    pub(super) fn give_back(&mut self) {
        for ((_, place), held) in &mut self.running {
            let length = self.groups[&place.attempt].length(place.choice);
            self.memory.shrink(&mut held.table, length);
        }
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
    pub(super) fn admit(&mut self, plan: &mut Plan) {
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
            let length = group.length(place.choice);
            let forked = sibling.and_then(|(_, held)| self.memory.fork(&held.table, shared));
            let found = forked.unwrap_or_else(|| {
                // Logits come from evaluating the last token, so that one is never taken as found; and nothing
                // is, where something is read of every token.
                let known = match group.reads {
                    Reads::Last | Reads::Drafted => length - 1,
                    Reads::Every | Reads::Hidden => 0,
                };
                let tokens = group.tokens(place.choice, 0, known);
                self.memory.find(group.tenant, &tokens)
            });
            let spare = (pages_of(length) + 1).min(pages_of(group.length_max)) - pages_of(length);
            if !self.memory.fits(&found, length, spare) {
                return;
            }
            let done = found.done;
            let table = self.memory.open(found, length, &mut plan.copies);
            self.reused += u64::from(done);
            // Said of the first sequence alone: what is found later is often the attempt's own.
            let group = self.groups.get_mut(&place.attempt).expect("it waits");
            if !std::mem::replace(&mut group.admitted, true) && done > 0 {
                plan.reused.push((place.attempt, done.min(wanted)));
            }
            self.waiting.remove(&key);
            self.running.insert(key, Held { table, done });
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

    /// Lets go of what a sequence holds, if it runs.
    pub(super) fn drop_pages(&mut self, key: Key) {
        if let Some(held) = self.running.remove(&key) {
            let group = &self.groups[&key.1.attempt];
            let tokens = |from, count| group.tokens(key.1.choice, from, count);
            self.memory.close(held.table, held.done, tokens);
        }
    }
}
