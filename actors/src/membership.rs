//! Knows who is there: which nodes of the troop are alive, suspect, dead or gone, by gossip with all of them.
//!
//! Lives on every node. Members' datagrams come to it, and their questions who is there; it asks them the same.
//! On a coordinator it tells the `Scheduler` who was lost and who is back. When it dies, what it knew is gone: it
//! begins anew in a later incarnation, asks its coordinator and hears the rest. Streams go on either way: that a
//! worker is lost is decided where its words are missed, never here.

mod dice;
mod pace;
mod packet;
pub mod protocol;
mod view;

pub use protocol::{Card, Line, Path, Row, State, is_near};
pub use view::View;

use crate::admissions::Outcasts;
use crate::ids::NodeId;
use crate::names;
use crate::questions::{Answer, Question};
use crate::shell::{Node, Seat};
use bytes::Bytes;
use protocol::{Errand, Input};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

/// The membership of this node does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the membership does not answer")]
pub struct Silent;

/// The way in for everybody else.
#[derive(Clone)]
pub struct MembershipHandle(Arc<Node>);

impl MembershipHandle {
    /// The handle to the membership of `node`.
    pub fn new(node: Arc<Node>) -> MembershipHandle {
        MembershipHandle(node)
    }

    /// This node and every other that is known, this one first.
    pub async fn lines(&self) -> Result<Vec<Line>, Silent> {
        self.ask(MembershipMessage::Lines).await
    }

    /// The answer to the member `from`, which says `card` of itself and knows what the digest `seen` stands for.
    pub async fn answer(&self, from: NodeId, card: Card, seen: u64) -> Result<Answer, Silent> {
        let asked = |reply| MembershipMessage::Asked(from, card, seen, reply);
        let (card, rows) = self.ask(asked).await?;
        Ok(Answer::Members { card, rows })
    }

    /// Hands on a datagram of a member. `room` is its part of what may wait; where nobody is there it is lost.
    pub fn heard(&self, from: NodeId, bytes: Bytes, room: OwnedSemaphorePermit) {
        self.tell(MembershipMessage::Heard(from, bytes, room));
    }

    /// Tells it something that happened.
    pub fn happened(&self, input: Input) {
        self.tell(MembershipMessage::Input(input));
    }

    fn tell(&self, message: MembershipMessage) {
        if let Some(actor) = self.0.directory.find(|entries| entries.membership.clone()) {
            let _ = actor.cast(message);
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> MembershipMessage,
    ) -> Result<T, Silent> {
        let actor = self.0.directory.find(|entries| entries.membership.clone());
        let asked = actor.ok_or(Silent)?.call(message, Some(ASK_DEADLINE)).await;
        match asked {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            Ok(_) | Err(_) => Err(Silent),
        }
    }
}

/// All a membership needs from outside.
pub struct MembershipArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// What the node says of itself.
    pub card: Card,
    /// Who was put out of the troop, on a coordinator.
    pub outcasts: Outcasts,
}

/// The actor.
pub struct Membership;

/// The core in its seat, and the questions that are under way.
pub struct MembershipState {
    seat: Seat<View>,
    asks: JoinSet<()>,
}

impl MembershipState {
    fn step(&mut self, myself: &ActorRef<MembershipMessage>, input: Input) {
        let ports = self.seat.step(input);
        self.perform(myself, ports);
    }

    fn perform(&mut self, myself: &ActorRef<MembershipMessage>, ports: Vec<Errand>) {
        let mut ports = VecDeque::from(ports);
        while let Some(port) = ports.pop_front() {
            let node = self.seat.node().clone();
            match port {
                // It may be lost; whoever is not up is dialled by it.
                Errand::Send { to, bytes } => {
                    let _ = node.transport.datagram(to, bytes.into());
                }
                Errand::Know {
                    node: of,
                    addresses,
                } => {
                    node.transport.know(of, addresses);
                }
                Errand::Look => {
                    let links = node.transport.links();
                    ports.extend(self.seat.step(Input::Links(links)));
                }
                Errand::Ask { to, card, seen } => {
                    while self.asks.try_join_next().is_some() {}
                    self.asks.spawn(ask(myself.clone(), node, to, card, seen));
                }
            }
        }
        self.seat.arm(myself, || MembershipMessage::Wake);
    }
}

/// Asks a node who is there, and says what came of it.
async fn ask(
    membership: ActorRef<MembershipMessage>,
    node: Arc<Node>,
    to: NodeId,
    card: Card,
    seen: u64,
) {
    let question = Question::Members { card, seen };
    let answer = match node.transport.ask(to, question, EXCHANGE_DEADLINE).await {
        Ok(Answer::Members { card, rows }) => Some((card, rows)),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%to, %error, "a node does not say who is there");
            None
        }
    };
    let from = to;
    let _ = membership.cast(MembershipMessage::Input(Input::Answered { from, answer }));
}

#[ractor::actor(
    message = pub enum MembershipMessage,
    state = MembershipState,
    arguments = MembershipArgs,
)]
impl Membership {
    async fn pre_start(
        &self,
        myself: ActorRef<MembershipMessage>,
        args: MembershipArgs,
    ) -> Result<MembershipState, ActorProcessingErr> {
        let MembershipArgs {
            node,
            card,
            outcasts,
        } = args;
        let mut seed = [0; 8];
        node.entropy.fill(&mut seed);
        let wiring = node.wiring;
        let view = View::new(
            wiring.me,
            wiring.coordinator,
            card,
            node.clock.now(),
            u64::from_le_bytes(seed),
        );
        let mut state = MembershipState {
            seat: Seat::new(names::MEMBERSHIP, view, node.clone()),
            asks: JoinSet::new(),
        };
        node.directory
            .enter(|entries| entries.membership = Some(myself.clone()));
        for node in outcasts.all() {
            state.step(&myself, Input::PutOut { node });
        }
        state.perform(&myself, Vec::new());
        Ok(state)
    }

    /// The node stops: the others hear it from itself.
    async fn post_stop(
        &self,
        myself: ActorRef<MembershipMessage>,
        state: &mut MembershipState,
    ) -> Result<(), ActorProcessingErr> {
        state.step(&myself, Input::Leave);
        Ok(())
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<MembershipMessage>,
        input: Input,
        state: &mut MembershipState,
    ) {
        state.step(&myself, input);
    }

    /// A datagram of a member came; its place is free when it has been heard.
    #[ractor::message(Heard(from, bytes, room))]
    fn heard(
        &self,
        myself: ActorRef<MembershipMessage>,
        from: NodeId,
        bytes: Bytes,
        room: OwnedSemaphorePermit,
        state: &mut MembershipState,
    ) {
        let bytes = bytes.to_vec();
        state.step(&myself, Input::Datagram { from, bytes });
        drop(room);
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<MembershipMessage>, state: &mut MembershipState) {
        let ports = state.seat.wake();
        state.perform(&myself, ports);
    }

    /// A member asks who is there.
    #[ractor::rpc(Asked(from, card, seen, reply))]
    fn asked(
        &self,
        myself: ActorRef<MembershipMessage>,
        from: NodeId,
        card: Card,
        seen: u64,
        state: &mut MembershipState,
    ) -> (Card, Vec<Row>) {
        state.step(&myself, Input::Asked { from, card });
        state.seat.core().answer(seen)
    }

    /// Says who is there.
    #[ractor::rpc(Lines)]
    fn lines(&self, state: &mut MembershipState) -> Vec<Line> {
        let now = state.seat.node().clock.now();
        state.seat.asked("Lines").lines(now)
    }
}

/// Datagrams that wait to be heard, at most; more are lost, as datagrams may be.
pub const DATAGRAMS_MAX: usize = 1024;
/// How long anybody here waits for an answer.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// And how long for one of another node: it may have to be dialled.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(5);
