//! What a `Doorkeeper` hears and says.

use crate::generate::Work;
use crate::ids::{AttemptId, NodeId, RequestId};
use crate::ticket::Claims;

/// What may happen at the door.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A peer presents a ticket. Who the peer is comes from the connection, never from the message.
    Knock {
        /// The peer.
        peer: NodeId,
        /// The request, for the answer.
        request: RequestId,
        /// The attempt, for the answer.
        attempt: AttemptId,
        /// The ticket.
        ticket: String,
        /// What is to be done.
        work: Box<Work>,
    },
}

/// What the doorkeeper wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The engine is to start.
    Admit {
        /// What the ticket said.
        claims: Box<Claims>,
        /// What is to be done.
        work: Box<Work>,
    },
    /// The peer's session is to be told no.
    Turn {
        /// The peer.
        peer: NodeId,
        /// Its request.
        request: RequestId,
        /// Its attempt.
        attempt: AttemptId,
        /// Why, by name.
        reason: String,
    },
}
