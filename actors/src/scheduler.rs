//! Admits or says Busy; decides who waits, and which worker serves.
//!
//! Lives on coordinators. Sessions ask it for workers; it asks the `Ledger` for a hold and the
//! `TicketIssuer` for a ticket, which goes straight to the session. When it dies its queue is gone: sessions
//! ask again, workers report again, and its view is rebuilt from that.

pub mod protocol;
mod queue;

pub use queue::Queue;

use crate::names;
use crate::shell::{Node, Seat};
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef};
use std::sync::Arc;

/// All a scheduler needs from outside.
pub struct SchedulerArgs {
    /// The node it works for.
    pub node: Arc<Node>,
}

/// The actor; its state is the core in its seat.
pub struct Scheduler;

#[ractor::actor(
    message = pub enum SchedulerMessage,
    state = Seat<Queue>,
    arguments = SchedulerArgs,
)]
impl Scheduler {
    async fn pre_start(
        &self,
        myself: ActorRef<SchedulerMessage>,
        args: SchedulerArgs,
    ) -> Result<Seat<Queue>, ActorProcessingErr> {
        let node = args.node;
        let queue = Queue::new(node.wiring.me);
        node.directory
            .enter(|entries| entries.scheduler = Some(myself));
        Ok(Seat::new(names::SCHEDULER, queue, node))
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, myself: ActorRef<SchedulerMessage>, input: Input, state: &mut Seat<Queue>) {
        state.step(input);
        state.arm(&myself, || SchedulerMessage::Wake);
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<SchedulerMessage>, state: &mut Seat<Queue>) {
        state.wake();
        state.arm(&myself, || SchedulerMessage::Wake);
    }
}
