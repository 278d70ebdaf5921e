//! What goes back to a client.

use crate::sse::SseBody;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// A response: its body is either here as a whole, or comes event by event.
pub(crate) type Reply = Response<Either<Full<Bytes>, SseBody>>;

/// A JSON response.
pub(crate) fn json(status: StatusCode, content: &impl Serialize) -> Reply {
    // Our own structs have string keys and finite numbers, so this cannot fail.
    let body = serde_json::to_vec(content).unwrap_or_default();
    json_bytes(status, body)
}

/// A JSON response of bytes that are JSON already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Reply {
    of(status, "application/json", body)
}

/// A response of plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Reply {
    of(
        status,
        "text/plain; charset=utf-8",
        body.into().into_bytes(),
    )
}

fn of(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
