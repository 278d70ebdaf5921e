//! Reading a request's body: never more of it than is allowed, never slower, never all bodies too much.

use crate::limits::Limits;
use crate::problem::Problem;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap};
use hyper::{Request, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// A body in memory, and its share of the memory set aside for all of them.
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    share: Share,
}

/// A share of the memory set aside for bodies, given back when dropped.
pub(crate) type Share = Option<OwnedSemaphorePermit>;

impl Whole {
    /// Lets the bytes go, but not their share: what was read from them takes as much, for as long as the
    /// request is open.
    pub(crate) fn into_share(self) -> Share {
        self.share
    }
}

/// The semaphore that shares out [`Limits::bodies_bytes_max`], one permit per KiB.
pub(crate) fn shares(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.bodies_bytes_max / 1024))
}

/// Reads the body of `request`, which must be JSON and not encoded further.
pub(crate) async fn read(
    request: Request<Incoming>,
    limits: &Limits,
    shares: &Arc<Semaphore>,
) -> Result<Whole, Problem> {
    let (head, mut body) = request.into_parts();
    check_headers(&head.headers)?;
    let expected = body.size_hint().lower();
    let mut too_large = expected > limits.body_bytes_max as u64;
    if too_large && head.headers.contains_key(EXPECT) {
        return Err(too_large_problem(limits));
    }
    let begun = Instant::now();
    let mut whole = Whole {
        bytes: Vec::new(),
        share: None,
    };
    let mut seen: u64 = 0;
    loop {
        let deadline = begun
            + time_allowed(seen, limits).min(if too_large {
                // What follows is thrown away, only so that the client gets to read why.
                DISCARD_TIME_MAX
            } else {
                limits.body_time_max
            });
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                return Err(Problem::body("the body ended before it was complete").closing());
            }
            Err(_) if too_large => break,
            Err(_) => return Err(too_slow(limits)),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen += data.len() as u64;
        too_large |= seen > limits.body_bytes_max as u64;
        if too_large {
            whole = Whole {
                bytes: Vec::new(),
                share: None,
            };
            if seen > DISCARD_BYTES_MAX {
                break;
            }
            continue;
        }
        keep(&mut whole, &data, shares)?;
    }
    if too_large {
        return Err(too_large_problem(limits));
    }
    Ok(whole)
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |message: &str| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        )
        .closing()
    };
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(unsupported(
            "a compressed body is not accepted; send it without Content-Encoding",
        ));
    }
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json") {
        return Ok(());
    }
    Err(unsupported(
        "the body must be JSON; send it with Content-Type: application/json",
    ))
}

/// Appends `data` to the body if there is memory for it.
fn keep(whole: &mut Whole, data: &Bytes, shares: &Arc<Semaphore>) -> Result<(), Problem> {
    let held = whole.bytes.len().div_ceil(1024);
    let wanted = (whole.bytes.len() + data.len()).div_ceil(1024) - held;
    if wanted > 0 {
        let more = shares
            .clone()
            .try_acquire_many_owned(wanted as u32)
            .map_err(|_| Problem::overloaded("too many large requests are open", 1000).closing())?;
        match &mut whole.share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
    }
    whole.bytes.extend_from_slice(data);
    Ok(())
}

fn time_allowed(seen: u64, limits: &Limits) -> Duration {
    limits.body_grace + Duration::from_millis(seen.saturating_mul(1000) / limits.body_rate_min)
}

fn too_large_problem(limits: &Limits) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "request_too_large",
        format!("the body is larger than {} bytes", limits.body_bytes_max),
    )
    .closing()
}

fn too_slow(limits: &Limits) -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        format!(
            "the body came slower than {} bytes per second",
            limits.body_rate_min
        ),
    )
    .closing()
}

/// Bytes of a body that is too large which are still read: a client that is cut off while it writes may
/// never read the answer.
pub(crate) const DISCARD_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// And for how long, from the body's beginning.
pub(crate) const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
