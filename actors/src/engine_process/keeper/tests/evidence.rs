//! Clients that vouch, that do not, and that sign what they should not.

use super::*;
use crate::outbox::protocol::of_worker;
use crate::receipt::{Evidence, Receipt};

const ATTEMPT: AttemptId = AttemptId([1; 16]);

fn client() -> NodeKey {
    NodeKey::from_secret([8; 32])
}

/// A desk where one attempt of that client runs, and its engine has read a prompt of three.
fn running() -> Desk {
    let mut desk = Desk::ready();
    desk.start_for(1, client().node());
    let prompt = vec![7; 3];
    desk.event(Event::Started { prompt });
    desk
}

fn tally(completion_tokens: u32) -> Tally {
    Tally {
        prompt_tokens: 3,
        completion_tokens,
        transcript: Digest([7; 32]),
    }
}

fn statement(tally: Tally) -> Receipt {
    Receipt {
        request: RequestId([1; 16]),
        hold: HoldId([1; 16]),
        attempt: ATTEMPT,
        client: client().node(),
        worker: NodeKey::from_secret([3; 32]).node(),
        model: MODEL,
        prices: Digest([6; 32]),
        tally,
    }
}

impl Desk {
    fn event(&mut self, event: Event) {
        let attempt = ATTEMPT;
        self.frame(1, FromEngine::Event { attempt, event });
    }

    fn tokens(&mut self, positions: std::ops::Range<u32>) {
        for position in positions {
            self.event(Event::Token {
                choice: 0,
                position,
                id: 5,
                bytes: Vec::new(),
                odds: Vec::new(),
            });
        }
    }

    /// The client signs what `digest` makes of `tokens` tokens.
    fn sign(&mut self, tokens: u32, digest: fn(&Receipt) -> Digest) {
        let receipt = statement(tally(tokens));
        let signature = client().sign(digest(&receipt));
        self.say(Input::Vouch {
            peer: client().node(),
            attempt: ATTEMPT,
            tally: receipt.tally,
            signature,
        });
    }

    fn close(&mut self, tokens: u32) {
        let attempt = ATTEMPT;
        let frame = FromEngine::Closed {
            attempt,
            tally: tally(tokens),
            failure: None,
        };
        self.frame(1, frame);
    }

    /// What is handed in to the outbox by `ms`.
    fn posted(&mut self, ms: u64) -> Option<Evidence> {
        let out = self.wake_at(ms);
        let mut parcels = out.into_iter().filter_map(|effect| match effect {
            Effect::Post(parcel) => Some(*parcel),
            _ => None,
        });
        let parcel = parcels.next()?;
        assert_eq!(parcels.next(), None);
        assert_eq!(parcel.id, of_worker(ATTEMPT));
        assert_eq!(parcel.to, NodeId([9; 32]));
        assert!(parcel.evidence.verifies());
        Some(parcel.evidence)
    }
}

#[test]
fn a_worker_whose_client_does_not_sign_in_the_end_claims_what_it_vouched_for() {
    let mut desk = running();
    desk.tokens(0..1);
    desk.sign(1, Receipt::voucher);
    desk.tokens(1..40);
    desk.sign(20, Receipt::voucher);
    desk.now = Time(1_000);
    desk.close(40);
    assert_eq!(
        desk.posted(10_999),
        None,
        "the client's outbox may be at it"
    );
    let claim = desk.posted(11_000).expect("its time is over");
    assert!(matches!(claim, Evidence::Claim(_)));
    assert_eq!(claim.statement(), &statement(tally(20)));
    assert_eq!(desk.posted(11_999), None);
    assert_eq!(desk.posted(12_000), Some(claim), "until the outbox has it");
    desk.say(Input::Kept { attempt: ATTEMPT });
    assert_eq!(desk.posted(20_000), None);
}

#[test]
fn a_worker_whose_client_signs_has_the_receipt_and_forgets_it_when_it_is_paid() {
    for paid in [false, true] {
        let mut desk = running();
        desk.tokens(0..2);
        desk.close(2);
        // A voucher that comes after the end is good, and the receipt is better.
        desk.sign(1, Receipt::voucher);
        desk.sign(2, Receipt::digest);
        desk.sign(2, Receipt::voucher);
        if paid {
            desk.say(Input::Paid { attempt: ATTEMPT });
        }
        let evidence = desk.posted(10_000);
        let receipt = evidence.as_ref().map(Evidence::statement);
        assert_eq!(receipt, Some(&statement(tally(2))).filter(|_| !paid));
        assert!(paid || matches!(evidence, Some(Evidence::Receipt(_))));
    }
}

#[test]
fn an_engine_that_falls_leaves_what_was_vouched_for() {
    let mut desk = running();
    desk.tokens(0..9);
    desk.sign(9, Receipt::voucher);
    desk.say(Input::Exited {
        model: MODEL,
        life: 1,
        reason: "killed".to_owned(),
    });
    let claim = desk.posted(10_000).expect("its time is over");
    assert_eq!(claim.statement(), &statement(tally(9)));
}

#[test]
fn what_is_not_the_clients_or_more_than_was_sent_or_less_than_before_is_not_kept() {
    let mut desk = running();
    desk.tokens(0..9);
    desk.sign(5, Receipt::voucher);
    let good = statement(tally(6));
    let of_another = Input::Vouch {
        peer: CLIENT,
        attempt: ATTEMPT,
        tally: good.tally.clone(),
        signature: client().sign(good.voucher()),
    };
    desk.say(of_another);
    desk.sign(10, Receipt::voucher);
    desk.sign(4, Receipt::voucher);
    let mut prompt = statement(tally(6));
    prompt.tally.prompt_tokens = 400;
    desk.say(Input::Vouch {
        peer: client().node(),
        attempt: ATTEMPT,
        signature: client().sign(prompt.voucher()),
        tally: prompt.tally,
    });
    // A signature that is none: nothing is heard of that client's any more.
    desk.sign(7, Receipt::digest);
    desk.sign(8, Receipt::voucher);
    desk.close(9);
    let claim = desk.posted(10_000).expect("its time is over");
    assert_eq!(claim.statement(), &statement(tally(5)));
}

#[test]
fn nothing_is_kept_of_an_attempt_that_made_no_token_or_was_not_vouched_for() {
    let mut desk = running();
    desk.close(0);
    assert_eq!(desk.posted(10_000), None);
    let mut desk = running();
    desk.tokens(0..3);
    desk.close(3);
    assert_eq!(desk.posted(10_000), None);
    assert_eq!(desk.posted(60_000), None);
}

#[test]
fn a_node_that_stops_hands_in_at_once_what_it_has() {
    let mut desk = running();
    desk.tokens(0..3);
    desk.sign(3, Receipt::voucher);
    desk.close(3);
    desk.say(Input::Drain { grace_ms: 100 });
    assert!(desk.posted(0).is_some());
}

#[test]
fn a_client_that_falls_behind_by_two_vouchers_is_cut_off_after_a_patience() {
    // Two are on their way.
    let mut desk = running();
    desk.tokens(0..513);
    desk.sign(1, Receipt::voucher);
    assert_eq!(cancelled(&desk.wake_at(10_500)), []);
    // One token more, and it has to catch up,
    let mut desk = running();
    desk.tokens(0..514);
    desk.sign(1, Receipt::voucher);
    assert_eq!(cancelled(&desk.wake_at(9_999)), []);
    assert_eq!(cancelled(&desk.wake_at(10_000)), [ATTEMPT]);
    // which gives it as long again.
    let mut desk = running();
    desk.tokens(0..514);
    desk.sign(1, Receipt::voucher);
    desk.now = Time(3_000);
    desk.sign(257, Receipt::voucher);
    desk.now = Time(4_000);
    desk.tokens(514..770);
    assert_eq!(cancelled(&desk.wake_at(13_999)), []);
    assert_eq!(cancelled(&desk.wake_at(14_000)), [ATTEMPT]);
}

#[test]
fn a_client_that_never_vouches_is_cut_off_after_its_first_token() {
    let mut desk = running();
    assert_eq!(cancelled(&desk.wake_at(9_000)), [], "there is nothing yet");
    desk.tokens(0..1);
    assert_eq!(cancelled(&desk.wake_at(18_999)), []);
    assert_eq!(cancelled(&desk.wake_at(19_000)), [ATTEMPT]);
    assert_eq!(
        cancelled(&desk.wake_at(19_001)),
        [],
        "an engine is told once"
    );
}

#[test]
fn a_client_far_away_that_vouches_for_all_it_gets_is_not_cut_off_and_one_that_trickles_is() {
    // 300 tokens a second, vouched for three seconds later: nine hundred are always owed.
    let mut desk = running();
    for second in 0..18u32 {
        desk.now = Time(u64::from(second) * 1_000);
        assert_eq!(cancelled(&desk.wake_at(desk.now.0)), [], "{second} s");
        desk.tokens(second * 300..(second + 1) * 300);
        if second >= 3 {
            desk.sign((second - 2) * 300, Receipt::voucher);
        }
    }
    // One that vouches for a token a second owes what came ten seconds ago.
    let mut desk = running();
    let cut = (0..18u32).find(|second| {
        desk.now = Time(u64::from(*second) * 1_000);
        let is_cut = !cancelled(&desk.wake_at(desk.now.0)).is_empty();
        desk.tokens(second * 300..(second + 1) * 300);
        desk.sign(second + 1, Receipt::voucher);
        is_cut
    });
    assert_eq!(cut, Some(11));
}
