//! The command line's side of a running node: HTTP over the unix socket in its folder.

use super::fault::{Code, Fault};
use super::{Context, tokio};
use ::tokio::net::UnixStream;
use ::tokio::time::timeout;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;

/// GET, and the answer as `T`.
pub(super) fn get<T: DeserializeOwned>(context: &Context, path: &str) -> Result<T, Fault> {
    ask(context, Method::GET, path, Bytes::new())
}

/// POST of a body, and the answer as `T`.
pub(super) fn post<T: DeserializeOwned>(
    context: &Context,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Fault> {
    let body = serde_json::to_vec(body).map_err(Fault::failed)?;
    ask(context, Method::POST, path, body.into())
}

/// DELETE, and the answer as `T`.
pub(super) fn delete<T: DeserializeOwned>(context: &Context, path: &str) -> Result<T, Fault> {
    ask(context, Method::DELETE, path, Bytes::new())
}

fn ask<T: DeserializeOwned>(
    context: &Context,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, Fault> {
    tokio()?.block_on(async {
        let asked = async {
            let response = send(&context.home.socket(), method, path, body).await?;
            whole(response).await
        };
        let bytes = timeout(DEADLINE, asked)
            .await
            .map_err(|_| Fault::new(Code::TimedOut, "the node does not answer"))??;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::failed("the node answers in another form").because(error))
    })
}

/// Sends a request; an answer that is an error is one here too.
pub(super) async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, Fault> {
    let away = |cause: String| {
        Fault::new(Code::Unreachable, "no node is running here")
            .because(cause)
            .hint("troop node")
    };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| away(format!("{}: {error}", socket.display())))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| away(error.to_string()))?;
    // The connection's own task ends with the connection, which ends with this command.
    #[allow(clippy::disallowed_methods)]
    ::tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(Fault::usage)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| away(error.to_string()))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let body = whole(response).await?;
    Err(fault(status, &body))
}

/// A node's error object, as a fault.
pub(super) fn fault(status: u16, body: &[u8]) -> Fault {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = value["error"]["message"]
        .as_str()
        .unwrap_or("the node refuses")
        .to_owned();
    let code = match (status, value["error"]["code"].as_str()) {
        (_, Some("insufficient_quota")) => Code::Credits,
        (401 | 403, _) => Code::Unauthorised,
        (404, _) => Code::NotFound,
        (408 | 504, _) => Code::TimedOut,
        (400, _) => Code::Usage,
        _ => Code::Failed,
    };
    Fault::new(code, message)
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = body.collect().await;
    collected.map(|body| body.to_bytes()).map_err(|error| {
        Fault::new(Code::Unreachable, "the node's answer broke off").because(error)
    })
}

/// How long a question about the node may take; a verification reads all its books.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
