//! The seat every actor sits in: it hands inputs to a core and carries the effects away.
//!
//! A shell decides nothing. It turns a message into an input, lets [`Seat::step`] run the core and send
//! every letter, performs the port calls that are left, and re-arms its one timer. What can be the same for
//! all actors is here, so that an actor's own file holds only what is its own.

use crate::contract::{Core, Time};
use crate::ids::{NodeId, RequestId};
use crate::ports::{Asked, Clock, Entropy, Transport};
use crate::questions::Question;
use crate::routing::{Message, Out, Routed, Wiring};
use crate::{
    doorkeeper, engine_process, ledger, outbox, planted, scheduler, session, ticket_issuer,
};
use ractor::{ActorRef, MessagingErr};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::task::AbortHandle;

/// What all actors of one node share.
pub struct Node {
    /// Its place among others.
    pub wiring: Wiring,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its dice.
    pub entropy: Arc<dyn Entropy>,
    /// Its way to other nodes.
    pub transport: Arc<dyn Transport>,
    /// Its actors.
    pub directory: Directory,
}

impl Node {
    /// Whether it is its troop's coordinator.
    pub fn coordinates(&self) -> bool {
        self.wiring.me == self.wiring.coordinator
    }

    /// Asks the troop's coordinator, which is another node.
    pub fn ask_coordinator(&self, question: Question, within: Duration) -> Asked<'_> {
        self.transport
            .ask(self.wiring.coordinator, question, within)
    }

    /// Sends a message to an actor of node `to`. One that cannot be delivered is dropped and traced: whoever
    /// needs an answer has a deadline, as it must over a network too.
    pub fn send(&self, to: NodeId, message: Message) {
        let delivered = if to == self.wiring.me {
            self.directory.deliver(message)
        } else {
            self.transport.cast(to, message).is_ok()
        };
        if !delivered {
            tracing::debug!(%to, "a letter was not delivered");
        }
    }
}

/// Where the actors of one node are now. An actor enters itself when it starts, in place of its predecessor.
#[derive(Default)]
pub struct Directory(RwLock<Entries>);

/// The directory's content.
#[derive(Default)]
pub struct Entries {
    /// The scheduler, on a coordinator.
    pub scheduler: Option<ActorRef<scheduler::SchedulerMessage>>,
    /// The ledger, on a coordinator.
    pub ledger: Option<ActorRef<ledger::LedgerMessage>>,
    /// The ticket issuer, on a coordinator.
    pub ticket_issuer: Option<ActorRef<ticket_issuer::TicketIssuerMessage>>,
    /// The doorkeeper, on a worker.
    pub doorkeeper: Option<ActorRef<doorkeeper::DoorkeeperMessage>>,
    /// The keeper of engines, on a worker.
    pub engine_process: Option<ActorRef<engine_process::EngineProcessMessage>>,
    /// The outbox.
    pub outbox: Option<ActorRef<outbox::OutboxMessage>>,
    /// The keyring, on a coordinator.
    pub keyring: Option<ActorRef<crate::keyring::KeyringMessage>>,
    /// The admissions, on a coordinator.
    pub admissions: Option<ActorRef<crate::admissions::AdmissionsMessage>>,
    /// The membership.
    pub membership: Option<ActorRef<crate::membership::MembershipMessage>>,
    /// The sessions of the requests that clients of this node have open.
    pub sessions: BTreeMap<RequestId, ActorRef<session::SessionMessage>>,
    /// What the last of them went through.
    pub stories: session::Stories,
    /// Which workers have read what lately.
    pub prefixes: session::Prefixes,
}

impl Directory {
    /// Changes the directory.
    pub fn enter(&self, change: impl FnOnce(&mut Entries)) {
        change(
            &mut self
                .0
                .write()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        );
    }

    /// Looks something up.
    pub fn find<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(
            &self
                .0
                .read()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }

    /// Hands a message to its actor; false if that actor is not there now.
    pub fn deliver(&self, message: Message) -> bool {
        fn tell<M: ractor::Message>(
            actor: &Option<ActorRef<M>>,
            message: M,
        ) -> Result<(), MessagingErr<M>> {
            match actor {
                Some(actor) => actor.send_message(message),
                None => Err(MessagingErr::ChannelClosed),
            }
        }
        self.find(|entries| match message {
            Message::Session(request, input) => entries
                .sessions
                .get(&request)
                .is_some_and(|session| session.cast(session::SessionMessage::Input(input)).is_ok()),
            Message::Scheduler(input) => tell(
                &entries.scheduler,
                scheduler::SchedulerMessage::Input(input),
            )
            .is_ok(),
            Message::Ledger(input) => {
                tell(&entries.ledger, ledger::LedgerMessage::Input(input)).is_ok()
            }
            Message::TicketIssuer(input) => tell(
                &entries.ticket_issuer,
                ticket_issuer::TicketIssuerMessage::Input(input),
            )
            .is_ok(),
            Message::Doorkeeper(input) => tell(
                &entries.doorkeeper,
                doorkeeper::DoorkeeperMessage::Input(input),
            )
            .is_ok(),
            Message::EngineProcess(input) => tell(
                &entries.engine_process,
                engine_process::EngineProcessMessage::Input(input),
            )
            .is_ok(),
            Message::Outbox(input) => {
                tell(&entries.outbox, outbox::OutboxMessage::Input(input)).is_ok()
            }
        })
    }
}

/// A core in its place: with the node around it, and the one timer it needs.
pub struct Seat<C: Core> {
    core: C,
    node: Arc<Node>,
    effects: Vec<C::Effect>,
    armed: Option<(Time, AbortHandle)>,
    name: &'static str,
}

impl<C: Core> Seat<C>
where
    C::Effect: Routed,
{
    /// Seats `core`; `name` is the actor's, for traces and planted faults.
    pub fn new(name: &'static str, core: C, node: Arc<Node>) -> Seat<C> {
        Seat {
            core,
            node,
            effects: Vec::new(),
            armed: None,
            name,
        }
    }

    /// The core, to be read.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// The same, for the message `message`, which only asks.
    pub fn asked(&self, message: &str) -> &C {
        planted::meet(self.name, message);
        &self.core
    }

    /// The node around it.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// One input: letters are sent, port calls are returned in order.
    pub fn step(&mut self, input: C::Input) -> Vec<<C::Effect as Routed>::Port> {
        planted::trip(self.name, &input);
        tracing::trace!(actor = self.name, input = planted::variant(&input), "input");
        let now = self.node.clock.now();
        self.core.step(now, input, &mut self.effects);
        self.carry()
    }

    /// The timer rang. Early rings are harmless, and so is one that was under way when its timer was replaced:
    /// [`Seat::arm`] sets a new one.
    pub fn wake(&mut self) -> Vec<<C::Effect as Routed>::Port> {
        planted::meet(self.name, "Wake");
        self.disarm();
        let now = self.node.clock.now();
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.core.wake(now, &mut self.effects);
        }
        self.carry()
    }

    fn carry(&mut self) -> Vec<<C::Effect as Routed>::Port> {
        if cfg!(debug_assertions) {
            self.core.check();
        }
        let mut ports = Vec::new();
        for effect in self.effects.drain(..) {
            match effect.route(&self.node.wiring) {
                Out::Letter { to, message } => self.node.send(to, message),
                Out::Port(port) => ports.push(port),
            }
        }
        ports
    }

    /// Arms the timer for the core's deadline: `wake` is sent to `myself` when it has passed. To be called
    /// at the end of every message. There is one timer at a time: an earlier deadline replaces it, a later one
    /// waits until it has rung.
    pub fn arm<M: ractor::Message>(&mut self, myself: &ActorRef<M>, wake: fn() -> M) {
        let Some(deadline) = self.core.deadline() else {
            return;
        };
        if self.armed.as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return;
        }
        self.disarm();
        let wait = deadline.since_ms(self.node.clock.now()).max(1);
        let timer = myself.send_after(Duration::from_millis(wait), wake);
        self.armed = Some((deadline, timer.abort_handle()));
    }
}

impl<C: Core> Seat<C> {
    fn disarm(&mut self) {
        if let Some((_, timer)) = self.armed.take() {
            timer.abort();
        }
    }
}

impl<C: Core> Drop for Seat<C> {
    fn drop(&mut self) {
        self.disarm();
    }
}

#[cfg(test)]
mod tests;
