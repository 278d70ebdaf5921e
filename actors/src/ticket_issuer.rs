//! Signs tickets, the only thing a worker believes.

pub mod protocol;

/// What the actor hears.
#[derive(Debug)]
pub enum TicketIssuerMessage {
    /// Something happened.
    Input(protocol::Input),
    /// The timer rang.
    Wake,
}
