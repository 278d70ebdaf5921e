//! New connections: those this node dials, and those that others dial here.

use super::hello::Met;
use super::limits::{HALF_OPEN_MAX, HALF_OPEN_RETRY, HANDSHAKE, transport};
use super::link::Link;
use super::{Inner, code, identity, reason_of};
use quinn::{ClientConfig, Connection, Incoming};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use troop_actors::ids::NodeId;
use troop_actors::questions::RemoteError;

impl Inner {
    /// Dials `to` at all its addresses until one answers.
    pub(super) async fn dial(self: Arc<Self>, to: NodeId) {
        let known = self.addresses(to);
        let mut outcome = self.dial_any(to, known.clone()).await;
        if matches!(outcome, Err(RemoteError::Unreachable { .. }))
            && let Some(hooks) = self.hooks.get()
        {
            let found = timeout(HANDSHAKE, hooks.resolver.resolve(to)).await;
            let mut found = found.unwrap_or_default();
            found.retain(|address| !known.contains(address));
            if !found.is_empty() {
                self.know(to, found.clone());
                outcome = self.dial_any(to, found).await;
            }
        }
        match outcome {
            Ok((met, connection)) => self.met(met, connection, true),
            Err(failure) => self.missed(to, failure),
        }
    }

    /// Tries addresses, each a little after the one before it; the first that answers wins.
    async fn dial_any(
        self: &Arc<Self>,
        to: NodeId,
        addresses: Vec<SocketAddr>,
    ) -> Result<(Met, Connection), RemoteError> {
        let mut last = RemoteError::Unreachable {
            node: to,
            reason: "no address is known".to_owned(),
        };
        let mut dials = JoinSet::new();
        for (index, address) in addresses.into_iter().enumerate() {
            let inner = self.clone();
            dials.spawn(async move {
                sleep(STAGGER * index as u32).await;
                let failed = || RemoteError::Unreachable {
                    node: to,
                    reason: format!("{address} did not answer"),
                };
                let dial = inner.dial_one(to, address);
                timeout(HANDSHAKE, dial).await.map_err(|_| failed())?
            });
        }
        while let Some(outcome) = dials.join_next().await {
            match outcome {
                Ok(Ok(met)) => return Ok(met),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }

    async fn dial_one(
        self: &Arc<Self>,
        to: NodeId,
        address: SocketAddr,
    ) -> Result<(Met, Connection), RemoteError> {
        let failed = |reason: String| RemoteError::Unreachable {
            node: to,
            reason: format!("{address}: {reason}"),
        };
        let tls = identity::client(&self.key, to).map_err(|error| failed(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(transport());
        let connecting = self.endpoint.connect_with(config, address, "troop");
        let connecting = connecting.map_err(|error| failed(error.to_string()))?;
        let connection = connecting
            .await
            .map_err(|error| failed(reason_of(&error).1))?;
        let greeted = self.greet(to, &connection).await;
        match greeted {
            Ok(met) => Ok((met, connection)),
            Err(error) => {
                connection.close(code::REFUSED, b"not let in");
                Err(error)
            }
        }
    }

    /// Lets others dial, for as long as the port is there.
    pub(super) async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let half_open = self.half_open.load(Ordering::Relaxed);
            if half_open >= HALF_OPEN_MAX {
                incoming.refuse();
            } else if half_open >= HALF_OPEN_RETRY
                && !incoming.remote_address_validated()
                && incoming.may_retry()
            {
                // It may retry, so this cannot fail.
                let _ = incoming.retry();
            } else {
                self.half_open.fetch_add(1, Ordering::Relaxed);
                let inner = self.clone();
                self.runtime.spawn(async move {
                    let address = incoming.remote_address();
                    match timeout(HANDSHAKE, inner.handshake(incoming)).await {
                        Ok(Ok((met, connection))) => inner.met(met, connection, false),
                        Ok(Err(reason)) => tracing::info!(%address, reason, "nobody came in"),
                        Err(_) => tracing::info!(%address, "a handshake took too long"),
                    }
                    inner.half_open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }

    async fn handshake(self: &Arc<Self>, incoming: Incoming) -> Result<(Met, Connection), String> {
        let connecting = incoming.accept().map_err(|error| error.to_string())?;
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let met = self.welcome(&connection).await?;
        Ok((met, connection))
    }

    fn met(self: &Arc<Self>, met: Met, connection: Connection, dialled: bool) {
        let (link, letters) = Link::new(
            met,
            connection,
            dialled,
            self.clock.now(),
            self.room.share(),
        );
        self.install(link, letters);
    }
}

/// How long the next address waits for the one before it.
const STAGGER: Duration = Duration::from_millis(250);
