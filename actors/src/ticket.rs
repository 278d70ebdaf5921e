//! A ticket: a signed right to one attempt. Signed by a coordinator, checked offline by the worker it
//! names, useless to anybody but the client it names.
//!
//! It is a JWT in one narrow profile (`troop-ticket+jwt`, EdDSA over Ed25519, three fixed header members),
//! signed and verified by hand: nothing here can be talked into another algorithm, another key or a fetch.

use crate::ids::{AttemptId, Digest, HoldId, MemberId, NodeId, Passport, RequestId};
use crate::price::Micros;

/// What a ticket says. Times are whole seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: the coordinator that signed it.
    pub issuer: NodeId,
    /// `sub`: the member who pays.
    pub payer: MemberId,
    /// `aud`: the one worker that may accept it.
    pub worker: NodeId,
    /// `cnf.kid`: the one node that may present it.
    pub client: NodeId,
    /// `iat` and `nbf`.
    pub issued_at: u64,
    /// `exp`: it must be presented before this; running streams are not cut by it.
    pub expires_at: u64,
    /// `jti`: the attempt, accepted once.
    pub attempt: AttemptId,
    /// `hold`.
    pub hold: HoldId,
    /// `req`.
    pub request: RequestId,
    /// `att`: the number of the attempt, from 0.
    pub number: u32,
    /// `mdl`.
    pub model: Passport,
    /// `mxi`: bytes of prompt, at most.
    pub prompt_bytes_max: u64,
    /// `mxo`: tokens of all choices together, at most.
    pub completion_tokens_max: u64,
    /// `prc`: the price table, by hash.
    pub prices: Digest,
    /// `cap`: what is held, in µc; the attempt may not cost more.
    pub cost_max: Micros,
    /// `dl`: seconds the stream may last once started.
    pub stream_seconds_max: u64,
}

/// Seconds from issue to expiry: a ticket is for starting soon.
pub const LIFETIME_SECONDS: u64 = 120;
/// Seconds by which two clocks may differ.
pub const LEEWAY_SECONDS: u64 = 5;
/// Bytes of a ticket, at most, looked at before anything else.
pub const TICKET_BYTES_MAX: usize = 4096;
