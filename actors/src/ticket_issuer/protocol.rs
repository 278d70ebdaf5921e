//! What a `TicketIssuer` hears and says.

use crate::contract::Time;
use crate::ids::{NodeId, RequestId};
use crate::scheduler::protocol::Issue;
use crate::session::protocol::Grant;
use crate::ticket::{Revocations, Revoked};

/// What may happen to an issuer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The scheduler orders a ticket. The same order twice gives a ticket for the same attempt.
    Issue(Box<Issue>),
    /// A door wants to know what time it is, and what was taken back.
    Tell {
        /// Its node.
        door: NodeId,
        /// What time it was there, for the answer.
        sent: Time,
        /// The list that it knows.
        epoch: u64,
    },
    /// These tickets are not good any more. Said twice, it is the same.
    Revoke(Vec<Revoked>),
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
    /// The door gets its answer.
    Told {
        /// Its node.
        door: NodeId,
        /// What time it was there when it asked.
        sent: Time,
        /// What time it is here.
        there: Time,
        /// The list, if it knows another one.
        revocations: Option<Box<Revocations>>,
    },
}
