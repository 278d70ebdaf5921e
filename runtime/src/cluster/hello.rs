//! The first words on a connection: who can understand whom, and who may stay.
//!
//! A TLS client believes it is connected before the server has refused it. A peer is up when this round trip
//! is over, at both ends, and not before.

use super::frames::Frames;
use super::limits::HANDSHAKE;
use super::{Inner, Standing, code, identity, lock, reason_of};
use quinn::Connection;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use troop_actors::ids::NodeId;
use troop_actors::questions::RemoteError;
use troop_actors::wire::frame::{self, Kind};

/// The version of the protocol. A node speaks to the one before its own and the one after.
pub(super) const VERSION: u16 = 1;
/// What is understood beyond the version: nothing yet.
const FEATURES: u64 = 0;
/// Addresses of one node that are listened to.
const ADDRESSES_MAX: usize = 16;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The version it speaks.
    pub(super) version: u16,
    /// What else it understands, a bit each.
    features: u64,
    /// The number its process drew at its start.
    pub(super) life: u64,
    /// Its certificate.
    certificate: Vec<u8>,
    /// Where it can be reached.
    pub(super) addresses: Vec<SocketAddr>,
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Come in.
    Welcome(Hello),
    /// The versions do not go together.
    Incompatible { version: u16 },
    /// The certificate is not good here.
    Refused { reason: String },
}

/// A peer that both sides let in.
pub(super) struct Met {
    pub(super) peer: NodeId,
    pub(super) standing: Standing,
    pub(super) hello: Hello,
}

impl Inner {
    pub(super) fn hello(&self) -> Hello {
        let own = lock(&self.own);
        let mut addresses = own.addresses.clone();
        addresses.truncate(ADDRESSES_MAX);
        Hello {
            version: VERSION,
            features: FEATURES,
            life: self.life,
            certificate: own.certificate.clone(),
            addresses,
        }
    }

    fn judge(&self, peer: NodeId, hello: &Hello) -> Result<Standing, Reply> {
        if hello.version.abs_diff(VERSION) > 1 {
            return Err(Reply::Incompatible { version: VERSION });
        }
        let refused = |reason: &str| Reply::Refused {
            reason: reason.to_owned(),
        };
        if hello.addresses.len() > ADDRESSES_MAX {
            return Err(refused("addresses: 16 are the limit"));
        }
        let hooks = self.hooks.get().ok_or(refused("not ready"))?;
        hooks
            .gate
            .judge(peer, &hello.certificate)
            .map_err(|reason| Reply::Refused { reason })
    }

    /// Speaks first on a connection that this node dialled to `peer`.
    pub(super) async fn greet(
        self: &Arc<Self>,
        peer: NodeId,
        connection: &Connection,
    ) -> Result<Met, RemoteError> {
        let broken = |error: &dyn std::fmt::Display| RemoteError::Unreachable {
            node: peer,
            reason: connection
                .close_reason()
                .map_or_else(|| error.to_string(), |closed| reason_of(&closed).1),
        };
        let (mut send, receive) = connection.open_bi().await.map_err(|error| broken(&error))?;
        let mut bytes = Vec::new();
        frame::encode(Kind::Hello, &self.hello(), &mut bytes).map_err(|error| broken(&error))?;
        send.write_all(&bytes)
            .await
            .map_err(|error| broken(&error))?;
        let _ = send.finish();
        let mut frames = Frames::small(receive);
        let reply = frames
            .expect::<Reply>(Kind::Hello)
            .await
            .map_err(|error| broken(&error))?;
        let hello = match reply {
            Reply::Welcome(hello) => hello,
            Reply::Incompatible { version } => return Err(incompatible(peer, version)),
            Reply::Refused { reason } => return Err(RemoteError::Refused { node: peer, reason }),
        };
        match self.judge(peer, &hello) {
            Ok(standing) => Ok(Met {
                peer,
                standing,
                hello,
            }),
            Err(Reply::Incompatible { .. }) => Err(incompatible(peer, hello.version)),
            Err(Reply::Refused { reason }) => {
                let reason = format!("not let in here: {reason}");
                Err(RemoteError::Refused { node: peer, reason })
            }
            Err(Reply::Welcome(_)) => unreachable!("a judgement against somebody is no welcome"),
        }
    }

    /// Hears the first word on a connection that a peer dialled, and answers it. Whoever is not let in is told
    /// why before the connection ends.
    pub(super) async fn welcome(self: &Arc<Self>, connection: &Connection) -> Result<Met, String> {
        let peer = identity::peer(connection).ok_or("it shows no key")?;
        let (mut send, receive) = connection
            .accept_bi()
            .await
            .map_err(|error| error.to_string())?;
        let mut frames = Frames::small(receive);
        let hello = frames
            .expect::<Hello>(Kind::Hello)
            .await
            .map_err(|error| error.to_string())?;
        let judged = if peer == self.me {
            let reason = "this is the node itself".to_owned();
            Err(Reply::Refused { reason })
        } else {
            self.judge(peer, &hello)
        };
        let (reply, outcome) = match judged {
            Ok(standing) => {
                let met = Met {
                    peer,
                    standing,
                    hello,
                };
                (Reply::Welcome(self.hello()), Ok(met))
            }
            Err(reply) => {
                let why = format!("{peer} was not let in: {reply:?}");
                (reply, Err(why))
            }
        };
        let mut bytes = Vec::new();
        frame::encode(Kind::Hello, &reply, &mut bytes).map_err(|error| error.to_string())?;
        send.write_all(&bytes)
            .await
            .map_err(|error| error.to_string())?;
        let _ = send.finish();
        if outcome.is_err() {
            let _ = tokio::time::timeout(HANDSHAKE, connection.closed()).await;
            connection.close(code::REFUSED, b"not let in");
        }
        outcome
    }
}

fn incompatible(node: NodeId, theirs: u16) -> RemoteError {
    RemoteError::Incompatible {
        node,
        theirs,
        ours: VERSION,
    }
}
