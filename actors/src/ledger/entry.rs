//! One line of the books, and the chain that ties it to every line before it.

use crate::contract::Time;
use crate::ids::{Digest, HoldId, MemberId, NodeId, RequestId, digest};
use crate::price::Micros;
use crate::wire;
use serde::{Deserialize, Serialize};

/// Entries that become durable together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The batch's number, rising by one.
    pub number: u64,
    /// In order.
    pub entries: Vec<Entry>,
}

/// One fact, where it stands in the chain, and when it was entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, from 1, without gaps.
    pub sequence: u64,
    /// Strictly later than the entry before it (L17).
    pub at: Time,
    /// The hash of the entry before it (L18).
    pub previous: Digest,
    /// What happened.
    pub fact: Fact,
}

/// What can happen to credits. Each fact is both sides of the movement: half of one cannot exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// Credits are made: from the mint to a member.
    Grant {
        /// The grant's own id.
        id: [u8; 16],
        /// Who gets them.
        member: MemberId,
        /// A name for listings.
        name: String,
        /// How much.
        amount: Micros,
    },
    /// Credits are set aside. Zero where payer and payee are the same member.
    Hold {
        /// The hold.
        hold: HoldId,
        /// The request it is for.
        request: RequestId,
        /// Who pays.
        payer: MemberId,
        /// Who will be paid.
        payee: MemberId,
        /// Who receives, and signs for it.
        client: NodeId,
        /// Who delivers, and signs for it.
        worker: NodeId,
        /// The number of the attempt that is paid from it.
        number: u32,
        /// How much is set aside.
        amount: Micros,
        /// The price table, by hash.
        prices: Digest,
        /// When it is released by itself.
        expires: Time,
    },
    /// An open hold goes to another worker: the first was lost. What is set aside may change with it.
    Redirect {
        /// The hold.
        hold: HoldId,
        /// Who will be paid.
        payee: MemberId,
        /// Who delivers.
        worker: NodeId,
        /// The number of the attempt that is paid from it, higher than before.
        number: u32,
        /// How much is set aside from now on.
        amount: Micros,
    },
    /// A request could not be paid for. Its id never succeeds later (L10).
    Refused {
        /// The hold that was not made.
        hold: HoldId,
        /// What it would have taken.
        needed: Micros,
    },
    /// A hold is resolved: `amount` goes to the payee, the rest back to the payer.
    Post {
        /// The hold.
        hold: HoldId,
        /// What was paid.
        amount: Micros,
        /// The receipt's digest.
        receipt: Digest,
    },
    /// A receipt came after its hold had expired, within a day: `amount` goes from what the payer has left to
    /// the payee (L34).
    Late {
        /// The hold.
        hold: HoldId,
        /// What was paid.
        amount: Micros,
        /// The receipt's digest.
        receipt: Digest,
    },
    /// A hold's time is over: all of it goes back to the payer.
    Expire {
        /// The hold.
        hold: HoldId,
    },
    /// A later attempt may be paid from an open hold instead of the present one: its worker stands by with a
    /// ticket of its own. Still only one of them is paid.
    Standby {
        /// The hold.
        hold: HoldId,
        /// Who would be paid.
        payee: MemberId,
        /// Who would deliver.
        worker: NodeId,
        /// The number of the attempt, higher than that of any before it.
        number: u32,
        /// How much is set aside from now on, for whichever of them is paid.
        amount: Micros,
    },
    /// A worker has shown its client's voucher for an attempt: it is paid if no receipt comes before the hold's
    /// time is over, and nobody claims more.
    Claim {
        /// The hold.
        hold: HoldId,
        /// The number of the attempt.
        number: u32,
        /// What it comes to.
        amount: Micros,
        /// What the client signed.
        voucher: Digest,
    },
    /// A hold's time is over and no receipt came: `amount` goes to whoever claimed it, the rest back to the payer.
    Vouched {
        /// The hold.
        hold: HoldId,
        /// What was paid.
        amount: Micros,
        /// What the client signed.
        voucher: Digest,
    },
}

impl Entry {
    /// The hash that the next entry carries.
    pub fn hash(&self) -> Digest {
        digest("troop/entry/v1", &[&wire::encode(ENTRY_VERSION, self)])
    }
}

/// The version byte of an entry, on disk and under its hash.
pub(super) const ENTRY_VERSION: u8 = 1;
/// Bytes of an encoded entry, at most.
pub(super) const ENTRY_BYTES_MAX: usize = 1024;
