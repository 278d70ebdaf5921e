//! What cores want done is carried out here: letters are sent, ports are performed, and the checkers are
//! told of both before anything else happens.

use super::forgery::STRANGER;
use super::watch::Watched;
use super::{Happening, World};
use crate::checker::{Verdict, require};
use crate::node::{Actor, Seat, TrayWrite};
use troop_actors::border;
use troop_actors::contract::{Core, Time};
use troop_actors::ids::NodeId;
use troop_actors::routing::{
    DoorkeeperPort, EnginePort, LedgerPort, Message, NoPort, Out, OutboxPort, SessionPort, Wiring,
};
use troop_actors::session::protocol::Order;
use troop_actors::{doorkeeper, ledger, session};

/// A port call that the simulated outside can answer.
pub(super) trait Performed {
    fn perform(self, world: &mut World, node: usize, actor: Actor) -> Verdict;
}

impl World {
    /// Opens a session; the gateway of a node would.
    pub(super) fn open_session(&mut self, node: usize, order: Order) {
        let request = order.request;
        let node = &mut self.nodes[node];
        let thread = session::Thread::new(order, node.key.clone(), node.wiring.coordinator);
        let life = node.born();
        node.sessions.insert(request, Seat::new(thread, life));
    }

    /// What arrives at a node, if its sender may say it: the network asks the same of every letter.
    pub(super) fn admitted(&self, from: NodeId, at: usize, message: Message) -> Option<Message> {
        let node = &self.nodes[at];
        if from == node.wiring.me {
            return Some(message);
        }
        let holder = |request, attempt| node.sessions.get(&request)?.core.worker(attempt);
        border::admit(from, &node.wiring, holder, message).ok()
    }

    /// Hands a message to its actor, if that is there.
    pub(super) fn deliver(&mut self, at: usize, message: Message) -> Verdict {
        let now = self.nodes[at].clock(self.now);
        let node = &mut self.nodes[at];
        match message {
            Message::Session(request, input) => {
                let actor = Actor::Session(request);
                let effects = stepped(node.sessions.get_mut(&request), now, input);
                self.carry(at, actor, effects, None)
            }
            Message::Scheduler(input) => {
                let effects = stepped(node.scheduler.as_mut(), now, input);
                self.carry(at, Actor::Scheduler, effects, None)
            }
            Message::Ledger(input) => {
                match &input {
                    ledger::protocol::Input::Settle { receipt, .. } => self.books.receipt(receipt),
                    ledger::protocol::Input::Claim {
                        from,
                        parcel,
                        claim,
                    } => {
                        // A disk may have kept what it was thought to have lost.
                        if *from != STRANGER {
                            self.claims.insert(*parcel, (**claim).clone());
                        }
                        self.books.claim(claim);
                    }
                    _ => {}
                }
                let effects = stepped(node.ledger.as_mut(), now, input);
                self.carry(at, Actor::Ledger, effects, None)
            }
            Message::TicketIssuer(input) => {
                let effects = stepped(node.issuer.as_mut(), now, input);
                self.carry(at, Actor::TicketIssuer, effects, None)
            }
            Message::Doorkeeper(input) => {
                let peer = match &input {
                    doorkeeper::protocol::Input::Knock { peer, .. } => Some(*peer),
                    doorkeeper::protocol::Input::Told { .. } => None,
                };
                let effects = stepped(node.door.as_mut(), now, input);
                self.carry(at, Actor::Doorkeeper, effects, peer)
            }
            Message::EngineProcess(input) => {
                node.wishes.hear(now, &input);
                let effects = stepped(node.keeper.as_mut(), now, input);
                self.carry(at, Actor::EngineProcess, effects, None)
            }
            Message::Outbox(input) => {
                let effects = stepped(node.outbox.as_mut(), now, input);
                self.carry(at, Actor::Outbox, effects, None)
            }
        }
    }

    /// An actor's timer rings; one of an earlier life, or one that was re-armed since, does nothing.
    pub(super) fn wake(&mut self, at: usize, actor: Actor, life: u64, rings: u64) -> Verdict {
        if self.nodes[at].actor_life(actor) != Some(life) {
            return Ok(());
        }
        let now = self.nodes[at].clock(self.now);
        let node = &mut self.nodes[at];
        match actor {
            Actor::Session(request) => {
                let effects = woken(node.sessions.get_mut(&request), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::Scheduler => {
                let effects = woken(node.scheduler.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::Ledger => {
                let effects = woken(node.ledger.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::TicketIssuer => {
                let effects = woken(node.issuer.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::Doorkeeper => {
                let effects = woken(node.door.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::EngineProcess => {
                let effects = woken(node.keeper.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::GpuMonitor => {
                let effects = woken(node.monitor.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
            Actor::Outbox => {
                let effects = woken(node.outbox.as_mut(), now, rings);
                self.carry(at, actor, effects, None)
            }
        }
    }

    pub(super) fn carry<E>(
        &mut self,
        at: usize,
        actor: Actor,
        effects: Vec<E>,
        peer: Option<NodeId>,
    ) -> Verdict
    where
        E: Watched,
        E::Port: Performed,
    {
        let wiring: Wiring = self.nodes[at].wiring;
        for effect in effects {
            effect.watch(self, at, peer)?;
            match effect.route(&wiring) {
                Out::Letter { to, message } => self.send(at, to, message),
                Out::Port(port) => port.perform(self, at, actor)?,
            }
        }
        self.arm(at, actor);
        Ok(())
    }

    /// Sends a letter: at once and surely within a node, over the network to another.
    fn send(&mut self, from: usize, to: NodeId, message: Message) {
        if self.withheld(&message) {
            return;
        }
        let message = Box::new(message);
        let speaker = self.nodes[from].wiring.me;
        if to == speaker {
            let happening = Happening::Letter {
                from: speaker,
                to: from,
                life: Some(self.nodes[from].life),
                message,
            };
            return self.push(self.now, happening);
        }
        let Some(to) = self.nodes.iter().position(|node| node.wiring.me == to) else {
            return;
        };
        self.overheard(to, &message);
        let arrivals = self.network.send(self.now, from, to);
        if arrivals.is_empty() {
            let line = format!(
                "n{from} -> n{to} lost: {}",
                super::describe::message(&message)
            );
            self.tell(&line);
        }
        for at in arrivals {
            let message = message.clone();
            self.push(
                at,
                Happening::Letter {
                    from: speaker,
                    to,
                    life: None,
                    message,
                },
            );
        }
    }

    /// Sets an actor's timer to its core's deadline, as its shell would.
    pub(super) fn arm(&mut self, at: usize, actor: Actor) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let skew = node.skew;
        let armed = match actor {
            Actor::Session(request) => armed(node.sessions.get_mut(&request), now, skew),
            Actor::Scheduler => armed(node.scheduler.as_mut(), now, skew),
            Actor::Ledger => armed(node.ledger.as_mut(), now, skew),
            Actor::TicketIssuer => armed(node.issuer.as_mut(), now, skew),
            Actor::Doorkeeper => armed(node.door.as_mut(), now, skew),
            Actor::EngineProcess => armed(node.keeper.as_mut(), now, skew),
            Actor::GpuMonitor => armed(node.monitor.as_mut(), now, skew),
            Actor::Outbox => armed(node.outbox.as_mut(), now, skew),
        };
        let Some((rings, life)) = armed else { return };
        let wake = Happening::Wake {
            node: at,
            actor,
            life,
            rings,
        };
        self.push(rings, wake);
    }
}

fn stepped<C: Core>(seat: Option<&mut Seat<C>>, now: Time, input: C::Input) -> Vec<C::Effect> {
    seat.map_or_else(Vec::new, |seat| seat.step(now, input))
}

fn woken<C: Core>(seat: Option<&mut Seat<C>>, now: Time, rings: u64) -> Vec<C::Effect> {
    seat.map_or_else(Vec::new, |seat| seat.wake(now, rings))
}

/// When a timer that was set just now rings, and in which life of its actor.
fn armed<C: Core>(seat: Option<&mut Seat<C>>, now: u64, skew: i64) -> Option<(u64, u64)> {
    let seat = seat?;
    Some((seat.arm(now, skew)?, seat.life))
}

impl Performed for NoPort {
    fn perform(self, _world: &mut World, _node: usize, _actor: Actor) -> Verdict {
        match self {}
    }
}

impl Performed for DoorkeeperPort {
    /// Nobody is put out here.
    fn perform(self, _world: &mut World, node: usize, _actor: Actor) -> Verdict {
        require(false, "nobody is put out", || format!("n{node}: {self:?}"))
    }
}

impl Performed for SessionPort {
    fn perform(self, world: &mut World, node: usize, actor: Actor) -> Verdict {
        let Actor::Session(request) = actor else {
            unreachable!("only sessions have this port")
        };
        match self {
            SessionPort::Deliver(delivery) => {
                let line = format!("n{node} client of {request:?} gets {delivery:?}");
                world.tell(&line);
                let gone = world.endings.is_hung_up(request);
                world.streams.delivered(request, &delivery, gone)?;
                world.endings.delivered(request, &delivery)
            }
            // Letters find their way here without.
            SessionPort::Greet(_) => Ok(()),
            SessionPort::Close => {
                let line = format!("n{node} session of {request:?} is over");
                world.tell(&line);
                world.nodes[node].sessions.remove(&request);
                world.endings.closed(request)
            }
        }
    }
}

impl Performed for LedgerPort {
    fn perform(self, world: &mut World, node: usize, actor: Actor) -> Verdict {
        match self {
            LedgerPort::Persist(batch) => {
                world.nodes[node].books.writes.push_back(batch);
                world.write(node, actor);
                Ok(())
            }
            LedgerPort::Granted { id, outcome } => {
                let granted = outcome.is_err() || world.books.is_granted(id);
                require(granted, "L21 ack-durable", || {
                    format!("grant {id:02x?} is acknowledged and on no disk")
                })
            }
        }
    }
}

impl Performed for OutboxPort {
    fn perform(self, world: &mut World, node: usize, actor: Actor) -> Verdict {
        let OutboxPort::Persist {
            write,
            keep,
            forget,
        } = self;
        let next = TrayWrite {
            write,
            keep,
            forget,
        };
        world.nodes[node].post.writes.push_back(next);
        world.write(node, actor);
        Ok(())
    }
}

impl Performed for EnginePort {
    fn perform(self, world: &mut World, node: usize, _actor: Actor) -> Verdict {
        match self {
            EnginePort::Spawn { model, life } => world.spawn_child(node, model, life),
            EnginePort::Kill { model: _, life } => world.kill_child(node, life),
            EnginePort::Write {
                model: _,
                life,
                frame,
            } => world.write_child(node, life, frame),
        }
        Ok(())
    }
}
