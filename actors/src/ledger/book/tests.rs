//! The books, by the names of their rules.

use super::*;
use crate::generate::Tally;
use crate::ids::{AttemptId, HoldId, MemberId, NodeKey, Passport, RequestId};
use crate::ledger::LedgerStore;
use crate::ledger::protocol::{GrantError, Outcome};
use crate::price::Micros;
use crate::receipt::{Half, Receipt, Signed};
use crate::scheduler::protocol::HoldOrder;

const OWNER: MemberId = MemberId([1; 16]);
const GUEST: MemberId = MemberId([2; 16]);

/// A book with its disk: persists at once, and remembers what was said.
struct Desk {
    book: Book,
    now: Time,
    disk: Vec<Entry>,
    client: NodeKey,
    worker: NodeKey,
}

impl Desk {
    fn new() -> Desk {
        let [client, worker] = [3, 4].map(|n| NodeKey::from_secret([n; 32]));
        let mut desk = Desk {
            book: Book::default(),
            now: Time(1000),
            disk: Vec::new(),
            client,
            worker,
        };
        for (id, member, amount) in [(1, OWNER, 50_000), (2, GUEST, 10_000_000)] {
            desk.say(Input::Grant {
                id: [id; 16],
                member,
                name: String::new(),
                amount,
            });
        }
        desk
    }

    fn raw(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.book.step(self.now, input, &mut out);
        self.book.check();
        out
    }

    fn say(&mut self, input: Input) -> Vec<Effect> {
        let mut out = self.raw(input);
        let mut said = Vec::new();
        while !out.is_empty() {
            let effect = out.remove(0);
            if let Effect::Persist(batch) = effect {
                self.disk.extend(batch.entries);
                out.extend(self.raw(Input::Persisted {
                    batch: batch.number,
                }));
            } else {
                said.push(effect);
            }
        }
        said
    }

    fn order(&self, n: u8, payer: MemberId) -> HoldOrder {
        HoldOrder {
            request: RequestId([n; 16]),
            number: 0,
            payer,
            payee: OWNER,
            client: self.client.node(),
            worker: self.worker.node(),
            prompt_tokens_max: 100,
            completion_tokens_max: 100,
            term_ms: 5_000,
            standby: None,
            is_begun: false,
        }
    }

    fn hold(&mut self, n: u8, payer: MemberId) -> Effect {
        let order = self.order(n, payer);
        self.say(Input::Hold(order)).remove(0)
    }

    fn receipt(&self, n: u8, completion_tokens: u32) -> Signed {
        let hold = HoldId::of(RequestId([n; 16]));
        let receipt = Receipt {
            request: RequestId([n; 16]),
            hold,
            attempt: AttemptId::of(hold, 0),
            client: self.client.node(),
            worker: self.worker.node(),
            model: Passport([9; 32]),
            prices: Prices::REFERENCE.version(),
            tally: Tally {
                prompt_tokens: 10,
                completion_tokens,
                transcript: Digest([0; 32]),
            },
        };
        Half::sign(receipt, &self.worker).countersign(&self.client)
    }

    fn settle(&mut self, receipt: Signed) -> Outcome {
        let parcel = receipt.receipt.attempt;
        let from = self.client.node();
        match self
            .say(Input::Settle {
                from,
                parcel,
                receipt: Box::new(receipt),
            })
            .remove(0)
        {
            Effect::Answer { outcome, .. } => outcome,
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn available(&self, member: MemberId) -> Micros {
        self.book.accounts().available(member)
    }
}

#[test]
fn a_guests_request_moves_exactly_its_price_to_the_owner() {
    let mut desk = Desk::new();
    assert!(matches!(desk.hold(1, GUEST), Effect::Held { .. }));
    assert_eq!(desk.available(GUEST), 10_000_000 - 126_000);

    let cost = Prices::REFERENCE.cost(10, 20).unwrap();
    assert_eq!(
        desk.settle(desk.receipt(1, 20)),
        Outcome::Settled { amount: cost }
    );

    assert_eq!(desk.available(GUEST), 10_000_000 - cost);
    assert_eq!(desk.available(OWNER), 50_000 + cost);
}

#[test]
fn work_for_ones_own_member_is_entered_and_moves_nothing() {
    let mut desk = Desk::new();
    assert!(matches!(desk.hold(1, OWNER), Effect::Held { .. }));
    assert_eq!(
        desk.settle(desk.receipt(1, 20)),
        Outcome::Settled { amount: 0 }
    );
    assert_eq!(desk.available(OWNER), 50_000);
}

#[test]
fn l05_l07_what_comes_twice_is_answered_as_before_and_changes_nothing() {
    let mut desk = Desk::new();
    let orders = [1u8, 2, 3, 1, 3, 2];
    let first = desk.hold(1, GUEST);
    orders.iter().for_each(|n| drop(desk.hold(*n, GUEST)));
    assert_eq!(desk.hold(1, GUEST), first);
    let paid = desk.settle(desk.receipt(1, 20));
    let head = desk.book.head();
    assert_eq!(desk.settle(desk.receipt(1, 20)), paid);
    assert!(matches!(
        desk.settle(desk.receipt(1, 21)),
        Outcome::Rejected { .. }
    ));
    let over = desk.hold(1, GUEST);
    assert!(matches!(
        over,
        Effect::NotHeld {
            refusal: Refusal::Over,
            ..
        }
    ));
    assert_eq!(desk.book.head(), head);
}

#[test]
fn l08_only_as_many_holds_succeed_as_the_balance_covers() {
    let mut desk = Desk::new();
    let held = (1..=200)
        .filter(|n| matches!(desk.hold(*n, GUEST), Effect::Held { .. }))
        .count();
    assert_eq!(held as u64, 10_000_000 / 126_000);
}

#[test]
fn l09_l10_a_changed_order_and_a_refused_id_never_succeed() {
    let mut desk = Desk::new();
    let mut poor = desk.order(1, MemberId([7; 16]));
    let refused = desk.say(Input::Hold(poor.clone())).remove(0);
    assert!(matches!(
        refused,
        Effect::NotHeld {
            refusal: Refusal::Credits { .. },
            ..
        }
    ));
    let grant = Input::Grant {
        id: [9; 16],
        member: poor.payer,
        name: String::new(),
        amount: 1 << 40,
    };
    desk.say(grant);
    assert!(matches!(
        desk.say(Input::Hold(poor.clone())).remove(0),
        Effect::NotHeld { .. }
    ));
    poor.request = RequestId([2; 16]);
    assert!(matches!(
        desk.say(Input::Hold(poor.clone())).remove(0),
        Effect::Held { .. }
    ));
    poor.payer = GUEST;
    assert!(matches!(
        desk.say(Input::Hold(poor)).remove(0),
        Effect::NotHeld { .. }
    ));
    let changed = Input::Grant {
        id: [9; 16],
        member: GUEST,
        name: String::new(),
        amount: 5,
    };
    let answer = desk.say(changed).remove(0);
    assert!(matches!(
        answer,
        Effect::Granted {
            outcome: Err(GrantError::Different),
            ..
        }
    ));
}

#[test]
fn l06_l12_l14_a_receipt_is_paid_only_if_it_fits_its_hold() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let good = desk.receipt(1, 20);
    let mut unsigned = good.clone();
    unsigned.client_signature.0[5] ^= 1;
    let mut inflated = good.clone();
    inflated.receipt.tally.completion_tokens = 21;
    let stranger = NodeKey::from_secret([5; 32]);
    let mut receipt = good.receipt.clone();
    receipt.worker = stranger.node();
    let foreign = Half::sign(receipt, &stranger).countersign(&desk.client);
    let mut receipt = good.receipt.clone();
    receipt.prices = Digest([1; 32]);
    let other_prices = Half::sign(receipt, &desk.worker).countersign(&desk.client);
    let head = desk.book.head();
    for bad in [
        unsigned,
        inflated,
        foreign,
        other_prices,
        desk.receipt(2, 1),
    ] {
        assert!(matches!(desk.settle(bad), Outcome::Rejected { .. }));
    }
    assert_eq!(desk.book.head(), head);
    assert!(matches!(desk.settle(good), Outcome::Settled { .. }));
}

#[test]
fn l06_a_receipt_above_its_hold_is_paid_what_was_held() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    assert_eq!(
        desk.settle(desk.receipt(1, 130)),
        Outcome::Settled { amount: 126_000 }
    );
}

#[test]
fn another_worker_takes_the_hold_over_and_only_its_receipt_is_paid() {
    let mut desk = Desk::new();
    desk.hold(1, OWNER);
    let other = NodeKey::from_secret([6; 32]);
    let mut order = desk.order(1, OWNER);
    (order.worker, order.payee, order.number) = (other.node(), GUEST, 1);
    let answer = desk.say(Input::Hold(order)).remove(0);
    assert!(
        matches!(answer, Effect::NotHeld { .. }),
        "the owner has not enough for a stranger"
    );
    desk.hold(2, GUEST);
    let mut order = desk.order(2, GUEST);
    (order.worker, order.number) = (other.node(), 1);
    assert!(matches!(
        desk.say(Input::Hold(order.clone())).remove(0),
        Effect::Held { .. }
    ));
    // An order for the same attempt that names the first worker again, and one for the attempt before.
    order.worker = desk.worker.node();
    let answer = desk.say(Input::Hold(order.clone())).remove(0);
    assert!(matches!(answer, Effect::Held { worker, .. } if worker == other.node()));
    order.number = 0;
    assert!(matches!(
        desk.say(Input::Hold(order)).remove(0),
        Effect::NotHeld {
            refusal: Refusal::Over,
            ..
        }
    ));
    assert!(matches!(
        desk.settle(desk.receipt(2, 5)),
        Outcome::Rejected { .. }
    ));
    let mut receipt = desk.receipt(2, 5).receipt;
    receipt.worker = other.node();
    let signed = Half::sign(receipt.clone(), &other).countersign(&desk.client);
    assert!(
        matches!(desk.settle(signed), Outcome::Rejected { .. }),
        "it is for the attempt before"
    );
    receipt.attempt = AttemptId::of(receipt.hold, 1);
    let signed = Half::sign(receipt, &other).countersign(&desk.client);
    assert!(matches!(desk.settle(signed), Outcome::Settled { .. }));
}

#[test]
fn l21_nothing_is_said_before_it_is_durable_and_commits_are_shared() {
    let mut desk = Desk::new();
    let orders: Vec<_> = (1..=3).map(|n| desk.order(n, GUEST)).collect();
    let out = desk.raw(Input::Hold(orders[0].clone()));
    let [Effect::Persist(first)] = &out[..] else {
        panic!("only the disk hears: {out:?}")
    };
    assert!(desk.raw(Input::Hold(orders[1].clone())).is_empty());
    assert!(desk.raw(Input::Hold(orders[2].clone())).is_empty());
    let out = desk.raw(Input::Persisted {
        batch: first.number,
    });
    assert!(
        matches!(&out[..], [Effect::Held { .. }, Effect::Persist(batch)] if batch.entries.len() == 2)
    );
    let out = desk.raw(Input::PersistFailed {
        message: "full".to_owned(),
    });
    assert!(out.is_empty(), "what may be lost is not acknowledged");
}

#[test]
fn l17_l18_l28_the_books_are_rebuilt_from_the_disk_and_any_change_to_it_is_seen() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    desk.now = Time(0);
    desk.hold(2, GUEST);
    desk.settle(desk.receipt(1, 7));
    let again = Book::replay(Prices::REFERENCE, desk.disk.clone()).unwrap();
    assert_eq!(again.head(), desk.book.head());
    assert_eq!(again.accounts().members(), desk.book.accounts().members());
    for index in 0..desk.disk.len() - 1 {
        let mut entries = desk.disk.clone();
        entries[index].at.0 += 1;
        assert!(
            Book::replay(Prices::REFERENCE, entries).is_err(),
            "entry {index}"
        );
        let mut entries = desk.disk.clone();
        entries.remove(index);
        assert!(
            Book::replay(Prices::REFERENCE, entries).is_err(),
            "entry {index} missing"
        );
    }
}

#[test]
fn l27_prices_and_balances_at_the_end_of_64_bits_are_refused() {
    let mut desk = Desk::new();
    let mut order = desk.order(1, GUEST);
    (order.prompt_tokens_max, order.completion_tokens_max) = (u64::MAX, u64::MAX);
    assert!(matches!(
        desk.say(Input::Hold(order)).remove(0),
        Effect::NotHeld { .. }
    ));
    let grant = Input::Grant {
        id: [8; 16],
        member: GUEST,
        name: String::new(),
        amount: u64::MAX,
    };
    let answer = desk.say(grant).remove(0);
    assert!(matches!(
        answer,
        Effect::Granted {
            outcome: Err(GrantError::Supply { .. }),
            ..
        }
    ));
}

#[test]
fn the_store_takes_a_batch_twice_and_refuses_a_gap() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let memory = redb::backends::InMemoryBackend::new();
    let store = LedgerStore::open(crate::store::open(memory).unwrap()).unwrap();
    let batch = |range: std::ops::Range<usize>| crate::ledger::Batch {
        number: 1,
        entries: desk.disk[range].to_vec(),
    };
    assert!(store.commit(&batch(1..3)).is_err());
    store.commit(&batch(0..2)).unwrap();
    store.commit(&batch(0..2)).unwrap();
    store.commit(&batch(2..3)).unwrap();
    assert_eq!(store.load().unwrap(), desk.disk);
}

mod claims;
mod late;
mod standby;
