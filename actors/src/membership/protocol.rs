//! What a `Membership` hears and says, and what nodes tell each other of who is there.

use crate::certificate::RoleSet;
use crate::ids::NodeId;
use crate::keyring::check_name;
use crate::ports::Link;
use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

/// What may happen to a membership.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A datagram of a member came.
    Datagram {
        /// The member's node, as its connection says.
        from: NodeId,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// A peer has shown a certificate that is good, or is the coordinator.
    Met {
        /// The peer.
        node: NodeId,
        /// What its certificate calls it; empty for the coordinator, who has none.
        name: String,
        /// What its certificate lets it be.
        roles: RoleSet,
    },
    /// The connections that are up; the answer to `Look`.
    Links(Vec<Link>),
    /// A member asks who is there, and says what it is itself.
    Asked {
        /// The member's node.
        from: NodeId,
        /// What it says of itself.
        card: Card,
    },
    /// What came of `Ask`.
    Answered {
        /// Who was asked.
        from: NodeId,
        /// What it says of itself and of others; nothing if no answer came.
        answer: Option<(Card, Vec<Row>)>,
    },
    /// The admissions have put a node out.
    PutOut {
        /// Which.
        node: NodeId,
    },
    /// This node stops.
    Leave,
}

/// What a membership wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Something outside.
    Errand(Errand),
    /// The scheduler is to know that a node is held dead, or has left.
    Lost {
        /// Which.
        node: NodeId,
    },
    /// And that one is alive.
    Back {
        /// Which.
        node: NodeId,
    },
}

/// What a membership does to the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// A datagram to another node. It may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// A node may be reached there.
    Know {
        /// Which.
        node: NodeId,
        /// Where.
        addresses: Vec<SocketAddr>,
    },
    /// A question to another node who is there, answered by `Answered` in every case.
    Ask {
        /// Which.
        to: NodeId,
        /// What this node is.
        card: Card,
        /// The digest of what it knows.
        seen: u64,
    },
    /// The connections that are up, answered by `Links`.
    Look,
}

/// What a node says of itself. Who it is, its connection says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which life of the node this is: a later one has a higher number.
    pub incarnation: u64,
    /// What it does.
    pub roles: RoleSet,
    /// What it is called.
    pub name: String,
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
}

/// What a node knows of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The other one.
    pub node: NodeId,
    /// Which life of it.
    pub card: Card,
    /// How often it has had to contradict a suspicion in this life.
    pub refutations: u16,
    /// How it is.
    pub state: State,
}

/// How a node is, as another one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// It answers.
    Alive,
    /// Somebody had no answer from it.
    Suspect,
    /// It did not contradict that in time.
    Dead,
    /// It said that it stops.
    Left,
    /// Its coordinator has put it out.
    PutOut,
}

/// A node, for a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub node: NodeId,
    /// What is known of it.
    pub card: Card,
    /// How it is.
    pub state: State,
    /// How it is reached from here, if it is.
    pub path: Option<Path>,
    /// When it was last heard, in milliseconds since the Unix epoch.
    pub heard_ms: Option<u64>,
}

/// The way to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// It is this node.
    Own,
    /// A connection.
    Direct {
        /// Its other end.
        address: SocketAddr,
        /// Microseconds there and back.
        rtt_micros: u64,
    },
}

/// What a node says of itself or of others is not said in this form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The name.
    #[error("name: {0}")]
    Name(String),
    /// The roles.
    #[error("roles: there are others than this version knows")]
    Roles,
    /// The addresses.
    #[error("addresses: at most {ADDRESSES_MAX}, each of one machine and with a port")]
    Addresses,
}

impl Card {
    /// Whether it may be believed to be one.
    pub fn check(&self) -> Result<(), CardError> {
        if !self.name.is_empty() {
            check_name(&self.name).map_err(|error| CardError::Name(error.to_string()))?;
        }
        if self.roles != RoleSet::default() && !self.roles.is_lawful() {
            return Err(CardError::Roles);
        }
        match reachable(&self.addresses) {
            true => Ok(()),
            false => Err(CardError::Addresses),
        }
    }
}

/// Whether these may be the addresses of a node.
pub(super) fn reachable(addresses: &[SocketAddr]) -> bool {
    let lawful = |address: &SocketAddr| {
        let ip = address.ip();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
    };
    addresses.len() <= ADDRESSES_MAX && addresses.iter().all(lawful)
}

/// Whether an address is one of a network of one's own: of this machine, this house or this office.
pub fn is_near(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Addresses of one node that are passed on, at most.
pub const ADDRESSES_MAX: usize = 4;
/// Nodes that one answer tells of, and that one node knows of, at most.
pub const NODES_MAX: usize = 1024;
