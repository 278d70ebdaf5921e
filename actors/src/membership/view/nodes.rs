//! The nodes that are known, and what is known of each.

use crate::certificate::RoleSet;
use crate::contract::Time;
use crate::ids::NodeId;
use crate::membership::pace::{EVIDENCE_MS, FORGOTTEN_MS};
use crate::membership::packet::Identity;
use crate::membership::protocol::{Card, NODES_MAX};
use crate::ports::Link;
use std::collections::BTreeMap;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<NodeId, Entry>);

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// What it is; its incarnation is that of its latest life that is known.
    pub(super) card: Card,
    /// What its certificate lets it be, if that was seen or the coordinator told of it.
    pub(super) allowed: Option<RoleSet>,
    /// Whether foca counts it among the living.
    pub(super) is_up: bool,
    pub(super) died: Option<Time>,
    /// When it was last heard of its own: a datagram, an answer, anything on its connection.
    pub(super) heard: Option<Time>,
    pub(super) link: Option<Link>,
    pub(super) departed: Option<Departure>,
    /// When it may be asked again.
    pub(super) ask_after: Time,
}

/// A node that is gone for good, until it comes back itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// The last of its lives.
    pub(super) incarnation: u64,
    /// Whether the coordinator put it out: then it does not come back.
    pub(super) put_out: bool,
    pub(super) at: Time,
}

impl Entry {
    /// Whether it was heard a moment ago (M1).
    pub(super) fn lives(&self, now: Time) -> bool {
        self.heard
            .is_some_and(|heard| now.since_ms(heard) <= EVIDENCE_MS)
    }

    pub(super) fn is_put_out(&self) -> bool {
        self.departed.is_some_and(|departed| departed.put_out)
    }

    /// foca counts it among the living, in this life.
    pub(super) fn up(&mut self, life: &Identity) {
        self.lives_as(life);
        self.is_up = true;
        self.died = None;
        self.departed = None;
    }

    /// It is no longer among them.
    pub(super) fn down(&mut self, now: Time) {
        self.is_up = false;
        self.died = Some(now);
    }

    /// It is in this life.
    pub(super) fn lives_as(&mut self, life: &Identity) {
        self.card.incarnation = self.card.incarnation.max(life.incarnation);
        if self.card.addresses.is_empty() {
            self.card.addresses.clone_from(&life.addresses);
        }
        if self.card.roles == RoleSet::default() {
            self.take_roles(life.roles);
        }
    }

    /// It says that it has these roles; which it may have, its certificate says.
    pub(super) fn take_roles(&mut self, roles: RoleSet) {
        if self.allowed.is_none_or(|allowed| roles.within(allowed)) {
            self.card.roles = roles;
        }
    }
}

impl Nodes {
    pub(super) fn get(&self, node: NodeId) -> Option<&Entry> {
        self.0.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Entry> {
        self.0.get_mut(&node)
    }

    /// The node's entry, made if there is room.
    pub(super) fn know(&mut self, node: NodeId) -> Option<&mut Entry> {
        if self.0.len() >= NODES_MAX && !self.0.contains_key(&node) {
            return None;
        }
        Some(self.0.entry(node).or_default())
    }

    /// Forgets who is gone for a day, so that there is room for others. Departures are kept as long as there is.
    pub(super) fn forget(&mut self, now: Time) {
        let full = self.0.len() >= NODES_MAX;
        self.0.retain(|_, entry| {
            let since = entry.departed.map(|departed| departed.at);
            let since = since.or(entry.died).or(entry.heard);
            let over = since.is_some_and(|since| now.since_ms(since) > FORGOTTEN_MS);
            entry.is_up || entry.link.is_some() || !over || entry.departed.is_some() && !full
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Entry)> {
        self.0.iter().map(|(node, entry)| (*node, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Entry)> {
        self.0.iter_mut().map(|(node, entry)| (*node, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
