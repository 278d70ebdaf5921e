//! What the ledger answered: the ticket goes out, or the request is told no.

use super::{Entry, Queue, Stage};
use crate::contract::Time;
use crate::ids::{NodeId, RequestId};
use crate::scheduler::protocol::{Admit, Effect, Refusal};
use crate::scheduler::terms::Place;

impl Queue {
    /// The hold is on the disk, directed to `worker` for the attempt `number`. The answer to an earlier order
    /// for an earlier attempt says nothing about this one. Another worker than the one chosen here is that of
    /// an order before this one, given by a scheduler that has forgotten it: its ticket may be out.
    pub(super) fn held(
        &mut self,
        now: Time,
        request: RequestId,
        (number, worker): (u32, NodeId),
        out: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.entries.get_mut(&request) else {
            return;
        };
        if entry.admit.number != number {
            return;
        }
        if let Stage::Holding { place, .. } = &mut entry.stage
            && place.worker != worker
        {
            self.workers.free(place.worker, request);
            let found = self.workers.find(worker, entry.admit.model);
            let moved = found.and_then(|pick| Place::new(self.me, &entry.admit, &pick));
            let goes_on =
                |place: &Place| entry.admit.begun.is_none_or(|class| class == place.class());
            self.workers.place(worker, &entry.admit);
            match moved.filter(goes_on) {
                Some(moved) => **place = moved,
                // It is gone, or of another class by now, and the attempt is its own for ever: the next one is somebody
                // else's.
                None => {
                    place.worker = worker;
                    let number = number + 1;
                    let admit = Admit {
                        number,
                        ..entry.admit.clone()
                    };
                    return self.again(now, admit);
                }
            }
        }
        let waiting = Stage::Waiting { told: None };
        match std::mem::replace(&mut entry.stage, waiting) {
            Stage::Holding { place, .. } => {
                out.push(place.issue());
                self.counts.granted += 1;
                if let Some(story) = self.decisions.of(&entry.admit) {
                    story.payee = Some(place.hold.payee);
                    story.held = Some(place.cost_max());
                    story.granted = Some(now);
                }
                entry.stage = Stage::Granted {
                    place,
                    since: now,
                    seen: now,
                    is_asserted: false,
                };
            }
            other => entry.stage = other,
        }
    }

    pub(super) fn not_held(
        &mut self,
        now: Time,
        request: RequestId,
        number: u32,
        refusal: Refusal,
        out: &mut Vec<Effect>,
    ) {
        let holding = |entry: &Entry| {
            matches!(entry.stage, Stage::Holding { .. }) && entry.admit.number == number
        };
        if self.entries.get(&request).is_some_and(holding)
            && let Some(entry) = self.entries.remove(&request)
        {
            self.release(&entry, request);
            let reason = (refusal, Vec::new());
            self.refuse(now, (&entry.admit, entry.since), reason, out);
        }
    }
}
