//! Who may ask, and from where.
//!
//! A port on the loopback is reachable by every page in the owner's browser. What keeps them out: the Host
//! must be an address or this machine's name (one that an attacker resolves to 127.0.0.1 is not), an Origin must be the same
//! host, and no answer carries a CORS header.

use crate::gateway::connection::Peer;
use crate::gateway::shared::Shared;
use crate::problem::Problem;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Request, StatusCode, Version};
use std::net::IpAddr;
use troop_actors::ids::{MemberId, RequestId};

/// The id that the answer will carry: the client's own, if it is harmless, else ours.
pub(super) fn request_id(headers: &HeaderMap, ours: RequestId) -> HeaderValue {
    let shown = match chosen_id(headers) {
        Some(theirs) => theirs.to_owned(),
        None => format!("req-{ours}"),
    };
    HeaderValue::from_str(&shown).unwrap_or(HeaderValue::from_static("req"))
}

/// The id that the caller gave its request, if it is a harmless one.
pub(super) fn chosen_id(headers: &HeaderMap) -> Option<&str> {
    let theirs = headers.get(super::X_REQUEST_ID)?.to_str().ok()?;
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(byte);
    let short = (1..=128).contains(&theirs.len());
    (short && theirs.as_bytes().iter().all(harmless)).then_some(theirs)
}

/// The trace that an answer belongs to: the caller's if it names one, else one named after the request. `span`
/// is this node's part of it.
pub(super) fn trace(headers: &HeaderMap, id: RequestId, span: [u8; 8]) -> HeaderValue {
    let given = headers.get(super::TRACEPARENT);
    let given = given.and_then(|value| known_trace(value.to_str().ok()?));
    let own = id.to_string();
    let (trace, flags) = given.unwrap_or((&own, "00"));
    let span = u64::from_be_bytes(span).max(1);
    // Hex digits and hyphens are a valid header.
    HeaderValue::from_str(&format!("00-{trace}-{span:016x}-{flags}"))
        .unwrap_or(HeaderValue::from_static(""))
}

/// The trace and the flags of a `traceparent` of version 00; nothing if it is not one.
fn known_trace(text: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        return None;
    };
    let hex = |text: &str, length: usize| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == length && text.bytes().all(digit)
    };
    let named = |text: &str| text.bytes().any(|byte| byte != b'0');
    let good = version == "00" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (good && named(trace) && named(span)).then_some((trace, flags))
}

/// The Host must be one of this machine's names for itself.
pub(super) fn host(
    request: &Request<Incoming>,
    peer: &Peer,
    shared: &Shared,
) -> Result<(), Problem> {
    if peer.control {
        return Ok(());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        // HTTP/1.0 knows no Host, and no browser speaks it.
        (None, _) if request.version() == Version::HTTP_10 => return Ok(()),
        _ => return Err(Problem::body("there must be exactly one Host header").closing()),
    };
    let name = host_name(host);
    // A browser sends the address that it connects to; only a name can be made to mean another one.
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let own = |own: &str| own.eq_ignore_ascii_case(name);
    let allowed = address || own("localhost") || shared.hosts.iter().any(|name| own(name));
    // The URI's own authority, where there is one, must not say something else.
    let agrees = request
        .uri()
        .authority()
        .is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(host));
    if allowed && agrees {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "host_not_allowed",
        "this Host is not one of this node's names; troop node --host NAME adds one",
    ))
}

/// The name in a Host header, without the port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// An Origin, if there is one, must be this very host.
pub(super) fn origin(request: &Request<Incoming>, peer: &Peer) -> Result<(), Problem> {
    let Some(origin) = request.headers().get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let origin = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    if !peer.control && origin.is_some() && origin == host {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "origin_not_allowed",
        "a page from elsewhere may not use this node",
    ))
}

/// Who pays for this request: the owner, or the member whose key it carries.
pub(super) async fn payer(
    request: &Request<Incoming>,
    peer: &Peer,
    shared: &Shared,
) -> Result<MemberId, Problem> {
    let headers = request.headers();
    // What a proxy on this machine forwards does not come from this machine. A proxy need not say so: for one
    // that does not there is --require-key.
    let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    let trusted = peer.control || (peer.keyless && !forwarded);
    let Some(key) = presented(headers)? else {
        if trusted {
            return Ok(shared.owner);
        }
        return Err(unauthorized(
            "an API key is required: Authorization: Bearer troop-...",
        ));
    };
    if trusted && PLACEHOLDERS.contains(&key) {
        return Ok(shared.owner);
    }
    let well_formed = key.starts_with("troop-") && key.len() <= KEY_BYTES_MAX;
    if well_formed && let Some(member) = shared.ask("keyring", shared.backend.who(key)).await? {
        return Ok(member);
    }
    Err(unauthorized("the API key is not known here"))
}

/// The key that a request carries: OpenAI's way, or Anthropic's.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let malformed = || unauthorized("the Authorization header must be: Bearer and a key");
    if let Some(value) = headers.get(AUTHORIZATION) {
        let value = value.to_str().map_err(|_| malformed())?.trim();
        let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(malformed());
        }
        // Clients without a key are known to send a bare "Bearer".
        return Ok(Some(key.trim()).filter(|key| !key.is_empty()));
    }
    match headers.get("x-api-key") {
        Some(value) => value.to_str().map(Some).map_err(|_| malformed()),
        None => Ok(None),
    }
}

fn unauthorized(message: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
}

/// A path's segment as it was meant.
pub(crate) fn percent_decoded(text: &str) -> Result<String, Problem> {
    let malformed = || Problem::body("the path is not well encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || (rest.next()? as char).to_digit(16);
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err(malformed()),
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// What proxies add to what they forward.
const FORWARDED: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];
/// What clients that insist on a key are told to send where none is needed.
const PLACEHOLDERS: [&str; 3] = ["troop", "none", "sk-no-key-required"];
/// Longer than any key that was ever made.
const KEY_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_callers_trace_or_to_one_of_its_own() {
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let none = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let id = RequestId([7; 16]);
        let answered = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(super::super::TRACEPARENT, given.parse().expect("a header"));
            let value = trace(&headers, id, [0, 0, 0, 0, 0, 0, 0, 9]);
            value.to_str().expect("text").to_owned()
        };
        assert_eq!(
            answered(theirs),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000009-01"
        );
        for odd in [none, "", "00-x-y-z", &theirs.to_uppercase(), &theirs[..54]] {
            assert_eq!(
                answered(odd),
                format!("00-{id}-0000000000000009-00"),
                "{odd}"
            );
        }
    }
}
