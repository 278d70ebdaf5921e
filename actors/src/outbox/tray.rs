//! The outbox's core: parcels, each delivered again and again until it is answered for good.
//!
//! ```text
//! Post -> disk -> Posted, Deliver, Deliver later, Deliver later still … -> Answered -> forgotten on disk
//! ```
//!
//! The waits double from one second to a minute. After a long absence everything is due at once; it leaves in
//! measured bursts, so that neither the ledger nor the road to it is flooded.

use super::protocol::{Effect, Input, Parcel, ParcelId, of_worker};
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
        let statement = self.parcel.evidence.statement();
        let (attempt, parcel) = (statement.attempt, self.parcel.id);
        if parcel == of_worker(attempt) {
            return Effect::Kept { attempt };
        }
        let request = statement.request;
        Effect::Posted { request, parcel }
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
                let signatures = parcel.evidence.signatures();
                let lawful = signatures.iter().all(|it| it.0.len() == SIGNATURE_BYTES);
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
                self.forget.retain(|forgotten| *forgotten != parcel.id);
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
                    // Should it be posted again, the write that is on its way is not the one that keeps it.
                    if let Some((_, ids)) = &mut self.flight {
                        ids.retain(|id| *id != parcel);
                    }
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
pub const RETRY_MS_MAX: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Tally;
    use crate::ids::{AttemptId, Digest, HoldId, NodeId, Passport, RequestId, Signature};
    use crate::ledger::protocol::Outcome;
    use crate::receipt::{Claim, Evidence, Receipt, Signed};

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
        Parcel {
            id: AttemptId([n; 16]),
            to: NodeId([9; 32]),
            evidence: Evidence::Receipt(Signed {
                receipt,
                worker_signature,
                client_signature,
            }),
        }
    }

    /// What the worker of the same attempt has.
    fn claimed(n: u8) -> Parcel {
        let of_client = parcel(n);
        let receipt = of_client.evidence.statement().clone();
        let [worker_signature, client_signature] = [Signature(vec![1; 64]), Signature(vec![3; 64])];
        Parcel {
            id: of_worker(of_client.id),
            evidence: Evidence::Claim(Claim {
                receipt,
                worker_signature,
                client_signature,
            }),
            ..of_client
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
    fn a_parcel_that_is_answered_and_posted_anew_during_a_write_is_kept_by_the_next_one() {
        let mut tray = Tray::new(Vec::new(), Time(0));
        step(&mut tray, 0, Input::Post(Box::new(parcel(1))));
        assert!(step(&mut tray, 1, answer(1)).is_empty());
        assert!(step(&mut tray, 2, Input::Post(Box::new(parcel(1)))).is_empty());
        let out = step(&mut tray, 3, Input::Persisted { write: 1 });
        let second = Effect::Persist {
            write: 2,
            keep: vec![parcel(1)],
            forget: Vec::new(),
        };
        assert_eq!(out, [second]);
        let out = step(&mut tray, 4, Input::Persisted { write: 2 });
        assert_eq!(out.len(), 2, "posted, and delivered once: {out:?}");
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
        if let Evidence::Receipt(signed) = &mut huge.evidence {
            signed.client_signature = Signature(vec![1; 100_000]);
        }
        assert!(step(&mut tray, 0, Input::Post(Box::new(huge))).is_empty());
        assert_eq!(tray.pending(), 0);
    }

    #[test]
    fn both_sides_of_an_attempt_have_their_own_parcels_in_one_outbox() {
        let mut tray = Tray::new(Vec::new(), Time(0));
        step(&mut tray, 0, Input::Post(Box::new(parcel(1))));
        step(&mut tray, 0, Input::Post(Box::new(claimed(1))));
        step(&mut tray, 0, Input::Persisted { write: 1 });
        let out = step(&mut tray, 1, Input::Persisted { write: 2 });
        let attempt = parcel(1).id;
        let delivered = Effect::Deliver(Box::new(claimed(1)));
        assert_eq!(out, [Effect::Kept { attempt }, delivered]);
        step(&mut tray, 2, answer(1));
        assert_eq!(tray.pending(), 1, "the worker's is not answered by it");
    }

    #[test]
    fn what_was_kept_before_there_were_claims_is_read_back() {
        let memory = redb::backends::InMemoryBackend::new();
        let database = crate::store::open(memory).unwrap();
        let parcels = [parcel(1), claimed(1)];
        let Evidence::Receipt(receipt) = parcels[0].evidence.clone() else {
            unreachable!("it is a receipt")
        };
        let old = crate::wire::encode(1, &(parcels[0].id, parcels[0].to, receipt));
        crate::store::commit(&database, |transaction| {
            let name = redb::TableDefinition::<&[u8], &[u8]>::new("parcels");
            let mut table = transaction.open_table(name).unwrap();
            table.insert(&parcels[0].id.0[..], &old[..]).unwrap();
            Ok(())
        })
        .unwrap();
        let store = crate::outbox::OutboxStore::open(database).unwrap();
        store.write(1, &parcels[1..], &[]).unwrap();
        let read = store.load().unwrap();
        assert_eq!(read.len(), 2);
        assert!(parcels.iter().all(|parcel| read.contains(parcel)));
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
