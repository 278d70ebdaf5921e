//! The outbox's core: parcels, each delivered again and again until it is answered for good.
//!
//! ```text
//! Post -> disk -> Posted, Deliver, Deliver later, Deliver later still … -> Answered -> forgotten on disk
//! ```
//!
//! The waits double from one second to a minute. After a long absence everything is due at once; it leaves in
//! measured bursts, so that neither the ledger nor the road to it is flooded.

use super::protocol::{Effect, Input, Parcel, ParcelId};
use crate::contract::{Core, Time};
use std::collections::{BTreeMap, BTreeSet};

/// The parcels that are owed.
#[derive(Debug)]
pub struct Tray {
    parcels: BTreeMap<ParcelId, Slot>,
    due: BTreeSet<(Time, ParcelId)>,
    /// No delivery before this: the last burst was a full one.
    pause: Time,
    keep: Vec<Parcel>,
    forget: Vec<ParcelId>,
    writes: u64,
    flight: Option<(u64, Vec<ParcelId>)>,
}

#[derive(Debug)]
struct Slot {
    parcel: Parcel,
    /// When it is delivered next; none while the disk does not have it yet.
    due: Option<Time>,
    deliveries: u32,
}

impl Slot {
    fn posted(&self) -> Effect {
        Effect::Posted {
            request: self.parcel.receipt.receipt.request,
            parcel: self.parcel.id,
        }
    }
}

impl Tray {
    /// The parcels that the disk holds, all due at once.
    pub fn new(parcels: Vec<Parcel>, now: Time) -> Tray {
        let mut tray = Tray {
            parcels: BTreeMap::new(),
            due: BTreeSet::new(),
            pause: Time(0),
            keep: Vec::new(),
            forget: Vec::new(),
            writes: 0,
            flight: None,
        };
        for parcel in parcels {
            tray.due.insert((now, parcel.id));
            let slot = Slot {
                due: Some(now),
                deliveries: 0,
                parcel,
            };
            tray.parcels.insert(slot.parcel.id, slot);
        }
        tray
    }

    /// How many parcels are owed.
    pub fn pending(&self) -> usize {
        self.parcels.len()
    }

    fn deliver_due(&mut self, now: Time, out: &mut Vec<Effect>) {
        if now < self.pause {
            return;
        }
        for _ in 0..BURST_MAX {
            let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            self.due.remove(&(at, id));
            let slot = self.parcels.get_mut(&id).expect("what is due is there");
            let wait = RETRY_MS
                .saturating_mul(1 << slot.deliveries.min(16))
                .min(RETRY_MS_MAX);
            slot.deliveries += 1;
            let next = now.plus_ms(wait);
            slot.due = Some(next);
            self.due.insert((next, id));
            out.push(Effect::Deliver(Box::new(slot.parcel.clone())));
        }
        self.pause = now.plus_ms(BURST_PAUSE_MS);
    }

    fn flush(&mut self, out: &mut Vec<Effect>) {
        if self.flight.is_some() || (self.keep.is_empty() && self.forget.is_empty()) {
            return;
        }
        self.writes += 1;
        let keep = std::mem::take(&mut self.keep);
        let forget = std::mem::take(&mut self.forget);
        self.flight = Some((self.writes, keep.iter().map(|parcel| parcel.id).collect()));
        out.push(Effect::Persist {
            write: self.writes,
            keep,
            forget,
        });
    }
}

impl Core for Tray {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Post(parcel) => {
                // A parcel too many is not kept: its hold expires, and the payer pays nothing. Nor is one
                // whose signatures could not be any: it would be refused, and might not fit the disk.
                let [one, other] = [
                    &parcel.receipt.worker_signature,
                    &parcel.receipt.client_signature,
                ];
                let lawful = one.0.len() == SIGNATURE_BYTES && other.0.len() == SIGNATURE_BYTES;
                if let Some(slot) = self.parcels.get(&parcel.id) {
                    // What is not on the disk yet is answered when it is.
                    if slot.due.is_some() {
                        out.push(slot.posted());
                    }
                    return;
                }
                if self.parcels.len() >= PARCELS_MAX || !lawful {
                    return;
                }
                let slot = Slot {
                    parcel: (*parcel).clone(),
                    due: None,
                    deliveries: 0,
                };
                self.parcels.insert(parcel.id, slot);
                self.keep.push(*parcel);
            }
            Input::Persisted { write } => {
                let Some((_, ids)) = self.flight.take_if(|(flight, _)| *flight == write) else {
                    return;
                };
                for id in ids {
                    if let Some(slot) = self.parcels.get_mut(&id) {
                        slot.due = Some(now);
                        self.due.insert((now, id));
                        out.push(slot.posted());
                    }
                }
                self.deliver_due(now, out);
            }
            // The actor dies of this and reopens what the disk really holds.
            Input::PersistFailed { .. } => return,
            Input::Answered { parcel, .. } => {
                if let Some(slot) = self.parcels.remove(&parcel) {
                    if let Some(due) = slot.due {
                        self.due.remove(&(due, parcel));
                    }
                    self.keep.retain(|kept| kept.id != parcel);
                    self.forget.push(parcel);
                }
            }
        }
        self.flush(out);
    }

    fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| (*at).max(self.pause))
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.deliver_due(now, out);
    }

    fn check(&self) {
        assert!(self.parcels.len() <= PARCELS_MAX, "parcels are bounded");
        let due = self
            .parcels
            .values()
            .filter(|slot| slot.due.is_some())
            .count();
        assert_eq!(
            due,
            self.due.len(),
            "what is due stands in both places once"
        );
        assert!(
            self.keep.is_empty() || self.flight.is_some(),
            "parcels wait only for a commit"
        );
    }
}

/// Parcels, at most: a day of one request a second, undelivered.
const PARCELS_MAX: usize = 100_000;
/// Deliveries at one time, at most, and the pause after so many: 1,280 a second.
const BURST_MAX: usize = 64;
const BURST_PAUSE_MS: u64 = 50;
/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;
/// The first wait for an answer; it doubles from there.
const RETRY_MS: u64 = 1_000;
/// The longest wait between two deliveries.
const RETRY_MS_MAX: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Tally;
    use crate::ids::{AttemptId, Digest, HoldId, NodeId, Passport, RequestId, Signature};
    use crate::ledger::protocol::Outcome;
    use crate::receipt::{Receipt, Signed};

    fn parcel(n: u8) -> Parcel {
        let receipt = Receipt {
            request: RequestId([n; 16]),
            hold: HoldId([n; 16]),
            attempt: AttemptId([n; 16]),
            client: NodeId([1; 32]),
            worker: NodeId([2; 32]),
            model: Passport([3; 32]),
            prices: Digest([4; 32]),
            tally: Tally {
                prompt_tokens: 1,
                completion_tokens: 2,
                transcript: Digest([5; 32]),
            },
        };
        let [worker_signature, client_signature] = [Signature(vec![1; 64]), Signature(vec![2; 64])];
        let receipt = Signed {
            receipt,
            worker_signature,
            client_signature,
        };
        Parcel {
            id: AttemptId([n; 16]),
            to: NodeId([9; 32]),
            receipt,
        }
    }

    fn step(tray: &mut Tray, now: u64, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        tray.step(Time(now), input, &mut out);
        tray.check();
        out
    }

    fn wake(tray: &mut Tray, now: u64) -> usize {
        let mut out = Vec::new();
        tray.wake(Time(now), &mut out);
        tray.check();
        out.len()
    }

    fn answer(n: u8) -> Input {
        Input::Answered {
            parcel: parcel(n).id,
            outcome: Outcome::Settled { amount: 1 },
        }
    }

    #[test]
    fn a_parcel_leaves_only_after_the_disk_has_it_and_again_until_answered() {
        let mut tray = Tray::new(Vec::new(), Time(0));
        let out = step(&mut tray, 0, Input::Post(Box::new(parcel(1))));
        assert!(matches!(&out[..], [Effect::Persist { write: 1, .. }]));
        assert_eq!(tray.deadline(), None);
        let out = step(&mut tray, 5, Input::Persisted { write: 1 });
        let posted = Effect::Posted {
            request: RequestId([1; 16]),
            parcel: parcel(1).id,
        };
        assert_eq!(out, [posted.clone(), Effect::Deliver(Box::new(parcel(1)))]);
        let out = step(&mut tray, 6, Input::Post(Box::new(parcel(1))));
        assert_eq!(out, [posted], "a session that did not hear it asks again");
        assert_eq!(
            [1004, 1005, 3004, 3005].map(|now| wake(&mut tray, now)),
            [0, 1, 0, 1]
        );
        let out = step(&mut tray, 4000, answer(1));
        assert!(matches!(&out[..], [Effect::Persist { forget, .. }] if forget.len() == 1));
        assert_eq!((tray.pending(), tray.deadline()), (0, None));
    }

    #[test]
    fn what_the_disk_holds_is_delivered_after_a_restart() {
        let mut tray = Tray::new(vec![parcel(1), parcel(2)], Time(7));
        assert_eq!(wake(&mut tray, 7), 2);
    }

    #[test]
    fn many_parcels_leave_in_measured_bursts() {
        let parcels: Vec<_> = (0..200).map(parcel).collect();
        let mut tray = Tray::new(parcels, Time(1000));
        let mut sent = Vec::new();
        while let Some(at) = tray.deadline().filter(|at| at.0 < 2000) {
            sent.push((at.0, wake(&mut tray, at.0)));
        }
        assert_eq!(sent, [(1000, 64), (1050, 64), (1100, 64), (1150, 8)]);
    }

    #[test]
    fn a_parcel_that_could_not_be_read_back_is_not_kept() {
        let mut tray = Tray::new(Vec::new(), Time(0));
        let mut huge = parcel(1);
        huge.receipt.client_signature = Signature(vec![1; 100_000]);
        assert!(step(&mut tray, 0, Input::Post(Box::new(huge))).is_empty());
        assert_eq!(tray.pending(), 0);
    }

    #[test]
    fn a_parcel_posted_or_answered_twice_is_one() {
        let mut tray = Tray::new(Vec::new(), Time(0));
        step(&mut tray, 0, Input::Post(Box::new(parcel(1))));
        assert!(step(&mut tray, 0, Input::Post(Box::new(parcel(1)))).is_empty());
        step(&mut tray, 0, Input::Persisted { write: 1 });
        step(&mut tray, 0, answer(1));
        assert!(step(&mut tray, 0, answer(1)).is_empty());
    }
}
