//! What is owed and not yet acknowledged, kept on disk until it is.

pub mod protocol;

/// What the actor hears.
#[derive(Debug)]
pub enum OutboxMessage {
    /// Something happened.
    Input(protocol::Input),
    /// The timer rang.
    Wake,
}
