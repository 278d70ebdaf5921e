//! What a `Keyring` hears and says.

use crate::contract::Time;
use crate::ids::{Digest, MemberId};
use serde::{Deserialize, Serialize};

/// An API key as it is kept: never the key, only its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// SHA-256 of the key.
    pub hash: Digest,
    /// The first characters of the key, to tell keys apart in a listing.
    pub prefix: String,
    /// Whose it is.
    pub member: MemberId,
    /// The member's name.
    pub name: String,
    /// When it was made.
    pub created: Time,
}

/// What may happen to a keyring. `call` is the shell's name for whoever waits for the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A key is to be added.
    Add {
        /// Who waits.
        call: u64,
        /// The key.
        record: KeyRecord,
    },
    /// A key is to be removed, by its prefix.
    Remove {
        /// Who waits.
        call: u64,
        /// Its prefix.
        prefix: String,
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

/// What a keyring wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To be written as one commit.
    Persist {
        /// The write's number, rising by one.
        write: u64,
        /// Keys to keep.
        keep: Vec<KeyRecord>,
        /// Keys to forget.
        forget: Vec<Digest>,
    },
    /// Whoever waits is answered.
    Answer {
        /// Who.
        call: u64,
        /// What came of it.
        outcome: Result<(), KeyError>,
    },
}

/// Why a key was not added or removed. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no such key.
    #[error("no key begins with {prefix}")]
    Unknown {
        /// What was asked for.
        prefix: String,
    },
    /// More than one key begins so.
    #[error("{count} keys begin with {prefix}")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many.
        count: usize,
    },
    /// There are as many keys as may be.
    #[error("there are {limit} keys already")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// A name is empty or too long, or has other characters than names have.
    #[error("member: a name is 1 to {limit} letters, digits, dots, underscores or hyphens")]
    Name {
        /// The limit.
        limit: usize,
    },
    /// The name is the owner's, who needs no key.
    #[error("member: the name owner is the owner's, who needs no key on this machine")]
    Owner,
    /// The disk is behind; nothing is taken in until it has caught up.
    #[error("the keyring is busy")]
    Busy,
    /// The keyring does not answer; what came of the call is not known.
    #[error("the keyring does not answer; it may be restarting")]
    Away,
    /// The disk could not be written.
    #[error("the keyring cannot be written: {message}")]
    Unwritten {
        /// What the disk said.
        message: String,
    },
}
