//! Which models are here, and how to fetch one.

/// What the actor hears.
#[derive(Debug)]
pub enum ModelStoreMessage {
    /// The timer rang.
    Wake,
}
