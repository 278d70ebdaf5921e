//! What a `TicketIssuer` hears and says.

use crate::contract::Time;
use crate::ids::{NodeId, RequestId};
use crate::scheduler::protocol::Issue;
use crate::session::protocol::Grant;
use crate::ticket::{KeySet, Revocations, Revoked, Rotation};

/// What may happen to an issuer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The scheduler orders a ticket. The same order twice gives a ticket for the same attempt.
    Issue(Box<Issue>),
    /// A door wants to know what time it is, what was taken back, and what tickets are signed with.
    Tell {
        /// Its node.
        door: NodeId,
        /// What time it was there, for the answer.
        sent: Time,
        /// The number of the list that it knows.
        list: u64,
        /// Since when the keys are in use that it knows.
        keys: Time,
    },
    /// These tickets are not good any more. Said twice, it is the same.
    Revoke(Vec<Revoked>),
    /// The next key is to be used from now on.
    Rotate {
        /// Who waits for the answer.
        call: u64,
        /// Whether the present ones may be known to somebody else: then no ticket of theirs is good any more.
        revokes: bool,
    },
    /// The store has written everything up to and including this write, durably.
    Persisted {
        /// The write's number.
        write: u64,
    },
    /// The store could not write; the actor restarts from disk.
    PersistFailed {
        /// What the disk said.
        message: String,
    },
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
        /// The keys, if it knows others.
        keys: Option<Box<KeySet>>,
    },
    /// To be written as one commit.
    Persist {
        /// The write's number, rising by one.
        write: u64,
        /// What the disk is to know.
        rotation: Rotation,
    },
    /// Whoever waits is answered.
    Answer {
        /// Who.
        call: u64,
        /// What came of it.
        outcome: Result<Keys, RotateError>,
    },
}

/// What tickets are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The keys.
    pub keys: KeySet,
    /// The epoch.
    pub epoch: u64,
}

/// Why no other key is used. Nothing has changed, unless the disk could not be written: then that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// A worker may not know the next key yet.
    #[error(
        "the next key is not known for long enough to every worker; it may be used in {seconds} s, or at once with \
         --revoke"
    )]
    Soon {
        /// When it may.
        seconds: u64,
    },
    /// A rotation is being written.
    #[error("another rotation is being written")]
    Busy,
    /// The ticket issuer does not answer; what came of the order is not known.
    #[error("the ticket issuer does not answer; it may be restarting")]
    Away,
    /// The disk could not be written.
    #[error("the keys' file cannot be written: {message}")]
    Unwritten {
        /// What the disk said.
        message: String,
    },
}
