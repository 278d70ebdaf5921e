//! The issuer's core: fills in the times and signs. The same order always names the same attempt. What was taken back
//! it signs no more, and tells every door that asks.

use super::protocol::{Effect, Input};
use crate::contract::{Core, Time};
use crate::ids::{AttemptId, NodeKey};
use crate::scheduler::protocol::Issue;
use crate::session::protocol::Grant;
use crate::ticket::{self, Claims, LIFETIME_SECONDS, REVOKED_MAX, Revocations, Revoked};

/// A coordinator's key, and what it has taken back.
#[derive(Clone, Debug)]
pub struct Seal {
    key: NodeKey,
    /// In the order of their coming.
    revoked: Vec<Revoked>,
    /// The same, signed; nothing while there is nothing.
    list: Option<Revocations>,
}

impl Seal {
    /// The seal of the coordinator with this key, which has taken nothing back.
    pub fn new(key: NodeKey) -> Seal {
        Seal {
            key,
            revoked: Vec::new(),
            list: None,
        }
    }

    fn issue(&self, now: Time, issue: Issue, out: &mut Vec<Effect>) {
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
        if self.list.as_ref().is_some_and(|list| list.names(&claims)) {
            return;
        }
        let ticket = ticket::sign(&claims, &self.key);
        out.push(Effect::Granted {
            client: issue.client,
            request: claims.request,
            grant: Box::new(Grant::of(&claims, issue.patience, ticket)),
        });
    }

    fn revoke(&mut self, now: Time, revoked: Vec<Revoked>) {
        let before = self.revoked.len();
        for revoked in revoked {
            if !self.revoked.contains(&revoked) {
                self.revoked.push(revoked);
            }
        }
        if self.revoked.len() == before {
            return;
        }
        let beyond = self.revoked.len().saturating_sub(REVOKED_MAX);
        self.revoked.drain(..beyond);
        // The time, so that a later life of this coordinator has later lists.
        let known = self.list.as_ref().map_or(0, |list| list.epoch);
        let epoch = now.0.max(known + 1);
        self.list = Some(Revocations::sign(epoch, self.revoked.clone(), &self.key));
    }
}

impl Core for Seal {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Issue(issue) => self.issue(now, *issue, out),
            Input::Tell { door, sent, epoch } => {
                let news = self.list.as_ref().filter(|list| list.epoch != epoch);
                out.push(Effect::Told {
                    door,
                    sent,
                    there: now,
                    revocations: news.cloned().map(Box::new),
                });
            }
            Input::Revoke(revoked) => self.revoke(now, revoked),
        }
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

    fn check(&self) {
        assert!(self.revoked.len() <= REVOKED_MAX, "the list is bounded");
        let listed = self.list.as_ref().map(|list| &list.revoked);
        assert_eq!(listed.map_or(0, Vec::len), self.revoked.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Digest, HoldId, MemberId, NodeId, Passport, RequestId};
    use crate::session::protocol::Patience;
    use crate::ticket::Expected;

    fn granted(seal: &mut Seal, now: Time, claims: &Claims) -> Grant {
        let mut out = Vec::new();
        let issue = Issue {
            client: claims.client,
            patience: PATIENCE,
            claims: claims.clone(),
        };
        seal.step(now, Input::Issue(Box::new(issue)), &mut out);
        let Some(Effect::Granted { grant, .. }) = out.pop() else {
            panic!("an order gives a grant");
        };
        *grant
    }

    const PATIENCE: Patience = Patience {
        silence_ms: 5_000,
        progress_ms: 20_000,
    };

    /// An order for the third attempt of a request.
    fn ordered() -> Claims {
        Claims {
            issuer: NodeId([0; 32]),
            payer: MemberId([3; 16]),
            worker: NodeId([4; 32]),
            client: NodeId([5; 32]),
            issued_at: 0,
            issued_ms: 0,
            expires_at: 0,
            attempt: AttemptId([0; 16]),
            hold: HoldId::of(RequestId([2; 16])),
            request: RequestId([2; 16]),
            number: 2,
            model: Passport([6; 32]),
            prompt_bytes_max: 10,
            completion_tokens_max: 20,
            prices: Digest([7; 32]),
            cost_max: 30,
            stream_seconds_max: 40,
        }
    }

    #[test]
    fn the_same_order_twice_is_a_fresh_ticket_for_the_same_attempt() {
        // Given an order for the third attempt of a request,
        let key = NodeKey::from_secret([1; 32]);
        let claims = ordered();
        let hold = claims.hold;
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

    #[test]
    fn what_was_taken_back_is_told_to_every_door_and_not_signed_again() {
        let key = NodeKey::from_secret([1; 32]);
        let (door, client) = (NodeId([4; 32]), NodeId([5; 32]));
        let mut seal = Seal::new(key.clone());
        let tell = |seal: &mut Seal, now, epoch| {
            let mut out = Vec::new();
            let sent = Time(7);
            seal.step(now, Input::Tell { door, sent, epoch }, &mut out);
            seal.check();
            match out.pop() {
                Some(Effect::Told {
                    there, revocations, ..
                }) => {
                    assert_eq!(there, now);
                    revocations
                }
                other => panic!("a door is answered: {other:?}"),
            }
        };
        assert_eq!(tell(&mut seal, Time(50), 0), None);
        let mut out = Vec::new();
        for _ in 0..2 {
            let revoked = vec![Revoked::Client(client)];
            seal.step(Time(100), Input::Revoke(revoked), &mut out);
        }
        let list = tell(&mut seal, Time(150), 0).expect("it is news");
        assert!(list.verifies(key.node()));
        assert_eq!(list.revoked, [Revoked::Client(client)]);
        assert_eq!(tell(&mut seal, Time(160), list.epoch), None);
        // The next list is a later one, in this life of the coordinator and in the next.
        let member = vec![Revoked::Member(MemberId([3; 16]))];
        seal.step(Time(90), Input::Revoke(member), &mut out);
        let later = tell(&mut seal, Time(170), list.epoch).expect("it is news");
        assert!(later.epoch > list.epoch);
        let issue = Issue {
            client,
            patience: PATIENCE,
            claims: ordered(),
        };
        seal.step(Time(200), Input::Issue(Box::new(issue)), &mut out);
        assert_eq!(out, [], "it is not signed for whoever is out");
    }
}
