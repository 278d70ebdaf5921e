//! What this node says of itself and of others.

use super::View;
use super::nodes::Entry;
use crate::contract::Time;
use crate::ids::NodeId;
use crate::membership::dice::mix;
use crate::membership::packet::Identity;
use crate::membership::protocol::{Card, Line, Path, Row, State};
use foca::Member;
use std::collections::BTreeMap;

impl View {
    /// What this node says of itself.
    pub fn card(&self) -> Card {
        Card {
            incarnation: self.foca.identity().incarnation,
            ..self.card.clone()
        }
    }

    /// The answer to a member that has seen the digest `seen`: nothing of others if that is this node's too.
    pub fn answer(&self, seen: u64) -> (Card, Vec<Row>) {
        let rows = match seen == self.digest() {
            true => Vec::new(),
            false => self.rows(),
        };
        (self.card(), rows)
    }

    fn rows(&self) -> Vec<Row> {
        let states = self.states();
        let row = |(node, entry): (NodeId, &Entry)| {
            let member = states.get(&node);
            let (incarnation, state) = life(entry, member.copied())?;
            Some(Row {
                node,
                card: Card {
                    incarnation,
                    ..entry.card.clone()
                },
                refutations: member.map_or(0, |member| member.incarnation()),
                state,
            })
        };
        self.nodes.iter().filter_map(row).collect()
    }

    /// A number that two nodes share if they know the same of everybody, each other included. Whether somebody is suspect
    /// right now does not matter.
    pub(super) fn digest(&self) -> u64 {
        let states = self.states();
        let one = |node: NodeId, incarnation: u64, state: State| {
            let mut first = [0; 8];
            first.copy_from_slice(&node.0[..8]);
            let state = state.max(State::Suspect) as u64;
            mix(mix(u64::from_le_bytes(first) ^ incarnation) ^ state)
        };
        let others = self.nodes.iter().filter_map(|(node, entry)| {
            let (incarnation, state) = life(entry, states.get(&node).copied())?;
            Some(one(node, incarnation, state))
        });
        let own = one(self.me, self.foca.identity().incarnation, State::Alive);
        others.fold(own, u64::wrapping_add)
    }

    /// This node and all others that are known, for a listing.
    pub fn lines(&self, now: Time) -> Vec<Line> {
        let states = self.states();
        let own = Line {
            node: self.me,
            card: self.card(),
            state: State::Alive,
            path: Some(Path::Own),
            heard_ms: Some(now.0),
        };
        let line = |(node, entry): (NodeId, &Entry)| {
            let path = entry.link.as_ref().map(|link| Path::Direct {
                address: link.address,
                rtt_micros: link.rtt_micros,
            });
            let (incarnation, state) = match life(entry, states.get(&node).copied()) {
                Some((incarnation, State::Suspect)) if entry.lives(now) => {
                    (incarnation, State::Alive)
                }
                Some((_, State::PutOut)) => return None,
                Some(life) => life,
                // It is there; what it says of itself comes in a moment.
                None => (entry.card.incarnation, path.map(|_| State::Alive)?),
            };
            Some(Line {
                node,
                card: Card {
                    incarnation,
                    ..entry.card.clone()
                },
                state,
                path,
                heard_ms: entry.heard.map(|heard| heard.0),
            })
        };
        let others = self.nodes.iter().filter_map(line);
        core::iter::once(own).chain(others).collect()
    }

    #[cfg(test)]
    pub(super) fn gone(&self) -> Vec<NodeId> {
        let states = self.states();
        let gone = self.nodes.iter().filter(|(node, entry)| {
            let life = life(entry, states.get(node).copied());
            life.is_some_and(|(_, state)| state > State::Suspect)
        });
        gone.map(|(node, _)| node).collect()
    }

    #[cfg(test)]
    pub(super) fn state_of(&self, node: NodeId) -> Option<State> {
        let entry = self.nodes.get(node)?;
        let member = self.foca.iter_membership_state();
        let member = member.into_iter().find(|member| member.id().node == node);
        life(entry, member).map(|(_, state)| state)
    }

    fn states(&self) -> BTreeMap<NodeId, &Member<Identity>> {
        let members = self.foca.iter_membership_state();
        members.map(|member| (member.id().node, member)).collect()
    }
}

/// Which life a node is in and how it is; nothing if that is not known.
fn life(entry: &Entry, member: Option<&Member<Identity>>) -> Option<(u64, State)> {
    if let Some(departed) = &entry.departed {
        let state = match departed.put_out {
            true => State::PutOut,
            false => State::Left,
        };
        return Some((departed.incarnation, state));
    }
    let member = member?;
    let state = match member.state() {
        foca::State::Alive => State::Alive,
        foca::State::Suspect => State::Suspect,
        foca::State::Down => State::Dead,
    };
    Some((member.id().incarnation, state))
}
