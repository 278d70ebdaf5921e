//! Lets a ticket in once, if it is good, for this worker and from this peer.

pub mod protocol;

/// What the actor hears.
#[derive(Debug)]
pub enum DoorkeeperMessage {
    /// Something happened.
    Input(protocol::Input),
    /// The timer rang.
    Wake,
}
