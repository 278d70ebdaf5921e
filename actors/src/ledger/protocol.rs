//! What a `Ledger` hears and says.

use crate::ids::{AttemptId, HoldId, MemberId, NodeId, RequestId};
use crate::outbox::protocol::ParcelId;
use crate::price::Micros;
use crate::receipt::{Claim, Signed};
use crate::scheduler::protocol::{HoldOrder, Refusal};
use serde::{Deserialize, Serialize};

/// What may happen to the books.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// New credits for a member; the same id twice is one grant.
    Grant {
        /// Chosen by whoever grants, and kept.
        id: [u8; 16],
        /// Who gets them.
        member: MemberId,
        /// A name for listings; empty leaves the one that is there.
        name: String,
        /// How much.
        amount: Micros,
    },
    /// Credits are to be set aside for a request; the same order twice is one hold.
    Hold(HoldOrder),
    /// A receipt to be paid; the same receipt twice is one payment.
    Settle {
        /// The node whose outbox delivers it, which gets the answer.
        from: NodeId,
        /// The parcel it came in.
        parcel: ParcelId,
        /// The receipt.
        receipt: Box<Signed>,
    },
    /// A worker's claim to what its client vouched for; the same claim twice is one.
    Claim {
        /// The node whose outbox delivers it, which gets the answer.
        from: NodeId,
        /// The parcel it came in.
        parcel: ParcelId,
        /// The claim.
        claim: Box<Claim>,
    },
    /// The store has written everything up to and including this batch, durably.
    Persisted {
        /// The batch's number.
        batch: u64,
    },
    /// The store could not write; what was in flight may or may not be there. The actor restarts from disk.
    PersistFailed {
        /// What the disk said.
        message: String,
    },
}

/// The answer to a delivered receipt or claim. Every answer is final: the parcel is done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Paid now, or paid before by the same receipt.
    Settled {
        /// µc moved.
        amount: Micros,
    },
    /// Never payable: not signed by both, another price table, an unknown hold, an ended one.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The claim is in the books: unless a receipt or a larger one comes, it is paid when the hold's time is over.
    Noted {
        /// What it comes to.
        amount: Micros,
    },
}

/// What the books want done. Answers leave only after what they say is durable (L21).
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Entries to be written as one commit, in order.
    Persist(super::Batch),
    /// The scheduler's order is carried out.
    Held {
        /// The request.
        request: RequestId,
        /// Its hold.
        hold: HoldId,
        /// The attempt it was ordered for.
        number: u32,
        /// The worker it is directed to.
        worker: NodeId,
        /// The attempt that stands by, if one was ordered and is covered, and its worker.
        standby: Option<(u32, NodeId)>,
    },
    /// The scheduler's order is refused.
    NotHeld {
        /// The request.
        request: RequestId,
        /// The attempt it was ordered for.
        number: u32,
        /// Why.
        refusal: Refusal,
    },
    /// Whoever granted is told: it is durable, or why it was not done.
    Granted {
        /// The grant.
        id: [u8; 16],
        /// What came of it.
        outcome: Result<(), GrantError>,
    },
    /// The outbox's parcel is answered.
    Answer {
        /// The node whose outbox sent it.
        to: NodeId,
        /// Which parcel.
        parcel: ParcelId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The worker of a receipt that its client delivered need not see to its pay itself.
    Paid {
        /// The worker.
        worker: NodeId,
        /// The attempt.
        attempt: AttemptId,
    },
}

/// Why credits were not granted. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The id was used for another grant (L09).
    #[error("this grant was made before, with another member or amount")]
    Different,
    /// There would be more credits than the books can count.
    #[error("amount: at most {limit} µc may exist in all")]
    Supply {
        /// The limit.
        limit: Micros,
    },
    /// A name is too long.
    #[error("name: at most {limit} bytes")]
    Name {
        /// The limit.
        limit: usize,
    },
    /// The books cannot be written now.
    #[error("the ledger cannot be written")]
    Unwritten,
}
