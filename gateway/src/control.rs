//! What the command line and a running node say to each other, over the node's unix socket.
//!
//! ```text
//! GET    /v1/troop/status            -> Status            GET    /v1/troop/ps        -> Ps
//! GET    /v1/troop/balance[?member=] -> Balance           GET    /v1/troop/accounts  -> Accounts
//! GET    /v1/troop/ledger/verify     -> LedgerVerified    GET    /v1/troop/keys      -> Keys
//! POST   /v1/troop/keys  KeyWanted   -> KeyCreated        DELETE /v1/troop/keys/{prefix} -> KeyRevoked
//! POST   /v1/troop/credits CreditWanted -> CreditGiven    POST   /v1/troop/drain     -> Draining
//! POST   /v1/troop/models/load LoadWanted -> Loaded       POST   /v1/troop/pause PauseWanted -> Paused
//! POST   /v1/troop/resume            -> Paused            GET    /v1/troop/checkup   -> Checkup
//! GET    /v1/troop/explain/{request}  -> Explanation      POST   /v1/troop/rotate RotateWanted -> Rotated
//! GET    /v1/troop/nodes             -> Nodes             GET    /v1/troop/ping?node= -> Ping
//! ```
//!
//! Every answer names its form in `schema`; members are only ever added. Whoever can open the socket is the
//! owner: its file is readable by nobody else. Over TCP none of these paths exists. Errors are the same
//! objects as on every other route.

mod checkup;
pub mod explain;
mod nodes;
pub(crate) mod routes;
mod troop;

pub use checkup::{Checkup, CoordinatorSeen};
pub use explain::Explanation;
pub use nodes::{NodeLine, Nodes, Ping};
pub use troop::{
    Invite, InviteCreated, InviteMade, InviteRevoked, InviteWanted, Invites, Member, MemberRemoved,
    Members, RotateWanted, Rotated, TicketKeys,
};

use serde::{Deserialize, Serialize};

/// One node, now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `troop.status/v1`.
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// The node's id.
    pub node: String,
    /// The owner's member id.
    pub owner: String,
    /// Seconds since the gateway started.
    pub uptime_seconds: u64,
    /// Where it listens for HTTP.
    pub listening: Vec<String>,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Whether it can serve.
    pub ready: bool,
    /// What was looked at to know that.
    pub checks: Vec<CheckLine>,
    /// The models that can be asked for.
    pub models: Vec<ModelLine>,
    /// Requests that are open here.
    pub requests_open: usize,
    /// The queue, where this node keeps it.
    pub queue: Option<Queue>,
    /// Whether it takes work, where it is a worker.
    #[serde(default)]
    pub worker: Option<Worker>,
    /// The troop's coordinator, if that is another node and is known.
    #[serde(default)]
    pub coordinator: Option<NodeLine>,
    /// The nodes with which this one has a connection.
    #[serde(default)]
    pub peers: Vec<NodeLine>,
}

/// Whether a worker takes work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// `serving`; `draining` where it takes none and some runs still; `resting` where none runs any more.
    pub state: String,
    /// Why it takes none, if it takes none.
    pub reason: Option<String>,
    /// Attempts that run.
    pub running: u64,
}

/// One thing that must be well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLine {
    /// What.
    pub name: String,
    /// Whether it is.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelLine {
    /// Its name.
    pub name: String,
    /// `sha256:` and its digest.
    pub digest: String,
    /// Tokens it can see.
    pub context: u32,
}

/// The scheduler's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Requests that wait for a worker.
    pub waiting: u64,
    /// Requests that have one.
    pub running: u64,
    /// Workers that report.
    pub workers: u64,
    /// Tickets ordered since the scheduler started.
    pub granted: u64,
    /// Requests told Busy since then.
    pub busy: u64,
    /// Requests refused for another reason since then.
    pub refused: u64,
}

/// What runs now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ps {
    /// `troop.ps/v1`.
    pub schema: String,
    /// The engines of this node.
    pub engines: Vec<Engine>,
    /// The requests that clients of this node have open.
    pub requests: Vec<OpenRequest>,
}

/// An engine of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// The model's name.
    pub model: String,
    /// `sha256:` and its digest.
    pub digest: String,
    /// `starting`, `ready`, `down` or `unfit`.
    pub state: String,
    /// Why it is down or unfit, if it is.
    pub reason: Option<String>,
    /// The child's process id, while there is one.
    pub pid: Option<u32>,
    /// Sequences it is working on.
    pub running: u64,
    /// Sequences that wait for memory.
    pub waiting: u64,
    /// Pages of memory for context that are free.
    pub pages_free: u64,
    /// And in all; 0 while it is not ready.
    pub pages: u64,
    /// Steps taken in this life.
    pub steps: u64,
    /// Tokens made in this life.
    pub tokens: u64,
    /// Prompt tokens read in this life.
    pub prompt_tokens: u64,
    /// Attempts that were cancelled in this life.
    pub cancelled: u64,
    /// The most steps that a cancelled attempt still took part in.
    pub steps_after_cancel_max: u64,
    /// How many times it had to be started again.
    pub restarts: u64,
}

/// A request that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Its id.
    pub request: String,
    /// Who pays.
    pub member: String,
    /// The model, as it was asked for.
    pub model: String,
    /// How many choices.
    pub choices: u32,
    /// Whether it is streamed.
    pub stream: bool,
    /// Milliseconds since the Unix epoch when it came.
    pub since_ms: u64,
}

/// One member's account; amounts in microcredits, a millionth of a credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The member's id.
    pub member: String,
    /// The member's name.
    pub name: String,
    /// What it was given, ever.
    pub granted_micros: u64,
    /// What it was paid, ever.
    pub earned_micros: u64,
    /// What it paid, ever.
    pub spent_micros: u64,
    /// What is set aside for open requests.
    pub held_micros: u64,
    /// What it can spend.
    pub available_micros: u64,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// `troop.balance/v1`.
    pub schema: String,
    /// The account.
    #[serde(flatten)]
    pub account: Account,
}

/// All accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// `troop.accounts/v1`.
    pub schema: String,
    /// One for each member.
    pub accounts: Vec<Account>,
}

/// What a check of the books found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Whether every balance follows from the entries and nothing was made or lost.
    pub ok: bool,
    /// How many entries there are.
    pub entries: u64,
    /// The hash that the chain of entries ends in.
    pub head: String,
    /// How many accounts they make.
    pub accounts: u64,
    /// How many holds are open.
    pub holds_open: u64,
    /// Microcredits that were ever made.
    pub supply_micros: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// What a check of the books found, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerVerified {
    /// `troop.ledger.verify/v1`.
    pub schema: String,
    /// The finding.
    #[serde(flatten)]
    pub verified: Verified,
}

/// A wish for an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyWanted {
    /// The member's name: 1 to 64 letters, digits, `.`, `_` or `-`.
    pub member: String,
    /// Whole credits that a new member gets, once; [`CREDITS_DEFAULT`] where it is not said. For a member
    /// who has had credits it must not be said: see [`CreditWanted`].
    #[serde(default)]
    pub credits: Option<u64>,
}

/// A key that was made. The only time its secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMade {
    /// The key.
    pub key: String,
    /// How listings name it.
    pub prefix: String,
    /// The member's id.
    pub member: String,
    /// The member's name.
    pub name: String,
    /// What the member can spend now, in microcredits.
    pub available_micros: u64,
}

/// A key that was made, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCreated {
    /// `troop.key.created/v1`.
    pub schema: String,
    /// The key.
    #[serde(flatten)]
    pub made: KeyMade,
}

/// A wish to give a member more credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditWanted {
    /// The member's name or id.
    pub member: String,
    /// Whole credits.
    pub credits: u64,
    /// Chosen by whoever asks; the same one twice is one gift.
    pub id: String,
}

/// Credits that were given, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditGiven {
    /// `troop.credit/v1`.
    pub schema: String,
    /// The member's account now.
    #[serde(flatten)]
    pub account: Account,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The first characters of the key.
    pub prefix: String,
    /// The member's id.
    pub member: String,
    /// The member's name.
    pub name: String,
    /// Seconds since the Unix epoch when it was made.
    pub created_seconds: u64,
}

/// All keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// `troop.keys/v1`.
    pub schema: String,
    /// One line each.
    pub keys: Vec<Key>,
}

/// A key that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// `troop.key.revoked/v1`.
    pub schema: String,
    /// The prefix that was asked for.
    pub prefix: String,
}

/// A wish to have a model served that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadWanted {
    /// Its name.
    pub model: String,
}

/// What became of that wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loading {
    /// Its name.
    pub model: String,
    /// `sha256:` and its digest.
    pub digest: String,
    /// Whether it was being served already.
    pub already: bool,
}

/// What became of that wish, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// `troop.model.load/v1`.
    pub schema: String,
    /// What became of it. The model is ready when the list of models has it.
    #[serde(flatten)]
    pub loading: Loading,
}

/// Whether and how soon the machine is wanted back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseWanted {
    /// Milliseconds that what runs may go on.
    #[serde(default)]
    pub grace_ms: u64,
}

/// Whether the node rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// `troop.pause/v1`.
    pub schema: String,
    /// Whether it does.
    pub paused: bool,
}

/// The node is going down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// `troop.drain/v1`.
    pub schema: String,
    /// Requests that are still open.
    pub requests_open: usize,
}

/// Whole credits that a new member gets where nothing else is said.
pub const CREDITS_DEFAULT: u64 = 100;
