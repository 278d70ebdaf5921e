//! What an `Outbox` hears and says.

use crate::ids::{AttemptId, NodeId, RequestId};
use crate::ledger::protocol::Outcome;
use crate::receipt::Evidence;
use serde::{Deserialize, Serialize};

/// A client's parcel is named by the attempt its receipt is for: the same receipt is the same parcel.
pub type ParcelId = AttemptId;

/// The name of a worker's own parcel for an attempt; its client's may be in the same outbox.
pub fn of_worker(attempt: AttemptId) -> ParcelId {
    attempt.counterpart()
}

/// Something owed to another node until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Which.
    pub id: ParcelId,
    /// The coordinator it goes to.
    pub to: NodeId,
    /// What it holds.
    pub evidence: Evidence,
}

/// What may happen to an outbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A session or a keeper of engines hands in what is to be paid, and again until it hears `Posted` or `Kept`.
    Post(Box<Parcel>),
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
    /// The other side has answered for good.
    Answered {
        /// Which parcel.
        parcel: ParcelId,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What an outbox wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To be written as one commit.
    Persist {
        /// The write's number, rising by one.
        write: u64,
        /// Parcels to keep.
        keep: Vec<Parcel>,
        /// Parcels to forget.
        forget: Vec<ParcelId>,
    },
    /// The session that handed the parcel in is told that the disk has it.
    Posted {
        /// Whose session.
        request: RequestId,
        /// Which parcel.
        parcel: ParcelId,
    },
    /// The keeper of engines that handed the parcel in is told the same.
    Kept {
        /// For which attempt.
        attempt: AttemptId,
    },
    /// To be delivered, again and again until answered.
    Deliver(Box<Parcel>),
}
