//! What an `Admissions` hears and says.

use crate::certificate::{Certificate, RoleSet};
use crate::contract::Time;
use crate::ids::{Digest, MemberId, NodeId};
use crate::invitation::Secret;
use crate::keyring::KeyError;
use crate::price::Micros;
use serde::{Deserialize, Serialize};

/// An invitation as it is kept: never its secret, only the hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRecord {
    /// Of its secret; listings call the invitation by the beginning.
    pub hash: Digest,
    /// What it was made with.
    pub terms: Terms,
    /// When it was made.
    pub created: Time,
    /// From when on it is refused.
    pub expires: Time,
    /// How many machines have come by it.
    pub used: u32,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// What somebody who invites decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What whoever comes may be.
    pub roles: RoleSet,
    /// How many machines may come, 1 to [`super::USES_MAX`].
    pub uses_max: u32,
    /// How long it is good, up to [`super::TTL_MS_MAX`].
    pub ttl_ms: u64,
    /// What the machine is called; it says so itself where this is empty.
    pub name: String,
    /// Whose the machine is; a new member's where nobody is named.
    pub member: Option<MemberId>,
    /// What each new member begins with.
    pub credits: Micros,
    /// Who invites.
    pub inviter: MemberId,
}

/// A node that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its certificate, unsigned: the same claims have the same signature.
    pub certificate: Certificate,
    /// The invitation it came by last.
    pub invitation: Digest,
    /// When it first came.
    pub joined: Time,
    /// The first credits of the member it brought, by the number of its first certificate; none if the
    /// member was there before.
    pub opening: Option<(u64, Micros)>,
    /// When it was removed, if it was.
    pub removed: Option<Time>,
}

/// How a node stands with the troop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was never let in.
    Stranger,
    /// It belongs.
    Member(Box<MemberRecord>),
    /// It belonged once.
    Removed,
}

/// What is asked of an admissions office; each is answered once what it says is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// An invitation is to be made. Its secret stays with whoever asks.
    Invite {
        /// The hash of its secret.
        hash: Digest,
        /// Its terms.
        terms: Terms,
    },
    /// The invitation that begins so is taken back.
    Revoke {
        /// The beginning of its hash, in hex.
        prefix: String,
    },
    /// A node wants to be let in; who it is comes from the connection.
    Redeem {
        /// The node.
        node: NodeId,
        /// What it was invited with.
        secret: Secret,
        /// What it wants to be.
        roles: RoleSet,
        /// What it calls itself.
        name: String,
    },
    /// A member wants its next certificate.
    Renew {
        /// The node.
        node: NodeId,
    },
    /// A node is put out.
    Remove {
        /// Its name, or the beginning of its id in hex.
        pick: String,
    },
}

/// What may happen to an admissions office. `call` is the shell's name for whoever waits for the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Something is asked.
    Order {
        /// Who waits.
        call: u64,
        /// What.
        order: Order,
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

/// One durable change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The highest number of a certificate so far.
    pub serial: u64,
    /// Invitations to keep.
    pub invites: Vec<InviteRecord>,
    /// Invitations to forget.
    pub forget_invites: Vec<Digest>,
    /// Members to keep.
    pub members: Vec<MemberRecord>,
    /// Removed members to forget.
    pub forget_members: Vec<NodeId>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The invitation was made, or taken back.
    Invite(Box<InviteRecord>),
    /// The node is let in, or let stay: its record, and its certificate as signed.
    Admitted(Box<MemberRecord>, Vec<u8>),
    /// The node was put out.
    Removed(Box<MemberRecord>),
}

/// What an admissions office wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To be written as one commit.
    Persist {
        /// The write's number, rising by one.
        write: u64,
        /// What it changes.
        change: Box<Change>,
    },
    /// A node is out, from now on and whatever the disk says.
    PutOut {
        /// The node.
        node: NodeId,
    },
    /// Whoever waits is answered.
    Answer {
        /// Who.
        call: u64,
        /// What came of it.
        outcome: Result<Done, AdmissionError>,
    },
}

/// Why a node is not let in. It stands on the wire: add variants at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// No invitation has this secret.
    #[error("the coordinator does not know this invitation")]
    Unknown,
    /// As many have come by it as may.
    #[error("the invitation was used already; it was good for {uses}")]
    UsedUp {
        /// How many might come.
        uses: u32,
    },
    /// It is too late.
    #[error("the invitation expired {seconds} s ago")]
    Expired {
        /// How many seconds ago.
        seconds: u64,
    },
    /// Whoever invited thought better of it.
    #[error("the invitation was taken back")]
    Revoked,
    /// It is for other roles.
    #[error("role: the invitation is for {allowed}")]
    Role {
        /// For these.
        allowed: RoleSet,
    },
    /// There are as many members as may be.
    #[error("the troop is full: it has {limit} nodes")]
    Full {
        /// The limit.
        limit: u64,
    },
    /// The node was put out, and its key with it.
    #[error("this node was removed from the troop")]
    Removed,
    /// Only members have a certificate to renew.
    #[error("this node is no member of the troop")]
    Stranger,
    /// Its certificate ran out; only an invitation lets it in again.
    #[error("this node's certificate expired {seconds} s ago; a new invitation lets it in again")]
    Lapsed {
        /// How many seconds ago.
        seconds: u64,
    },
    /// Its name is none.
    #[error("name: 1 to 64 letters, digits, dots, underscores or hyphens, and not owner")]
    Name,
    /// The coordinator cannot say now; nothing is known of what it did. The same again does no harm.
    #[error("the coordinator is busy; the same invitation may be tried again")]
    Busy,
}

/// Why an order was not carried out. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// A node is not let in.
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
    /// There is no such invitation.
    #[error("no invitation begins with {prefix}")]
    NoInvite {
        /// What was asked for.
        prefix: String,
    },
    /// There is no such member.
    #[error("no node of the troop is called {pick}, and no id of one begins so")]
    NoMember {
        /// What was asked for.
        pick: String,
    },
    /// More than one is meant.
    #[error("{count} begin with {pick}")]
    Ambiguous {
        /// What was asked for.
        pick: String,
        /// How many.
        count: usize,
    },
    /// Another number of machines than one invitation lets in.
    #[error("uses: 1 to {limit}")]
    Uses {
        /// The limit.
        limit: u32,
    },
    /// Another time than an invitation may be good for.
    #[error("ttl: more than nothing, and at most {days} days")]
    Ttl {
        /// The limit.
        days: u64,
    },
    /// Roles that nobody is invited to.
    #[error("role: an invitation is for client, worker or both")]
    Roles,
    /// A name that is none.
    #[error(transparent)]
    Name(KeyError),
    /// One name for several machines.
    #[error("name: an invitation for {uses} machines cannot name them")]
    Names {
        /// For how many it would be.
        uses: u32,
    },
    /// There are as many open invitations as may be.
    #[error("there are {limit} open invitations already")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The disk is behind; nothing is taken in until it has caught up.
    #[error("the admissions are busy")]
    Busy,
    /// The admissions do not answer; what came of the order is not known.
    #[error("the admissions do not answer; they may be restarting")]
    Away,
    /// The disk could not be written.
    #[error("the admissions cannot be written: {message}")]
    Unwritten {
        /// What the disk said.
        message: String,
    },
}
