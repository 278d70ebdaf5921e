//! A ticket lets one attempt in, once, at the worker it names, and only over credits that are set aside.

use super::{Verdict, require};
use std::collections::{BTreeMap, BTreeSet};
use troop_actors::ids::{AttemptId, HoldId, NodeId};
use troop_actors::ticket::Claims;

/// Who was let in where.
#[derive(Debug, Default)]
pub struct Tickets {
    admitted: BTreeMap<AttemptId, NodeId>,
    held: BTreeSet<HoldId>,
}

impl Tickets {
    /// A hold is on the coordinator's disk.
    pub fn held(&mut self, hold: HoldId) {
        self.held.insert(hold);
    }

    /// Whether that was ever so.
    pub fn is_held(&self, hold: HoldId) -> bool {
        self.held.contains(&hold)
    }

    /// A doorkeeper lets an attempt in.
    pub fn admitted(&mut self, door: NodeId, peer: NodeId, claims: &Claims) -> Verdict {
        let attempt = claims.attempt;
        require(
            AttemptId::of(claims.hold, claims.number) == attempt
                && HoldId::of(claims.request) == claims.hold,
            "ticket names its attempt",
            || format!("{attempt:?} is not attempt {} of its hold", claims.number),
        )?;
        require(claims.worker == door, "ticket for this worker", || {
            format!("{door:?} let in a ticket for {:?}", claims.worker)
        })?;
        require(claims.client == peer, "ticket for this peer", || {
            format!("{peer:?} came in with the ticket of {:?}", claims.client)
        })?;
        require(
            self.held.contains(&claims.hold),
            "no stream without a hold",
            || format!("{attempt:?} was let in, its hold is on no disk"),
        )?;
        let before = self.admitted.insert(attempt, door);
        require(before.is_none(), "ticket used once", || {
            format!("{attempt:?} was let in twice")
        })
    }

    /// How many attempts were let in.
    pub fn count(&self) -> usize {
        self.admitted.len()
    }
}
