//! API keys and the members they belong to.

pub mod protocol;

/// What the actor hears.
#[derive(Debug)]
pub enum KeyringMessage {
    /// The timer rang.
    Wake,
}
