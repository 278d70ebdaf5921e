//! What a `Scheduler` hears and says.

use crate::engine_process::protocol::Rest;
use crate::generate::CHOICES_MAX;
use crate::ids::{Class, HoldId, MemberId, NodeId, Passport, RequestId};
use crate::price::Micros;
use crate::session::Fault;
use crate::session::protocol::Patience;
use crate::ticket::Claims;
use serde::{Deserialize, Serialize};

/// What may happen to a scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A session wants a worker, or another one to stand by beside it. Said again until answered; the same
    /// request and number is one request.
    Admit(Box<Admit>),
    /// The ledger has set the credits aside.
    Held {
        /// For which request.
        request: RequestId,
        /// The hold.
        hold: HoldId,
        /// For which attempt.
        number: u32,
        /// The worker it is directed to, which is the one of the first order for this attempt.
        worker: NodeId,
        /// The attempt that stands by, if there is one, and its worker.
        standby: Option<(u32, NodeId)>,
    },
    /// The ledger has not.
    NotHeld {
        /// For which request.
        request: RequestId,
        /// For which attempt.
        number: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The session is over and its place is free. May arrive twice or never.
    Finished {
        /// The session's node: nobody else ends a request.
        client: NodeId,
        /// Which request.
        request: RequestId,
    },
    /// A worker's own account of itself, on change and every [`REPORT_EVERY_MS`].
    Report(WorkerReport),
    /// The membership holds a node dead, or alive again. Any node: it may be a worker.
    Absent {
        /// Which.
        worker: NodeId,
        /// Whether it is held dead.
        absent: bool,
    },
}

/// A request for a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// The request.
    pub request: RequestId,
    /// The number of the attempt wanted, from 0.
    pub number: u32,
    /// The node where the session is, which the ticket will name.
    pub client: NodeId,
    /// Who pays.
    pub payer: MemberId,
    /// For which model.
    pub model: Passport,
    /// Bytes of text in the prompt, before any template.
    pub prompt_bytes: u64,
    /// Messages a template will wrap.
    pub turns: u32,
    /// Tokens wanted for each choice, at most.
    pub tokens_max: u32,
    /// Choices, 1 to [`CHOICES_MAX`].
    pub choices: u32,
    /// Workers that this request has left already, the latest last, and whose fault it was. They are tried again only
    /// if no other has room: in this order, and those that failed it by their own fault after the others. At most
    /// [`AVOID_MAX`].
    pub avoid: Vec<(NodeId, Fault)>,
    /// The class in which something of it has been delivered, if it has: then only a worker of that one goes on.
    pub begun: Option<Class>,
    /// What the session's node knows of workers, at most [`HINTS_MAX`] of them.
    pub hints: Box<[Hint]>,
    /// The worker at which this attempt runs already: then only another one is wanted, to stand by.
    pub running: Option<NodeId>,
}

/// What a session's node knows of a worker. It is believed, for whoever is wrong about it waits longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Which.
    pub worker: NodeId,
    /// Bytes of the prompt's beginning that it read for the same payer a short while ago.
    pub prefix_bytes: u64,
    /// Milliseconds of the way there and back, if it is known.
    pub rtt_ms: Option<u32>,
}

/// A worker's account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Who reports.
    pub worker: NodeId,
    /// Whose machine it is: who is paid.
    pub owner: MemberId,
    /// What it can serve now; empty while no engine is ready.
    pub models: Vec<ModelReport>,
    /// Requests it is serving, so that a scheduler without memory can rebuild its view.
    pub running: Vec<RequestId>,
    /// Why it takes no work, if it takes none: what it does not serve now it will not serve again soon.
    pub rest: Option<Rest>,
}

/// One model a worker can serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Its identity.
    pub model: Passport,
    /// What people call it.
    pub name: String,
    /// Tokens it can see.
    pub context: u32,
    /// Sequences the engine runs at once; each choice of a request is one.
    pub sequences_max: u32,
    /// Bytes its chat template adds to any conversation, at most.
    pub overhead_fixed_bytes: u64,
    /// And to each message.
    pub overhead_turn_bytes: u64,
    /// Seconds since the Unix epoch when it came to this worker, for listings.
    pub created_seconds: u64,
    /// Milliseconds of the longest of its last steps: it cannot say anything sooner than that.
    pub step_ms: u32,
    /// Prompt tokens it evaluates in a second, in thousandths, as measured lately; 0 where nothing was.
    pub prefill_rate: u32,
    /// Tokens that one of its sequences draws in a second, in thousandths, as measured lately; 0 where nothing was.
    pub decode_rate: u32,
    /// Tokens of context that it has memory for now.
    pub kv_tokens_free: u64,
    /// Sequences it is at.
    pub sequences_used: u32,
    /// Sequences that wait in it for memory.
    pub sequences_waiting: u32,
    /// What an answer's bytes depend on besides the request and the context: only a worker of the same class takes
    /// up what another one began. At most [`CLASS_BYTES_MAX`] bytes.
    pub class: String,
}

impl ModelReport {
    /// Milliseconds that a prompt of so many tokens takes, if that was measured.
    pub fn prefill_ms(&self, tokens: u64) -> Option<u64> {
        takes_ms(tokens, self.prefill_rate)
    }

    /// Milliseconds that so many tokens of one sequence take, if that was measured.
    pub fn decode_ms(&self, tokens: u64) -> Option<u64> {
        takes_ms(tokens, self.decode_rate)
    }
}

/// Milliseconds that `tokens` take at `rate` thousandths of a token a second, rounded up; none without a rate.
pub(super) fn takes_ms(tokens: u64, rate: u32) -> Option<u64> {
    (rate > 0).then(|| tokens.saturating_mul(1_000_000).div_ceil(rate.into()))
}

/// Why a request is not admitted. The request has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Too many wait already.
    #[error("busy: {waiting} requests are waiting, try again in {retry_after_ms} ms")]
    Busy {
        /// How many wait.
        waiting: u32,
        /// When it may be worth asking again.
        retry_after_ms: u64,
    },
    /// The payer's available balance does not cover the most it could cost.
    #[error("not enough credits: {needed} µc are needed, {available} µc are available")]
    Credits {
        /// µc.
        needed: Micros,
        /// µc.
        available: Micros,
    },
    /// No worker serves this model.
    #[error("no worker serves this model")]
    NoWorker,
    /// A field is outside its limits.
    #[error("{field}: {message}")]
    Invalid {
        /// Which.
        field: String,
        /// What the limit is.
        message: String,
    },
    /// The request was settled or released already.
    #[error("this request is over")]
    Over,
    /// The coordinator cannot write its books; nothing is admitted until it can.
    #[error("the ledger cannot be written")]
    LedgerUnavailable,
}

/// What a scheduler wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The ledger is to set credits aside.
    Hold(HoldOrder),
    /// The issuer is to sign a ticket and send it to the session.
    Issue(Box<Issue>),
    /// The session is to be told where it stands in the queue.
    Queued {
        /// The session's node.
        client: NodeId,
        /// The request.
        request: RequestId,
        /// How many are before it.
        ahead: u32,
    },
    /// The session is to be told no.
    Refuse {
        /// The session's node.
        client: NodeId,
        /// The request.
        request: RequestId,
        /// The attempt that was asked for.
        number: u32,
        /// Why.
        refusal: Refusal,
    },
}

/// What is to be set aside for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldOrder {
    /// The request; the hold's id follows from it.
    pub request: RequestId,
    /// The number of the attempt, from 0. One attempt has one worker, whoever orders it again.
    pub number: u32,
    /// Who pays.
    pub payer: MemberId,
    /// Who is paid, as far as is known: work for one's own member moves nothing, and holds nothing.
    pub payee: MemberId,
    /// Who receives the tokens, and whose signature the receipt must bear.
    pub client: NodeId,
    /// Who delivers them, and whose signature it must bear as well.
    pub worker: NodeId,
    /// Prompt tokens to be paid for, at most.
    pub prompt_tokens_max: u64,
    /// Completion tokens to be paid for, at most.
    pub completion_tokens_max: u64,
    /// Milliseconds until the hold is released by itself.
    pub term_ms: u64,
    /// Who is to stand by for the next attempt, and who would be paid for it.
    pub standby: Option<Box<(NodeId, MemberId)>>,
    /// Whether the attempt runs already: then its hold is there, or none is made.
    pub is_begun: bool,
}

/// A ticket to be signed; times and the issuer are filled in by the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The session's node, which gets it.
    pub client: NodeId,
    /// How long the worker is waited for.
    pub patience: Patience,
    /// The claims, with `issued_at` and `expires_at` still 0 and `issuer` the scheduler's own node.
    pub claims: Claims,
}

/// How often a worker reports when nothing changes.
pub const REPORT_EVERY_MS: u64 = 10_000;

/// Bytes of a generation class, at most.
pub const CLASS_BYTES_MAX: usize = 128;

/// Workers that a request may name as having been left, at most.
pub const AVOID_MAX: usize = 8;

/// Workers that a request may hint at, at most.
pub const HINTS_MAX: usize = 8;

/// Attempts of one request that have a number, at most: those that only stood by are counted.
pub const ATTEMPTS_MAX: u32 = 64;

const _: () = assert!(CHOICES_MAX >= 1);
