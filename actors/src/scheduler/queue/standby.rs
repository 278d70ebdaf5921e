//! The worker that stands by: named beside the first one, and again for as long as the stream runs.
//!
//! ```text
//! Admit ─> Hold(first, standby) ─> Held ─> two tickets          the session goes on at the standby by itself,
//! Admit(running) ─> Hold(begun, standby) ─> Held ─> one ticket  and says so when it next asks for one
//! ```
//!
//! No place is kept for a standby: it had room when it was named, and a stream that comes waits its turn there.
//! Whoever says that it has a worker gets none by that: the hold must be there, and the attempt be one of its own.

use super::{Entry, Queue, Stage};
use crate::contract::Time;
use crate::ids::{Class, MemberId, NodeId, RequestId};
use crate::scheduler::decisions::Decision;
use crate::scheduler::line::Weight;
use crate::scheduler::protocol::{Admit, Effect, HoldOrder};
use crate::scheduler::terms::{self, Place};
use crate::scheduler::workers::{Candidate, Finding, Pick, Search};
use crate::session::Fault;

impl Entry {
    /// Since when it has its ticket.
    fn granted(&self) -> Option<Time> {
        match self.stage {
            Stage::Granted { since, .. } => Some(since),
            Stage::Waiting { .. } | Stage::Holding { .. } => None,
        }
    }

    /// Whether the books have said that attempt `number` is at `worker`.
    fn is_proven(&self, number: u32, worker: NodeId) -> bool {
        match &self.stage {
            Stage::Granted {
                place, is_asserted, ..
            } => !is_asserted && self.admit.number == number && place.worker == worker,
            Stage::Waiting { .. } | Stage::Holding { .. } => false,
        }
    }
}

impl Queue {
    /// The session of `admit` has a worker, and wants another one to stand by.
    pub(super) fn accompany(
        &mut self,
        now: Time,
        admit: Admit,
        running: NodeId,
        out: &mut Vec<Effect>,
    ) {
        let request = admit.request;
        let (number, avoid, begun) = (admit.number, admit.avoid.clone(), admit.begun);
        let (admit, kept) = match self.entries.get(&request) {
            Some(entry) => {
                let granted = matches!(entry.stage, Stage::Granted { .. });
                let own = admit.client == entry.admit.client;
                if !granted || !own || number < entry.admit.number {
                    return;
                }
                (&entry.admit, entry.standby.as_ref())
            }
            // A scheduler before this one knew it: its worker says so too.
            None if self.workers.runs(running, request) && terms::check(&admit).is_ok() => {
                (&admit, None)
            }
            None => return,
        };
        let admit = Admit {
            number,
            avoid,
            begun,
            running: None,
            ..admit.clone()
        };
        let kept = kept.map(|place| place.worker);
        let Some(pick) = self.workers.find(running, admit.model) else {
            return;
        };
        let Some(place) = Place::new(self.me, &admit, &pick) else {
            return;
        };
        if let Some((worker, owner)) = self.second(&admit, &pick, kept) {
            out.push(Effect::Hold(HoldOrder {
                standby: Some(Box::new((worker, owner))),
                is_begun: true,
                ..place.hold.clone()
            }));
        }
        let before = self.entries.remove(&request);
        let is_proven = |entry: &Entry| entry.is_proven(number, running);
        let is_asserted = !before.as_ref().is_some_and(is_proven);
        let since = match &before {
            Some(entry) => {
                self.release(entry, request);
                if entry.admit.number < number {
                    self.moved(now, &admit, &place);
                }
                entry.granted()
            }
            None => {
                self.workers.forget(request);
                None
            }
        };
        let turn = match before {
            Some(entry) => entry.turn,
            None => {
                let cost = terms::tokens_max(&admit);
                self.line.turn(admit.payer, Weight::ONE, cost)
            }
        };
        self.workers.place(running, &admit);
        let stage = Stage::Granted {
            place: Box::new(place),
            since: since.unwrap_or(now),
            seen: now,
            is_asserted,
        };
        let entry = Entry {
            admit,
            turn,
            since: now,
            heard: now,
            stage,
            standby: None,
        };
        self.entries.insert(request, entry);
    }

    /// The session has gone on at its standby: whoever asks where it ran is told.
    fn moved(&mut self, now: Time, admit: &Admit, place: &Place) {
        let decision = Decision::of(admit, now, now, Ok(place.worker));
        self.decisions.keep(admit, decision);
        if let Some(story) = self.decisions.of(admit) {
            story.payee = Some(place.hold.payee);
            story.granted = Some(now);
        }
    }

    /// A worker beside `first` for `admit`, and whose it is: the one that stood by before if it still can, or the
    /// best of those of the same class that have room and have not failed it.
    fn second(
        &self,
        admit: &Admit,
        first: &Pick,
        kept: Option<NodeId>,
    ) -> Option<(NodeId, MemberId)> {
        let mut other = admit.clone();
        other.avoid.push((first.worker, Fault::Pool));
        let has_left = |worker| other.avoid.iter().any(|(left, _)| *left == worker);
        // The first worker may have been started anew in another class than the one it began in.
        let class = admit.begun.unwrap_or(Class::of(&first.report.class));
        let (search, candidates) = self.workers.search(&other, Some(class));
        let has_room = |candidate: &Candidate| {
            let has_room = match candidate.finding {
                Finding::Chosen | Finding::Standby | Finding::Free => true,
                Finding::Avoided
                | Finding::Left
                | Finding::Full
                | Finding::NoMemory
                | Finding::OtherClass
                | Finding::Absent
                | Finding::TooSmall => false,
            };
            has_room && Some(candidate.worker) == kept && !has_left(candidate.worker)
        };
        if candidates.iter().any(has_room) {
            let kept = self.workers.find(kept?, admit.model)?;
            return Some((kept.worker, kept.owner));
        }
        match search {
            Search::Found(pick, _) if !has_left(pick.worker) => Some((pick.worker, pick.owner)),
            _ => None,
        }
    }

    /// The ledger has answered the order for the attempt `running`, and has another one stand by: that gets its
    /// ticket as well.
    pub(super) fn stand(
        &mut self,
        request: RequestId,
        running: u32,
        standby: Option<(u32, NodeId)>,
        out: &mut Vec<Effect>,
    ) {
        let granted = |entry: &&mut Entry| {
            matches!(entry.stage, Stage::Granted { .. }) && entry.admit.number == running
        };
        let entry = self.entries.get_mut(&request).filter(granted);
        let (Some(entry), Some((number, worker))) = (entry, standby) else {
            return;
        };
        let admit = Admit {
            number,
            ..entry.admit.clone()
        };
        let found = self.workers.find(worker, admit.model);
        if let Some(place) = found.and_then(|pick| Place::new(self.me, &admit, &pick)) {
            out.push(place.issue());
            entry.standby = Some(Box::new(place));
        }
    }
}
