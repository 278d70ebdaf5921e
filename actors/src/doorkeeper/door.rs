//! The doorkeeper's core: is this ticket good, for me, for this peer, once.
//!
//! ```text
//! Knock ─> this door was answered ─> length, spelling, signature, issuer, me, peer, times ─> newer than that ─> not taken back
//!       ─> not used ─> the work is what the ticket allows ─> remembered until it would have expired ─> Admit
//! ```
//!
//! That the model is one this worker serves is not asked here: the `EngineProcess` knows that.

mod times;

use super::protocol::{Effect, Input, Turnaway};
use crate::contract::{Core, Time};
use crate::generate::Work;
use crate::ids::{AttemptId, NodeId, RequestId};
use crate::price::Prices;
use crate::routing::Wiring;
use crate::ticket::{self, Claims, Expected, LEEWAY_SECONDS, Revocations, Revoked};
use std::collections::{BTreeMap, BTreeSet};
use times::{OFFSET_MS_MAX, Times};

/// Which tickets were let in, for as long as they could be shown again.
#[derive(Clone, Debug)]
pub struct Door {
    wiring: Wiring,
    /// Tickets let in, and the second from which they are too old to be let in anyway.
    used: BTreeMap<AttemptId, u64>,
    /// The same, by that second.
    forget: BTreeSet<(u64, AttemptId)>,
    times: Times,
}

impl Door {
    /// The door of the node `wiring.me`, opened at `now`, which believes `wiring.coordinator`.
    pub fn new(wiring: Wiring, now: Time) -> Door {
        Door {
            wiring,
            used: BTreeMap::new(),
            forget: BTreeSet::new(),
            times: Times::new(now),
        }
    }

    /// Tickets remembered.
    pub fn remembered(&self) -> usize {
        self.used.len()
    }

    fn judge(
        &mut self,
        now: Time,
        peer: NodeId,
        request: RequestId,
        attempt: AttemptId,
        ticket: &str,
        work: &Work,
    ) -> Result<Claims, Turnaway> {
        let now = self.times.there(now)?;
        let since = self.times.since().ok_or(Turnaway::New)?;
        let expected = Expected {
            issuer: self.wiring.coordinator,
            keys: self.times.keys().ok_or(Turnaway::New)?,
            epoch: self.times.epoch(),
            worker: self.wiring.me,
            client: peer,
            now_seconds: now.seconds(),
        };
        let claims = ticket::verify(ticket, &expected).map_err(Turnaway::Ticket)?;
        let issued = claims
            .issued_at
            .saturating_mul(1000)
            .saturating_add(claims.issued_ms);
        if Time(issued) <= since {
            return Err(Turnaway::Window);
        }
        if self.times.is_revoked(&claims) {
            return Err(Turnaway::Revoked);
        }
        self.forget_expired(now);
        if self.used.contains_key(&claims.attempt) {
            return Err(Turnaway::Used);
        }
        if self.used.len() >= TICKETS_MAX {
            let limit = TICKETS_MAX as u32;
            return Err(Turnaway::Full { limit });
        }
        same("request", claims.request, request)?;
        same("attempt", claims.attempt, attempt)?;
        same("model", claims.model, work.generate.model)?;
        let bytes = work.generate.prompt_bytes();
        within("prompt bytes", claims.prompt_bytes_max, bytes)?;
        let generate = &work.generate;
        let tokens = u64::from(generate.tokens_max).saturating_mul(generate.choices.into());
        within("completion tokens", claims.completion_tokens_max, tokens)?;
        if let Some(resume) = &work.resume {
            let tokens = resume.prompt.len() as u64;
            within("resumed tokens", resumable(&claims), tokens)?;
        }
        let expires = claims.expires_at.saturating_add(REMEMBERED_SECONDS);
        self.used.insert(claims.attempt, expires);
        self.forget.insert((expires, claims.attempt));
        Ok(claims)
    }

    /// Whoever is on a later list of the coordinator's comes in no more, and what it has begun ends.
    fn take(&mut self, list: Revocations, out: &mut Vec<Effect>) {
        if !list.verifies(self.wiring.coordinator) || list.number <= self.times.list() {
            return;
        }
        let node = |revoked: &Revoked| match revoked {
            Revoked::Client(node) => Some(*node),
            Revoked::Member(_) | Revoked::Attempt(_) => None,
        };
        let nodes: Vec<_> = list.revoked.iter().filter_map(node).collect();
        if !nodes.is_empty() {
            out.push(Effect::PutOut(nodes));
        }
        // An epoch that is over ends no stream: what runs was let in by a ticket that was good then.
        if !list.revoked.is_empty() {
            out.push(Effect::Revoke(list.revoked.clone()));
        }
        self.times.take(list);
    }

    fn forget_expired(&mut self, now: Time) {
        while let Some(&(expires, attempt)) = self.forget.first() {
            if expires > now.seconds() {
                break;
            }
            self.forget.pop_first();
            self.used.remove(&attempt);
        }
    }
}

impl Core for Door {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Knock {
                peer,
                request,
                attempt,
                ticket,
                work,
            } => out.push(
                match self.judge(now, peer, request, attempt, &ticket, &work) {
                    Ok(claims) => Effect::Admit {
                        claims: Box::new(claims),
                        work,
                    },
                    Err(reason) => Effect::Turn {
                        peer,
                        request,
                        attempt,
                        reason,
                    },
                },
            ),
            Input::Told {
                sent,
                there,
                revocations,
                keys,
            } => {
                self.times.told(now, sent, there);
                if let Some(keys) = keys {
                    self.times.learn(*keys, self.wiring.coordinator);
                }
                if let Some(list) = revocations {
                    self.take(*list, out);
                }
            }
        }
    }

    /// What has expired is forgotten at the next knock; an idle door keeps at most [`TICKETS_MAX`].
    fn deadline(&self) -> Option<Time> {
        Some(self.times.ask)
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if now >= self.times.ask {
            self.times.ask(now);
            out.push(Effect::Consult {
                sent: now,
                list: self.times.list(),
                keys: self.times.keys().map_or(Time(0), |keys| keys.since),
            });
        }
    }

    fn check(&self) {
        assert!(self.used.len() <= TICKETS_MAX);
        assert_eq!(self.used.len(), self.forget.len());
        for (expires, attempt) in &self.forget {
            assert_eq!(self.used.get(attempt), Some(expires));
        }
    }
}

fn same<T: PartialEq + ToString>(field: &str, allowed: T, found: T) -> Result<(), Turnaway> {
    match allowed == found {
        true => Ok(()),
        false => Err(beyond(field, allowed, found)),
    }
}

/// Tokens of a prompt that an earlier attempt may have made of the bytes that were paid for: whoever takes it up again
/// says them itself.
fn resumable(claims: &Claims) -> u64 {
    if claims.number == 0 {
        return 0;
    }
    let rest = Prices::REFERENCE.cost(0, claims.completion_tokens_max);
    let prompt = claims.cost_max.saturating_sub(rest.unwrap_or(u64::MAX));
    prompt.saturating_mul(1000) / Prices::REFERENCE.prompt + CONTROL_TOKENS_MAX
}

fn within(field: &str, allowed: u64, found: u64) -> Result<(), Turnaway> {
    match found <= allowed {
        true => Ok(()),
        false => Err(beyond(field, allowed, found)),
    }
}

/// Control tokens that stand in a prompt for no byte of it, at most.
const CONTROL_TOKENS_MAX: u64 = 8;

fn beyond(field: &str, allowed: impl ToString, found: impl ToString) -> Turnaway {
    Turnaway::Beyond {
        field: field.to_owned(),
        allowed: allowed.to_string(),
        found: found.to_string(),
    }
}

/// How long after its end a ticket is remembered: no later word about the time makes it good again.
const REMEMBERED_SECONDS: u64 = LEEWAY_SECONDS + 2 * OFFSET_MS_MAX / 1_000;
/// Tickets remembered at once, at most: three minutes of 350 tickets a second, in about 6 MiB.
pub(super) const TICKETS_MAX: usize = 65_536;

#[cfg(test)]
mod tests;
