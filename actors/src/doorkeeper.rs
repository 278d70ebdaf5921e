//! Lets a ticket in once, if it is good, for this worker and from this peer.
//!
//! Lives on workers. Sessions knock, from this node or another; what is let in goes to the `EngineProcess`,
//! what is not gets the reason. When it dies its successor remembers no ticket, so it takes none that was
//! issued before it opened: sessions ask for another.

mod door;
pub mod protocol;

pub use door::Door;

use crate::names;
use crate::shell::{Node, Seat};
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef};
use std::sync::Arc;

/// All a doorkeeper needs from outside.
pub struct DoorkeeperArgs {
    /// The node it works for.
    pub node: Arc<Node>,
}

/// The actor; its state is the core in its seat.
pub struct Doorkeeper;

#[ractor::actor(
    message = pub enum DoorkeeperMessage,
    state = Seat<Door>,
    arguments = DoorkeeperArgs,
)]
impl Doorkeeper {
    async fn pre_start(
        &self,
        myself: ActorRef<DoorkeeperMessage>,
        args: DoorkeeperArgs,
    ) -> Result<Seat<Door>, ActorProcessingErr> {
        let node = args.node;
        let door = Door::new(node.wiring, node.clock.now());
        node.directory
            .enter(|entries| entries.doorkeeper = Some(myself));
        Ok(Seat::new(names::DOORKEEPER, door, node))
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, input: Input, state: &mut Seat<Door>) {
        state.step(input);
    }
}
