//! What is said about invitations and members, and about the keys that let them in.

use serde::{Deserialize, Serialize};

/// A wish for an invitation; what is not said has its usual value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InviteWanted {
    /// `client`, `worker` or `client+worker`: what whoever comes may be.
    pub role: Option<String>,
    /// How many machines may come.
    pub uses: Option<u32>,
    /// How many seconds it is good.
    pub ttl_seconds: Option<u64>,
    /// What the machine is called; where it is not said, it says so itself.
    pub name: Option<String>,
    /// Whose the machine is, by name or id; where nobody is named, a new member's.
    pub member: Option<String>,
    /// Whole credits that a new member gets.
    pub credits: Option<u64>,
    /// Where this node can be reached; where it is not said, where it listens for other nodes.
    pub addresses: Vec<String>,
}

/// An invitation that was made. The only time its secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteMade {
    /// The token, with its secret.
    pub token: String,
    /// The addresses in it.
    pub addresses: Vec<String>,
    /// Whether all of them mean this machine alone.
    pub only_here: bool,
    /// The invitation.
    #[serde(flatten)]
    pub invite: Invite,
}

/// An invitation, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Its id.
    pub id: String,
    /// `open`, `used`, `expired` or `revoked`.
    pub state: String,
    /// What whoever comes may be.
    pub role: String,
    /// How many machines may come.
    pub uses_max: u32,
    /// How many have come.
    pub used: u32,
    /// What the machine is called, if that was said.
    pub name: Option<String>,
    /// Whose the machine is, if that was said, by id.
    pub member: Option<String>,
    /// What a new member gets, in microcredits.
    pub credits_micros: u64,
    /// Seconds since the Unix epoch when it was made.
    pub created_seconds: u64,
    /// And from when on it is refused.
    pub expires_seconds: u64,
}

/// An invitation that was made, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCreated {
    /// `troop.invite.created/v1`.
    pub schema: String,
    /// The invitation.
    #[serde(flatten)]
    pub made: InviteMade,
}

/// All invitations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invites {
    /// `troop.invites/v1`.
    pub schema: String,
    /// Spent ones too, for a week.
    pub invites: Vec<Invite>,
}

/// An invitation that was taken back, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevoked {
    /// `troop.invite.revoked/v1`.
    pub schema: String,
    /// The invitation.
    #[serde(flatten)]
    pub invite: Invite,
}

/// A node that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it is called.
    pub name: String,
    /// Its id.
    pub node: String,
    /// Whose it is, by id.
    pub member: String,
    /// What it may be.
    pub role: String,
    /// Who invited it, by id.
    pub inviter: String,
    /// The invitation it came by last.
    pub invite: String,
    /// Seconds since the Unix epoch when it came.
    pub joined_seconds: u64,
    /// And when its certificate ends, unless it is renewed.
    pub expires_seconds: u64,
}

/// All nodes that were let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// `troop.members/v1`.
    pub schema: String,
    /// In order of their coming.
    pub members: Vec<Member>,
}

/// A node that was put out, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemoved {
    /// `troop.member.removed/v1`.
    pub schema: String,
    /// The node.
    #[serde(flatten)]
    pub member: Member,
}

/// A wish for the next key that tickets are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotateWanted {
    /// Whether the present keys may be known to somebody else: then none of their tickets is good any more.
    pub revoke: bool,
}

/// The keys that tickets are signed with, each by what its tickets call it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeys {
    /// The one that signs now.
    pub current: String,
    /// The one that will sign after it; workers know it already.
    pub next: String,
    /// The one that signed before, if its last tickets are still good.
    pub previous: Option<String>,
    /// Seconds since the Unix epoch when the present one came into use.
    pub since_seconds: u64,
    /// The epoch of its tickets; none of an earlier one is good.
    pub epoch: u64,
}

/// The keys after a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// `troop.rotate/v1`.
    pub schema: String,
    /// The keys.
    #[serde(flatten)]
    pub keys: TicketKeys,
}
