//! What actors do to the outside: the leaf calls that shells perform and the simulator answers.

use crate::engine::frames::ToEngine;
use crate::ids::{NodeId, Passport};
use crate::keyring::protocol::KeyError;
use crate::ledger::Batch;
use crate::outbox::protocol::{Parcel, ParcelId};
use crate::session::protocol::Delivery;
use crate::ticket::Rotation;
use crate::ticket_issuer::protocol::{Keys, RotateError};
use crate::{keyring, ledger};

/// An actor that touches nothing outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPort {}

/// What a session does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionPort {
    /// A path to this node is to be there.
    Greet(NodeId),
    /// Something for the client.
    Deliver(Delivery),
    /// The session is over.
    Close,
}

/// What a doorkeeper does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum DoorkeeperPort {
    /// These are out of the troop: nothing is to be open with them any more.
    PutOut(Vec<NodeId>),
}

/// What a ledger does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum LedgerPort {
    /// One durable commit, answered by `Persisted` or `PersistFailed`.
    Persist(Batch),
    /// The answer to whoever granted.
    Granted {
        /// The grant.
        id: [u8; 16],
        /// What came of it.
        outcome: Result<(), ledger::protocol::GrantError>,
    },
}

/// What a ticket issuer does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum TicketIssuerPort {
    /// One durable commit, answered by `Persisted` or `PersistFailed`.
    Persist {
        /// The write's number.
        write: u64,
        /// What its disk is to know.
        rotation: Rotation,
    },
    /// The answer to a call.
    Answer {
        /// Who waits.
        call: u64,
        /// What came of it.
        outcome: Result<Keys, RotateError>,
    },
}

/// What an outbox does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboxPort {
    /// One durable commit, answered by `Persisted` or `PersistFailed`.
    Persist {
        /// The write's number.
        write: u64,
        /// Parcels to keep.
        keep: Vec<Parcel>,
        /// Parcels to forget.
        forget: Vec<ParcelId>,
    },
}

/// What a keyring does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyringPort {
    /// One durable commit, answered by `Persisted` or `PersistFailed`.
    Persist {
        /// The write's number.
        write: u64,
        /// Keys to keep.
        keep: Vec<keyring::protocol::KeyRecord>,
        /// Keys to forget.
        forget: Vec<crate::ids::Digest>,
    },
    /// The answer to a call.
    Answer {
        /// Who waits.
        call: u64,
        /// What came of it.
        outcome: Result<(), KeyError>,
    },
}

/// What the keeper of engines does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum EnginePort {
    /// Start a child process.
    Spawn {
        /// For this model.
        model: Passport,
        /// The number of its life.
        life: u64,
    },
    /// End a child process.
    Kill {
        /// The model.
        model: Passport,
        /// The life to end.
        life: u64,
    },
    /// Write a frame to a child.
    Write {
        /// The model.
        model: Passport,
        /// The life it is meant for.
        life: u64,
        /// The frame.
        frame: ToEngine,
    },
}
