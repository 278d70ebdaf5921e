//! What an `EngineProcess` hears and says.

use crate::doorkeeper::protocol::Turnaway;
use crate::engine::frames::{FromEngine, ToEngine};
use crate::generate::{Event, Failure, Tally, Work};
use crate::gpu_monitor::protocol::{Reason, Use};
use crate::ids::{AttemptId, NodeId, Passport, RequestId, Signature};
use crate::outbox::protocol::Parcel;
use crate::receipt::Half;
use crate::scheduler::protocol::WorkerReport;
use crate::ticket::{Claims, Revoked};
use serde::{Deserialize, Serialize};

/// What may happen to the keeper of engines.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A model is to be served from now on: an engine is started for it.
    Serve {
        /// The model.
        model: Passport,
        /// What people call it.
        name: String,
        /// When it came to this machine, in seconds since the Unix epoch.
        created_seconds: u64,
    },
    /// The doorkeeper lets work in.
    Start {
        /// What the ticket said.
        claims: Box<Claims>,
        /// What is to be done.
        work: Box<Work>,
    },
    /// A session wants its attempt stopped and signed for. `peer` comes from the connection.
    Cancel {
        /// The peer.
        peer: NodeId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// A client signs for what its attempt has delivered: a voucher while it runs, the receipt at the end. `peer`
    /// comes from the connection.
    Vouch {
        /// The peer.
        peer: NodeId,
        /// The attempt.
        attempt: AttemptId,
        /// What it has delivered.
        tally: Tally,
        /// The client's.
        signature: Signature,
    },
    /// The ledger has paid an attempt by what its client delivered.
    Paid {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The outbox has an attempt's parcel on its disk.
    Kept {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An engine says something.
    Frame {
        /// Which engine.
        model: Passport,
        /// Which life of it.
        life: u64,
        /// What it says.
        frame: FromEngine,
    },
    /// An engine is gone, or could not be started.
    Exited {
        /// Which engine.
        model: Passport,
        /// Which life of it.
        life: u64,
        /// How it ended.
        reason: String,
    },
    /// No more work is taken; what runs may go on for so long.
    Drain {
        /// How long.
        grace_ms: u64,
    },
    /// The same until `Resume`: the machine's owner wants it, and the engines' memory is given back.
    Pause {
        /// How long.
        grace_ms: u64,
    },
    /// Work is taken again, for a while even if the machine is wanted for something else.
    Resume,
    /// What the machine is free for. Nobody but its monitor says so.
    Machine {
        /// What.
        now_for: Use,
    },
    /// What runs by these tickets is to end: they were taken back.
    Revoke(Vec<Revoked>),
}

/// Why a worker takes no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rest {
    /// Its node stops.
    #[error("the node stops")]
    Stopping,
    /// Its owner has said so, by `troop pause` or `troop drain`.
    #[error("paused by its owner")]
    Paused,
    /// Its machine is wanted for something else.
    #[error(transparent)]
    Wanted(Reason),
}

/// What the keeper of engines wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start a child process for a model.
    Spawn {
        /// The model.
        model: Passport,
        /// The number of its life, rising by one.
        life: u64,
    },
    /// End a child process now.
    Kill {
        /// The model.
        model: Passport,
        /// The life to end.
        life: u64,
    },
    /// Say something to a child.
    Write {
        /// The model.
        model: Passport,
        /// The life it is meant for.
        life: u64,
        /// What to say.
        frame: ToEngine,
    },
    /// A session hears how its attempt goes.
    Event {
        /// Its node.
        client: NodeId,
        /// Its request.
        request: RequestId,
        /// The attempt.
        attempt: AttemptId,
        /// What happened.
        event: Event,
    },
    /// A session's attempt is closed and signed for.
    Closed {
        /// Its node.
        client: NodeId,
        /// Its request.
        request: RequestId,
        /// The attempt.
        attempt: AttemptId,
        /// The worker's half of the receipt.
        half: Box<Half>,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// A session's attempt is lost.
    Lost {
        /// Its node.
        client: NodeId,
        /// Its request.
        request: RequestId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// A session's attempt was let in and is not taken all the same. Nothing was started.
    Turn {
        /// Its node.
        client: NodeId,
        /// Its request.
        request: RequestId,
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        reason: Turnaway,
    },
    /// Hand in to this node's outbox what an attempt is to be paid by. Said again until it has it on its disk.
    Post(Box<Parcel>),
    /// The coordinator's scheduler is to know.
    Report(WorkerReport),
}
