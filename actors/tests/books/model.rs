//! Random orders, answered by the books and by a second, naive reckoning that shares nothing with them.

use crate::desk::{
    Desk, attempt, grant, member, order, receipt, request, settle, unsigned, worker,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use troop_actors::ledger::protocol::{Effect, Input, Outcome};
use troop_actors::ledger::{Book, Fact};
use troop_actors::price::Prices;
use troop_actors::scheduler::protocol::{HoldOrder, Refusal};

#[derive(Clone, Debug)]
enum Event {
    Grant(u8, u8, u64),
    /// Request and attempt, payer, worker, tokens.
    Hold((u32, u32), u8, u8, (u64, u64)),
    /// Request and attempt, worker, tokens. The last number spoils the worker's (1) or the client's (2) signature.
    Settle((u32, u32), u8, (u32, u32), u8),
    Wait(u64),
    Persist,
}

fn events() -> impl Strategy<Value = Event> {
    let tokens = || (0..60u64, 0..90u64);
    let delivered = (0..60u32, 0..90u32);
    prop_oneof![
        2 => (0..4u8, 0..3u8, 0..400_000u64).prop_map(|(id, to, n)| Event::Grant(id, to, n)),
        6 => ((0..12u32, 0..3u32), 0..3u8, 0..2u8, tokens()).prop_map(|(n, p, w, t)| Event::Hold(n, p, w, t)),
        6 => ((0..12u32, 0..3u32), 0..2u8, delivered, 0..9u8).prop_map(|(n, w, t, s)| Event::Settle(n, w, t, s)),
        1 => (0..4_000u64).prop_map(Event::Wait),
        3 => Just(Event::Persist),
    ]
}

/// A hold in the naive reckoning.
#[derive(Clone, Debug, PartialEq)]
enum Hold {
    Open {
        payer: u8,
        attempt: u32,
        worker: u8,
        amount: i64,
        until: u64,
    },
    Expired {
        payer: u8,
        attempt: u32,
        worker: u8,
        amount: i64,
    },
    Paid {
        amount: i64,
        by: (u32, u8, (u32, u32)),
    },
    Refused,
}

/// What an answer should be, in few words.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Granted(bool),
    /// For which worker, if at all.
    Held(Option<u8>),
    Paid(i64),
    Rejected,
}

/// Balances as plain numbers; a price as plain arithmetic.
#[derive(Default)]
struct Naive {
    free: [i64; 3],
    granted: i64,
    grants: BTreeMap<u8, (u8, u64)>,
    holds: BTreeMap<u32, Hold>,
}

fn price(prompt: i64, completion: i64) -> i64 {
    // A thousand tokens out are 1 credit, in a quarter; a request is 1,000 µc; nothing delivered is free.
    if completion == 0 {
        0
    } else {
        1_000 + 250 * prompt + 1_000 * completion
    }
}

impl Naive {
    fn grant(&mut self, id: u8, to: u8, amount: u64) -> Said {
        if let Some(before) = self.grants.get(&id) {
            return Said::Granted(*before == (to, amount));
        }
        self.grants.insert(id, (to, amount));
        self.free[usize::from(to)] += amount as i64;
        self.granted += amount as i64;
        Said::Granted(true)
    }

    fn hold(
        &mut self,
        now: u64,
        (n, attempt): (u32, u32),
        (payer, worker): (u8, u8),
        tokens: (u64, u64),
    ) -> Said {
        let most = if payer == worker {
            0
        } else {
            price(tokens.0 as i64, tokens.1 as i64)
        };
        let (back, until) = match self.holds.get(&n) {
            Some(Hold::Open {
                payer: first,
                attempt: before,
                worker,
                amount,
                until,
            }) if *first == payer && *before <= attempt => {
                if *before == attempt {
                    return Said::Held(Some(*worker));
                }
                (*amount, *until)
            }
            Some(_) => return Said::Held(None),
            None => (0, now + 5_000),
        };
        // What a stranger may claim stays set aside.
        let most = most.max(back);
        let free = &mut self.free[usize::from(payer)];
        if *free + back < most {
            self.holds.entry(n).or_insert(Hold::Refused);
            return Said::Held(None);
        }
        *free += back - most;
        self.holds.insert(
            n,
            Hold::Open {
                payer,
                attempt,
                worker,
                amount: most,
                until,
            },
        );
        Said::Held(Some(worker))
    }

    fn settle(&mut self, (n, attempt): (u32, u32), by: u8, tokens: (u32, u32), good: bool) -> Said {
        let said = (attempt, by, tokens);
        let (payer, right, held, late) = match self.holds.get(&n).cloned() {
            Some(Hold::Paid { amount, by: before }) if before == said => return Said::Paid(amount),
            Some(Hold::Open {
                payer,
                attempt,
                worker,
                amount,
                ..
            }) => (payer, (attempt, worker), amount, false),
            Some(Hold::Expired {
                payer,
                attempt,
                worker,
                amount,
            }) => (payer, (attempt, worker), amount, true),
            _ => return Said::Rejected,
        };
        if right != (attempt, by) || !good {
            return Said::Rejected;
        }
        let free = &mut self.free[usize::from(payer)];
        if !late {
            *free += held;
        }
        // Nobody waits a day here.
        let held = if payer == by { 0 } else { held };
        let cost = price(tokens.0.into(), tokens.1.into()).min(held).min(*free);
        *free -= cost;
        self.free[usize::from(by)] += cost;
        let amount = cost;
        self.holds.insert(n, Hold::Paid { amount, by: said });
        Said::Paid(amount)
    }

    fn expire(&mut self, now: u64) {
        for hold in self.holds.values_mut() {
            if let Hold::Open {
                payer,
                attempt,
                worker,
                amount,
                until,
            } = *hold
                && until <= now
            {
                self.free[usize::from(payer)] += amount;
                *hold = Hold::Expired {
                    payer,
                    attempt,
                    worker,
                    amount,
                };
            }
        }
    }
}

fn said(effect: &Effect) -> Said {
    match effect {
        Effect::Granted { outcome, .. } => Said::Granted(outcome.is_ok()),
        Effect::Held { worker: by, .. } => Said::Held((0..2).find(|n| worker(*n).node() == *by)),
        Effect::NotHeld { .. } => Said::Held(None),
        Effect::Answer {
            outcome: Outcome::Settled { amount },
            ..
        } => Said::Paid(*amount as i64),
        Effect::Answer {
            outcome: Outcome::Rejected { .. },
            ..
        } => Said::Rejected,
        Effect::Answer { .. } | Effect::Paid { .. } => unreachable!("nobody claims here"),
        Effect::Persist(_) => unreachable!("the desk keeps these"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// L01-L06, L09, L10, L12, L14, L17, L18, L21, L28: `check` runs after every step.
    #[test]
    fn the_books_agree_with_a_naive_reckoning(script in prop::collection::vec(events(), 1..120)) {
        let mut desk = Desk::new();
        let mut naive = Naive::default();
        let mut expected = Vec::new();
        for event in script {
            match event {
                Event::Grant(id, to, amount) => {
                    expected.push(naive.grant(id, to, amount));
                    desk.step(grant(id, to, amount));
                }
                Event::Hold(n, payer, by, tokens) => {
                    expected.push(naive.hold(desk.now.0, n, (payer, by), tokens));
                    let (n, number) = n;
                    desk.step(Input::Hold(HoldOrder {
                        number,
                        ..order(n, payer, by, tokens)
                    }));
                }
                Event::Settle(n, by, tokens, spoiled) => {
                    let mut signed = attempt(n.0, n.1, by, tokens);
                    match spoiled {
                        1 => signed.worker_signature = unsigned(),
                        2 => signed.client_signature = unsigned(),
                        _ => {}
                    }
                    expected.push(naive.settle(n, by, tokens, spoiled != 1 && spoiled != 2));
                    desk.step(settle(signed));
                }
                Event::Wait(ms) => {
                    desk.wait(ms);
                    naive.expire(desk.now.0);
                }
                Event::Persist => drop(desk.persist()),
            }
        }
        desk.settle_down();
        desk.said.retain(|effect| !matches!(effect, Effect::Paid { .. }));
        let heard: Vec<_> = desk.said.iter().map(said).collect();
        prop_assert_eq!(heard, expected);
        for n in 0..3u8 {
            let free = desk.book.accounts().available(member(n));
            prop_assert_eq!(free as i64, naive.free[usize::from(n)], "member {}", n);
        }
        prop_assert_eq!(desk.book.accounts().supply() as i64, naive.granted);
        let again = Book::replay(Prices::REFERENCE, desk.disk.clone()).unwrap();
        prop_assert_eq!(again.head(), desk.book.head());
        prop_assert_eq!(again.accounts().digest(), desk.book.accounts().digest());
    }

    /// L07: whatever was answered may come again, in any order and number, and nothing changes.
    #[test]
    fn l07_any_part_of_the_past_in_any_order_changes_nothing(
        holds in prop::collection::vec((0..20u32, 0..3u8, 0..2u8, (0..60u64, 0..90u64)), 1..30),
        receipts in prop::collection::vec((0..20u32, 0..2u8, (0..60u32, 0..90u32)), 0..30),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        pause in 0..6_000u64,
    ) {
        let mut past = vec![grant(1, 0, 200_000), grant(2, 1, 150_000), grant(3, 2, 90_000)];
        // One order for each request: an order of another payer is refused where it was first granted.
        let holds: BTreeMap<_, _> = holds.into_iter().map(|hold| (hold.0, hold)).collect();
        let orders = holds.into_values().map(|(n, payer, by, tokens)| order(n, payer, by, tokens));
        past.extend(orders.map(Input::Hold));
        past.extend(receipts.into_iter().map(|(n, by, tokens)| settle(receipt(n, by, tokens))));
        let mut desk = Desk::new();
        past.iter().for_each(|input| desk.step(input.clone()));
        desk.wait(pause);
        desk.settle_down();
        let before = (desk.book.head(), desk.book.accounts().digest());

        again.iter().for_each(|index| desk.step(index.get(&past).clone()));

        prop_assert_eq!((desk.book.head(), desk.book.accounts().digest()), before);
    }
}

#[test]
fn l08_of_a_thousand_holds_at_once_seven_are_covered() {
    let mut desk = Desk::new();
    desk.step(grant(1, 2, 7 * 126_000 + 125_999));
    for n in 0..1000 {
        desk.step(Input::Hold(order(n, 2, 0, (100, 100))));
    }
    desk.settle_down();
    let held = desk
        .said
        .iter()
        .filter(|effect| matches!(effect, Effect::Held { .. }))
        .count();
    assert_eq!(held, 7);
}

#[test]
fn what_waits_for_a_stuck_disk_is_bounded_and_nothing_that_waits_is_said() {
    let mut desk = Desk::new();
    desk.step(grant(1, 2, 1 << 60));
    // The disk never answers from here on.
    for n in 0..10_000 {
        desk.step(Input::Hold(order(n, 2, 0, (1, 1))));
        desk.step(settle(receipt(n + 20_000, 0, (1, 1))));
    }
    let busy = desk.said.iter().all(|effect| {
        matches!(
            effect,
            Effect::NotHeld {
                refusal: Refusal::LedgerUnavailable,
                ..
            }
        )
    });
    assert!(busy, "only what has changed nothing is said");
    assert!(desk.said.len() > 7_000, "{} were refused", desk.said.len());
    assert!(desk.book.accounts().open().len() <= 4096);

    // It comes back: what waited is answered, once.
    let refused = desk.said.len();
    desk.settle_down();
    assert_eq!(desk.said.len() - refused, 4096);
}

#[test]
fn nobody_closes_the_books_to_others_with_holds_of_its_own() {
    let mut desk = Desk::new();
    for n in 0..4_096 {
        desk.step(Input::Hold(order(n, 0, 0, (1, 1))));
        desk.settle_down();
    }
    desk.said.clear();
    desk.step(Input::Hold(order(5_000, 0, 0, (1, 1))));
    desk.step(Input::Hold(order(5_001, 1, 1, (1, 1))));
    desk.settle_down();
    let said = |effect: &Effect| match effect {
        Effect::NotHeld { refusal, .. } => matches!(refusal, Refusal::Busy { .. }),
        _ => false,
    };
    let refused = desk.said.iter().filter(|effect| said(effect)).count();
    assert_eq!((desk.said.len(), refused), (2, 1), "{:?}", desk.said);
}

#[test]
fn a_multitude_of_holds_that_end_at_once_is_entered_in_bounded_batches() {
    let mut desk = Desk::new();
    for n in 0..5_000 {
        let member = (n % 2) as u8;
        desk.step(Input::Hold(order(n, member, member, (1, 1))));
        desk.settle_down();
    }
    desk.wait(1 << 40);
    let first = desk.disk.len();
    assert_eq!(first, 5_000 + 4_096);
    // As a seat does: woken whenever a deadline has passed.
    while desk.persist() {
        desk.wait(0);
    }
    assert_eq!(desk.disk.len(), 10_000);
    assert!(desk.book.accounts().open().is_empty());
}

#[test]
fn l27_what_an_account_ever_moved_does_not_wrap() {
    let mut desk = Desk::new();
    let all = troop_actors::ledger::SUPPLY_MAX;
    let tokens = (u64::from(u32::MAX), u64::from(u32::MAX));
    desk.step(grant(1, 0, all));
    let mut moved: u128 = 0;
    // Two members pass everything to and fro; entries as a disk might hold them, for no client is so patient.
    let mut book = Book::default();
    for entry in &desk.disk {
        book.take_in(entry).unwrap();
    }
    let mut accounts = book.accounts().clone();
    let refused = (0..20u32).find_map(|n| {
        let (payer, payee) = ((n % 2) as u8, ((n + 1) % 2) as u8);
        let hold = troop_actors::ids::HoldId::of(request(n));
        let set_aside = Fact::Hold {
            hold,
            request: request(n),
            payer: member(payer),
            payee: member(payee),
            client: worker(9).node(),
            worker: worker(payee).node(),
            number: 0,
            amount: all,
            prices: Prices::REFERENCE.version(),
            expires: troop_actors::contract::Time(u64::MAX),
        };
        accounts.apply(&set_aside).unwrap();
        let before = accounts.digest();
        let post = Fact::Post {
            hold,
            amount: all,
            receipt: troop_actors::ids::Digest([1; 32]),
        };
        let refused = accounts.apply(&post).err();
        match refused {
            Some(_) => assert_eq!(accounts.digest(), before, "a refused fact changes nothing"),
            None => moved += u128::from(all),
        }
        accounts.check();
        refused
    });
    assert!(refused.unwrap().starts_with("L27"));
    assert!(moved > u128::from(u64::MAX), "both directions together");
    desk.step(Input::Hold(order(1, 0, 1, tokens)));
    desk.settle_down();
    assert!(matches!(desk.said.last(), Some(Effect::Held { .. })));
}
