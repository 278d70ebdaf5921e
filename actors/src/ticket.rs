//! A ticket: a signed right to one attempt. Signed by a coordinator, checked offline by the worker it
//! names, useless to anybody but the client it names.
//!
//! It is a JWT in one narrow profile (`troop-ticket+jwt`, EdDSA over Ed25519, three fixed header members),
//! signed and verified by hand: nothing here can be talked into another algorithm, another key or a fetch.
//!
//! ```text
//! base64url({"alg":"EdDSA","typ":"troop-ticket+jwt","kid":…}) . base64url({claims}) . base64url(signature)
//! ```
//!
//! A ticket has one spelling: members in the order of [`Claims`], no whitespace, no escapes, integers as
//! integers. What is spelled otherwise is refused by the name of its fault, even if the issuer signed it.
//! This file reads no clock and remembers nothing: that a ticket is used once is the `Doorkeeper`'s business.

mod claims;
mod json;
mod keys;
mod revocations;

pub use keys::{KeySet, Rotation};
pub use revocations::{REVOKED_MAX, Revocations, Revoked};

use crate::ids::{
    AttemptId, Class, Digest, HoldId, MemberId, NodeId, NodeKey, Passport, RequestId, TicketKey,
};
use crate::price::Micros;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// What a ticket says. Times are whole seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `ims`: the milliseconds of that second, 0 to 999, so that a door knows which of the two came first,
    /// its opening or the ticket.
    pub issued_ms: u64,
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
    /// `cls`: the class of generation that the worker was chosen for.
    pub class: Class,
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
    /// `ep`: the epoch of its issuer; every ticket of an earlier one ends when the issuer says so.
    pub epoch: u64,
}

/// Who must have issued a ticket, who may accept it, who may present it, and when.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The coordinator whose tickets are believed.
    pub issuer: NodeId,
    /// The keys it signs them with.
    pub keys: &'a KeySet,
    /// The earliest of its epochs whose tickets are good.
    pub epoch: u64,
    /// The worker that looks at it.
    pub worker: NodeId,
    /// The peer that presents it, by the connection it came on.
    pub client: NodeId,
    /// Now, in seconds since the Unix epoch.
    pub now_seconds: u64,
}

/// Why a ticket is refused. Nothing has changed; all but the times are the presenter's or issuer's fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TicketError {
    /// It is longer than any ticket.
    #[error("the ticket has {bytes} bytes, at most {TICKET_BYTES_MAX} are read")]
    TooLong {
        /// Its bytes.
        bytes: u64,
    },
    /// It is not three parts joined by dots.
    #[error("the ticket has {parts} parts, not 3")]
    Parts {
        /// How many it has.
        parts: u32,
    },
    /// A part is not base64url without padding, in its one spelling.
    #[error("the ticket's {part} is not base64url")]
    Encoding {
        /// Which part.
        part: String,
    },
    /// A part is not the narrow JSON of a ticket.
    #[error("the ticket's {part} is malformed at byte {at}: {fault}")]
    Json {
        /// Which part.
        part: String,
        /// Where.
        at: u32,
        /// What is wrong there.
        fault: JsonFault,
    },
    /// A header or claim is there that the profile does not have, or is not in its place.
    #[error("the ticket has no place for {member} there")]
    Unexpected {
        /// Its name, cut to a length that can be shown.
        member: String,
    },
    /// A header or claim of the profile is not there.
    #[error("the ticket lacks {member}")]
    Missing {
        /// Its name.
        member: String,
    },
    /// A header or claim is not of its type.
    #[error("the ticket's {member} is not {wanted}")]
    Type {
        /// Its name.
        member: String,
        /// What it should be.
        wanted: String,
    },
    /// Any algorithm but EdDSA, `none` in every spelling included.
    #[error("the ticket's algorithm is not EdDSA")]
    Algorithm,
    /// Some other signed statement, presented as a ticket.
    #[error("this is not a troop ticket")]
    Kind,
    /// Signed by a key that is not one of the issuer's, by its own account.
    #[error("the ticket names an unknown key")]
    UnknownKey,
    /// The key that it names did not sign this.
    #[error("the ticket's signature does not verify")]
    Signature,
    /// Issued by another coordinator than the one whose key signed it.
    #[error("the ticket is from another issuer")]
    Issuer,
    /// For another worker.
    #[error("the ticket is for another worker")]
    Audience,
    /// For another client than the peer of this connection.
    #[error("the ticket is for another client")]
    Client,
    /// For another use than generating text.
    #[error("the ticket is not for this use")]
    Scope,
    /// Its times contradict each other, or it lives longer than any ticket.
    #[error("the ticket's times are impossible")]
    Lifetime,
    /// Not valid yet.
    #[error("the ticket is valid only in {seconds} s")]
    Early {
        /// In how many seconds it is.
        seconds: u64,
    },
    /// No longer valid.
    #[error("the ticket expired {seconds} s ago")]
    Expired {
        /// How many seconds ago.
        seconds: u64,
    },
    /// Signed by a key that was the issuer's, and no longer is.
    #[error("the ticket was signed with a key that is no longer used; ask for another")]
    RetiredKey,
    /// Every ticket of its time was taken back.
    #[error("the ticket is of epoch {epoch}, and all before epoch {wanted} were taken back")]
    Epoch {
        /// Its own.
        epoch: u64,
        /// The earliest that is good.
        wanted: u64,
    },
}

/// What is wrong with a piece of JSON; a ticket's JSON is narrower than JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JsonFault {
    /// Something else was expected, whitespace and a byte order mark included.
    #[error("unexpected byte")]
    Unexpected,
    /// It ends in the middle.
    #[error("unexpected end")]
    End,
    /// A name was there before.
    #[error("duplicate name")]
    Duplicate,
    /// A string with an escape, a control character or a byte that is not ASCII.
    #[error("a string of other than plain ASCII characters")]
    String,
    /// A number that is no unsigned 64-bit integer in its shortest spelling.
    #[error("a number that is no unsigned 64-bit integer")]
    Number,
    /// Bytes after the end.
    #[error("trailing bytes")]
    Trailing,
    /// More members than any ticket has.
    #[error("too many members")]
    TooMany,
}

/// The ticket that says `claims`, signed with the issuer's ticket key `signer`.
pub fn sign(claims: &Claims, signer: &NodeKey) -> String {
    let mut ticket = URL_SAFE_NO_PAD.encode(claims::header(keys::public(signer)));
    ticket.push('.');
    URL_SAFE_NO_PAD.encode_string(claims::write(claims), &mut ticket);
    let signature = signer.sign_bytes(ticket.as_bytes());
    ticket.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut ticket);
    assert!(
        ticket.len() <= TICKET_BYTES_MAX,
        "every claim has a bounded spelling"
    );
    ticket
}

/// What `ticket` says, if it is good for `expected`. Looks at its length before anything else, at its
/// header before its signature, and at its claims only if the issuer signed them.
pub fn verify(ticket: &str, expected: &Expected) -> Result<Claims, TicketError> {
    if ticket.len() > TICKET_BYTES_MAX {
        let bytes = ticket.len() as u64;
        return Err(TicketError::TooLong { bytes });
    }
    let parts: Vec<&str> = ticket.split('.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        let parts = parts.len() as u32;
        return Err(TicketError::Parts { parts });
    };
    let said = decode("header", header)?;
    let key = (expected.keys).named(claims::key_of(&said)?, expected.now_seconds)?;
    let signature = decode("signature", signature)?;
    let signed = &ticket[..header.len() + 1 + payload.len()];
    if !crate::ids::verifies_bytes(NodeId(key.0), signed.as_bytes(), &signature) {
        return Err(TicketError::Signature);
    }
    let claims = claims::read(&decode("claims", payload)?)?;
    if claims.issuer != expected.issuer {
        return Err(TicketError::Issuer);
    }
    if claims.worker != expected.worker {
        return Err(TicketError::Audience);
    }
    if claims.client != expected.client {
        return Err(TicketError::Client);
    }
    let (epoch, wanted) = (claims.epoch, expected.epoch);
    if epoch < wanted {
        return Err(TicketError::Epoch { epoch, wanted });
    }
    check_times(&claims, expected.now_seconds)?;
    Ok(claims)
}

fn decode(part: &str, text: &str) -> Result<Vec<u8>, TicketError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TicketError::Encoding { part: part.into() })
}

fn check_times(claims: &Claims, now: u64) -> Result<(), TicketError> {
    match claims.expires_at.checked_sub(claims.issued_at) {
        Some(1..=LIFETIME_SECONDS) if claims.issued_ms < 1000 => {}
        _ => return Err(TicketError::Lifetime),
    }
    let earliest = claims.issued_at.saturating_sub(LEEWAY_SECONDS);
    if now < earliest {
        let seconds = earliest - now;
        return Err(TicketError::Early { seconds });
    }
    let latest = claims.expires_at.saturating_add(LEEWAY_SECONDS);
    if now >= latest {
        let seconds = now - claims.expires_at;
        return Err(TicketError::Expired { seconds });
    }
    Ok(())
}

/// Names a key in a header: base64url of its SHA-256.
pub fn key_name(key: TicketKey) -> String {
    URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(key.0))
}

/// Seconds from issue to expiry: a ticket is for starting soon.
pub const LIFETIME_SECONDS: u64 = 120;
/// Seconds by which two clocks may differ.
pub const LEEWAY_SECONDS: u64 = 5;
/// Bytes of a ticket, at most, looked at before anything else.
pub const TICKET_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
