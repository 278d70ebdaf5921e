//! Lets a ticket in once, if it is good, for this worker and from this peer.
//!
//! Lives on workers. Sessions knock, from this node or another; what is let in goes to the `EngineProcess`,
//! what is not gets the reason. It asks the coordinator's `TicketIssuer` for the time and for what was taken
//! back, and does without while that is away. When it dies its successor remembers no ticket, so it takes none that was
//! issued before it opened: sessions ask for another.

mod door;
pub mod protocol;

pub use door::Door;

use crate::admissions::Outcasts;
use crate::names;
use crate::routing::DoorkeeperPort;
use crate::shell::{Node, Seat};
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef};
use std::sync::Arc;

/// All a doorkeeper needs from outside.
pub struct DoorkeeperArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// Where it says who is out of the troop.
    pub outcasts: Outcasts,
}

/// The actor.
pub struct Doorkeeper;

/// The core in its seat, and who is told of those that are out.
pub struct DoorkeeperState {
    seat: Seat<Door>,
    outcasts: Outcasts,
}

impl DoorkeeperState {
    fn perform(&mut self, ports: Vec<DoorkeeperPort>, myself: &ActorRef<DoorkeeperMessage>) {
        for port in ports {
            let DoorkeeperPort::PutOut(nodes) = port;
            self.outcasts.add(nodes);
        }
        self.seat.arm(myself, || DoorkeeperMessage::Wake);
    }
}

#[ractor::actor(
    message = pub enum DoorkeeperMessage,
    state = DoorkeeperState,
    arguments = DoorkeeperArgs,
)]
impl Doorkeeper {
    async fn pre_start(
        &self,
        myself: ActorRef<DoorkeeperMessage>,
        args: DoorkeeperArgs,
    ) -> Result<DoorkeeperState, ActorProcessingErr> {
        let DoorkeeperArgs { node, outcasts } = args;
        let door = Door::new(node.wiring, node.clock.now());
        node.directory
            .enter(|entries| entries.doorkeeper = Some(myself.clone()));
        let mut seat = Seat::new(names::DOORKEEPER, door, node);
        seat.arm(&myself, || DoorkeeperMessage::Wake);
        Ok(DoorkeeperState { seat, outcasts })
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<DoorkeeperMessage>,
        input: Input,
        state: &mut DoorkeeperState,
    ) {
        let ports = state.seat.step(input);
        state.perform(ports, &myself);
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<DoorkeeperMessage>, state: &mut DoorkeeperState) {
        let ports = state.seat.wake();
        state.perform(ports, &myself);
    }
}
