//! The way to other nodes: one UDP port, QUIC, and a key for a name.
//!
//! ```text
//! A ─dial, TLS with both keys─> B     A ─Hello─> B, A <─Welcome─ B     only then each is up for the other
//! letters     one ordered stream each way: small, first of all, lost with the connection
//! an attempt  one stream: Knock ─>, <─ Said, Said, …, the last Said     broken early, the session hears Lost
//! a question  one stream: Question ─>, <─ Answer     dropped here, it is cancelled there
//! datagrams   as they are
//! ```
//!
//! Who speaks is known from TLS and never from what is said; what may be said is judged by
//! [`troop_actors::border`]. Every queue has a bound in bytes, every wait a deadline, every frame a limit that
//! is checked before its bytes are kept ([`limits`]). What a core must decide about peers is in
//! [`troop_actors::peers`]; the tasks here carry it out. Without a [`Hooks::gate`]'s word nobody is let in.

mod attempts;
mod book;
mod calls;
mod dial;
mod frames;
mod hello;
pub mod identity;
pub mod limits;
mod link;

use attempts::Attempts;
use book::Book;
use bytes::Bytes;
use frames::Room;
use quinn::{Endpoint, TokioRuntime, VarInt};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use troop_actors::border::{self, Badge, Forged};
use troop_actors::contract::Time;
use troop_actors::ids::{NodeId, NodeKey};
use troop_actors::letters::{self, Letter, Mail};
use troop_actors::ports::{self, Asked, Clock, Entropy, Transport, Unreachable};
use troop_actors::questions::{Answer, Question, RemoteError};
use troop_actors::routing::{Message, Wiring};
use troop_actors::shell::Node;
use troop_actors::wire::frame::{self, Kind};

/// A future behind a trait object.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a peer is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of the troop.
    Member(Badge),
    /// Nobody yet: it may ask the questions that are for strangers, and nothing else.
    Stranger,
}

/// Who judges whether a peer is a member.
pub trait Gate: Send + Sync + 'static {
    /// What the node `peer`, which showed `certificate`, is; or why it is not talked to.
    fn judge(&self, peer: NodeId, certificate: &[u8]) -> Result<Standing, String>;

    /// Whether `peer`, which was let in, may stay; or why not. Asked whenever it says something.
    fn stays(&self, peer: NodeId) -> Result<(), String>;
}

/// Who answers questions. The future is dropped when the asker no longer waits.
pub trait Answers: Send + Sync + 'static {
    /// The answer to `question` of the node `from`, or why there is none.
    fn answer(
        &self,
        from: NodeId,
        standing: Standing,
        question: Question,
    ) -> Later<Result<Answer, String>>;
}

/// Where letters from other nodes go.
pub trait Inbound: Send + Sync + 'static {
    /// Hands a message to its actor; false if that is not there.
    fn deliver(&self, message: Message) -> bool;
}

impl Inbound for Weak<Node> {
    fn deliver(&self, message: Message) -> bool {
        self.upgrade()
            .is_some_and(|node| node.directory.deliver(message))
    }
}

/// Who knows where a node is that this one has no address of.
pub trait Resolver: Send + Sync + 'static {
    /// Its addresses, as far as they are known.
    fn resolve(&self, node: NodeId) -> Later<Vec<SocketAddr>>;
}

/// Who gets datagrams of members.
pub trait Datagrams: Send + Sync + 'static {
    /// One datagram. To be quick: what is slow loses the next ones.
    fn heard(&self, from: NodeId, bytes: Bytes);
}

/// What a cluster is made of.
#[derive(Clone)]
pub struct Options {
    /// Where it listens, and where it dials from.
    pub listen: SocketAddr,
    /// Who this node is.
    pub key: NodeKey,
    /// Its certificate; empty while it has none.
    pub certificate: Vec<u8>,
    /// Where others can reach it.
    pub addresses: Vec<SocketAddr>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its dice.
    pub entropy: Arc<dyn Entropy>,
}

/// Whom a cluster works for.
#[derive(Clone)]
pub struct Hooks {
    /// The node's place among others.
    pub wiring: Wiring,
    /// Where letters go.
    pub inbound: Arc<dyn Inbound>,
    /// Who judges peers.
    pub gate: Arc<dyn Gate>,
    /// Who answers.
    pub answers: Arc<dyn Answers>,
    /// Who knows addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Who gets datagrams.
    pub datagrams: Arc<dyn Datagrams>,
}

/// A peer that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub node: NodeId,
    /// What it is to this node.
    pub standing: Standing,
    /// The other end of the path.
    pub address: SocketAddr,
    /// Whether this node dialled.
    pub dialled: bool,
    /// How long a packet takes there and back.
    pub rtt: Duration,
    /// Since when it is up.
    pub since: Time,
    /// Bytes sent to it, with everything around them.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Frames received from it that say that it is alive: acknowledgements, data, and questions whether this one is.
    pub signs: u64,
    /// Where it says it can be reached.
    pub addresses: Vec<SocketAddr>,
}

/// This node's end of everything between nodes. Clones are the same.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    me: NodeId,
    key: NodeKey,
    /// Drawn at the start: peers tell by it that this process is another.
    life: u64,
    endpoint: Endpoint,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    own: Mutex<Own>,
    hooks: OnceLock<Hooks>,
    book: Mutex<Book>,
    attempts: Mutex<Attempts>,
    room: Room,
    half_open: AtomicUsize,
}

/// What this node says of itself.
struct Own {
    certificate: Vec<u8>,
    addresses: Vec<SocketAddr>,
}

impl Cluster {
    /// Takes the port. Nobody is let in, and nothing reaches anybody, before [`Cluster::begin`]. To be called
    /// inside the runtime that the cluster's tasks are to run on.
    pub fn bind(options: Options) -> io::Result<Cluster> {
        let Options {
            listen,
            key,
            certificate,
            addresses,
            clock,
            entropy,
        } = options;
        let socket = UdpSocket::bind(listen)?;
        let server = limits::server(&key).map_err(io::Error::other)?;
        let endpoint = Endpoint::new(
            limits::endpoint(&key),
            Some(server),
            socket,
            Arc::new(TokioRuntime),
        )?;
        let mut life = [0; 8];
        entropy.fill(&mut life);
        Ok(Cluster(Arc::new(Inner {
            me: key.node(),
            key,
            life: u64::from_le_bytes(life),
            endpoint,
            runtime: Handle::current(),
            clock,
            entropy,
            own: Mutex::new(Own {
                certificate,
                addresses,
            }),
            hooks: OnceLock::new(),
            book: Mutex::default(),
            attempts: Mutex::default(),
            room: Room::default(),
            half_open: AtomicUsize::new(0),
        })))
    }

    /// Opens the door. The first call counts.
    pub fn begin(&self, hooks: Hooks) {
        if self.0.hooks.set(hooks).is_ok() {
            self.0.runtime.spawn(self.0.clone().accept());
        }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Remembers where a node may be reached. What was known of it before comes after.
    pub fn know(&self, node: NodeId, addresses: Vec<SocketAddr>) {
        self.0.know(node, addresses);
    }

    /// Shows another certificate from now on. Peers that are up see it when the one that they know has ended.
    pub fn show(&self, certificate: Vec<u8>) {
        lock(&self.0.own).certificate = certificate;
    }

    /// Tells peers of other addresses from now on.
    pub fn reachable(&self, addresses: Vec<SocketAddr>) {
        lock(&self.0.own).addresses = addresses;
    }

    /// Ends the connection to a peer, which may have lost its place here.
    pub fn part(&self, node: NodeId, reason: &str) {
        self.0.part(node, reason);
    }

    /// Asks `to` and waits for its answer, for so long at most. Dropping the future takes the question back.
    pub async fn call(
        &self,
        to: NodeId,
        question: Question,
        within: Duration,
    ) -> Result<Answer, RemoteError> {
        self.0.call(to, question, within).await
    }

    /// Sends a datagram to a peer. It may be lost, and is if the peer is not up: then it is dialled.
    pub fn send_datagram(&self, to: NodeId, bytes: Bytes) -> Result<(), Unreachable> {
        self.0.send_datagram(to, bytes)
    }

    /// The peers that are up.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.0.peers()
    }

    /// Tells every peer that this node stops, and waits until they know, for a moment at most.
    pub async fn close(&self) {
        self.0.endpoint.close(code::STOPPING, b"stopping");
        let _ = tokio::time::timeout(FAREWELL, self.0.endpoint.wait_idle()).await;
    }
}

impl Transport for Cluster {
    fn ways(&self) -> Vec<(NodeId, u32)> {
        self.0.ways()
    }

    fn ask(&self, to: NodeId, question: Question, within: Duration) -> Asked<'_> {
        Box::pin(self.call(to, question, within))
    }

    fn datagram(&self, to: NodeId, bytes: Bytes) -> Result<(), Unreachable> {
        self.send_datagram(to, bytes)
    }

    fn know(&self, node: NodeId, addresses: Vec<SocketAddr>) {
        self.0.know(node, addresses);
    }

    fn links(&self) -> Vec<ports::Link> {
        let members = self
            .peers()
            .into_iter()
            .filter(|peer| peer.standing != Standing::Stranger);
        let link = |peer: PeerStatus| ports::Link {
            node: peer.node,
            address: peer.address,
            rtt_micros: peer.rtt.as_micros() as u64,
            heard: peer.signs,
        };
        members.map(link).collect()
    }

    fn cast(&self, to: NodeId, message: Message) -> Result<(), Unreachable> {
        let inner = &self.0;
        let Some(mail) = letters::mail(message) else {
            tracing::error!(%to, "what stays inside a node was to leave it");
            return Err(Unreachable { node: to });
        };
        match mail {
            Mail::Letter(letter) => inner.write(to, &letter),
            Mail::Knock(knock) => inner.knock(to, *knock),
            Mail::Said(attempt, said) => inner.say(to, attempt, said),
            Mail::Cancel(attempt) => {
                if inner.stop(to, attempt) {
                    Ok(())
                } else {
                    inner.write(to, &Letter::Cancel { attempt })
                }
            }
        }
    }
}

impl Inner {
    /// Sends a letter.
    fn write(self: &Arc<Self>, to: NodeId, letter: &Letter) -> Result<(), Unreachable> {
        let mut bytes = Vec::new();
        if let Err(error) = frame::encode(Kind::Letter, letter, &mut bytes) {
            tracing::error!(%to, %error, "a letter is too long");
            return Err(Unreachable { node: to });
        }
        self.post(to, Bytes::from(bytes))
    }

    /// Hands `message` of a peer to its actor if the peer may say it. `held` says that the peer is the worker
    /// of the attempt that the message is about.
    fn hear(
        &self,
        from: NodeId,
        standing: Standing,
        held: bool,
        message: Message,
    ) -> Result<(), Forged> {
        let (Some(hooks), Standing::Member(badge)) = (self.hooks.get(), standing) else {
            tracing::debug!(%from, "a letter of a stranger was dropped");
            return Ok(());
        };
        let holder = |_, _| held.then_some(from);
        let judged = border::admit(from, &hooks.wiring, holder, message)
            .and_then(|message| border::belongs(&badge, &message).map(|()| message));
        if !hooks.inbound.deliver(judged?) {
            tracing::debug!(%from, "a letter found nobody");
        }
        Ok(())
    }

    /// Whether the peer of a link is still what it was when it was let in. If not, it is parted from.
    fn stays(&self, peer: NodeId, standing: Standing) -> bool {
        let over = match standing {
            Standing::Member(badge) if badge.until <= self.clock.now() => {
                Some("its certificate has ended".to_owned())
            }
            _ => self
                .hooks
                .get()
                .and_then(|hooks| hooks.gate.stays(peer).err()),
        };
        if let Some(reason) = &over {
            self.part(peer, reason);
        }
        over.is_none()
    }
}

/// Why connections and streams are ended.
mod code {
    use quinn::VarInt;

    /// The node stops, or no longer wants the answer.
    pub(super) const STOPPING: VarInt = VarInt::from_u32(1);
    /// Another connection took its place.
    pub(super) const REPLACED: VarInt = VarInt::from_u32(2);
    /// The peer is not let in.
    pub(super) const REFUSED: VarInt = VarInt::from_u32(3);
    /// What came is no frame, or not one that belongs there.
    pub(super) const GARBAGE: VarInt = VarInt::from_u32(4);
    /// More than may be at once.
    pub(super) const FULL: VarInt = VarInt::from_u32(5);
    /// The attempt cannot go on.
    pub(super) const LOST: VarInt = VarInt::from_u32(6);
}

/// What a lock protects stays right when a task that held it panicked: it is changed in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|dead| dead.into_inner())
}

fn reason_of(closed: &quinn::ConnectionError) -> (Option<VarInt>, String) {
    match closed {
        quinn::ConnectionError::ApplicationClosed(close) => (
            Some(close.error_code),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        other => (None, other.to_string()),
    }
}

const FAREWELL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
