//! Which models are here, and how to fetch one.
//!
//! ```text
//! TROOP_HOME/models/blobs/sha256-<hex>      the files, named by what they hold
//! TROOP_HOME/models/manifests/<name>.json   names for them
//! TROOP_HOME/models/partial/                what comes over the web, kept until it is whole
//! TROOP_HOME/models/incoming/               what comes otherwise; swept when nobody holds the lock
//! ```
//!
//! A model appears whole, verified and linted, or not at all: it is fetched beside the store, hashed, parsed by
//! our own reader, synced, renamed. A lock for each file on its way and one for the store let processes pull
//! and remove at the same time: the second waits and finds the work done. This is plain blocking code, for the
//! command line and for the boot of a node alike; what it decides about the web is in `transfer.rs`, purely.

mod address;
pub mod alias;
mod download;
mod error;
mod facts;
mod files;
mod hub;
mod manifest;
mod means;
mod partial;
mod parts;
mod pip;
mod progress;
mod pull;
mod source;
mod transfer;
mod web;
mod wheel;

pub use address::Address;
pub use error::PullError;
pub use facts::Facts;
pub use manifest::{Manifest, Store, StoreError};
pub use means::{Means, Patience, Token};
pub use progress::{Phase, Progress, Report};
pub use pull::{Pulled, pull, remove, verify};
pub use source::{Pick, Repository, Source};
