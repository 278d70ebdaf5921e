//! What this node is to other nodes: whom of them it believes, what it answers them, where it looks for them.
//!
//! Nothing is decided here: whom to believe is the [`gatekeeper`](crate::gatekeeper)'s, who is let in the
//! admissions', what is served the scheduler's.

use crate::cluster::{
    Answers, Cluster, Datagrams, Gate, Hooks, Inbound, Later, Options, Resolver, Standing,
};
use crate::enrolment::{self, Enrolment};
use crate::gatekeeper::Gatekeeper;
use crate::home::Home;
use crate::machine;
use bytes::Bytes;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use troop_actors::admissions::{AdmissionsHandle, Outcasts};
use troop_actors::border::Badge;
use troop_actors::certificate::{Certificate, RoleSet};
use troop_actors::contract::Time;
use troop_actors::ids::{MemberId, NodeId, NodeKey};
use troop_actors::invitation::Invitation;
use troop_actors::ledger::LedgerHandle;
use troop_actors::membership::protocol::Input;
use troop_actors::membership::{DATAGRAMS_MAX, MembershipHandle};
use troop_actors::ports::{Clock, Entropy};
use troop_actors::questions::{Answer, CATALOG_MAX, Question, RemoteError};
use troop_actors::routing::{Message, Wiring};
use troop_actors::scheduler::{SchedulerHandle, Story};
use troop_actors::shell::Node;

/// This node among others. It does not keep the node running.
pub(crate) struct Neighbours {
    node: Weak<Node>,
    troop: NodeId,
    gatekeeper: Gatekeeper,
    /// Where the coordinator was last, if that is another node.
    coordinator: Vec<SocketAddr>,
    cluster: Cluster,
    dialling_back: Arc<Semaphore>,
    /// How many datagrams may wait to be heard.
    room: Arc<Semaphore>,
}

/// Opens the door of `node` to others. Its coordinator, if that is another node, was last found at `coordinator`.
pub(crate) fn open(
    node: &Arc<Node>,
    cluster: &Cluster,
    coordinator: Vec<SocketAddr>,
    outcasts: Outcasts,
) {
    let (parting, here) = (cluster.clone(), Arc::downgrade(node));
    outcasts.part_by(move |node| {
        parting.part(node, "removed from the troop");
        if let Some(here) = here.upgrade() {
            MembershipHandle::new(here).happened(Input::PutOut { node });
        }
    });
    let neighbours = Arc::new(Neighbours {
        troop: node.wiring.coordinator,
        node: Arc::downgrade(node),
        gatekeeper: Gatekeeper {
            wiring: node.wiring,
            clock: node.clock.clone(),
            outcasts,
        },
        coordinator,
        cluster: cluster.clone(),
        dialling_back: Arc::new(Semaphore::new(1)),
        room: Arc::new(Semaphore::new(DATAGRAMS_MAX)),
    });
    if let Ok(bound) = cluster.address() {
        cluster.reachable(machine::reachable(&[bound]));
    }
    cluster.begin(Hooks {
        wiring: node.wiring,
        inbound: Arc::new(Arc::downgrade(node)),
        gate: neighbours.clone(),
        answers: neighbours.clone(),
        resolver: neighbours.clone(),
        datagrams: neighbours,
    });
}

/// Keeps the node's certificate good for as long as the node runs, in its folder and towards others.
pub(crate) fn keep_good(
    node: &Node,
    cluster: &Cluster,
    enrolment: Enrolment,
    home: Home,
) -> impl Future<Output = ()> + Send + 'static {
    let (me, clock) = (node.wiring.me, node.clock.clone());
    let (cluster, troop) = (cluster.clone(), enrolment.troop);
    let shown = cluster.clone();
    let ask = async move |question| cluster.call(troop, question, ASK_DEADLINE).await;
    let keep = move |enrolment: &Enrolment| {
        shown.show(enrolment.certificate.clone());
        if let Err(error) = enrolment.save(&home) {
            tracing::warn!(%error, "the next certificate could not be kept");
        }
    };
    enrolment::keep_good(enrolment, me, clock, ask, keep)
}

impl Neighbours {
    fn node(&self) -> Result<Arc<Node>, String> {
        self.node.upgrade().ok_or_else(|| STOPPING.to_owned())
    }

    fn membership(&self) -> Option<MembershipHandle> {
        self.node.upgrade().map(MembershipHandle::new)
    }
}

impl Gate for Neighbours {
    fn judge(&self, peer: NodeId, certificate: &[u8]) -> Result<Standing, String> {
        let Some(badge) = self.gatekeeper.judge(peer, certificate)? else {
            return Ok(Standing::Stranger);
        };
        if let Some(membership) = self.membership() {
            let now = self.gatekeeper.clock.now();
            let shown = Certificate::verify(certificate, self.troop, peer, now);
            // The coordinator shows none.
            let (name, roles) = shown.map_or((String::new(), RoleSet::COORDINATOR), |shown| {
                (shown.name, shown.roles)
            });
            let node = peer;
            membership.happened(Input::Met { node, name, roles });
        }
        Ok(Standing::Member(badge))
    }

    fn stays(&self, peer: NodeId) -> Result<(), String> {
        self.gatekeeper.stays(peer)
    }
}

impl Answers for Neighbours {
    fn answer(
        &self,
        from: NodeId,
        standing: Standing,
        question: Question,
    ) -> Later<Result<Answer, String>> {
        let node = self.node();
        let cluster = self.cluster.clone();
        let turn = self.dialling_back.clone();
        Box::pin(async move {
            let node = node?;
            match question {
                Question::Ping => Ok(Answer::Pong),
                Question::Members { card, seen } => {
                    card.check().map_err(|error| error.to_string())?;
                    let membership = MembershipHandle::new(node);
                    let answer = membership.answer(from, card, seen).await;
                    answer.map_err(|error| error.to_string())
                }
                _ if !node.coordinates() => Err("this node is not the coordinator".to_owned()),
                question @ (Question::Join { .. } | Question::Renew) => {
                    let answer = AdmissionsHandle::new(node).answer(from, &question).await;
                    answer.ok_or_else(|| "the admissions do not answer".to_owned())
                }
                Question::Catalog => {
                    let catalog = SchedulerHandle::new(node).catalog().await;
                    let mut catalog = catalog.map_err(|error| error.to_string())?;
                    catalog.truncate(CATALOG_MAX);
                    Ok(Answer::Catalog(catalog))
                }
                Question::Resting => {
                    let resting = SchedulerHandle::new(node).resting().await;
                    let mut resting = resting.map_err(|error| error.to_string())?;
                    resting.truncate(CATALOG_MAX);
                    Ok(Answer::Resting(resting))
                }
                Question::Account => {
                    let Standing::Member(Badge { member, .. }) = standing else {
                        return Err("this node is no member".to_owned());
                    };
                    let account = LedgerHandle::new(node).account(member).await;
                    account
                        .map(Answer::Account)
                        .map_err(|error| error.to_string())
                }
                Question::Seen => {
                    let peer = cluster.peers().into_iter().find(|peer| peer.node == from);
                    let at = peer.ok_or("you are gone")?.address;
                    let now = node.clock.now();
                    Ok(Answer::Seen { at, now })
                }
                Question::DialBack => {
                    let peer = cluster.peers().into_iter().find(|peer| peer.node == from);
                    let addresses = peer.ok_or("you are gone")?.addresses;
                    // One at a time: nobody has this node dial for him as often as he likes.
                    let Ok(_turn) = turn.try_acquire() else {
                        return Err("somebody else is being dialled; ask again".to_owned());
                    };
                    let failure = dial_back(&node, from, addresses).await;
                    Ok(Answer::DialledBack { failure })
                }
                Question::Explain { request } => {
                    let Standing::Member(Badge { member, .. }) = standing else {
                        return Err("this node is no member".to_owned());
                    };
                    let story = SchedulerHandle::new(node).explain(request).await;
                    let story = story.map_err(|error| error.to_string())?;
                    let own = |story: &Story| story.client == from || story.payer == member;
                    Ok(Answer::Explained(story.filter(own).map(Box::new)))
                }
                Question::Where { node } => {
                    let peers = cluster.peers();
                    let peer = peers.into_iter().find(|peer| peer.node == node);
                    Ok(Answer::Where(
                        peer.map(|peer| peer.addresses).unwrap_or_default(),
                    ))
                }
            }
        })
    }
}

impl Resolver for Neighbours {
    fn resolve(&self, wanted: NodeId) -> Later<Vec<SocketAddr>> {
        let (node, known) = (self.node(), self.coordinator.clone());
        let troop = self.troop;
        Box::pin(async move {
            let Ok(node) = node else {
                return Vec::new();
            };
            if wanted == troop {
                return known;
            }
            if node.coordinates() {
                // Members come to the coordinator; it does not look for them.
                return Vec::new();
            }
            match node
                .ask_coordinator(Question::Where { node: wanted }, ASK_DEADLINE)
                .await
            {
                Ok(Answer::Where(addresses)) => addresses,
                _ => Vec::new(),
            }
        })
    }
}

impl Datagrams for Neighbours {
    fn heard(&self, from: NodeId, bytes: Bytes) {
        let room = self.room.clone().try_acquire_owned();
        if let (Ok(room), Some(membership)) = (room, self.membership()) {
            membership.heard(from, bytes, room);
        }
    }
}

/// A node that is no member yet, on its way to the coordinator that invited it.
struct Joiner(NodeId);

impl Gate for Joiner {
    /// The secret is for the coordinator alone.
    fn judge(&self, peer: NodeId, _certificate: &[u8]) -> Result<Standing, String> {
        match peer == self.0 {
            true => Ok(Standing::Member(Badge {
                member: MemberId::of_owner(peer),
                roles: RoleSet::COORDINATOR,
                until: Time(u64::MAX),
            })),
            false => Err("this node belongs to no troop yet".to_owned()),
        }
    }

    fn stays(&self, _peer: NodeId) -> Result<(), String> {
        Ok(())
    }
}

impl Answers for Joiner {
    fn answer(
        &self,
        _from: NodeId,
        _standing: Standing,
        _question: Question,
    ) -> Later<Result<Answer, String>> {
        Box::pin(async { Err("this node belongs to no troop yet".to_owned()) })
    }
}

impl Resolver for Joiner {
    fn resolve(&self, _node: NodeId) -> Later<Vec<SocketAddr>> {
        Box::pin(async { Vec::new() })
    }
}

impl Datagrams for Joiner {
    fn heard(&self, _from: NodeId, _bytes: Bytes) {}
}

impl Inbound for Joiner {
    fn deliver(&self, _message: Message) -> bool {
        false
    }
}

/// Asks the coordinator of `invitation` one question, over a port of its own that is closed afterwards.
pub(crate) async fn ask_inviter(
    key: NodeKey,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    invitation: &Invitation,
    question: Question,
) -> Result<Answer, RemoteError> {
    let coordinator = invitation.coordinator;
    let known = invitation.addresses.clone();
    let stranger = Stranger {
        key,
        clock,
        entropy,
    };
    stranger
        .ask(coordinator, known, question, JOIN_DEADLINE)
        .await
}

/// Dials `node`, found at `known`, as somebody whom it has never seen. That it refuses to talk is as good as an
/// answer: it was reached. Returns why it was not, if it was not.
async fn dial_back(here: &Node, node: NodeId, known: Vec<SocketAddr>) -> Option<String> {
    let mut secret = [0; 32];
    here.entropy.fill(&mut secret);
    let stranger = Stranger {
        key: NodeKey::from_secret(secret),
        clock: here.clock.clone(),
        entropy: here.entropy.clone(),
    };
    match stranger
        .ask(node, known, Question::Ping, ASK_DEADLINE)
        .await
    {
        Ok(_) | Err(RemoteError::Refused { .. } | RemoteError::Incompatible { .. }) => None,
        Err(
            error @ (RemoteError::Unreachable { .. }
            | RemoteError::TimedOut { .. }
            | RemoteError::Gone { .. }),
        ) => Some(error.to_string()),
    }
}

/// Somebody without a place in any troop.
struct Stranger {
    key: NodeKey,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Stranger {
    /// Asks `node` and nobody else, over a port of its own that is closed afterwards.
    async fn ask(
        self,
        node: NodeId,
        known: Vec<SocketAddr>,
        question: Question,
        within: Duration,
    ) -> Result<Answer, RemoteError> {
        let unreachable = |error: std::io::Error| RemoteError::Unreachable {
            node,
            reason: error.to_string(),
        };
        let me = self.key.node();
        // Where it is known by an IPv6 address too, the port must be able to reach it.
        let wide = known.iter().any(SocketAddr::is_ipv6);
        let listen = match wide {
            true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        let cluster = Cluster::bind(Options {
            listen,
            key: self.key,
            certificate: Vec::new(),
            addresses: Vec::new(),
            clock: self.clock,
            entropy: self.entropy,
        })
        .map_err(unreachable)?;
        let joiner = Arc::new(Joiner(node));
        cluster.begin(Hooks {
            wiring: Wiring {
                me,
                coordinator: node,
            },
            inbound: joiner.clone(),
            gate: joiner.clone(),
            answers: joiner.clone(),
            resolver: joiner.clone(),
            datagrams: joiner,
        });
        cluster.know(node, known);
        let answer = cluster.call(node, question, within).await;
        cluster.close().await;
        answer
    }
}

/// How long a coordinator may take to let somebody in.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);
const STOPPING: &str = "this node stops";
/// How long the coordinator may take to say where a node is.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
