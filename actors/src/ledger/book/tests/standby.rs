//! Workers that stand by: whoever delivers is paid, once, from what was set aside before either had a ticket.

use super::*;
use crate::ids::NodeId;

/// A worker beside the desk's own, of the member `owner`.
fn other(n: u8) -> NodeKey {
    NodeKey::from_secret([n; 32])
}

impl Desk {
    /// Orders the attempt `number` of request `n` at the desk's worker, with somebody standing by.
    fn hold_beside(&mut self, n: u8, payer: MemberId, by: &NodeKey, owner: MemberId) -> Effect {
        let mut order = self.order(n, payer);
        order.standby = Some(Box::new((by.node(), owner)));
        self.say(Input::Hold(order)).remove(0)
    }

    /// The receipt of attempt `number`, by `worker`.
    fn receipt_by(&self, n: u8, number: u32, worker: &NodeKey) -> Signed {
        let mut receipt = self.receipt(n, 5).receipt;
        receipt.worker = worker.node();
        receipt.attempt = AttemptId::of(receipt.hold, number);
        Half::sign(receipt, worker).countersign(&self.client)
    }

    fn replayed(&self) {
        let again = Book::replay(Prices::REFERENCE, self.disk.clone()).expect("good entries");
        let digests = [&again, &self.book].map(|book| book.accounts().digest());
        assert_eq!(digests[0], digests[1]);
    }
}

fn standby(effect: &Effect) -> Option<(u32, NodeId)> {
    match effect {
        Effect::Held { standby, .. } => *standby,
        other => panic!("not held: {other:?}"),
    }
}

const FRIEND: MemberId = MemberId([3; 16]);

#[test]
fn whoever_of_the_two_delivered_is_paid_and_never_both() {
    let cost = Prices::REFERENCE.cost(10, 5).unwrap();
    let second = other(6);
    for by_second in [false, true] {
        // Given a hold for the desk's worker, with a friend's machine standing by,
        let mut desk = Desk::new();
        let held = desk.hold_beside(1, GUEST, &second, FRIEND);
        assert_eq!(standby(&held), Some((1, second.node())));
        let held = desk.book.accounts().members()[&GUEST].held;
        let first = desk.worker.clone();
        let receipts = [
            desk.receipt_by(1, 0, &first),
            desk.receipt_by(1, 1, &second),
        ];
        // what neither was given is not paid,
        for wrong in [
            desk.receipt_by(1, 0, &second),
            desk.receipt_by(1, 1, &first),
            desk.receipt_by(1, 2, &second),
        ] {
            assert!(matches!(desk.settle(wrong), Outcome::Rejected { .. }));
        }
        assert_eq!(desk.book.accounts().members()[&GUEST].held, held);
        // when one of the two receipts comes, then it is paid, and the other one never is.
        let (paid, other) = match by_second {
            true => (1, 0),
            false => (0, 1),
        };
        for _ in 0..2 {
            let outcome = desk.settle(receipts[paid].clone());
            assert_eq!(outcome, Outcome::Settled { amount: cost });
            let outcome = desk.settle(receipts[other].clone());
            assert!(matches!(outcome, Outcome::Rejected { .. }));
        }
        let earned = [(OWNER, !by_second), (FRIEND, by_second)];
        for (member, is_paid) in earned {
            let account = desk.book.accounts().members().get(&member);
            let earned = account.map_or(0, |account| account.earned);
            assert_eq!(earned, if is_paid { cost } else { 0 });
        }
        assert_eq!(desk.available(GUEST), 10_000_000 - cost);
        desk.replayed();
    }
}

#[test]
fn a_stranger_stands_by_for_own_work_only_where_it_is_covered() {
    let second = other(6);
    // The owner has 50,000; the most that a stranger may cost is 126,000.
    let mut desk = Desk::new();
    let held = desk.hold_beside(1, OWNER, &second, FRIEND);
    assert_eq!(standby(&held), None, "own work goes on without");
    assert_eq!(desk.available(OWNER), 50_000);
    // A member who has enough sets it aside, and gets all of it back for work of its own.
    let mut order = desk.order(2, GUEST);
    (order.payee, order.standby) = (GUEST, Some(Box::new((second.node(), FRIEND))));
    let held = desk.say(Input::Hold(order)).remove(0);
    assert_eq!(standby(&held), Some((1, second.node())));
    assert_eq!(desk.available(GUEST), 10_000_000 - 126_000);
    let outcome = desk.settle(desk.receipt(2, 5));
    assert_eq!(outcome, Outcome::Settled { amount: 0 });
    assert_eq!(desk.available(GUEST), 10_000_000);
    desk.replayed();
}

#[test]
fn an_attempt_that_stood_by_keeps_its_worker_and_its_number() {
    let mut desk = Desk::new();
    desk.hold(1, GUEST);
    let mut order = desk.order(1, GUEST);
    order.is_begun = true;
    for (n, number) in [(6, 1), (7, 2), (6, 1), (8, 3), (9, 4)] {
        order.standby = Some(Box::new((other(n).node(), FRIEND)));
        let held = desk.say(Input::Hold(order.clone())).remove(0);
        assert_eq!(standby(&held), Some((number, other(n).node())));
    }
    order.standby = Some(Box::new((other(10).node(), FRIEND)));
    let held = desk.say(Input::Hold(order.clone())).remove(0);
    assert_eq!(standby(&held), None, "four tickets may be out, and no more");
    order.standby = Some(Box::new((order.worker, OWNER)));
    let held = desk.say(Input::Hold(order.clone())).remove(0);
    assert_eq!(standby(&held), None, "nobody stands by for itself");

    // The session has gone on at the second of them. Whoever orders that attempt hears whose it is,
    let mut moved = desk.order(1, GUEST);
    (moved.number, moved.is_begun) = (2, true);
    moved.standby = Some(Box::new((other(11).node(), FRIEND)));
    let held = desk.say(Input::Hold(moved)).remove(0);
    assert!(matches!(held, Effect::Held { worker, .. } if worker == other(7).node()));
    assert_eq!(standby(&held), Some((5, other(11).node())));
    // those that stood by for later attempts still do, and the ones before it are over.
    let outcome = desk.settle(desk.receipt_by(1, 1, &other(6)));
    assert!(matches!(outcome, Outcome::Rejected { .. }));
    let outcome = desk.settle(desk.receipt_by(1, 3, &other(8)));
    assert!(matches!(outcome, Outcome::Settled { .. }));
    desk.replayed();
}

#[test]
fn who_says_that_it_runs_gets_no_hold_by_that() {
    let mut desk = Desk::new();
    let mut order = desk.order(1, GUEST);
    (order.is_begun, order.standby) = (true, Some(Box::new((other(6).node(), FRIEND))));
    let head = desk.book.head();
    for number in [0, 3] {
        order.number = number;
        let answer = desk.say(Input::Hold(order.clone())).remove(0);
        assert!(matches!(answer, Effect::NotHeld { .. }));
        assert_eq!(desk.book.head(), head);
    }
    desk.hold(1, GUEST);
    let head = desk.book.head();
    let answer = desk.say(Input::Hold(order)).remove(0);
    assert!(
        matches!(answer, Effect::NotHeld { .. }),
        "attempt 3 had no ticket"
    );
    assert_eq!(desk.book.head(), head);
}

#[test]
fn l34_whoever_stood_by_is_paid_late_as_well() {
    let second = other(6);
    let mut desk = Desk::new();
    desk.hold_beside(1, GUEST, &second, FRIEND);
    let mut out = Vec::new();
    desk.book.wake(Time(6_000), &mut out);
    let Some(Effect::Persist(batch)) = out.pop() else {
        panic!("an expiry is an entry")
    };
    let number = batch.number;
    desk.disk.extend(batch.entries);
    desk.raw(Input::Persisted { batch: number });
    desk.now = Time(7_000);
    let cost = Prices::REFERENCE.cost(10, 5).unwrap();
    let outcome = desk.settle(desk.receipt_by(1, 1, &second));
    assert_eq!(outcome, Outcome::Settled { amount: cost });
    assert_eq!(desk.available(FRIEND), cost);
    let first = desk.worker.clone();
    let outcome = desk.settle(desk.receipt_by(1, 0, &first));
    assert!(matches!(outcome, Outcome::Rejected { .. }));
    desk.replayed();
}
