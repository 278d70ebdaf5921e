//! The issuer's core: fills in the times and signs. The same order always names the same attempt.

use super::protocol::{Effect, Input};
use crate::contract::{Core, Time};
use crate::ids::{AttemptId, NodeKey};
use crate::session::protocol::Grant;
use crate::ticket::{self, Claims, LIFETIME_SECONDS};

/// A coordinator's key, and nothing else.
#[derive(Clone, Debug)]
pub struct Seal {
    key: NodeKey,
}

impl Seal {
    /// The seal of the coordinator with this key.
    pub fn new(key: NodeKey) -> Seal {
        Seal { key }
    }
}

impl Core for Seal {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        let Input::Issue(issue) = input;
        let issued_at = now.seconds();
        let claims = Claims {
            issuer: self.key.node(),
            issued_at,
            issued_ms: now.0 % 1000,
            expires_at: issued_at.saturating_add(LIFETIME_SECONDS),
            attempt: AttemptId::of(issue.claims.hold, issue.claims.number),
            client: issue.client,
            ..issue.claims
        };
        let ticket = ticket::sign(&claims, &self.key);
        out.push(Effect::Granted {
            client: issue.client,
            request: claims.request,
            grant: Box::new(Grant::of(&claims, issue.silence_ms, ticket)),
        });
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

    fn check(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Digest, HoldId, MemberId, NodeId, Passport, RequestId};
    use crate::scheduler::protocol::Issue;
    use crate::ticket::Expected;

    fn granted(seal: &mut Seal, now: Time, claims: &Claims) -> Grant {
        let mut out = Vec::new();
        let issue = Issue {
            client: claims.client,
            silence_ms: 5_000,
            claims: claims.clone(),
        };
        seal.step(now, Input::Issue(Box::new(issue)), &mut out);
        let Some(Effect::Granted { grant, .. }) = out.pop() else {
            panic!("an order gives a grant");
        };
        *grant
    }

    #[test]
    fn the_same_order_twice_is_a_fresh_ticket_for_the_same_attempt() {
        // Given an order for the third attempt of a request,
        let key = NodeKey::from_secret([1; 32]);
        let hold = HoldId::of(RequestId([2; 16]));
        let claims = Claims {
            issuer: NodeId([0; 32]),
            payer: MemberId([3; 16]),
            worker: NodeId([4; 32]),
            client: NodeId([5; 32]),
            issued_at: 0,
            issued_ms: 0,
            expires_at: 0,
            attempt: AttemptId([0; 16]),
            hold,
            request: RequestId([2; 16]),
            number: 2,
            model: Passport([6; 32]),
            prompt_bytes_max: 10,
            completion_tokens_max: 20,
            prices: Digest([7; 32]),
            cost_max: 30,
            stream_seconds_max: 40,
        };
        // when it is given twice, a minute apart,
        let mut seal = Seal::new(key.clone());
        let first = granted(&mut seal, Time(1_000_500), &claims);
        let second = granted(&mut seal, Time(1_060_500), &claims);
        // then both tickets are good for that attempt, each for its own two minutes.
        assert_eq!(first.attempt, AttemptId::of(hold, 2));
        assert_eq!(first.attempt, second.attempt);
        for (grant, issued_at) in [(first, 1000), (second, 1060)] {
            let expected = Expected {
                issuer: key.node(),
                worker: claims.worker,
                client: claims.client,
                now_seconds: issued_at,
            };
            let said = ticket::verify(&grant.ticket, &expected).expect("it was just signed");
            assert_eq!(
                (said.issued_at, said.expires_at),
                (issued_at, issued_at + 120)
            );
            assert_eq!(said.attempt, grant.attempt);
        }
    }
}
