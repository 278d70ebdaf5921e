//! The book of peers: where they are, how to reach them now, and what waits for them meanwhile.

use super::limits::{LETTERS_BYTES_MAX, LETTERS_MAX, PEERS_MAX, RETIRING_MAX, STRANGERS_MAX};
use super::link::{Letters, Link};
use super::{Inner, PeerStatus, Standing, code, lock};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use troop_actors::ids::NodeId;
use troop_actors::peers::{Choice, Tries, choose};
use troop_actors::ports::Unreachable;
use troop_actors::questions::RemoteError;

/// All peers that are known.
#[derive(Default)]
pub(super) struct Book(BTreeMap<NodeId, Peer>);

/// One of them.
#[derive(Default)]
struct Peer {
    /// Where it may be, the likeliest first.
    addresses: Vec<SocketAddr>,
    tries: Tries,
    link: Option<Arc<Link>>,
    /// Links that were replaced and have not ended yet.
    retiring: Vec<Arc<Link>>,
    dialling: bool,
    /// Letters that wait for the dial to succeed.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    /// Why the last dial failed.
    failure: Option<RemoteError>,
    /// Rung when anything of this has changed.
    changed: watch::Sender<()>,
}

impl Peer {
    fn link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref().filter(|link| link.is_alive())
    }

    /// The link is not used for anything new. A peer that leaves many behind has them ended at once.
    fn retire(&mut self, link: Arc<Link>) {
        self.retiring.push(link);
        if self.retiring.len() > RETIRING_MAX {
            let oldest = self.retiring.remove(0);
            oldest.connection.close(code::REPLACED, b"replaced");
        }
    }

    fn know(&mut self, addresses: Vec<SocketAddr>) {
        let known = std::mem::take(&mut self.addresses);
        for address in addresses.into_iter().chain(known) {
            if self.addresses.len() < ADDRESSES_MAX && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }
}

impl Book {
    /// The peer's entry, made if there is room: what is known of others who are not up gives way.
    fn peer(&mut self, node: NodeId) -> Option<&mut Peer> {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&node) {
            let idle = |(_, peer): &(&NodeId, &Peer)| {
                peer.link().is_none() && peer.retiring.is_empty() && !peer.dialling
            };
            let idle = self.0.iter().find(idle).map(|(node, _)| *node)?;
            self.0.remove(&idle);
        }
        Some(self.0.entry(node).or_default())
    }
}

impl Inner {
    pub(super) fn know(&self, node: NodeId, addresses: Vec<SocketAddr>) {
        if node == self.me {
            return;
        }
        if let Some(peer) = lock(&self.book).peer(node) {
            peer.know(addresses);
            peer.tries.forget();
        }
    }

    /// Where `node` may be.
    pub(super) fn addresses(&self, node: NodeId) -> Vec<SocketAddr> {
        let book = lock(&self.book);
        book.0
            .get(&node)
            .map_or_else(Vec::new, |peer| peer.addresses.clone())
    }

    /// Queues a letter for `to`, and dials it if need be.
    pub(super) fn post(self: &Arc<Self>, to: NodeId, frame: Bytes) -> Result<(), Unreachable> {
        let unreachable = Unreachable { node: to };
        let mut book = lock(&self.book);
        let peer = book.peer(to).ok_or(unreachable)?;
        if let Some(link) = peer.link() {
            return link.post(frame).then_some(()).ok_or(unreachable);
        }
        if !self.wants(to, peer) {
            return Err(unreachable);
        }
        let bytes = peer.waiting_bytes + frame.len();
        if peer.waiting.len() >= LETTERS_MAX || bytes > LETTERS_BYTES_MAX {
            return Err(unreachable);
        }
        peer.waiting_bytes = bytes;
        peer.waiting.push(frame);
        Ok(())
    }

    /// Sees to it that `peer` is being dialled; false if it is too early to try again.
    fn wants(self: &Arc<Self>, to: NodeId, peer: &mut Peer) -> bool {
        if peer.dialling {
            return true;
        }
        if to == self.me || self.hooks.get().is_none() || !peer.tries.may(self.clock.now()) {
            return false;
        }
        peer.dialling = true;
        self.runtime.spawn(self.clone().dial(to));
        true
    }

    /// The link to `to`, as soon as there is one or certainly none.
    pub(super) async fn reach(self: &Arc<Self>, to: NodeId) -> Result<Arc<Link>, RemoteError> {
        let unreachable = |reason: &str| RemoteError::Unreachable {
            node: to,
            reason: reason.to_owned(),
        };
        loop {
            let mut changed = {
                let mut book = lock(&self.book);
                let peer = book.peer(to).ok_or(unreachable("too many peers"))?;
                if let Some(link) = peer.link() {
                    return Ok(link.clone());
                }
                if !self.wants(to, peer) {
                    let failure = peer.failure.clone();
                    return Err(failure.unwrap_or(unreachable("it was not dialled")));
                }
                peer.changed.subscribe()
            };
            // The sender lives as long as the entry, which a dial keeps.
            let _ = changed.changed().await;
            let book = lock(&self.book);
            let peer = book.0.get(&to).ok_or(unreachable("it was forgotten"))?;
            if let Some(link) = peer.link() {
                return Ok(link.clone());
            }
            if let (false, Some(failure)) = (peer.dialling, &peer.failure) {
                return Err(failure.clone());
            }
        }
    }

    /// A dial has ended without a link.
    pub(super) fn missed(&self, to: NodeId, failure: RemoteError) {
        tracing::info!(peer = %to, %failure, "a peer was not reached");
        let mut dice = [0; 8];
        self.entropy.fill(&mut dice);
        let mut book = lock(&self.book);
        let Some(peer) = book.0.get_mut(&to) else {
            return;
        };
        peer.dialling = false;
        peer.waiting = Vec::new();
        peer.waiting_bytes = 0;
        peer.failure = Some(failure);
        peer.tries
            .failed(self.clock.now(), u64::from_le_bytes(dice));
        peer.changed.send_replace(());
    }

    /// A link is up, beside another one to the same peer perhaps.
    pub(super) fn install(self: &Arc<Self>, link: Arc<Link>, letters: Letters) {
        if let Err(reason) = self.place(&link) {
            link.connection.close(code::FULL, reason.as_bytes());
            if link.line.dialled {
                let (node, reason) = (link.peer, reason.to_owned());
                self.missed(node, RemoteError::Unreachable { node, reason });
            }
            return;
        }
        tracing::info!(
            peer = %link.peer, address = %link.connection.remote_address(),
            dialled = link.line.dialled, "a peer is up"
        );
        let (peer, standing) = (link.peer, link.standing);
        self.runtime.spawn(self.clone().drive(link, letters));
        // It may have been put out while it was let in.
        self.stays(peer, standing);
    }

    /// Enters a link in the book, or says why it has no place there.
    fn place(self: &Arc<Self>, link: &Arc<Link>) -> Result<(), &'static str> {
        let mut book = lock(&self.book);
        let strangers = book.0.values().filter_map(Peer::link);
        let strangers = strangers.filter(|link| link.standing == Standing::Stranger);
        if link.standing == Standing::Stranger && strangers.count() >= STRANGERS_MAX {
            return Err("too many strangers");
        }
        let peer = book.peer(link.peer).ok_or("too many peers")?;
        let choice = peer.link().map(|old| {
            let choice = choose(self.me, link.peer, old.line, link.line);
            (choice, old.clone())
        });
        let keeps_old = matches!(choice, Some((Choice::Keep, _)));
        match choice {
            None => {}
            Some((Choice::Replace, old)) => old.connection.close(code::REPLACED, b"restarted"),
            Some((Choice::Prefer, old)) => {
                peer.retire(old.clone());
                self.runtime.spawn(old.retire());
            }
            Some((Choice::Keep, _)) => {
                peer.retire(link.clone());
                self.runtime.spawn(link.clone().retire());
            }
        }
        peer.know(link.addresses.clone());
        peer.tries.forget();
        peer.failure = None;
        if link.line.dialled {
            peer.dialling = false;
        }
        let used = match (&peer.link, keeps_old) {
            (Some(old), true) => old.clone(),
            _ => link.clone(),
        };
        for frame in std::mem::take(&mut peer.waiting) {
            if !used.post(frame) {
                tracing::debug!(peer = %link.peer, "a letter that waited found no room");
            }
        }
        peer.waiting_bytes = 0;
        peer.link = Some(used);
        peer.changed.send_replace(());
        Ok(())
    }

    /// A link has ended.
    pub(super) fn gone(&self, link: &Arc<Link>) {
        let mut book = lock(&self.book);
        let Some(peer) = book.0.get_mut(&link.peer) else {
            return;
        };
        peer.retiring.retain(|old| !Arc::ptr_eq(old, link));
        if peer.link.as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
            peer.link = None;
            peer.changed.send_replace(());
        }
    }

    /// Ends every connection to `node`.
    pub(super) fn part(&self, node: NodeId, reason: &str) {
        let book = lock(&self.book);
        let links = book.0.get(&node).into_iter();
        for link in links.flat_map(|peer| peer.link.iter().chain(&peer.retiring)) {
            link.connection.close(code::REFUSED, reason.as_bytes());
        }
    }

    pub(super) fn send_datagram(
        self: &Arc<Self>,
        to: NodeId,
        bytes: Bytes,
    ) -> Result<(), Unreachable> {
        let unreachable = Unreachable { node: to };
        let mut book = lock(&self.book);
        let peer = book.peer(to).ok_or(unreachable)?;
        if let Some(link) = peer.link() {
            return link
                .connection
                .send_datagram(bytes)
                .map_err(|_| unreachable);
        }
        self.wants(to, peer);
        Err(unreachable)
    }

    /// The peers that are up, and how many milliseconds the way there and back takes.
    pub(super) fn ways(&self) -> Vec<(NodeId, u32)> {
        let book = lock(&self.book);
        let links = book.0.values().filter_map(Peer::link);
        let way = |link: &Arc<Link>| {
            let ms = link.connection.rtt().as_millis();
            (link.peer, u32::try_from(ms).unwrap_or(u32::MAX))
        };
        links.map(way).collect()
    }

    pub(super) fn peers(&self) -> Vec<PeerStatus> {
        let book = lock(&self.book);
        let links = book.0.values().filter_map(Peer::link);
        let status = links.map(|link| {
            let stats = link.connection.stats();
            PeerStatus {
                node: link.peer,
                standing: link.standing,
                address: link.connection.remote_address(),
                dialled: link.line.dialled,
                rtt: link.connection.rtt(),
                since: link.since,
                sent_bytes: stats.udp_tx.bytes,
                received_bytes: stats.udp_rx.bytes,
                signs: {
                    let frames = stats.frame_rx;
                    frames.acks + frames.ping + frames.stream + frames.datagram
                },
                addresses: link.addresses.clone(),
            }
        });
        status.collect()
    }
}

/// Addresses of one peer that are kept.
const ADDRESSES_MAX: usize = 32;
