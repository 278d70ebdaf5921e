//! Which models are here, and how to fetch one.
//!
//! ```text
//! TROOP_HOME/models/blobs/sha256-<hex>      the files, named by what they hold
//! TROOP_HOME/models/manifests/<name>.json   names for them
//! TROOP_HOME/models/incoming/               what is being fetched; swept when nobody holds the lock
//! ```
//!
//! A model appears whole, verified and linted, or not at all: it is fetched into `incoming/`, hashed, parsed by
//! our own reader, synced, renamed. One lock file lets processes pull and remove at the same time: the second
//! waits and finds the work done. This is plain blocking code, for the command line and for the boot of a node alike.

pub mod alias;
mod facts;
mod manifest;
mod pip;
mod pull;
mod wheel;

pub use facts::Facts;
pub use manifest::{Manifest, Store, StoreError};
pub use pull::{Phase, Progress, PullError, Pulled, Report, Source, pull, remove, verify};
