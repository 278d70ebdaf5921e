//! Signs tickets, the only thing a worker believes.
//!
//! Lives on coordinators. The `Scheduler` orders a ticket, the session of the request gets it. `Doorkeeper`s
//! ask it for the time and for what was taken back, and the `Admissions` say what that is. It keeps
//! nothing but its key: when it dies, sessions ask the scheduler again, the scheduler orders again, and the
//! same order gives a ticket for the same attempt.

pub mod protocol;
mod seal;

pub use seal::Seal;

use crate::admissions::Outcasts;
use crate::ids::NodeKey;
use crate::names;
use crate::shell::{Node, Seat};
use crate::ticket::Revoked;
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef};
use std::sync::Arc;

/// All a ticket issuer needs from outside.
pub struct TicketIssuerArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// The node's key, which is what workers believe.
    pub key: NodeKey,
    /// Who was put out before.
    pub outcasts: Outcasts,
}

/// The actor; its state is the core in its seat.
pub struct TicketIssuer;

#[ractor::actor(
    message = pub enum TicketIssuerMessage,
    state = Seat<Seal>,
    arguments = TicketIssuerArgs,
)]
impl TicketIssuer {
    async fn pre_start(
        &self,
        myself: ActorRef<TicketIssuerMessage>,
        args: TicketIssuerArgs,
    ) -> Result<Seat<Seal>, ActorProcessingErr> {
        let TicketIssuerArgs {
            node,
            key,
            outcasts,
        } = args;
        node.directory
            .enter(|entries| entries.ticket_issuer = Some(myself));
        let mut seat = Seat::new(names::TICKET_ISSUER, Seal::new(key), node);
        let revoked = outcasts.all().into_iter().map(Revoked::Client);
        seat.step(Input::Revoke(revoked.collect()));
        Ok(seat)
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, input: Input, state: &mut Seat<Seal>) {
        state.step(input);
    }
}
