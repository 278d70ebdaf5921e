//! What a stranger may use up: every number that bounds a connection or a request, in one place.

use std::time::Duration;

/// The bounds of one gateway. [`Limits::default`] is what a node runs with; tests make some of them small.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections of one listener.
    pub connections_max: usize,
    /// Open connections from one address that is not this machine.
    pub connections_per_address_max: usize,
    /// Requests for generation that are open at once.
    pub requests_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// How long a request's head may take.
    pub head_time_max: Duration,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of the bodies of all requests that are being read or are open.
    pub bodies_bytes_max: usize,
    /// How long a body may take before its rate is looked at.
    pub body_grace: Duration,
    /// Bytes per second that a body must keep up on the whole.
    pub body_rate_min: u64,
    /// How long a body may take whatever its rate.
    pub body_time_max: Duration,
    /// How deep a body's JSON may nest.
    pub depth_max: usize,
    /// Values in a body's JSON: bounds the tree that is built from it.
    pub values_max: usize,
    /// Messages of a conversation.
    pub messages_max: usize,
    /// Bytes of a whole answer that is not streamed.
    pub answer_bytes_max: usize,
    /// How often a silent stream says that it is alive.
    pub keep_alive: Duration,
    /// How long the head of a stream is held back from a client whose request waits: a refusal that comes by then has
    /// its own status.
    pub queued_max: Duration,
    /// How long a request may be silent before it is given up.
    pub silence_max: Duration,
    /// How long one call to another actor may take.
    pub call_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 1024,
            connections_per_address_max: 256,
            requests_max: 768,
            head_bytes_max: 16 * 1024,
            head_time_max: Duration::from_secs(10),
            body_bytes_max: 8 * 1024 * 1024,
            bodies_bytes_max: 128 * 1024 * 1024,
            body_grace: Duration::from_secs(10),
            body_rate_min: 1024,
            body_time_max: Duration::from_secs(120),
            depth_max: 64,
            values_max: 65_536,
            messages_max: 2048,
            answer_bytes_max: 32 * 1024 * 1024,
            // Proxies cut a connection that is idle for a minute, some clients after half of that.
            keep_alive: Duration::from_secs(10),
            queued_max: Duration::from_secs(2),
            silence_max: Duration::from_secs(600),
            call_max: Duration::from_secs(10),
        }
    }
}
