//! What a `TicketIssuer` hears and says.

use crate::ids::{NodeId, RequestId};
use crate::scheduler::protocol::Issue;
use crate::session::protocol::Grant;

/// What may happen to an issuer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The scheduler orders a ticket. The same order twice gives a ticket for the same attempt.
    Issue(Box<Issue>),
}

/// What an issuer wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The session gets its ticket.
    Granted {
        /// The session's node.
        client: NodeId,
        /// The request.
        request: RequestId,
        /// The ticket and what it allows.
        grant: Box<Grant>,
    },
}
