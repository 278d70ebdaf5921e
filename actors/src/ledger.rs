//! Keeps the books: accounts, holds, settlements, and the chain of entries.

mod entry;
pub mod protocol;

pub use entry::{Batch, Entry, Fact};

/// What the actor hears.
#[derive(Debug)]
pub enum LedgerMessage {
    /// Something happened.
    Input(protocol::Input),
    /// The timer rang.
    Wake,
}
