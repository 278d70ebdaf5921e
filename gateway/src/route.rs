//! From a request's head to the handler that answers it, past the guards.

mod carry;
mod chat;
mod guard;
mod prompts;

pub(crate) use guard::percent_decoded;

use crate::control;
use crate::gateway::connection::Peer;
use crate::gateway::shared::Shared;
use crate::health;
use crate::openai::{error, models};
use crate::problem::Problem;
use crate::reply::{Reply, json, text};
use crate::words::Question;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode};
use std::sync::Arc;
use troop_actors::ids::RequestId;

/// Answers a request, whatever it is.
pub(crate) async fn answer(
    request: Request<Incoming>,
    peer: Arc<Peer>,
    shared: Arc<Shared>,
) -> Reply {
    let begun = shared.clock.now();
    let id = RequestId(shared.draw());
    let shown_id = guard::request_id(request.headers(), id);
    if let Some(chosen) = guard::chosen_id(request.headers()) {
        shared.call(chosen, id);
    }
    let trace = guard::trace(request.headers(), id, shared.draw());
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut reply = match dispatch(request, id, &peer, &shared).await {
        Ok(reply) => reply,
        Err(problem) => {
            tracing::debug!(
                status = problem.status.as_u16(),
                code = problem.code,
                "refused"
            );
            error::response(&problem)
        }
    };
    let took = shared.clock.now().since_ms(begun);
    let headers = reply.headers_mut();
    headers.insert(X_REQUEST_ID, shown_id);
    headers.insert(TRACEPARENT, trace);
    headers.insert(OPENAI_PROCESSING_MS, took.into());
    if !headers.contains_key(X_TROOP_NODE) {
        headers.insert(X_TROOP_NODE, node_header(shared.me));
    }
    if chunked {
        // hyper takes Transfer-Encoding over a Content-Length that stands beside it. Nothing that follows
        // such a request on its connection is believed, so nobody can smuggle a second one in.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

async fn dispatch(
    request: Request<Incoming>,
    id: RequestId,
    peer: &Arc<Peer>,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    guard::host(&request, peer, shared)?;
    guard::origin(&request, peer)?;
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    if let Some(rest) = path.strip_prefix("/v1/troop/")
        && peer.control
    {
        return control::routes::answer(rest, request, shared).await;
    }
    match path.as_str() {
        "/" => get(&method).map(|()| {
            let version = env!("CARGO_PKG_VERSION");
            text(StatusCode::OK, format!("troop {version} is running\n"))
        }),
        "/livez" => get(&method).map(|()| text(StatusCode::OK, "ok\n")),
        "/readyz" | "/healthz" | "/health" | "/v1/health" => {
            get(&method)?;
            Ok(health::ready(&request, shared).await)
        }
        "/v1/models" => {
            get(&method)?;
            guard::payer(&request, peer, shared).await?;
            let list = shared.ask("scheduler", shared.backend.models()).await?;
            Ok(json(
                StatusCode::OK,
                &models::list(&list, anthropic(&request)),
            ))
        }
        "/v1/chat/completions" => {
            only(&method, &[Method::POST], "POST")?;
            chat::answer(request, id, peer, shared).await
        }
        "/v1/completions" => {
            only(&method, &[Method::POST], "POST")?;
            prompts::complete(request, id, peer, shared).await
        }
        "/v1/embeddings" => {
            only(&method, &[Method::POST], "POST")?;
            prompts::embed(request, id, peer, shared).await
        }
        "/tokenize" => {
            only(&method, &[Method::POST], "POST")?;
            prompts::words(request, id, peer, shared, Question::tokenize).await
        }
        "/detokenize" => {
            only(&method, &[Method::POST], "POST")?;
            prompts::words(request, id, peer, shared, Question::detokenize).await
        }
        _ => match path.strip_prefix("/v1/models/") {
            Some(name) => {
                get(&method)?;
                guard::payer(&request, peer, shared).await?;
                let name = guard::percent_decoded(name)?;
                let list = shared.ask("scheduler", shared.backend.models()).await?;
                let model = models::find(&list, &name)?;
                Ok(json(
                    StatusCode::OK,
                    &models::one(model, anthropic(&request)),
                ))
            }
            None => Err(unknown_path()),
        },
    }
}

/// Whether the client wants Anthropic's shapes.
fn anthropic(request: &Request<Incoming>) -> bool {
    request.headers().contains_key("anthropic-version")
}

fn get(method: &Method) -> Result<(), Problem> {
    only(method, &[Method::GET, Method::HEAD], "GET, HEAD")
}

/// Lets `methods` through; `allow` is the same list as a header.
pub(crate) fn only(
    method: &Method,
    methods: &[Method],
    allow: &'static str,
) -> Result<(), Problem> {
    if methods.contains(method) {
        return Ok(());
    }
    Err(Problem {
        allow: Some(allow),
        ..Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this path answers only to {allow}"),
        )
    })
}

/// There is nothing at this path.
pub(crate) fn unknown_path() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_url",
        "there is nothing at this path; see /v1/chat/completions and /v1/models",
    )
}

/// A node's id as a header.
pub(crate) fn node_header(node: troop_actors::ids::NodeId) -> HeaderValue {
    // Hex digits are a valid header.
    HeaderValue::from_str(&node.to_string()).unwrap_or(HeaderValue::from_static(""))
}

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_TROOP_NODE: HeaderName = HeaderName::from_static("x-troop-node");
/// What the answer costs its payer, in millionths of a credit; known when the whole answer is.
pub(crate) const X_TROOP_COST: HeaderName = HeaderName::from_static("x-troop-cost");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const OPENAI_PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
