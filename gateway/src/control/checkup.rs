//! What a node learns of itself from its coordinator.

use serde::{Deserialize, Serialize};

/// How the coordinator sees this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// `troop.checkup/v1`.
    pub schema: String,
    /// Whether this node is its troop's coordinator: then nobody else is asked.
    pub coordinates: bool,
    /// What the coordinator says, if it was asked and answered.
    pub coordinator: Option<CoordinatorSeen>,
    /// Why it does not answer, if it does not.
    pub failure: Option<String>,
}

/// What the coordinator says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorSeen {
    /// Milliseconds to it and back.
    pub rtt_ms: u64,
    /// Milliseconds that its clock is ahead of this node's.
    pub ahead_ms: i64,
    /// The address that it sees this node at.
    pub seen_at: String,
    /// Whether somebody who has no connection to this node yet can make one; nothing where that was not tried.
    pub reached: Option<bool>,
    /// Why not, or why that is not known.
    pub unreached: Option<String>,
}
