//! All that the gateway needs from the node behind it.
//!
//! The running node's backend is [`Actors`], over the handles of the other actors. The trait is a seam for
//! tests of the HTTP side, which script what the node says. Every call ends within a bound of its own.

mod actors;
mod claims;
mod known;

pub use actors::Actors;

use crate::control;
use crate::problem::Problem;
use ractor::ActorCell;
use std::future::Future;
use std::pin::Pin;
use troop_actors::ids::{MemberId, Passport};
use troop_actors::session::Deliveries;
use troop_actors::session::protocol::Order;

/// An answer that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What people call it.
    pub name: String,
    /// What it is.
    pub passport: Passport,
    /// Tokens it can see.
    pub context: u32,
    /// Seconds since the Unix epoch when it came here.
    pub created_seconds: u64,
}

/// One thing that must be well for this node to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What was seen; no secrets, no paths.
    pub detail: String,
}

/// The node behind a gateway.
pub trait Backend: Send + Sync + 'static {
    /// Begins a request. Its session is a child of `parent`. Dropping the receiver hangs up.
    fn open(&self, order: Order, parent: ActorCell) -> Later<'_, Result<Deliveries, Problem>>;

    /// The models that workers serve now or served a moment ago, by name.
    fn models(&self) -> Later<'_, Result<Vec<Model>, Problem>>;

    /// Whose key this is, if it is one.
    fn who<'a>(&'a self, key: &'a str) -> Later<'a, Result<Option<MemberId>, Problem>>;

    /// What must be well for requests to be served, and whether it is.
    fn checks(&self) -> Later<'_, Vec<Check>>;

    /// What the engines of this node are doing.
    fn engines(&self) -> Later<'_, Result<Vec<control::Engine>, Problem>>;

    /// The queue's numbers.
    fn queue(&self) -> Later<'_, Result<control::Queue, Problem>>;

    /// Why a request waited, ran where it did, and cost what it cost; `request` is what a client calls it.
    fn explain<'a>(&'a self, request: &'a str) -> Later<'a, Result<control::Explanation, Problem>>;

    /// One account: the owner's where `member` is not given; a member's by name or id.
    fn account<'a>(
        &'a self,
        member: Option<&'a str>,
    ) -> Later<'a, Result<control::Account, Problem>>;

    /// All accounts.
    fn accounts(&self) -> Later<'_, Result<Vec<control::Account>, Problem>>;

    /// Recomputes every balance from the entries and compares.
    fn verify(&self) -> Later<'_, Result<control::Verified, Problem>>;

    /// Makes a key for a member, who gets `credits` once when first seen.
    fn create_key(
        &self,
        wanted: control::KeyWanted,
    ) -> Later<'_, Result<control::KeyMade, Problem>>;

    /// Gives a member more credits, once for each id.
    fn credit(&self, wanted: control::CreditWanted)
    -> Later<'_, Result<control::Account, Problem>>;

    /// All keys, without their secrets.
    fn keys(&self) -> Later<'_, Result<Vec<control::Key>, Problem>>;

    /// Forgets the one key that begins so.
    fn revoke_key<'a>(&'a self, prefix: &'a str) -> Later<'a, Result<(), Problem>>;

    /// Takes no more work for others until `resume`, and gives the engines' memory back when what runs is over.
    fn pause(&self, wanted: control::PauseWanted) -> Later<'_, Result<(), Problem>>;

    /// Takes work again.
    fn resume(&self) -> Later<'_, Result<(), Problem>>;

    /// Whether this node takes work; nothing where it is no worker.
    fn worker(&self) -> Later<'_, Result<Option<control::Worker>, Problem>>;

    /// How the coordinator sees this node.
    fn checkup(&self) -> Later<'_, control::Checkup>;

    /// Has a model that is on this machine served from now on.
    fn load<'a>(&'a self, name: &'a str) -> Later<'a, Result<control::Loading, Problem>>;

    /// Invites machines to the troop.
    fn invite(
        &self,
        wanted: control::InviteWanted,
    ) -> Later<'_, Result<control::InviteMade, Problem>>;

    /// All invitations, without their secrets.
    fn invites(&self) -> Later<'_, Result<Vec<control::Invite>, Problem>>;

    /// Takes back the one invitation whose id begins so.
    fn revoke_invite<'a>(&'a self, prefix: &'a str) -> Later<'a, Result<control::Invite, Problem>>;

    /// All nodes that are known, this one first.
    fn nodes(&self) -> Later<'_, Result<Vec<control::NodeLine>, Problem>>;

    /// The troop's coordinator, if that is another node.
    fn coordinator(&self) -> Later<'_, Result<Option<control::NodeLine>, Problem>>;

    /// Asks the one node that is called so, or whose id begins so, whether it is there.
    fn ping<'a>(&'a self, pick: &'a str) -> Later<'a, Result<control::Ping, Problem>>;

    /// Has tickets signed with the next key from now on.
    fn rotate(
        &self,
        wanted: control::RotateWanted,
    ) -> Later<'_, Result<control::TicketKeys, Problem>>;

    /// All nodes that were let in.
    fn members(&self) -> Later<'_, Result<Vec<control::Member>, Problem>>;

    /// Puts out the one node that is called so, or whose id begins so.
    fn remove_member<'a>(&'a self, pick: &'a str) -> Later<'a, Result<control::Member, Problem>>;
}
