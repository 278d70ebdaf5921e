//! What a `Session` hears and says.

use crate::doorkeeper::protocol::Turnaway;
use crate::generate::{Event, Failure, Finish, Generate, Likely, Tally, Vector, Work};
use crate::ids::{AttemptId, Class, Digest, HoldId, MemberId, NodeId, RequestId, Signature};
use crate::outbox::protocol::Parcel;
use crate::receipt::Half;
use crate::scheduler::protocol::{Admit, Refusal};
use crate::ticket::Claims;
use serde::{Deserialize, Serialize};

/// A request as the gateway hands it over: checked, and with a seed drawn if it had none.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The request.
    pub request: RequestId,
    /// Who pays.
    pub payer: MemberId,
    /// What is wanted.
    pub generate: Generate,
}

/// How long a worker is waited for, as its own reports and the length of the prompt have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Milliseconds of silence after which it is to be held lost.
    pub silence_ms: u64,
    /// Milliseconds without any progress, whatever it says, after which a stream is better off where another worker
    /// stands by: its first token is due by then, or more of the prompt is read.
    pub progress_ms: u64,
}

/// A ticket and what the session needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The number of the attempt, from 0.
    pub number: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// The hold it is paid from.
    pub hold: HoldId,
    /// The worker it is good for.
    pub worker: NodeId,
    /// The class of generation that the worker was chosen for, and works in.
    pub class: Class,
    /// The price table, by hash.
    pub prices: Digest,
    /// How long the worker is waited for.
    pub patience: Patience,
    /// The signed ticket.
    pub ticket: String,
}

/// What may happen to a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// It begins. The session knows its order from its making.
    Begin,
    /// The scheduler has put it in the queue.
    Queued {
        /// How many are before it.
        ahead: u32,
    },
    /// A ticket has come: for the attempt that was asked for, or for a later one whose worker stands by.
    Granted(Box<Grant>),
    /// The scheduler refuses.
    Refused {
        /// The attempt that was asked for.
        number: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The worker's doorkeeper refuses.
    Turned {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        reason: Turnaway,
    },
    /// The worker says how it goes.
    Event {
        /// Which attempt.
        attempt: AttemptId,
        /// What it says.
        event: Event,
    },
    /// The worker is done with the attempt, for better or worse, and has signed for it.
    Closed {
        /// Which attempt.
        attempt: AttemptId,
        /// Its half of the receipt.
        half: Box<Half>,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// The attempt is gone: its engine died, as its worker says. Another worker can go on.
    Lost {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The stream of the attempt broke, as this node's own network says: its worker may be gone or out of reach.
    Broken {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The outbox has the receipt on its disk.
    Posted {
        /// For which attempt.
        attempt: AttemptId,
    },
    /// The client is gone, or no longer wants it.
    HangUp,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the coordinator's scheduler for a worker, or for another one to stand by.
    Admit(Admit),
    /// A worker stands by: a path to it is to be there before it is needed.
    Greet {
        /// The worker.
        worker: NodeId,
    },
    /// Present the ticket at the worker's door, with the work.
    Knock {
        /// The worker.
        worker: NodeId,
        /// The request.
        request: RequestId,
        /// The attempt.
        attempt: AttemptId,
        /// The ticket.
        ticket: String,
        /// The work.
        work: Box<Work>,
    },
    /// The worker is to stop, and to sign for what it did. Said again until it answers.
    Cancel {
        /// The worker.
        worker: NodeId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// The worker gets a signature over what it has delivered: a voucher, or at the end the receipt.
    Vouch {
        /// The worker.
        worker: NodeId,
        /// The attempt.
        attempt: AttemptId,
        /// What it has delivered.
        tally: Tally,
        /// By this node.
        signature: Signature,
    },
    /// Tell the scheduler that the place is free.
    Finished {
        /// The request.
        request: RequestId,
    },
    /// Hand the receipt to this node's outbox. Said again until it has it on its disk.
    Post(Box<Parcel>),
    /// Something for the client.
    Deliver(Delivery),
    /// The session is over; nothing more will come of it.
    Close,
}

/// What a client sees of its request. Made of whole characters; a stop string is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Still waiting; said when something changes.
    Waiting {
        /// Requests before this one, if it is queued.
        ahead: Option<u32>,
        /// Prompt tokens evaluated and to be evaluated, if it has begun.
        prefill: Option<(u32, u32)>,
    },
    /// The worker has begun; from now on an error comes in the stream.
    Started {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Where it runs.
        worker: NodeId,
    },
    /// More of the prompt, for a request that has it told back; all of it comes before the first text.
    Echo {
        /// What to append.
        text: String,
        /// Its tokens, as in `Text`; the first of them has no odds but its name.
        tokens: Vec<Told>,
    },
    /// The prompt's vector.
    Embedding {
        /// The mean of its hidden states.
        vector: Vector,
    },
    /// More text of a choice.
    Text {
        /// Which choice.
        choice: u32,
        /// What to append. Empty only where there are tokens to tell of that add nothing.
        text: String,
        /// Its tokens, if the request asked how likely they were; those that end in it.
        tokens: Vec<Told>,
    },
    /// A call of a tool begins.
    Call {
        /// In which choice.
        choice: u32,
        /// Which of its calls, from 0.
        index: u32,
        /// The tool.
        name: String,
    },
    /// More of the arguments of a call.
    Arguments {
        /// In which choice.
        choice: u32,
        /// Which of its calls.
        index: u32,
        /// What to append: JSON.
        text: String,
    },
    /// A choice is complete.
    Ended {
        /// Which choice.
        choice: u32,
        /// Why.
        finish: Finish,
    },
    /// The request is complete and signed for.
    Done {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// How many of them the worker says it had in memory.
        reused_tokens: u32,
        /// Tokens of all choices; a vector counts as one.
        completion_tokens: u32,
    },
    /// The request has failed; nothing follows.
    Failed(Trouble),
}

/// A token of a text, for a client that asked how likely it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it adds to the text.
    pub bytes: Vec<u8>,
    /// The token itself, and then the likeliest in its place; never empty.
    pub odds: Vec<Likely>,
}

/// Why a request failed, for its client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Not admitted.
    #[error("{0}")]
    Refused(Refusal),
    /// The request itself cannot be served.
    #[error("{0}")]
    Failed(Failure),
    /// No worker was found in time.
    #[error("no worker was free within {waited_ms} ms")]
    QueueTimeout {
        /// How long it waited.
        waited_ms: u64,
    },
    /// Workers were lost one after the other.
    #[error("{attempts} attempts were lost; the last one: {reason}")]
    Lost {
        /// How many attempts were made.
        attempts: u32,
        /// What happened to the last.
        reason: String,
    },
    /// This node's session ended by a fault of its own.
    #[error("the session was interrupted")]
    Interrupted,
}

/// Everything an issuer needs to make a [`Grant`] of claims it has signed.
impl Grant {
    /// The grant that goes with `ticket`, which says `claims`, of a worker that is waited for with `patience`.
    pub fn of(claims: &Claims, patience: Patience, ticket: String) -> Grant {
        Grant {
            number: claims.number,
            attempt: claims.attempt,
            hold: claims.hold,
            worker: claims.worker,
            class: claims.class,
            prices: claims.prices,
            patience,
            ticket,
        }
    }
}
