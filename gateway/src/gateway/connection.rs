//! One connection: hyper's HTTP/1 over a socket that stands in for it where it would be mute or wait forever.
//!
//! hyper answers a head that it cannot read with a status and no body; [`Guarded`] puts an error object in
//! its place. hyper closes a connection whose head takes too long; here it is told so first. hyper waits for a
//! client that does not read for as long as the client likes; [`Guarded`] does not. And a connection is read on
//! for a while after its end, so that a client that is still writing gets to read its answer.

use super::shared::{Phase, Shared};
use crate::openai::error::{self, ErrorBody};
use crate::problem::Problem;
use crate::request_body::{DISCARD_BYTES_MAX, DISCARD_TIME_MAX};
use crate::route;
use hyper::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep, timeout};
use troop_actors::ids::RequestId;

/// Who is at the other end, and by which door.
#[derive(Debug)]
pub(crate) struct Peer {
    /// It came by the unix socket, which only the owner can open.
    pub(crate) control: bool,
    /// It came by a listener that asks for no key.
    pub(crate) keyless: bool,
    /// Whether a request of its is being served: such a connection is not closed to make room.
    pub(crate) busy: AtomicBool,
}

impl Peer {
    /// A request has been let in.
    pub(crate) fn served(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    /// Its answer is complete.
    pub(crate) fn answered(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(stream: S, peer: Arc<Peer>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut phase = shared.phase.subscribe();
    let already = *phase.borrow() != Phase::Open;
    let limits = &shared.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(BUFFER_BYTES_MIN))
        .keep_alive(!already);
    let service = service_fn(|request| {
        let (peer, shared) = (peer.clone(), shared.clone());
        async move { Ok::<_, Infallible>(route::answer(request, peer, shared).await) }
    });
    let mut connection =
        Box::pin(builder.serve_connection(Guarded::new(stream, request_id(&shared)), service));
    let draining = async move {
        let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
    };
    tokio::pin!(draining);
    // A connection that is new while the gateway drains still gets its one answer.
    let mut told = already;
    let outcome = loop {
        tokio::select! {
            outcome = &mut connection => break outcome,
            () = &mut draining, if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    let mut guarded = Pin::into_inner(connection).into_parts().io;
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
        if error.is_timeout() && guarded.unanswered {
            let seconds = limits.head_time_max.as_secs();
            let problem = Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                format!("the request's head took longer than {seconds} s"),
            );
            guarded.refusal = refusal(&problem, &guarded.id);
        }
    }
    guarded.linger().await;
}

/// Tells a client that is not let in why.
pub(crate) async fn turn_away<S>(stream: S, problem: &Problem, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut guarded = Guarded::new(stream, request_id(shared));
    guarded.refusal = refusal(problem, &guarded.id);
    guarded.linger().await;
}

/// The id of what is answered without having been read as a request; there is one at most on a connection.
fn request_id(shared: &Shared) -> String {
    format!("req-{}", RequestId(shared.draw()))
}

/// A response to a request that was never understood.
fn refusal(problem: &Problem, id: &str) -> Vec<u8> {
    let body = serde_json::to_vec(&ErrorBody::of(problem)).unwrap_or_default();
    let mut response = format!("HTTP/1.1 {}\r\n", problem.status).into_bytes();
    for (name, value) in error::response(problem).headers() {
        response.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let length = body.len();
    let last =
        format!("content-length: {length}\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n");
    response.extend(last.into_bytes());
    response.extend(body);
    response
}

/// The body that should go with a bodiless error of hyper's own, if `written` is one.
fn mute_refusal(written: &[u8], id: &str) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(written).ok()?;
    let whole = head.ends_with("\r\n\r\n") && head.contains("content-length: 0\r\n");
    if !whole || !head.starts_with("HTTP/1.") || head.contains("x-request-id: ") {
        return None;
    }
    let problem = match head.get(9..12)? {
        "400" => Problem::body("the request's head is not valid HTTP/1.1"),
        "414" => Problem::new(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            "the request's path is too long",
        ),
        "431" => Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "the request's head is larger than 16 KiB or has more than 100 fields",
        ),
        _ => return None,
    };
    Some(refusal(&problem, id))
}

/// A socket as hyper sees it; see the module's page.
struct Guarded<S> {
    io: TokioIo<S>,
    /// What an answer of its own is called.
    id: String,
    /// Bytes have come since the last answer.
    unanswered: bool,
    /// What is written in place of hyper's own words.
    refusal: Vec<u8>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    fn new(stream: S, id: String) -> Guarded<S> {
        Guarded {
            io: TokioIo::new(stream),
            id,
            unanswered: false,
            refusal: Vec::new(),
            stalled: None,
        }
    }

    /// Says what is left to say, and reads on for a while: a client that is cut off while it still writes, as
    /// when it is refused before its body was read, may never read what it was told.
    async fn linger(self) {
        let _ = timeout(DISCARD_TIME_MAX, self.read_out()).await;
    }

    async fn read_out(mut self) -> io::Result<()> {
        let stream = self.io.inner_mut();
        stream.write_all(&self.refusal).await?;
        stream.shutdown().await?;
        let mut rest = vec![0; 8192];
        let mut bytes = 0;
        while bytes < DISCARD_BYTES_MAX {
            match timeout(LINGER_SILENCE_MAX, stream.read(&mut rest)).await {
                Ok(Ok(more)) if more > 0 => bytes += more as u64,
                _ => break,
            }
        }
        Ok(())
    }

    /// Writes out what stands in for hyper's own words.
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refusal.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(context, &self.refusal);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.refusal.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what a write came to, unless it has been pending for too long.
    fn unless_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(STALL_TIME_MAX)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_read(context, buffer);
        if matches!(outcome, Poll::Ready(Ok(()))) {
            self.unanswered = true;
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unanswered = false;
        if let Some(refusal) = mute_refusal(buffer, &self.id) {
            self.refusal = refusal;
            return Poll::Ready(Ok(buffer.len()));
        }
        let outcome = Pin::new(&mut self.io).poll_write(context, buffer);
        self.unless_stalled(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = match self.poll_refusal(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.io).poll_flush(context),
            other => other,
        };
        self.unless_stalled(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = match self.poll_refusal(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.io).poll_shutdown(context),
            other => other,
        };
        self.unless_stalled(context, outcome)
    }
}

/// When the instant a client stops reading becomes the client being gone.
const STALL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a connection that has been ended is read on while nothing comes.
const LINGER_SILENCE_MAX: Duration = Duration::from_secs(1);
/// The least that hyper accepts for its buffer.
const BUFFER_BYTES_MIN: usize = 8192;

#[cfg(test)]
mod tests;
