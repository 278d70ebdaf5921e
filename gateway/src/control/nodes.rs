//! What is said about nodes: who is there, and how they are reached.

use serde::{Deserialize, Serialize};

/// A node of the troop, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// What it is called; empty until that is known.
    pub name: String,
    /// Its id.
    pub node: String,
    /// What it does: `client`, `worker`, `coordinator` or several joined by `+`.
    pub role: String,
    /// `alive`, `suspect`, `dead` or `left`.
    pub state: String,
    /// How it is reached: `self`, `lan` or `direct`; nothing if it has no connection with this node.
    pub path: Option<String>,
    /// The other end of the connection.
    pub address: Option<String>,
    /// Microseconds there and back.
    pub rtt_micros: Option<u64>,
    /// The models it serves.
    pub models: Vec<String>,
    /// Why it takes no work, if it is a worker that says so.
    #[serde(default)]
    pub rest: Option<String>,
    /// Milliseconds since the Unix epoch when it was last heard of its own.
    pub seen_ms: Option<u64>,
}

/// All nodes that are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// `troop.nodes/v1`.
    pub schema: String,
    /// This one first, the others by name.
    pub nodes: Vec<NodeLine>,
}

/// One question whether a node is there, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// `troop.ping.answer/v1`.
    pub schema: String,
    /// The node that answered.
    #[serde(flatten)]
    pub node: NodeLine,
    /// Microseconds from the question to the answer.
    pub took_micros: u64,
}
