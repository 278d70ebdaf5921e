//! What is believed of what others say.
//!
//! ```text
//! a node of itself    its life, what it does, where it is
//! the coordinator     who belongs, what they are called, who was put out
//! any member          that another one is alive, suspect, dead or gone, if nothing that is known speaks against it
//! ```

use super::nodes::Departure;
use super::{Effect, View};
use crate::certificate::RoleSet;
use crate::contract::Time;
use crate::ids::NodeId;
use crate::membership::pace;
use crate::membership::packet::{Datagram, Identity, Packet};
use crate::membership::protocol::{Card, Errand, NODES_MAX, Row, State};
use crate::ports::Link;
use foca::Member;

impl View {
    /// A datagram of a member.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        from: NodeId,
        bytes: &[u8],
        out: &mut Vec<Effect>,
    ) {
        let Ok(datagram) = Datagram::read(bytes) else {
            return;
        };
        if !self.hear(now, from) {
            return;
        }
        match datagram {
            Datagram::Leaving { incarnation } => self.departs(now, from, incarnation, out),
            Datagram::Gossip(bytes) => {
                let Ok(mut packet) = Packet::read(&bytes) else {
                    return;
                };
                // Who speaks is known from the connection; foca has no other word for it than this one.
                if packet.header.src.node != from {
                    return;
                }
                self.returns(from, packet.header.src.incarnation);
                packet.updates = self.believed(now, packet.updates);
                let bytes = packet.write();
                self.act(now, out, |foca, outcome| foca.handle_data(&bytes, outcome));
            }
        }
    }

    /// Something came from a node itself; false if nothing of it is wanted.
    fn hear(&mut self, now: Time, from: NodeId) -> bool {
        if from == self.me {
            return false;
        }
        let Some(entry) = self.nodes.know(from) else {
            return false;
        };
        entry.heard = Some(now);
        !entry.is_put_out()
    }

    /// A node that had left speaks itself, in a later life (M2).
    fn returns(&mut self, node: NodeId, incarnation: u64) {
        if let Some(entry) = self.nodes.get_mut(node)
            && let Some(departed) = entry.departed
            && !departed.put_out
            && incarnation > departed.incarnation
        {
            entry.departed = None;
        }
    }

    /// Of what a member says of others, what is believed.
    fn believed(&mut self, now: Time, said: Vec<Member<Identity>>) -> Vec<Member<Identity>> {
        let mut dead = 0;
        let mut believed = Vec::new();
        for update in said {
            let life = update.id();
            let (node, incarnation) = (life.node, life.incarnation);
            if node == self.me {
                let own = self.foca.identity().incarnation;
                if update.state() != foca::State::Alive && incarnation == own {
                    self.health.worse();
                }
                match incarnation > own {
                    true => self.outlived = self.outlived.max(Some(incarnation)),
                    false => believed.push(update),
                }
                continue;
            }
            if incarnation > now.0.saturating_add(pace::AHEAD_MS) {
                continue;
            }
            let Some(entry) = self.nodes.get(node) else {
                let addresses = life.addresses.clone();
                self.candidate(now, node, addresses);
                continue;
            };
            if let Some(departed) = &entry.departed {
                let back = incarnation > departed.incarnation;
                if back && !departed.put_out && update.state() != foca::State::Down {
                    self.candidate(now, node, Vec::new());
                }
                continue;
            }
            let ends = entry.is_up && incarnation >= entry.card.incarnation;
            if update.state() == foca::State::Down && ends {
                if entry.lives(now) || !self.may_evict(dead) {
                    continue;
                }
                dead += 1;
            }
            believed.push(update);
        }
        believed
    }

    /// A peer has shown that it belongs.
    pub(super) fn met(&mut self, node: NodeId, name: String, roles: RoleSet) {
        if node == self.me {
            return;
        }
        if let Some(entry) = self.nodes.know(node) {
            entry.ask_after = Time(0);
            if !name.is_empty() {
                entry.card.name = name;
                entry.card.roles = roles;
                entry.allowed = Some(roles);
            }
        }
    }

    /// The connections that are up. What came on one since the last look came from a node that was alive then.
    pub(super) fn links(&mut self, now: Time, links: Vec<Link>) {
        let looked = core::mem::replace(&mut self.looked, now);
        for (_, entry) in self.nodes.iter_mut() {
            entry.link = entry.link.take().filter(|old| {
                let same = |link: &Link| link.node == old.node;
                links.iter().any(same)
            });
        }
        for link in links {
            if link.node == self.me {
                continue;
            }
            let Some(entry) = self.nodes.know(link.node) else {
                continue;
            };
            match &entry.link {
                Some(old) if old.heard == link.heard => {}
                Some(_) => entry.heard = entry.heard.max(Some(looked)),
                None => {
                    entry.heard = entry.heard.max(Some(looked));
                    entry.ask_after = Time(0);
                }
            }
            entry.link = Some(link);
        }
    }

    /// What a node says of itself and of others, over a stream.
    pub(super) fn told(
        &mut self,
        now: Time,
        from: NodeId,
        card: Card,
        rows: Vec<Row>,
        out: &mut Vec<Effect>,
    ) {
        let lawful = rows.len() <= NODES_MAX && rows.iter().all(|row| row.card.check().is_ok());
        if !lawful || card.check().is_err() || !self.hear(now, from) {
            return;
        }
        self.returns(from, card.incarnation);
        let life = Identity {
            node: from,
            incarnation: card.incarnation,
            roles: card.roles,
            addresses: card.addresses.clone(),
        };
        if let Some(entry) = self.nodes.get_mut(from) {
            entry.take_roles(card.roles);
            if entry.allowed.is_none() {
                entry.card.name = card.name;
            }
            entry.card.addresses = card.addresses;
        }
        self.candidates.remove(&from);
        let mut said = Vec::new();
        let departed = self.nodes.get(from).is_some_and(|it| it.departed.is_some());
        if !departed {
            said.push(Member::new(life.clone(), 0, foca::State::Alive));
        }
        for row in rows {
            if row.node != from {
                said.extend(self.row(now, from, row, out));
            }
        }
        let mut believed = self.believed(now, said);
        if !departed && believed.first().is_none_or(|first| first.id() != &life) {
            // A clock far ahead is strange, but a node's own word.
            believed.insert(0, Member::new(life.clone(), 0, foca::State::Alive));
        }
        self.act(now, out, |foca, outcome| {
            foca.apply_many(believed.into_iter(), true, outcome)
        });
        // foca holds it dead in the very life that it speaks from: it is to hear that, and begins another.
        if self.nodes.get(from).is_some_and(|entry| !entry.is_up) {
            self.act(now, out, |foca, outcome| foca.announce(life, outcome));
        }
    }

    /// What the node `from` says of another one, as an update.
    fn row(
        &mut self,
        now: Time,
        from: NodeId,
        row: Row,
        out: &mut Vec<Effect>,
    ) -> Option<Member<Identity>> {
        let Row {
            node,
            card,
            refutations,
            state,
        } = row;
        if node == self.me {
            let own = self.foca.identity().incarnation;
            let over = state > State::Suspect && card.incarnation == own;
            if over || card.incarnation > own {
                self.outlived = self.outlived.max(Some(card.incarnation));
            }
            return None;
        }
        if from == self.coordinator {
            if state == State::PutOut {
                self.put_out(now, node, out);
                return None;
            }
            if let Some(entry) = self.nodes.know(node)
                && entry.allowed.is_none()
            {
                entry.card.name.clone_from(&card.name);
                entry.card.roles = card.roles;
                entry.card.addresses.clone_from(&card.addresses);
                let addresses = card.addresses.clone();
                out.push(Effect::Errand(Errand::Know { node, addresses }));
            }
        }
        let update = |state| {
            let life = Identity {
                node,
                incarnation: card.incarnation,
                roles: card.roles,
                addresses: card.addresses.clone(),
            };
            Some(Member::new(life, refutations, state))
        };
        match state {
            State::Alive => update(foca::State::Alive),
            State::Suspect => update(foca::State::Suspect),
            State::Dead => update(foca::State::Down),
            State::Left => {
                if let Some(entry) = self.nodes.get(node)
                    && entry.departed.is_none()
                    && card.incarnation >= entry.card.incarnation
                    && !(entry.is_up && (entry.lives(now) || !self.may_evict(0)))
                {
                    self.departs(now, node, card.incarnation, out);
                }
                None
            }
            State::PutOut => None,
        }
    }

    /// A node has left; this was the last of its lives.
    fn departs(&mut self, now: Time, node: NodeId, incarnation: u64, out: &mut Vec<Effect>) {
        let Some(entry) = self.nodes.get_mut(node) else {
            return;
        };
        if incarnation < entry.card.incarnation || entry.is_put_out() {
            return;
        }
        entry.card.incarnation = incarnation;
        self.depart(now, node, false, out);
    }

    /// The coordinator has put a node out.
    pub(super) fn put_out(&mut self, now: Time, node: NodeId, out: &mut Vec<Effect>) {
        let known = self.nodes.know(node).map(|entry| entry.is_put_out());
        if node != self.me && node != self.coordinator && known == Some(false) {
            self.depart(now, node, true, out);
        }
    }

    fn depart(&mut self, now: Time, node: NodeId, put_out: bool, out: &mut Vec<Effect>) {
        let Some(entry) = self.nodes.get_mut(node) else {
            return;
        };
        let incarnation = entry.card.incarnation;
        entry.departed = Some(Departure {
            incarnation,
            put_out,
            at: now,
        });
        let last = Member::down(Identity::bare(node, incarnation));
        self.act(now, out, |foca, outcome| {
            foca.apply_many(core::iter::once(last), true, outcome)
        });
    }
}
