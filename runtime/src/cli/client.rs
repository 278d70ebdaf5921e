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

/// GET of what may take as long as `deadline`; after a moment `words` say so.
pub(super) fn get_slow<T: DeserializeOwned>(
    context: &Context,
    path: &str,
    deadline: Duration,
    words: &str,
) -> Result<T, Fault> {
    let deadline = context.timeout.unwrap_or(deadline);
    tokio()?.block_on(async {
        let socket = context.socket();
        let asked = within(deadline, answer(&socket, Method::GET, path, Bytes::new()));
        ::tokio::pin!(asked);
        ::tokio::select! {
            answer = &mut asked => return read(&answer?),
            () = ::tokio::time::sleep(PATIENCE) => context.say(words),
        }
        read(&asked.await?)
    })
}

/// GET from the node at `socket`, for verbs that are in a runtime already.
pub(super) async fn get_from<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Fault> {
    read(&within(DEADLINE, answer(socket, Method::GET, path, Bytes::new())).await?)
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
        let socket = context.socket();
        let deadline = context.timeout.unwrap_or(DEADLINE);
        read(&within(deadline, answer(&socket, method, path, body)).await?)
    })
}

async fn answer(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes, Fault> {
    whole(send(socket, method, path, body).await?).await
}

/// A word as it stands in a path or a query.
pub(super) fn encoded(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    word.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(answer)
        .map_err(|error| Fault::failed("the node answers in another form").because(error))
}

/// What `asked` comes to, if it does within `deadline`.
pub(super) async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match timeout(deadline, asked).await {
        Ok(answer) => answer,
        Err(_) => {
            let what = format!(
                "the node did not answer within {} s",
                deadline.as_secs_f32()
            );
            Err(Fault::new(Code::TimedOut, what).hint("troop status, or more time with --timeout"))
        }
    }
}

/// Sends a request; an answer that is an error is one here too. Only a socket that nobody listens at is
/// [`Code::Unreachable`]: what fails later may have been heard.
pub(super) async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, Fault> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        Fault::new(Code::Unreachable, "no node is running here")
            .because(format!("{}: {error}", socket.display()))
            .hint("troop node")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Fault::broken_off)?;
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
        .map_err(Fault::broken_off)?;
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
    let name = value["error"]["code"].as_str();
    let code = match (status, name) {
        (_, Some("insufficient_quota")) => Code::Credits,
        (_, Some("node_unreachable")) => Code::Unreachable,
        (401 | 403, _) => Code::Unauthorised,
        (404, _) => Code::NotFound,
        (408 | 504, _) => Code::TimedOut,
        (400, _) => Code::Usage,
        _ => Code::Failed,
    };
    let fault = Fault::new(code, message);
    match name {
        Some(name) => fault.named(name),
        None => fault,
    }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = body.collect().await;
    collected
        .map(|body| body.to_bytes())
        .map_err(Fault::broken_off)
}

/// How long a question about the node may take; every one has a shorter deadline of the node's own.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a person waits before being told for what.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
