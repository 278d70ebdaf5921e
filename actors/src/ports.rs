//! The leaves: everything outside a node that its actors touch, as small traits.
//!
//! A shell gets these in its arguments. The running program implements them over sockets, disks and clocks;
//! tests and the simulator implement them over memory. Nothing else may touch the outside.

use crate::contract::Time;
use crate::gpu_monitor::protocol::Reading;
use crate::ids::NodeId;
use crate::questions::{Answer, Question, RemoteError};
use crate::routing::Message;
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;
use std::pin::Pin;

/// Where shells read the time.
pub trait Clock: Send + Sync + 'static {
    /// Now. Never goes backwards within one life of a process.
    fn now(&self) -> Time;
}

/// Where randomness comes from: seeds, request ids, keys.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// How a machine is looked at: whether others use it, and whether it is well.
pub trait Sensors: Send + Sync + 'static {
    /// What can be seen now. It may take a while; what does not answer is said to be unknown.
    fn read(&self) -> Reading;
}

/// How a message reaches another node. The network's and the simulator's implementations carry the very
/// messages that the in-process one hands over.
pub trait Transport: Send + Sync + 'static {
    /// Sends one ordered message to `to`; casts on one pair of nodes keep their order. It may be lost, and
    /// then the cores' own deadlines notice. An error means that it was certainly not sent.
    fn cast(&self, to: NodeId, message: Message) -> Result<(), Unreachable>;

    /// The nodes that are up, and how many milliseconds the way there and back takes.
    fn ways(&self) -> Vec<(NodeId, u32)>;

    /// Asks `to`, and waits for its answer, for so long at most. Dropping the future takes the question back.
    fn ask(&self, to: NodeId, question: Question, within: Duration) -> Asked<'_>;

    /// Sends a datagram to `to`. It may be lost, and is if there is no connection: then one is made.
    fn datagram(&self, to: NodeId, bytes: Bytes) -> Result<(), Unreachable>;

    /// Remembers where a node may be reached.
    fn know(&self, node: NodeId, addresses: Vec<SocketAddr>);

    /// The connections to members that are up.
    fn links(&self) -> Vec<Link>;
}

/// A connection to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The member's node.
    pub node: NodeId,
    /// The other end.
    pub address: SocketAddr,
    /// Microseconds there and back.
    pub rtt_micros: u64,
    /// A number that is another one whenever something has come from the node since.
    pub heard: u64,
}

/// An answer that is waited for.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Answer, RemoteError>> + Send + 'a>>;

/// There is no way to that node now. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} cannot be reached")]
pub struct Unreachable {
    /// The node.
    pub node: NodeId,
}

/// The transport of a node that knows no other: it reaches nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Transport for Alone {
    fn cast(&self, to: NodeId, _message: Message) -> Result<(), Unreachable> {
        Err(Unreachable { node: to })
    }

    fn ways(&self) -> Vec<(NodeId, u32)> {
        Vec::new()
    }

    fn ask(&self, to: NodeId, _question: Question, _within: Duration) -> Asked<'_> {
        Box::pin(async move {
            Err(RemoteError::Unreachable {
                node: to,
                reason: "this node knows no other".to_owned(),
            })
        })
    }

    fn datagram(&self, to: NodeId, _bytes: Bytes) -> Result<(), Unreachable> {
        Err(Unreachable { node: to })
    }

    fn know(&self, _node: NodeId, _addresses: Vec<SocketAddr>) {}

    fn links(&self) -> Vec<Link> {
        Vec::new()
    }
}
