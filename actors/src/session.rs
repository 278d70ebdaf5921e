//! One request from admission to its last byte, over as many attempts as it takes.

pub mod protocol;

/// What the actor hears.
#[derive(Debug)]
pub enum SessionMessage {
    /// Something happened.
    Input(protocol::Input),
    /// The timer rang.
    Wake,
}
