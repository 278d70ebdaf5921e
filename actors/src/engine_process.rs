//! Keeps engines running: starts, probes, restarts them, and carries their words.

pub mod protocol;

/// What the actor hears.
#[derive(Debug)]
pub enum EngineProcessMessage {
    /// Something happened.
    Input(protocol::Input),
    /// The timer rang.
    Wake,
}
