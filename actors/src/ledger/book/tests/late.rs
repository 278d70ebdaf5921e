//! Holds that end by themselves, and receipts that come after that.

use super::*;
use crate::ledger::LATE_MS;

/// A desk where the hold of request 1 has just expired, at 6,000.
fn expired(payer: MemberId) -> Desk {
    let mut desk = Desk::new();
    desk.hold(1, payer);
    assert_eq!(desk.book.deadline(), Some(Time(6000)));
    let mut out = Vec::new();
    desk.book.wake(Time(5999), &mut out);
    assert!(out.is_empty());
    desk.book.wake(Time(6000), &mut out);
    desk.book.check();
    let Effect::Persist(batch) = out.remove(0) else {
        panic!("an expiry is an entry")
    };
    desk.raw(Input::Persisted {
        batch: batch.number,
    });
    desk
}

#[test]
fn l34_a_receipt_is_paid_until_a_day_after_its_hold_has_expired() {
    let cost = Prices::REFERENCE.cost(10, 5).unwrap();
    for (now, paid) in [(6_000, true), (7_000, true), (6_000 + LATE_MS, true)]
        .into_iter()
        .chain([(6_001 + LATE_MS, false)])
    {
        let mut desk = expired(GUEST);
        assert_eq!(desk.available(GUEST), 10_000_000);
        desk.now = Time(now);
        let outcome = desk.settle(desk.receipt(1, 5));
        if !paid {
            assert!(matches!(outcome, Outcome::Rejected { .. }), "at {now}");
            assert_eq!(desk.available(GUEST), 10_000_000);
            continue;
        }
        assert_eq!(outcome, Outcome::Settled { amount: cost }, "at {now}");
        assert_eq!(desk.available(GUEST), 10_000_000 - cost);
        assert_eq!(desk.available(OWNER), 50_000 + cost);
        assert_eq!(
            desk.settle(desk.receipt(1, 5)),
            outcome,
            "the same receipt again is the same payment"
        );
        let other = desk.settle(desk.receipt(1, 6));
        assert!(matches!(other, Outcome::Rejected { .. }));
    }
}

#[test]
fn a_late_receipt_takes_no_more_than_is_left() {
    let mut desk = expired(GUEST);
    desk.now = Time(7_000);
    let mut most = desk.order(2, GUEST);
    // Holds 9,990,000 of the 10,000,000.
    (most.prompt_tokens_max, most.completion_tokens_max) = (0, 9_989);
    assert!(matches!(
        desk.say(Input::Hold(most)).remove(0),
        Effect::Held { .. }
    ));
    assert_eq!(
        desk.settle(desk.receipt(1, 20)),
        Outcome::Settled { amount: 10_000 }
    );
    assert_eq!(desk.available(GUEST), 0);
}

#[test]
fn what_may_be_paid_late_is_forgotten_after_a_day() {
    let mut desk = expired(GUEST);
    assert_eq!(desk.book.accounts().lapsed().len(), 1);
    desk.now = Time(6_001 + LATE_MS);
    let mut order = desk.order(2, GUEST);
    order.term_ms = 1;
    desk.say(Input::Hold(order));
    let mut out = Vec::new();
    desk.book.wake(Time(6_010 + LATE_MS), &mut out);
    desk.book.check();
    let lapsed = desk.book.accounts().lapsed().keys().copied();
    assert!(lapsed.eq([HoldId::of(RequestId([2; 16]))]));
}
