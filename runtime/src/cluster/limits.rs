//! How much of a node its peers may take, and the QUIC settings that follow from it.

use super::frames::Pace;
use super::identity;
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use std::sync::Arc;
use std::time::Duration;
use troop_actors::ids::NodeKey;

/// Handshakes in progress above which an address must prove itself by a retry.
pub(super) const HALF_OPEN_RETRY: usize = 200;
/// Handshakes in progress, at most; who comes then is refused.
pub(super) const HALF_OPEN_MAX: usize = 1_024;
/// Connections of nodes that are no members, at most.
pub(super) const STRANGERS_MAX: usize = 64;
/// Peers that are known at once, at most.
pub(super) const PEERS_MAX: usize = 4_096;
/// A handshake with its hello must be over by then.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Letters that wait to be sent to one peer, at most, and their bytes.
pub(super) const LETTERS_MAX: usize = 1_024;
pub(super) const LETTERS_BYTES_MAX: usize = 4 << 20;
/// What waits on the stream of one attempt, at most: a client that reads nothing for that long is gone.
pub(super) const SAID_MAX: usize = 8_192;
pub(super) const SAID_BYTES_MAX: usize = 8 << 20;
/// Attempts whose streams are open at once, here and towards one peer.
pub(super) const ATTEMPTS_MAX: usize = 4_096;
pub(super) const STREAMS_MAX: u32 = 256;
/// Questions that one peer may have answered at once.
pub(super) const QUESTIONS_MAX: usize = 64;
/// How long an answer may take, whatever the question allows.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// The first frame of a stream must be there by then.
pub(super) const FIRST_FRAME: Duration = Duration::from_secs(30);
/// How long a stranger may stay: as long as it takes to be let in.
pub(super) const STRANGER: Duration = Duration::from_secs(30);
/// What a stranger may ask at once.
pub(super) const STRANGER_STREAMS: usize = 2;
/// Connections to one peer that were replaced and have not ended yet, at most.
pub(super) const RETIRING_MAX: usize = 2;
/// KiB of frames that are not small, all peers together, and those of one: whoever comes later waits.
pub(super) const LARGE_KIB_MAX: usize = 64 << 10;
pub(super) const LARGE_KIB_SHARE: usize = 24 << 10;
/// Such a frame must be there by then, once it has its room.
pub(super) const LARGE_FRAME: Duration = Duration::from_secs(30);
/// Bytes of a frame that is small, and is not counted.
pub(super) const SMALL: usize = 64 << 10;
/// What is taken of one stream without a pause, and the least time it may take: an actor's mailbox has no bound,
/// so what fills it does. A letter may mean much work.
pub(super) const PACE: Duration = Duration::from_millis(20);
pub(super) const PACE_STREAM: Pace = Pace {
    frames: 1_000,
    bytes: usize::MAX,
};
pub(super) const PACE_LETTERS: Pace = Pace {
    frames: 64,
    bytes: 128 << 10,
};
/// How long a connection that was replaced stays for what runs on it.
pub(super) const RETIRE: Duration = Duration::from_secs(5);
/// How long a worker may take to sign for an attempt that was cancelled.
pub(super) const CANCELLED: Duration = Duration::from_secs(60);
/// Letters go before tokens, and both before anything in bulk.
pub(super) const PRIORITY_LETTERS: i32 = 20;
pub(super) const PRIORITY_CALLS: i32 = 10;

/// A peer that has not been heard of for so long is gone.
const IDLE_MS: u32 = 5_000;
/// A connection on which nothing else happens says so that often.
const KEEP_ALIVE: Duration = Duration::from_millis(1_500);
/// What may be under way to this node on one stream and on one connection.
const STREAM_WINDOW: u32 = 1 << 20;
const WINDOW: u32 = 2 << 20;
/// And from it.
const SEND_WINDOW: u64 = 2 << 20;
/// Datagrams under way.
const DATAGRAMS: usize = 128 << 10;
/// Connections that wait to be looked at, and what they may have sent.
const INCOMING_MAX: usize = 1_024;
const INCOMING_BYTES: u64 = 1 << 20;
const INCOMING_BYTES_ALL: u64 = 32 << 20;

/// How every connection behaves, whoever dialled.
pub fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        // The channel of letters, and that of the connection it replaces.
        .max_concurrent_uni_streams(VarInt::from_u32(2))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(transport)
}

/// How a node is dialled.
pub fn server(key: &NodeKey) -> Result<ServerConfig, quinn::rustls::Error> {
    let mut server = ServerConfig::with_crypto(Arc::new(identity::server(key)?));
    server
        .transport_config(transport())
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_ALL);
    Ok(server)
}

/// The socket's own settings.
pub(super) fn endpoint(key: &NodeKey) -> EndpointConfig {
    EndpointConfig::new(identity::reset_key(key))
}
