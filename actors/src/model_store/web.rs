//! A leaf: the socket. One request at a time, in the clear or over TLS, with whoever waits looked after.
//!
//! Who waits is asked every tenth of a second whether to go on, so that Ctrl-C is heard while a name is looked
//! up as well as while bytes come. Redirects are not followed here: that is decided in `transfer.rs`.

use super::error::PullError;
use super::means::Token;
use super::transfer::{Ask, Broken, Head};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Whoever waits: an error ends the wait.
pub(super) type Tick<'a> = dyn FnMut() -> Result<(), PullError> + 'a;

/// A way to the web.
pub(super) struct Web {
    runtime: Option<Runtime>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// An answer whose body is still to come.
pub(super) struct Reply {
    pub(super) head: Head,
    /// Where a list goes on.
    pub(super) next: Option<String>,
    body: Incoming,
}

impl Web {
    /// Opens it; nothing is asked yet.
    pub(super) fn open(silence_ms_max: u64) -> io::Result<Web> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut sockets = HttpConnector::new();
        sockets.enforce_http(false);
        sockets.set_nodelay(true);
        sockets.set_connect_timeout(Some(Duration::from_millis(silence_ms_max)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls_provider())
            .map_err(io::Error::other)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(sockets);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(READ_BYTES_MAX)
            .build(connector);
        Ok(Web {
            runtime: Some(runtime),
            client,
        })
    }

    /// Asks, and waits for the head of the answer.
    pub(super) fn ask(
        &self,
        ask: &Ask,
        token: Option<&Token>,
        silence_ms_max: u64,
        tick: &mut Tick<'_>,
    ) -> Result<Result<Reply, Broken>, PullError> {
        let request = match request(ask, token) {
            Ok(request) => request,
            Err(message) => return Ok(Err(Broken::Unreached(message))),
        };
        let answer = self.wait(self.client.request(request), silence_ms_max, tick)?;
        Ok(match answer {
            None => Err(Broken::Silent),
            Some(Err(error)) => Err(Broken::Unreached(chain(&error))),
            Some(Ok(response)) => {
                let (parts, body) = response.into_parts();
                Ok(Reply {
                    head: head(parts.status.as_u16(), &parts.headers),
                    next: next_page(&parts.headers),
                    body,
                })
            }
        })
    }

    /// Waits for more of a body, and says how long that took; the inner `None` is its end.
    pub(super) fn more(
        &self,
        reply: &mut Reply,
        silence_ms_max: u64,
        tick: &mut Tick<'_>,
    ) -> Result<Result<Option<(Bytes, u64)>, Broken>, PullError> {
        let since = Instant::now();
        loop {
            let frame = self.wait(reply.body.frame(), silence_ms_max, tick)?;
            let frame = match frame {
                None => return Ok(Err(Broken::Silent)),
                Some(None) => return Ok(Ok(None)),
                Some(Some(Err(error))) => return Ok(Err(Broken::Cut(chain(&error)))),
                Some(Some(Ok(frame))) => frame,
            };
            // What is no data are trailers, and the end comes after them.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Ok(Some((bytes, since.elapsed().as_millis() as u64))));
            }
        }
    }

    /// Waits.
    pub(super) fn pause(&self, ms: u64, tick: &mut Tick<'_>) -> Result<(), PullError> {
        self.wait(std::future::pending::<()>(), ms, tick).map(drop)
    }

    /// Waits for a future, but no longer than that.
    fn wait<F: Future>(
        &self,
        future: F,
        ms_max: u64,
        tick: &mut Tick<'_>,
    ) -> Result<Option<F::Output>, PullError> {
        // It is there until `drop`.
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime lives as long as this");
        let mut future = pin!(future);
        let until = runtime.block_on(async { Instant::now() }) + Duration::from_millis(ms_max);
        loop {
            tick()?;
            let step = runtime.block_on(async {
                let step = until.min(Instant::now() + TICK);
                tokio::time::timeout_at(step, &mut future).await.ok()
            });
            if step.is_some() {
                return Ok(step);
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // A name server that is silent would be waited for otherwise.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn rustls_provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn request(ask: &Ask, token: Option<&Token>) -> Result<Request<Empty<Bytes>>, String> {
    let uri: Uri = ask
        .address
        .to_string()
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| error.to_string())?;
    let mut request = Request::get(uri)
        .header(
            header::USER_AGENT,
            concat!("troop/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(from) = ask.from {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    if let Some(mark) = &ask.if_range {
        request = request.header(header::IF_RANGE, mark);
    }
    if let Some(mark) = &ask.if_none_match {
        request = request.header(header::IF_NONE_MATCH, mark);
    }
    if let Some(token) = token.filter(|_| ask.token) {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.0))
            .map_err(|_| "the token has characters that tokens do not have".to_owned())?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

/// What matters of a head; what is not as it should be is as if it were not there.
fn head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let encoding = text(header::CONTENT_ENCODING);
    Head {
        status,
        location: text(header::LOCATION),
        etag: text(header::ETAG),
        modified: text(header::LAST_MODIFIED),
        length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        range: text(header::CONTENT_RANGE).and_then(|range| content_range(&range)),
        retry_after_seconds: text(header::RETRY_AFTER).and_then(|after| after.trim().parse().ok()),
        encoded: encoding.is_some_and(|encoding| encoding != "identity"),
    }
}

/// `bytes 5-9/10`, `bytes 5-9/*`, `bytes */10`: the first byte, and how many there are in all.
fn content_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (span, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = span
        .split('-')
        .next()
        .and_then(|first| first.trim().parse().ok());
    Some((first, total.trim().parse().ok()))
}

/// `Link: <address>; rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links
        .split(',')
        .find(|link| link.contains("rel=\"next\""))?;
    let (address, _) = next.trim().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}

/// An error and what is behind it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause.filter(|_| text.len() < CHAIN_BYTES_MAX) {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// How long nobody asks whether to go on.
const TICK: Duration = Duration::from_millis(100);
/// Bytes that are read at once, which is also the limit of a head.
const READ_BYTES_MAX: usize = 256 << 10;
/// Bytes of an error's text, more or less.
const CHAIN_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn a_range_is_read_or_is_as_if_it_were_not_there() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((Some(5), Some(10)))),
            ("bytes 5-9/*", Some((Some(5), None))),
            ("bytes */10", Some((None, Some(10)))),
            ("bytes -/", Some((None, None))),
            ("items 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
