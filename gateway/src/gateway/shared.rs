//! What all connections of one gateway share.

use crate::backend::{Backend, Later};
use crate::control::OpenRequest;
use crate::gateway::GatewayArgs;
use crate::gateway::connection::Peer;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::request_body::{self, Share};
use ractor::ActorCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;
use troop_actors::contract::Time;
use troop_actors::ids::{MemberId, NodeId, RequestId};
use troop_actors::ports::{Clock, Entropy};
use troop_actors::shelf::Shelf;

/// How far a gateway is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It serves.
    Open,
    /// It takes no new requests; those that are open go on.
    Draining,
    /// Those that are still open end with an error.
    Ending,
}

/// See the module's page.
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) owner: MemberId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) limits: Limits,
    pub(crate) hosts: Vec<String>,
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) gateway: ActorCell,
    pub(crate) stop: Arc<Notify>,
    pub(crate) started: Time,
    pub(crate) listening: Vec<SocketAddr>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) open_count: watch::Sender<usize>,
    pub(crate) open: Mutex<BTreeMap<RequestId, OpenRequest>>,
    /// What clients called their requests lately, where they chose the name.
    called: Mutex<Shelf<String, RequestId>>,
}

impl Shared {
    /// What the connections of the gateway `gateway` share, which listens at `listening`.
    pub(crate) fn new(
        args: GatewayArgs,
        gateway: ActorCell,
        listening: Vec<SocketAddr>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            me: args.me,
            owner: args.owner,
            started: args.clock.now(),
            clock: args.clock,
            entropy: args.entropy,
            backend: args.backend,
            bodies: request_body::shares(&args.limits),
            limits: args.limits,
            hosts: args.hosts,
            gateway,
            stop: args.stop,
            listening,
            phase: watch::Sender::new(Phase::Open),
            open_count: watch::Sender::new(0),
            open: Mutex::new(BTreeMap::new()),
            called: Mutex::new(Shelf::new(CALLED_MAX)),
        })
    }

    /// Enters a request in the list of open ones, if there is room and the node stays.
    pub(crate) fn begin(
        self: &Arc<Self>,
        request: RequestId,
        entry: OpenRequest,
        peer: &Arc<Peer>,
        share: Share,
    ) -> Result<Opened, Problem> {
        if *self.phase.borrow() != Phase::Open {
            return Err(Problem::draining().closing());
        }
        let mut open = self.open();
        if open.len() >= self.limits.requests_max {
            let message = format!("{} requests are open already", open.len());
            return Err(Problem::overloaded(message, 1000));
        }
        open.insert(request, entry);
        self.open_count.send_replace(open.len());
        peer.served();
        Ok(Opened {
            request,
            shared: self.clone(),
            peer: peer.clone(),
            _share: share,
        })
    }

    /// The list of open requests.
    pub(crate) fn open(&self) -> MutexGuard<'_, BTreeMap<RequestId, OpenRequest>> {
        self.open
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A client calls its request so.
    pub(crate) fn call(&self, name: &str, request: RequestId) {
        self.called().put(name.to_owned(), request);
    }

    /// The id of the request that a client calls so; the name itself where it chose none.
    pub(crate) fn request_called(&self, name: &str) -> String {
        let called = self.called();
        let known = called.get(&name.to_owned());
        known.map_or_else(|| name.to_owned(), ToString::to_string)
    }

    fn called(&self) -> MutexGuard<'_, Shelf<String, RequestId>> {
        self.called
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for another actor's answer, but not for long.
    pub(crate) async fn ask<T>(
        &self,
        who: &'static str,
        answer: Later<'_, Result<T, Problem>>,
    ) -> Result<T, Problem> {
        match timeout(self.limits.call_max, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::unavailable(who)),
        }
    }

    /// Random bytes.
    pub(crate) fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// An open request's place in the list; given back when dropped.
pub(crate) struct Opened {
    request: RequestId,
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    _share: Share,
}

impl Opened {
    /// The gateway's phase, to be watched.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.peer.answered();
        let mut open = self.shared.open();
        open.remove(&self.request);
        self.shared.open_count.send_replace(open.len());
    }
}

/// Names of requests that clients chose and that are remembered.
const CALLED_MAX: usize = 1024;
