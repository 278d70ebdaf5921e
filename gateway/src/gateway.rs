//! The gateway: owns the listeners, and with them every connection of every client.
//!
//! It asks the node for sessions, models and keys through a [`Backend`]. Sessions are its children; one that
//! dies closes its channel, and its client gets one error. When the gateway itself dies its sockets close,
//! its sessions end with it, and its successor binds the same addresses again.

pub(crate) mod connection;
mod listener;
pub(crate) mod shared;

use crate::backend::Backend;
use crate::limits::Limits;
use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent, call_t};
use shared::{Phase, Shared};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use troop_actors::ids::{MemberId, NodeId};
use troop_actors::ports::{Clock, Entropy};
use troop_actors::{names, planted};

/// All a gateway needs from outside.
#[derive(Clone)]
pub struct GatewayArgs {
    /// The node it works for.
    pub me: NodeId,
    /// Whose node it is: who pays for requests that carry no key.
    pub owner: MemberId,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// The node's dice.
    pub entropy: Arc<dyn Entropy>,
    /// The node itself.
    pub backend: Arc<dyn Backend>,
    /// TCP addresses to listen on. One that is not of the loopback asks for a key.
    pub listen: Vec<SocketAddr>,
    /// The addresses that the first gateway got, ports chosen by the system among them: its successors listen
    /// there too.
    pub bound: Arc<OnceLock<Vec<SocketAddr>>>,
    /// Whether one of the loopback asks for a key too, as it must where a proxy forwards to it.
    pub require_key: bool,
    /// Names of this machine that a Host header may bear besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Where the owner's unix socket is to be.
    pub socket: Option<PathBuf>,
    /// What strangers may use up.
    pub limits: Limits,
    /// Told when the owner asks for the node to stop.
    pub stop: Arc<Notify>,
}

/// The only way to a running gateway.
#[derive(Clone)]
pub struct GatewayHandle(pub ActorRef<GatewayMessage>);

/// The gateway does not answer: it is gone, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway does not answer")]
pub struct Silent;

impl GatewayHandle {
    /// The TCP addresses it listens on.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, Silent> {
        call_t!(self.0, GatewayMessage::Addresses, CALL_MS_MAX).map_err(|_| Silent)
    }

    /// Takes no new requests from now on.
    pub async fn refuse(&self) -> Result<(), Silent> {
        let drain = GatewayMessage::Drain;
        call_t!(self.0, drain, CALL_MS_MAX)
            .map(drop)
            .map_err(|_| Silent)
    }

    /// Takes no new requests, lets the open ones go on for `grace`, then ends them with an error. Returns
    /// how many had to be ended; at the latest two seconds after `grace`.
    pub async fn drain(&self, grace: Duration) -> Result<usize, Silent> {
        let drain = GatewayMessage::Drain;
        let mut open = call_t!(self.0, drain, CALL_MS_MAX).map_err(|_| Silent)?;
        if timeout(grace, open.wait_for(|open| *open == 0))
            .await
            .is_ok()
        {
            return Ok(0);
        }
        let left = *open.borrow();
        self.0.cast(GatewayMessage::End).map_err(|_| Silent)?;
        let _ = timeout(END_TIME_MAX, open.wait_for(|open| *open == 0)).await;
        Ok(left)
    }
}

/// What a running gateway keeps: the listeners' tasks end with it.
pub struct Running {
    shared: Arc<Shared>,
    socket: Option<PathBuf>,
    _listeners: JoinSet<()>,
}

/// The actor.
pub struct Gateway;

#[ractor::actor(
    message = pub enum GatewayMessage,
    state = Running,
    arguments = GatewayArgs,
)]
impl Gateway {
    async fn pre_start(
        &self,
        myself: ActorRef<GatewayMessage>,
        args: GatewayArgs,
    ) -> Result<Running, ActorProcessingErr> {
        let mut bound = Vec::new();
        let mut listening = Vec::new();
        for &address in args.bound.get().unwrap_or(&args.listen) {
            let listener = listener::bind(address, args.require_key)
                .await
                .map_err(|error| format!("cannot listen on {address}: {error}"))?;
            if let listener::Listener::Tcp { socket, .. } = &listener {
                listening.push(socket.local_addr()?);
            }
            bound.push(listener);
        }
        if let Some(path) = &args.socket {
            let listener = listener::bind_control(path)
                .await
                .map_err(|error| format!("cannot listen on {}: {error}", path.display()))?;
            bound.push(listener);
        }
        let _ = args.bound.set(listening.clone());
        let socket = args.socket.clone();
        let shared = Shared::new(args, myself.get_cell(), listening);
        let mut listeners = JoinSet::new();
        for listener in bound {
            let shared = shared.clone();
            let mourner = Mourner(myself.clone());
            listeners.spawn(async move {
                let _mourner = mourner;
                listener::accept(listener, shared).await;
            });
        }
        Ok(Running {
            shared,
            socket,
            _listeners: listeners,
        })
    }

    /// A socket that nobody listens at any more would only puzzle whoever finds it.
    async fn post_stop(
        &self,
        _myself: ActorRef<GatewayMessage>,
        state: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(socket) = state.socket.take() {
            let _ = std::fs::remove_file(socket);
        }
        Ok(())
    }

    /// Where it listens.
    #[ractor::rpc(Addresses(reply))]
    fn addresses(&self, state: &mut Running) -> Vec<SocketAddr> {
        planted::meet(names::GATEWAY, "Addresses");
        state.shared.listening.clone()
    }

    /// It is to take no new requests; the answer counts those that are open.
    #[ractor::rpc(Drain(reply))]
    fn drain(&self, state: &mut Running) -> watch::Receiver<usize> {
        planted::meet(names::GATEWAY, "Drain");
        state.shared.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Open;
            if first {
                *phase = Phase::Draining;
            }
            first
        });
        state.shared.open_count.subscribe()
    }

    /// Requests that are still open are to end with an error.
    #[ractor::message(End)]
    fn end(&self, state: &mut Running) {
        planted::meet(names::GATEWAY, "End");
        state.shared.phase.send_replace(Phase::Ending);
    }

    /// A listener is gone, which only a fault can do.
    #[ractor::message(Deaf)]
    fn deaf(&self) -> Result<(), ActorProcessingErr> {
        planted::meet(names::GATEWAY, "Deaf");
        Err("a listener ended".into())
    }

    /// A session's end, good or bad, is told to its client by its channel.
    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<GatewayMessage>,
        event: SupervisionEvent,
        _state: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(session, error) = event {
            tracing::error!(session = %session.get_id(), %error, "a session failed");
        }
        Ok(())
    }
}

/// Tells the gateway when a listener's task ends.
struct Mourner(ActorRef<GatewayMessage>);

impl Drop for Mourner {
    fn drop(&mut self) {
        // When the gateway itself is ending there is nobody left to tell.
        let _ = self.0.cast(GatewayMessage::Deaf);
    }
}

const CALL_MS_MAX: u64 = 5_000;
/// How long requests may take to notice that they are ended.
const END_TIME_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
