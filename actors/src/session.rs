//! One request from admission to its last byte, over as many attempts as it takes.
//!
//! Lives where the client is; the `Gateway` opens one for each request and gets the other end of a channel.
//! It talks to the coordinator's `Scheduler`, to the workers' `Doorkeeper`s and `EngineProcess`es, and to its own
//! `Outbox`. When it dies its channel closes without an ending, its client gets one error, and its hold
//! expires by itself.

mod answer;
mod fault;
mod held;
mod limits;
mod prefixes;
pub mod protocol;
mod story;
mod thread;

pub use fault::{Fault, Loss};
pub use prefixes::{Beginnings, Prefixes};
pub use story::{Attempt, Ending, STORIES_MAX, Stories, Story};
pub use thread::Thread;

use crate::ids::{NodeId, NodeKey, RequestId};
use crate::names;
use crate::questions::Question;
use crate::routing::SessionPort;
use crate::shell::{Node, Seat};
use protocol::{Delivery, Input, Order};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// What a client of a session reads. Dropping it hangs up.
///
/// The channel has no limit of its own: what can be in it is bounded by the request, at most one delivery for
/// each of its tokens and two for each second of waiting.
pub type Deliveries = UnboundedReceiver<Delivery>;

/// A session could not be opened; nothing has been asked of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// This node has as many open requests as it may.
    #[error("{limit} requests are open on this node already")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The actor could not be started.
    #[error("the session could not be started")]
    NotStarted,
}

/// Opens a session for `order`, linked to `parent` if there is one, and begins it.
pub async fn open(
    node: &Arc<Node>,
    key: &NodeKey,
    order: Order,
    parent: Option<ActorCell>,
) -> Result<Deliveries, OpenError> {
    if node.directory.find(|entries| entries.sessions.len()) >= SESSIONS_MAX {
        return Err(OpenError::Full {
            limit: SESSIONS_MAX,
        });
    }
    let (client, deliveries) = unbounded_channel();
    let name = names::session(node.wiring.me, order.request);
    let args = SessionArgs {
        node: node.clone(),
        key: key.clone(),
        order,
        client,
    };
    let started = match parent {
        Some(parent) => Actor::spawn_linked(Some(name), Session, args, parent).await,
        None => Actor::spawn(Some(name), Session, args).await,
    };
    let (session, _) = started.map_err(|_| OpenError::NotStarted)?;
    session
        .cast(SessionMessage::Input(Input::Begin))
        .map_err(|_| OpenError::NotStarted)?;
    Ok(deliveries)
}

/// All a session needs from outside.
pub struct SessionArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// The node's key, to sign receipts with.
    pub key: NodeKey,
    /// The request.
    pub order: Order,
    /// Where the client reads.
    pub client: UnboundedSender<Delivery>,
}

/// The actor.
pub struct Session;

/// The core in its seat, the client's channel, and who watches whether the client still reads it.
pub struct SessionState {
    request: RequestId,
    seat: Seat<Thread>,
    client: UnboundedSender<Delivery>,
    watch: JoinHandle<()>,
    /// What it went through so far.
    story: Story,
    /// What its prompt begins with, for the next one that begins so.
    beginnings: Beginnings,
}

impl SessionState {
    fn perform(&mut self, heard: bool, ports: Vec<SessionPort>, myself: &ActorRef<SessionMessage>) {
        let node = self.seat.node().clone();
        let now = node.clock.now();
        let mut news = heard;
        let losses = self.seat.core().losses();
        let lost = losses.last();
        let lost = lost.and_then(|(attempt, loss)| self.story.lose(now, *attempt, loss));
        if let Some(worker) = lost {
            news = true;
            node.directory
                .enter(|entries| entries.prefixes.forget(worker));
        }
        if let Some((attempt, worker)) = self.seat.core().listens() {
            news |= self.story.begin(now, attempt, worker);
        }
        for port in ports {
            match port {
                SessionPort::Deliver(delivery) => {
                    news |= self.story.tell(now, &delivery);
                    let read = matches!(delivery, Delivery::Started { .. } | Delivery::Done { .. });
                    if let Some(worker) = self.story.worker().filter(|_| read) {
                        node.directory.enter(|entries| {
                            let prefixes = &mut entries.prefixes;
                            prefixes.remember(now, &self.beginnings, worker);
                        });
                    }
                    // A client that is gone is noticed by the watch.
                    drop(self.client.send(delivery));
                }
                SessionPort::Greet(worker) => self.greet(worker),
                SessionPort::Close => myself.stop(None),
            }
        }
        if news {
            node.directory
                .enter(|entries| entries.stories.keep(&self.story));
        }
        self.seat.arm(myself, || SessionMessage::Wake);
    }

    /// Asks a node for a sign of life, so that there is a connection to it. Whether one comes is found out when it
    /// is needed.
    fn greet(&self, to: NodeId) {
        let node = self.seat.node().clone();
        if to == node.wiring.me {
            return;
        }
        // It ends by its deadline, and nobody waits for it.
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(async move {
            let _ = node.transport.ask(to, Question::Ping, GREETING).await;
        });
    }
}

#[ractor::actor(
    message = pub enum SessionMessage,
    state = SessionState,
    arguments = SessionArgs,
)]
impl Session {
    async fn pre_start(
        &self,
        myself: ActorRef<SessionMessage>,
        args: SessionArgs,
    ) -> Result<SessionState, ActorProcessingErr> {
        let SessionArgs {
            node,
            key,
            order,
            client,
        } = args;
        let request = order.request;
        let now = node.clock.now();
        let story = Story::new(now, &order);
        let beginnings = Beginnings::of(&order);
        let ways = node.transport.ways();
        let hints = node
            .directory
            .find(|entries| entries.prefixes.hints(now, &beginnings, &ways));
        let thread = Thread::new(order, key, node.wiring.coordinator).hinted(hints);
        node.directory
            .enter(|entries| drop(entries.sessions.insert(request, myself.clone())));
        let watched = client.clone();
        // The task belongs to this actor, whose state ends it when it is dropped.
        #[allow(clippy::disallowed_methods)]
        let watch = tokio::spawn(async move {
            watched.closed().await;
            let _ = myself.cast(SessionMessage::Input(Input::HangUp));
        });
        Ok(SessionState {
            request,
            seat: Seat::new(names::SESSION, thread, node),
            client,
            watch,
            story,
            beginnings,
        })
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, myself: ActorRef<SessionMessage>, input: Input, state: &mut SessionState) {
        let heard = state.story.hear(state.seat.node().clock.now(), &input);
        let ports = state.seat.step(input);
        state.perform(heard, ports, &myself);
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<SessionMessage>, state: &mut SessionState) {
        let ports = state.seat.wake();
        state.perform(false, ports, &myself);
    }
}

/// However the actor ends, a panic included: the client's channel closes, and the directory forgets it.
impl Drop for SessionState {
    fn drop(&mut self) {
        // The watch holds the channel open until it ends.
        self.watch.abort();
        let node = self.seat.node();
        node.directory
            .enter(|entries| drop(entries.sessions.remove(&self.request)));
    }
}

/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(10);
/// Requests open at one time on one node, at most.
pub const SESSIONS_MAX: usize = 1024;
