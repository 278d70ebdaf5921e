//! The second and third part of a run: everything is healed, comes to rest, and must work again.
//!
//! What may take how long follows from what the cores promise: a request ends by its session's own deadlines,
//! a hold by its term, a parcel by its next delivery.

use super::World;
use crate::checker::drains::Remains;
use crate::checker::endings::Ending;
use crate::checker::{Verdict, require};
use crate::node::COMMIT;
use crate::workload;
use troop_actors::contract::Core;

impl World {
    /// Ends every fault and waits until nothing is left of what went on.
    pub(super) fn rest(&mut self) -> Verdict {
        self.healed = true;
        self.network.heal();
        self.tell("everything is healed");
        for node in 0..self.nodes.len() {
            let healed = &mut self.nodes[node];
            healed.commit = COMMIT;
            healed.paused_until = 0;
            healed.wanted_until = 0;
            healed.books.disk.heal();
            healed.post.disk.heal();
            healed.turns.disk.heal();
            self.start(node)?;
        }
        let healed = self.now;
        // Requests end first; what they leave behind is gone when the last hold is.
        let sessions = healed + REST_SESSIONS;
        while self.endings.open().next().is_some() && self.now < sessions {
            self.run_until(self.now + 1_000_000)?;
        }
        let remains = Remains {
            sessions: self.endings.open().count(),
            ..Remains::default()
        };
        remains.none()?;
        let rested = self.now;
        while self.remains() != Remains::default()
            && self.now < self.last_term().max(rested) + REST_HOLDS
        {
            self.run_until(self.now + 1_000_000)?;
        }
        self.remains().none()?;
        (self.claims.values()).try_for_each(|claim| self.books.is_seen_to(claim))?;
        let ledger = self.nodes[0].ledger.as_ref();
        require(ledger.is_some(), "the ledger is up", || {
            "the coordinator is healed and has no ledger".to_owned()
        })?;
        let book = &ledger.expect("required above").core;
        book.check();
        self.same_books(book)
    }

    /// When the last open hold is over, by the coordinator's clock.
    fn last_term(&self) -> u64 {
        let last = self.books.open().map(|(_, expires)| expires).max();
        last.map_or(0, |expires| self.nodes[0].when(expires))
    }

    fn remains(&self) -> Remains {
        let mut remains = Remains {
            holds: self.books.open().count(),
            owed: self
                .owed
                .iter()
                .filter(|parcel| !self.books.is_paid(**parcel))
                .count(),
            ..Remains::default()
        };
        for node in &self.nodes {
            remains.sessions += node.sessions.len();
            remains.parcels += node
                .outbox
                .as_ref()
                .map_or(0, |outbox| outbox.core.pending());
            let keeper = node.keeper.as_ref();
            remains.dues += keeper.map_or(0, |keeper| keeper.core.owed());
            if let Some(child) = &node.child {
                let stats = child.desk.stats();
                remains.sequences += (stats.running + stats.waiting) as usize;
                remains.pages += (child.desk.facts().pages - stats.pages_free) as usize;
            }
        }
        remains
    }

    /// A healed troop with a healthy worker fulfils every request of a member who can pay.
    pub(super) fn probe(&mut self) -> Verdict {
        let rich = (0..self.members.len()).find(|member| {
            let account = self.books.of(self.members[*member]);
            account.balance - account.held > PROBE_BALANCE
        });
        let Some(member) = rich else {
            self.tell("nobody can pay for a probe");
            return Ok(());
        };
        for node in 0..self.nodes.len() {
            let wish = workload::probe(node, member, self.model, &mut self.dice);
            let asked = self.ask(wish)?;
            require(asked.is_some(), "a healed troop serves", || {
                format!("n{node} takes no request")
            })?;
            self.probes.extend(asked);
        }
        let until = self.now + REST_SESSIONS;
        while self.endings.open().next().is_some() && self.now < until {
            self.run_until(self.now + 100_000)?;
        }
        for request in &self.probes {
            let ending = self.endings.of(*request);
            require(
                ending == Some(Ending::Done),
                "a healed troop serves",
                || format!("{request:?} ended with {ending:?}"),
            )?;
        }
        let until = self.now + REST_HOLDS;
        while self.now < until && self.remains() != Remains::default() {
            self.run_until(self.now + 1_000_000)?;
        }
        self.remains().none()
    }
}

/// Microseconds in which every session of a healed troop ends.
const REST_SESSIONS: u64 = 600_000_000;
/// Microseconds after its term in which the last hold is gone, and everything else with it (L: TTL + 60 s, and
/// the two minutes for which receipts are waited for where there is a claim).
const REST_HOLDS: u64 = 180_000_000;
/// µc that a probe surely costs less than: the bound of its hold is bytes, not tokens.
const PROBE_BALANCE: i128 = 2_000_000;
