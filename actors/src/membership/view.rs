//! The membership's core: who is there, as this node sees it.
//!
//! `foca` speaks SWIM: it probes, suspects, and passes on what it hears. Around it stands what it leaves out.
//!
//! ```text
//! datagram of a member ─> taken apart: from whom it says it is? each update believed? ─> foca
//! foca's timers        ─> stretched while this node is unwell; a death is looked at once more
//! foca's datagrams     ─> only to nodes that are known and have not left
//! lists by question    ─> on joining, on meeting, and every 15 s with somebody
//! ```
//!
//! Nodes are known when they have shown a certificate here, or when the coordinator tells of them; of others only
//! gossip speaks, and they are asked themselves before they count. What is heard of a node from itself outranks
//! what others say of it: nobody is held dead who was heard a moment ago (M1), nobody who left or was put out is
//! brought back by what others say (M2), and only so many are held dead in so long a time (M3).

mod asking;
mod hearing;
mod nodes;
mod telling;
mod timers;

use super::dice::Dice;
use super::pace::{self, Health};
use super::packet::{Datagram, Identity, Spelling};
use super::protocol::{Card, Effect, Errand, Input, NODES_MAX};
use crate::contract::{Core, Time, earliest};
use crate::ids::NodeId;
use asking::Candidate;
use core::time::Duration;
use foca::{Foca, NoCustomBroadcast, Notification, OwnedNotification, Timer};
use nodes::Nodes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use timers::Timers;

/// Who is there.
pub struct View {
    me: NodeId,
    coordinator: NodeId,
    /// What this node says of itself; which life it is in, foca knows.
    card: Card,
    foca: Circle,
    dice: Dice,
    health: Health,
    timers: Timers,
    nodes: Nodes,
    /// Nodes that only others speak of.
    candidates: BTreeMap<NodeId, Candidate>,
    /// Who is being asked.
    asked: BTreeSet<NodeId>,
    /// When nodes were held dead, lately.
    evicted: VecDeque<Time>,
    /// A life of this node that others know of and that is not over for them.
    outlived: Option<u64>,
    left: bool,
    seen: Time,
    looked: Time,
    ticked: Time,
    joined: Time,
    exchange: Time,
}

type Circle = Foca<Identity, Spelling, Dice, NoCustomBroadcast>;

impl View {
    /// The view of a node that has just started, at `now`, and knows nobody but its coordinator. `card` is what
    /// it says of itself; its incarnation is at least the time, so that it is a later one after a restart.
    pub fn new(me: NodeId, coordinator: NodeId, card: Card, now: Time, seed: u64) -> View {
        let mut dice = Dice(seed);
        let identity = Identity {
            node: me,
            incarnation: card.incarnation.max(now.0),
            roles: card.roles,
            addresses: card.addresses.clone(),
        };
        let own = Dice(dice.roll());
        let mut nodes = Nodes::default();
        if coordinator != me {
            nodes.know(coordinator);
        }
        View {
            me,
            coordinator,
            card,
            foca: Foca::new(identity, pace::config(), own, Spelling),
            dice,
            health: Health::default(),
            timers: Timers::default(),
            nodes,
            candidates: BTreeMap::new(),
            asked: BTreeSet::new(),
            evicted: VecDeque::new(),
            outlived: None,
            left: false,
            seen: now,
            looked: now,
            ticked: Time(0),
            joined: Time(0),
            exchange: now,
        }
    }

    /// Lets foca do something, and sees to what follows. Returns the members whose probes turned out to have failed.
    fn act(
        &mut self,
        now: Time,
        out: &mut Vec<Effect>,
        deed: impl FnOnce(&mut Circle, &mut Outcome) -> Result<(), foca::Error>,
    ) -> Vec<NodeId> {
        let mut outcome = Outcome::default();
        // What foca refuses has changed nothing: a packet that makes no sense, a timer that came too late.
        let _ = deed(&mut self.foca, &mut outcome);
        for note in outcome.notes {
            self.note(now, note, out);
        }
        for (to, bytes) in outcome.sends {
            if self.may_send(now, to) {
                let bytes = Datagram::Gossip(bytes).write();
                out.push(Effect::Errand(Errand::Send { to, bytes }));
            }
        }
        let members = self.foca.num_members();
        let mut failed = Vec::new();
        for (timer, after) in outcome.timers {
            let after = match &timer {
                Timer::ChangeSuspectToDown { member_id, .. } => {
                    failed.push(member_id.node);
                    self.health.patience(members)
                }
                Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } => {
                    self.health.stretch(after)
                }
                _ => after,
            };
            self.timers.set(now, after, timer);
        }
        failed
    }

    fn note(&mut self, now: Time, note: OwnedNotification<Identity>, out: &mut Vec<Effect>) {
        let coordinates = self.me == self.coordinator;
        match note {
            OwnedNotification::MemberUp(life) => {
                let node = life.node;
                if let Some(entry) = self.nodes.get_mut(node) {
                    entry.up(&life);
                    self.candidates.remove(&node);
                    if coordinates {
                        out.push(Effect::Back { node });
                    }
                }
            }
            OwnedNotification::MemberDown(life) => {
                let node = life.node;
                if let Some(entry) = self.nodes.get_mut(node) {
                    entry.down(now);
                    if entry.departed.is_none() {
                        self.evicted.push_back(now);
                    }
                    if coordinates {
                        out.push(Effect::Lost { node });
                    }
                }
            }
            OwnedNotification::Rename(_, life) => {
                if let Some(entry) = self.nodes.get_mut(life.node) {
                    entry.lives_as(&life);
                }
            }
            OwnedNotification::Active
            | OwnedNotification::Idle
            | OwnedNotification::Defunct
            | OwnedNotification::Rejoin(_) => {}
        }
    }

    /// Nobody is sent anything who is not known, was put out, or has left and was not heard since.
    fn may_send(&self, now: Time, to: NodeId) -> bool {
        self.nodes
            .get(to)
            .is_some_and(|entry| match &entry.departed {
                None => true,
                Some(departed) => !departed.put_out && entry.lives(now),
            })
    }

    /// Whether so many more may be held dead now (M3).
    fn may_evict(&self, more: usize) -> bool {
        let lately = self.evicted.len();
        lately + more < pace::evictions_max(self.foca.num_members() + lately)
    }

    fn fire(&mut self, now: Time, set: Time, timer: Timer<Identity>, out: &mut Vec<Effect>) {
        let probes = matches!(timer, Timer::ProbeRandomMember(_));
        if let Timer::ChangeSuspectToDown { member_id, .. } = &timer
            && let Some(entry) = self.nodes.get(member_id.node)
        {
            if entry.heard.is_some_and(|heard| heard > set) {
                return;
            }
            if entry.is_up && !self.may_evict(0) {
                return self.timers.put(now.plus_ms(pace::TICK_MS), set, timer);
            }
        }
        let failed = self.act(now, out, |foca, outcome| foca.handle_timer(timer, outcome));
        if !probes {
            return;
        }
        if failed.is_empty() {
            return self.health.better();
        }
        self.health.worse();
        // Datagrams are lost on bad paths; what is asked on a stream comes through.
        for node in failed {
            self.ask(now, node, out);
        }
    }

    /// The node may have been asleep: then its timers were too, and it knows nothing of what happened meanwhile.
    fn wake_up(&mut self, now: Time) {
        let gap = now.since_ms(self.seen);
        self.seen = self.seen.max(now);
        if gap > pace::PAUSE_MS {
            self.timers.delay(gap);
            self.health.paused();
        }
        let since = |evicted: &Time| now.since_ms(*evicted) >= pace::EVICT_WINDOW_MS;
        while self.evicted.front().is_some_and(since) {
            self.evicted.pop_front();
        }
    }

    /// Others know of a later life of this node than it does, or hold this one dead: it begins another.
    fn outlive(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(known) = self.outlived.take() else {
            return;
        };
        let own = self.foca.identity();
        if known < own.incarnation || known > now.0.saturating_add(pace::AHEAD_MS) {
            return;
        }
        let next = Identity {
            incarnation: known + 1,
            ..own.clone()
        };
        self.act(now, out, |foca, outcome| {
            foca.change_identity(next, outcome)
        });
    }
}

impl Core for View {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        if self.left {
            return;
        }
        self.wake_up(now);
        match input {
            Input::Datagram { from, bytes } => self.datagram(now, from, &bytes, out),
            Input::Met { node, name, roles } => self.met(node, name, roles),
            Input::Links(links) => self.links(now, links),
            Input::Asked { from, card } => self.told(now, from, card, Vec::new(), out),
            Input::Answered { from, answer } => self.answered(now, from, answer, out),
            Input::PutOut { node } => self.put_out(now, node, out),
            Input::Leave => self.leave(out),
        }
        self.outlive(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        let alone = self.me == self.coordinator && self.nodes.is_empty();
        if self.left || alone {
            return None;
        }
        let tick = self.ticked.plus_ms(pace::TICK_MS);
        earliest(Some(tick), self.timers.next())
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.left {
            return;
        }
        self.wake_up(now);
        while let Some((set, timer)) = self.timers.pop(now) {
            self.fire(now, set, timer, out);
        }
        if self.ticked.plus_ms(pace::TICK_MS) <= now {
            self.ticked = now;
            self.tick(now, out);
        }
    }

    fn check(&self) {
        assert!(self.nodes.len() <= NODES_MAX, "nodes are bounded");
        assert!(self.candidates.len() <= pace::CANDIDATES_MAX);
        assert!(self.asked.len() <= pace::ASKS_MAX);
        assert!(self.nodes.get(self.me).is_none(), "others are others");
        for (node, entry) in self.nodes.iter() {
            let back = entry.is_up && entry.departed.is_some();
            assert!(!back, "M2: {node:?} is up and has departed");
        }
        let up = self.nodes.iter().filter(|(_, entry)| entry.is_up).count();
        assert_eq!(up, self.foca.num_members(), "foca's members are known");
    }
}

/// What foca wants done.
#[derive(Default)]
struct Outcome {
    sends: Vec<(NodeId, Vec<u8>)>,
    timers: Vec<(Timer<Identity>, Duration)>,
    notes: Vec<OwnedNotification<Identity>>,
}

impl foca::Runtime<Identity> for Outcome {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        self.notes.push(notification.to_owned());
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to.node, data.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        self.timers.push((timer, after));
    }
}

#[cfg(test)]
mod tests;
