//! What a `Doorkeeper` hears and says.

use crate::contract::Time;
use crate::generate::Work;
use crate::ids::{AttemptId, NodeId, RequestId};
use crate::ticket::{Claims, KeySet, Revocations, Revoked, TicketError};
use serde::{Deserialize, Serialize};

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
    /// The coordinator answers what it was asked.
    Told {
        /// When that was, by this node's clock.
        sent: Time,
        /// What time it was there.
        there: Time,
        /// What it has taken back, if that is news.
        revocations: Option<Box<Revocations>>,
        /// What tickets are signed with, if that is news.
        keys: Option<Box<KeySet>>,
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
        /// Why.
        reason: Turnaway,
    },
    /// The coordinator is to say what time it is, what it has taken back, and what tickets are signed with.
    Consult {
        /// What time it is here.
        sent: Time,
        /// The number of the list that is known here; 0 where none is.
        list: u64,
        /// Since when the keys are in use that are known here; 0 where none are.
        keys: Time,
    },
    /// These are out of the troop: nothing is to be open with them any more.
    PutOut(Vec<NodeId>),
    /// What runs by tickets that were taken back is to end.
    Revoke(Vec<Revoked>),
}

/// Why a peer is turned away. Nothing was started; unless it says so, the ticket was not used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Turnaway {
    /// The ticket itself is no good here.
    #[error("{0}")]
    Ticket(TicketError),
    /// The ticket is older than this door, whose predecessor may have let it in.
    #[error("the ticket was issued before this door was open; ask for another")]
    Window,
    /// The ticket was let in before: its attempt is running, or has run.
    #[error("the ticket was used before")]
    Used,
    /// As many tickets are remembered as can be.
    #[error("the door remembers {limit} tickets already")]
    Full {
        /// How many.
        limit: u32,
    },
    /// The work is not what the ticket is for, and never will be.
    #[error("{field}: the ticket allows {allowed}, the work has {found}")]
    Beyond {
        /// Which part of the work.
        field: String,
        /// What the ticket says.
        allowed: String,
        /// What the work says.
        found: String,
    },
    /// The worker is being stopped. The ticket was good, and is used up.
    #[error("the worker is being stopped and takes no more work")]
    Draining,
    /// The ticket's client, its member or the ticket itself was put on the coordinator's list.
    #[error("the ticket was taken back")]
    Revoked,
    /// The worker cannot tell what time a ticket is of.
    #[error("clock_unsafe: the worker's clock and the coordinator's are {offset_ms} ms apart")]
    ClockUnsafe {
        /// How far the coordinator's clock is ahead.
        offset_ms: i64,
    },
    /// The door opened just now: it does not know what tickets are signed with, nor which of them are older than it.
    #[error("the worker has only just begun, and has not heard from its coordinator; ask again")]
    New,
    /// The worker makes other bytes than those that its ticket is for: it was started anew in another way. The ticket
    /// was good, and is used up.
    #[error(
        "other_class: the ticket is for another class of generation than {class}, which this worker is of"
    )]
    OtherClass {
        /// The worker's.
        class: String,
    },
}

impl Turnaway {
    /// Whether another worker would say the same of the same request.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Turnaway::Beyond { .. })
    }
}
