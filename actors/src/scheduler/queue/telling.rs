//! What the queue tells: sessions where they stand and why not, and whoever asks why.

use super::{Queue, Stage};
use crate::contract::Time;
use crate::ids::RequestId;
use crate::scheduler::decisions::{Decision, Story, Waits, best};
use crate::scheduler::protocol::{Admit, Effect, Refusal};
use crate::scheduler::workers::Candidate;
use std::collections::BTreeMap;

impl Queue {
    /// What is known of `request`, at `now`.
    pub fn explain(&self, now: Time, request: RequestId) -> Option<Story> {
        let mut story = self.decisions.about(request)?.clone();
        let entry = self.entries.get(&request);
        let entry = entry.filter(|entry| entry.admit.client == story.client);
        if let Some(entry) = entry.filter(|entry| matches!(entry.stage, Stage::Waiting { .. })) {
            let model = entry.admit.model;
            let before = self.line.order().take_while(|other| *other != request);
            let same = |other: &RequestId| {
                let other = self.entries.get(other);
                other.is_some_and(|other| other.admit.model == model)
            };
            let (_, candidates) = self.workers.search(&entry.admit, entry.admit.begun);
            story.waits = Some(Waits {
                ahead: before.filter(same).count() as u32,
                waited_ms: now.since_ms(entry.since),
                candidates: best(candidates),
            });
        }
        Some(story)
    }

    /// Tells the session of a request no, which was asked for at `since`, and keeps why.
    pub(super) fn refuse(
        &mut self,
        now: Time,
        (admit, since): (&Admit, Time),
        (refusal, candidates): (Refusal, Vec<Candidate>),
        out: &mut Vec<Effect>,
    ) {
        match refusal {
            Refusal::Busy { .. } => self.counts.busy += 1,
            _ => self.counts.refused += 1,
        }
        let refused = Decision::of(admit, now, since, Err(refusal.clone()));
        let decision = Decision {
            candidates,
            ..refused
        };
        self.decisions.keep(admit, decision);
        out.push(Effect::Refuse {
            client: admit.client,
            request: admit.request,
            number: admit.number,
            refusal,
        });
    }

    /// Tells those who wait where they stand: those who have just asked at once, the others at a tick.
    pub(super) fn tell(&mut self, all: bool, out: &mut Vec<Effect>) {
        let mut before = BTreeMap::new();
        for request in self.line.order() {
            let Some(entry) = self.entries.get_mut(&request) else {
                continue;
            };
            let ahead: &mut u32 = before.entry(entry.admit.model).or_default();
            if let Stage::Waiting { told } = &mut entry.stage
                && (told.is_none() || all && *told != Some(*ahead))
            {
                *told = Some(*ahead);
                out.push(Effect::Queued {
                    client: entry.admit.client,
                    request,
                    ahead: *ahead,
                });
            }
            *ahead += 1;
        }
    }
}
