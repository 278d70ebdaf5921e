//! What a session signs for its worker on the way, and in the end.

use super::*;

impl Desk {
    /// What was signed last is `tokens` of the prompt's answer, under the digest that `tag` makes of it.
    fn vouched_for(&self, number: u32, tokens: u32, tag: fn(&Receipt) -> Digest) -> bool {
        let (attempt, tally, signature) = self.vouched.last().expect("something was signed");
        let grant = match self.grant(number) {
            Input::Granted(grant) => *grant,
            _ => unreachable!("a grant is one"),
        };
        let client = NodeKey::from_secret([1; 32]).node();
        let receipt = Receipt {
            request: RequestId([4; 16]),
            hold: grant.hold,
            attempt: grant.attempt,
            client,
            worker: grant.worker,
            model: Passport([3; 32]),
            prices: grant.prices,
            tally: tally.clone(),
        };
        *attempt == grant.attempt
            && tally.prompt_tokens == PROMPT.len() as u32
            && tally.completion_tokens == tokens
            && signature.verifies(client, tag(&receipt))
    }
}

#[test]
fn a_session_vouches_at_the_first_token_then_while_they_come_and_signs_the_receipt() {
    let mut desk = Desk::new(1);
    desk.begin();
    assert!(desk.vouched.is_empty(), "there is nothing to vouch for");
    desk.token(0, 0, "a");
    assert!(desk.vouched_for(0, 1, Receipt::voucher));
    desk.now = Time(4_999);
    desk.token(0, 1, "b");
    assert_eq!(desk.vouched.len(), 1, "one more is not worth a signature");
    desk.now = Time(5_000);
    desk.token(0, 1, "b");
    desk.token(0, 2, "c");
    assert_eq!(desk.vouched.len(), 2);
    assert!(desk.vouched_for(0, 2, Receipt::voucher));
    desk.event(
        0,
        Event::Ended {
            choice: 0,
            tokens: 3,
            finish: Finish::Length,
        },
    );
    desk.close(0, &[100, 101, 102], None);
    assert_eq!(desk.vouched.len(), 3);
    assert!(desk.vouched_for(0, 3, Receipt::digest));
    assert_eq!(desk.posted.len(), 1);
}

#[test]
fn what_an_earlier_worker_delivered_is_nothing_to_vouch_for_anew() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "a");
    desk.token(0, 1, "b");
    let attempt = Desk::attempt(0);
    desk.say(Input::Lost { attempt });
    desk.say(desk.grant(1));
    let prompt = PROMPT.to_vec();
    desk.event(1, Event::Started { prompt });
    assert_eq!(desk.vouched.len(), 1);
    desk.token(1, 2, "c");
    assert!(desk.vouched_for(1, 3, Receipt::voucher));
}

#[test]
fn a_session_does_not_sign_a_receipt_that_differs() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "a");
    desk.close(0, &[100, 101], None);
    assert_eq!(desk.vouched.len(), 1);
    assert!(desk.vouched_for(0, 1, Receipt::voucher));
}
