//! The doorkeeper's core: is this ticket good, for me, for this peer, once.
//!
//! ```text
//! Knock ─> length, spelling, signature, issuer, me, peer, times ─> newer than this door ─> not used
//!       ─> the work is what the ticket allows ─> remembered until it would have expired ─> Admit
//! ```
//!
//! That the model is one this worker serves is not asked here: the `EngineProcess` knows that.

use super::protocol::{Effect, Input, Turnaway};
use crate::contract::{Core, Time};
use crate::generate::Work;
use crate::ids::{AttemptId, NodeId, RequestId};
use crate::routing::Wiring;
use crate::ticket::{self, Claims, Expected, LEEWAY_SECONDS};
use std::collections::{BTreeMap, BTreeSet};

/// Which tickets were let in, for as long as they could be shown again.
#[derive(Clone, Debug)]
pub struct Door {
    wiring: Wiring,
    /// Tickets issued up to this time may have been let in by a door before this one.
    opened: Time,
    /// Tickets let in, and the second from which they are too old to be let in anyway.
    used: BTreeMap<AttemptId, u64>,
    /// The same, by that second.
    forget: BTreeSet<(u64, AttemptId)>,
}

impl Door {
    /// The door of the node `wiring.me`, opened at `now`, which believes `wiring.coordinator`.
    pub fn new(wiring: Wiring, now: Time) -> Door {
        // Another node's clock may run ahead of ours by the leeway: what it issued for an earlier door may
        // bear a later time than this door's opening.
        let ahead = match wiring.me == wiring.coordinator {
            true => 0,
            false => LEEWAY_SECONDS,
        };
        Door {
            wiring,
            opened: now.plus_ms(ahead * 1000),
            used: BTreeMap::new(),
            forget: BTreeSet::new(),
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
        let expected = Expected {
            issuer: self.wiring.coordinator,
            worker: self.wiring.me,
            client: peer,
            now_seconds: now.seconds(),
        };
        let claims = ticket::verify(ticket, &expected).map_err(Turnaway::Ticket)?;
        let issued = claims
            .issued_at
            .saturating_mul(1000)
            .saturating_add(claims.issued_ms);
        if Time(issued) <= self.opened {
            return Err(Turnaway::Window);
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
        let bytes = work.generate.prompt.bytes();
        within("prompt bytes", claims.prompt_bytes_max, bytes)?;
        let generate = &work.generate;
        let tokens = u64::from(generate.tokens_max).saturating_mul(generate.choices.into());
        within("completion tokens", claims.completion_tokens_max, tokens)?;
        let expires = claims.expires_at.saturating_add(LEEWAY_SECONDS);
        self.used.insert(claims.attempt, expires);
        self.forget.insert((expires, claims.attempt));
        Ok(claims)
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
        let Input::Knock {
            peer,
            request,
            attempt,
            ticket,
            work,
        } = input;
        out.push(
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
        );
    }

    /// What has expired is forgotten at the next knock; an idle door keeps at most [`TICKETS_MAX`].
    fn deadline(&self) -> Option<Time> {
        None
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

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

fn within(field: &str, allowed: u64, found: u64) -> Result<(), Turnaway> {
    match found <= allowed {
        true => Ok(()),
        false => Err(beyond(field, allowed, found)),
    }
}

fn beyond(field: &str, allowed: impl ToString, found: impl ToString) -> Turnaway {
    Turnaway::Beyond {
        field: field.to_owned(),
        allowed: allowed.to_string(),
        found: found.to_string(),
    }
}

/// Tickets remembered at once, at most: two minutes of 500 tickets a second, in about 6 MiB.
pub(super) const TICKETS_MAX: usize = 65_536;

#[cfg(test)]
mod tests;
