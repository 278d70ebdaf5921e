//! Claims: paid where no receipt comes, never in place of one, and never twice.

use super::*;
use crate::ledger::LATE_MS;
use crate::outbox::protocol::of_worker;
use crate::receipt::Claim;
use crate::scheduler::protocol::ATTEMPTS_MAX;

/// Longer than receipts are waited for.
const LONG_MS: u64 = 200_000;

impl Desk {
    /// The desk's worker, or another, claims `completion_tokens` of attempt `number`.
    fn claim_by(&mut self, n: u8, number: u32, worker: &NodeKey, tokens: u32) -> Option<Outcome> {
        let mut receipt = self.receipt(n, tokens).receipt;
        receipt.worker = worker.node();
        receipt.attempt = AttemptId::of(receipt.hold, number);
        let vouched = self.client.sign(receipt.voucher());
        self.deliver(Claim::sign(receipt, vouched, worker))
    }

    fn claim(&mut self, n: u8, tokens: u32) -> Option<Outcome> {
        let worker = self.worker.clone();
        self.claim_by(n, 0, &worker, tokens)
    }

    fn deliver(&mut self, claim: Claim) -> Option<Outcome> {
        let said = self.say(Input::Claim {
            from: claim.receipt.worker,
            parcel: of_worker(claim.receipt.attempt),
            claim: Box::new(claim),
        });
        said.into_iter().next().map(|effect| match effect {
            Effect::Answer { outcome, .. } => outcome,
            other => panic!("not an answer: {other:?}"),
        })
    }

    /// Time passes, and the books wake as often as they want to.
    fn wait(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.book.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.book.wake(self.now, &mut out);
            self.book.check();
            for effect in out {
                let Effect::Persist(batch) = effect else {
                    panic!("waking is for the disk: {effect:?}")
                };
                self.disk.extend(batch.entries);
                self.raw(Input::Persisted {
                    batch: batch.number,
                });
            }
        }
        self.now = end;
    }

    /// The books are closed and opened again.
    fn reopen(&mut self) {
        let again = Book::replay(Prices::REFERENCE, self.disk.clone()).expect("good entries");
        let digests = [&again, &self.book].map(|book| book.accounts().digest());
        assert_eq!(digests[0], digests[1]);
        self.book = again;
    }
}

fn cost(tokens: u64) -> Micros {
    Prices::REFERENCE.cost(10, tokens).unwrap()
}

fn is_rejected(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Rejected { .. }))
}

#[test]
fn a_claim_is_paid_when_the_hold_has_ended_without_a_receipt() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let noted = |tokens| {
        Some(Outcome::Noted {
            amount: cost(tokens),
        })
    };
    assert_eq!(desk.claim(1, 20), noted(20));
    // The largest counts; what comes again changes nothing (L07).
    let head = desk.book.head();
    assert_eq!(desk.claim(1, 15), noted(15));
    assert_eq!(desk.claim(1, 20), noted(20));
    assert_eq!(desk.book.head(), head);
    assert_eq!(desk.claim(1, 30), noted(30));
    assert_eq!(desk.available(OWNER), 50_000, "nothing is paid at once");
    desk.wait(LONG_MS);
    assert_eq!(desk.available(OWNER), 50_000 + cost(30));
    assert_eq!(desk.available(GUEST), 10_000_000 - cost(30));
    // Paid once (L05), whatever comes now.
    let settled = Outcome::Settled { amount: cost(30) };
    assert_eq!(desk.claim(1, 30), Some(settled));
    assert!(is_rejected(desk.claim(1, 40)));
    let late = desk.settle(desk.receipt(1, 40));
    assert!(matches!(late, Outcome::Rejected { .. }));
    assert_eq!(desk.available(OWNER), 50_000 + cost(30));
    desk.reopen();
}

#[test]
fn a_claim_never_beats_a_receipt() {
    let second = NodeKey::from_secret([6; 32]);
    let friend = MemberId([3; 16]);
    let mut desk = Desk::new();
    let mut order = desk.order(1, GUEST);
    order.standby = Some(Box::new((second.node(), friend)));
    desk.say(Input::Hold(order));
    // The stream has moved on, and the first worker is the first to come.
    assert!(matches!(desk.claim(1, 50), Some(Outcome::Noted { .. })));
    let mut receipt = desk.receipt(1, 60).receipt;
    receipt.worker = second.node();
    receipt.attempt = AttemptId::of(receipt.hold, 1);
    let signed = Half::sign(receipt, &second).countersign(&desk.client);
    let settled = Outcome::Settled { amount: cost(60) };
    assert_eq!(desk.settle(signed), settled);
    desk.wait(LONG_MS);
    assert_eq!(desk.available(friend), cost(60));
    assert_eq!(desk.available(OWNER), 50_000);
    assert!(is_rejected(desk.claim(1, 50)));
    desk.reopen();
}

#[test]
fn whoever_a_client_has_left_may_claim_also_when_it_went_to_its_own() {
    // Given a guest who has taken its answer at a stranger's and then asks for a worker of its own,
    let own = NodeKey::from_secret([6; 32]);
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let held = desk.book.accounts().members()[&GUEST].held;
    let mut order = desk.order(1, GUEST);
    (order.number, order.worker, order.payee) = (1, own.node(), GUEST);
    let answer = desk.say(Input::Hold(order)).remove(0);
    assert!(matches!(answer, Effect::Held { .. }));
    // then what the stranger may claim stays set aside,
    assert_eq!(desk.book.accounts().members()[&GUEST].held, held);
    // no receipt of it is taken any more, but its claim is, and is paid if its own worker has nothing to show.
    let receipt = desk.settle(desk.receipt(1, 20));
    assert!(matches!(receipt, Outcome::Rejected { .. }));
    assert!(matches!(desk.claim(1, 20), Some(Outcome::Noted { .. })));
    desk.wait(LONG_MS);
    assert_eq!(desk.available(OWNER), 50_000 + cost(20));
    assert_eq!(desk.available(GUEST), 10_000_000 - cost(20));
    desk.reopen();
}

#[test]
fn l06_l12_l14_a_claim_is_noted_only_if_it_fits_its_hold() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let receipt = desk.receipt(1, 20).receipt;
    let vouched = desk.client.sign(receipt.voucher());
    let good = Claim::sign(receipt, vouched, &desk.worker);
    let mut unsigned = good.clone();
    unsigned.client_signature.0[5] ^= 1;
    let mut inflated = good.clone();
    inflated.receipt.tally.completion_tokens = 21;
    // A receipt's signature is no voucher's.
    let mut receipt = good.clone();
    receipt.client_signature = desk.receipt(1, 20).client_signature;
    let head = desk.book.head();
    for bad in [unsigned, inflated, receipt] {
        assert!(is_rejected(desk.deliver(bad)));
    }
    let stranger = NodeKey::from_secret([5; 32]);
    assert!(is_rejected(desk.claim_by(1, 0, &stranger, 20)));
    assert!(is_rejected(desk.claim_by(1, 1, &stranger, 20)));
    assert!(is_rejected(desk.claim(2, 20)));
    assert_eq!(desk.book.head(), head);
    let noted = Outcome::Noted { amount: 126_000 };
    assert_eq!(desk.claim(1, 500), Some(noted), "never more than was held");
}

#[test]
fn a_claim_to_own_work_is_noted_for_nothing() {
    let mut desk = Desk::new();
    desk.hold(1, OWNER);
    let head = desk.book.head();
    assert_eq!(desk.claim(1, 20), Some(Outcome::Noted { amount: 0 }));
    assert_eq!(desk.book.head(), head);
    desk.wait(LONG_MS);
    assert_eq!(desk.available(OWNER), 50_000);
}

#[test]
fn books_that_were_closed_hear_receipts_before_they_pay_a_claim() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    desk.claim(1, 20);
    desk.hold(2, GUEST);
    desk.claim(2, 20);
    desk.reopen();
    // The holds are over long since when somebody is there again; a receipt comes a minute later.
    desk.now = Time(1_000_000);
    desk.wait(60_000);
    assert_eq!(desk.available(OWNER), 50_000);
    let settled = Outcome::Settled { amount: cost(25) };
    assert_eq!(desk.settle(desk.receipt(1, 25)), settled);
    desk.wait(60_000);
    assert_eq!(desk.available(OWNER), 50_000 + cost(25) + cost(20));
    assert!(desk.book.accounts().open().is_empty());
    desk.reopen();
}

#[test]
fn l34_a_claim_that_comes_after_the_hold_expired_waits_for_receipts_and_is_paid_from_what_is_left()
{
    for receipt_comes in [false, true] {
        let mut desk = Desk::new();
        desk.hold(1, GUEST);
        desk.wait(6_000);
        assert!(desk.book.accounts().open().is_empty());
        assert_eq!(desk.claim(1, 20), None, "it is to come again");
        desk.wait(60_000);
        if receipt_comes {
            let settled = Outcome::Settled { amount: cost(25) };
            assert_eq!(desk.settle(desk.receipt(1, 25)), settled);
        }
        desk.wait(LONG_MS);
        let outcome = desk.claim(1, 20);
        let paid = Some(Outcome::Settled { amount: cost(20) });
        assert!(if receipt_comes {
            is_rejected(outcome)
        } else {
            outcome == paid
        });
        let earned = cost(if receipt_comes { 25 } else { 20 });
        assert_eq!(desk.available(OWNER), 50_000 + earned);
        desk.wait(LATE_MS);
        desk.hold(2, GUEST);
        desk.reopen();
    }
}

#[test]
fn a_worker_hears_of_its_pay_when_its_client_delivers() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let receipt = desk.receipt(1, 20);
    let (worker, attempt) = (receipt.receipt.worker, receipt.receipt.attempt);
    let settle = |from, parcel| Input::Settle {
        from,
        parcel,
        receipt: Box::new(receipt.clone()),
    };
    let said = desk.say(settle(desk.client.node(), attempt));
    let paid = Effect::Paid { worker, attempt };
    assert!(matches!(&said[..], [Effect::Answer { .. }, heard] if *heard == paid));
    let said = desk.say(settle(worker, of_worker(attempt)));
    assert!(matches!(said[..], [Effect::Answer { .. }]));
}

#[test]
fn l04_l06_what_is_claimed_stays_set_aside_when_the_hold_goes_to_its_claimant_for_less() {
    // Given a guest whose own worker is first, beside which a stranger's stands by,
    let own = NodeKey::from_secret([6; 32]);
    let mut desk = Desk::new();
    let mut order = desk.order(1, GUEST);
    let stranger = (order.worker, order.payee);
    (order.worker, order.payee) = (own.node(), GUEST);
    order.standby = Some(Box::new(stranger));
    desk.say(Input::Hold(order.clone()));
    let held = desk.book.accounts().members()[&GUEST].held;
    assert!(held >= cost(20));
    // and whose stranger claims,
    let worker = desk.worker.clone();
    let claimed = desk.claim_by(1, 1, &worker, 20);
    assert_eq!(claimed, Some(Outcome::Noted { amount: cost(20) }));
    // when it then asks for that attempt as if it were for one token,
    (order.number, order.completion_tokens_max) = (1, 1);
    (order.worker, order.payee) = stranger;
    order.standby = None;
    desk.say(Input::Hold(order));
    // then nothing is given back, and the claim is paid from what is set aside.
    assert_eq!(desk.book.accounts().members()[&GUEST].held, held);
    desk.wait(LONG_MS);
    assert_eq!(desk.available(GUEST), 10_000_000 - cost(20));
    desk.reopen();
}

#[test]
fn a_request_cannot_have_so_many_attempts_that_the_first_is_forgotten() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let mut order = desk.order(1, GUEST);
    for number in [ATTEMPTS_MAX - 1, ATTEMPTS_MAX, u32::MAX] {
        order.number = number;
        let answer = desk.say(Input::Hold(order.clone())).remove(0);
        let is_held = matches!(answer, Effect::Held { .. });
        assert_eq!(is_held, number < ATTEMPTS_MAX, "{answer:?}");
    }
    assert!(matches!(desk.claim(1, 20), Some(Outcome::Noted { .. })));
}
