//! Whom this node asks who is there, and when.

use super::{Effect, View};
use crate::contract::Time;
use crate::ids::NodeId;
use crate::membership::pace;
use crate::membership::packet::{Datagram, Identity};
use crate::membership::protocol::{Card, Errand, Row, reachable};
use core::net::SocketAddr;

/// A node that only others speak of. It counts when it has answered itself.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    addresses: Vec<SocketAddr>,
    /// When it may be asked.
    after: Time,
    tries: u32,
}

impl View {
    /// Others speak of `node`.
    pub(super) fn candidate(&mut self, now: Time, node: NodeId, addresses: Vec<SocketAddr>) {
        let full = self.candidates.len() >= pace::CANDIDATES_MAX;
        if node == self.me || full || self.candidates.contains_key(&node) {
            return;
        }
        let candidate = Candidate {
            addresses,
            after: now,
            tries: 0,
        };
        self.candidates.insert(node, candidate);
    }

    /// Asks `to`, unless it is being asked or too many are.
    pub(super) fn ask(&mut self, now: Time, to: NodeId, out: &mut Vec<Effect>) {
        if to == self.me || self.asked.len() >= pace::ASKS_MAX || !self.asked.insert(to) {
            return;
        }
        if let Some(entry) = self.nodes.get_mut(to) {
            entry.ask_after = now.plus_ms(pace::AGAIN_MS);
        }
        if let Some(candidate) = self.candidates.get_mut(&to) {
            candidate.after = now.plus_ms(pace::CANDIDATE_AGAIN_MS);
            candidate.tries += 1;
            let addresses = core::mem::take(&mut candidate.addresses);
            if !addresses.is_empty() && reachable(&addresses) {
                let node = to;
                out.push(Effect::Errand(Errand::Know { node, addresses }));
            }
        }
        let (card, seen) = (self.card(), self.digest());
        out.push(Effect::Errand(Errand::Ask { to, card, seen }));
    }

    /// What came of a question.
    pub(super) fn answered(
        &mut self,
        now: Time,
        from: NodeId,
        answer: Option<(Card, Vec<Row>)>,
        out: &mut Vec<Effect>,
    ) {
        self.asked.remove(&from);
        match answer {
            Some((card, rows)) => self.told(now, from, card, rows, out),
            None => {
                let tries = self.candidates.get(&from).map(|it| it.tries);
                if tries.is_some_and(|tries| tries >= TRIES_MAX) {
                    self.candidates.remove(&from);
                }
            }
        }
    }

    /// Every half second.
    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        out.push(Effect::Errand(Errand::Look));
        self.nodes.forget(now);
        let coordinator = self.coordinator;
        let alone = self.foca.num_members() == 0;
        if alone && coordinator != self.me && now.since_ms(self.joined) >= pace::JOIN_MS {
            self.joined = now;
            let somebody = Identity::bare(coordinator, 0);
            self.act(now, out, |foca, outcome| foca.announce(somebody, outcome));
            self.ask(now, coordinator, out);
        }
        for node in self.wanted(now) {
            self.ask(now, node, out);
        }
        if !alone && self.exchange <= now {
            let jitter = self.dice.roll() % pace::EXCHANGE_MS;
            self.exchange = now.plus_ms(pace::EXCHANGE_MS / 2 + jitter);
            if let Some(node) = self.somebody() {
                self.ask(now, node, out);
            }
        }
    }

    /// Nodes that should be asked themselves: connected ones that do not count yet, then those others speak of.
    fn wanted(&self, now: Time) -> Vec<NodeId> {
        let strange = self.nodes.iter().filter(|(_, entry)| {
            let due = entry.ask_after <= now && !entry.is_put_out();
            entry.link.is_some() && !entry.is_up && due
        });
        let spoken = self.candidates.iter().filter(|(_, it)| it.after <= now);
        let wanted = strange
            .map(|(node, _)| node)
            .chain(spoken.map(|(node, _)| *node));
        wanted.take(pace::ASKS_TICK).collect()
    }

    /// One of the living: every other time the coordinator, who knows who belongs.
    fn somebody(&mut self) -> Option<NodeId> {
        let living = self.nodes.iter().filter(|(_, entry)| entry.is_up);
        let living: Vec<NodeId> = living.map(|(node, _)| node).collect();
        let rolled = self.dice.roll();
        if rolled & 1 == 0 && living.contains(&self.coordinator) {
            return Some(self.coordinator);
        }
        living
            .get((rolled >> 1) as usize % living.len().max(1))
            .copied()
    }

    /// The node stops: everybody who counts is told.
    pub(super) fn leave(&mut self, out: &mut Vec<Effect>) {
        let incarnation = self.foca.identity().incarnation;
        let bytes = Datagram::Leaving { incarnation }.write();
        let living = self.nodes.iter().filter(|(_, entry)| entry.is_up);
        out.extend(living.map(|(to, _)| {
            let bytes = bytes.clone();
            Effect::Errand(Errand::Send { to, bytes })
        }));
        self.left = true;
    }
}

/// How often somebody whom only others speak of is asked in vain.
const TRIES_MAX: u32 = 3;
