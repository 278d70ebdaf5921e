//! `POST /v1/chat/completions`: opens a session and carries its deliveries back.

use super::{X_TROOP_COST, X_TROOP_NODE, guard, node_header};
use crate::control::OpenRequest;
use crate::gateway::connection::Peer;
use crate::gateway::shared::{Opened, Shared};
use crate::json;
use crate::openai::answer::{Gathered, Heading, Stream};
use crate::openai::chat::Chat;
use crate::openai::models;
use crate::problem::Problem;
use crate::reply::{Reply, json_bytes};
use crate::request_body;
use crate::sse::{SseBody, ended, silent};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::sync::Arc;
use tokio::time::{Instant, timeout, timeout_at};
use troop_actors::ids::{NodeId, RequestId};
use troop_actors::price::{Micros, Prices};
use troop_actors::session::Deliveries;
use troop_actors::session::protocol::{Delivery, Order, Trouble};

/// Answers one chat request.
pub(super) async fn answer(
    request: Request<Incoming>,
    id: RequestId,
    peer: &Arc<Peer>,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    let limits = &shared.limits;
    let payer = guard::payer(&request, peer, shared).await?;
    let whole = request_body::read(request, limits, &shared.bodies).await?;
    let body = json::object(&whole.bytes, limits.depth_max, limits.values_max)?;
    let share = whole.into_share();
    let chat = Chat::read(&body, limits)?;
    drop(body);

    let list = shared.ask("scheduler", shared.backend.models()).await?;
    let model = models::find(&list, &chat.asked.model)?;
    let now = shared.clock.now();
    let heading = Heading {
        request: id,
        created: now.seconds(),
        model: chat.asked.model.clone(),
        passport: model.passport,
        choices: chat.asked.choices,
        include_usage: chat.asked.include_usage,
        logprobs: chat.logprobs.is_some(),
    };
    let opened = shared.begin(
        id,
        OpenRequest {
            request: id.to_string(),
            member: payer.to_string(),
            model: chat.asked.model.clone(),
            choices: chat.asked.choices,
            stream: chat.asked.stream,
            since_ms: now.0,
        },
        peer,
        share,
    )?;
    let stream = chat.asked.stream;
    let seed = u64::from_le_bytes(shared.draw());
    let generate = chat.generate(model.passport, model.context, seed, now.seconds());
    let order = Order {
        request: id,
        payer,
        generate,
    };
    let opening = shared.backend.open(order, shared.gateway.clone());
    let deliveries = shared.ask("session", opening).await?;
    if stream {
        streamed(heading, deliveries, opened, shared).await
    } else {
        let price = |worker: Option<NodeId>, prompt: u32, completion: u32| {
            // Work for one's own member makes a receipt and no transfer.
            if payer == shared.owner && worker == Some(shared.me) {
                return Some(0);
            }
            Prices::REFERENCE.cost(prompt.into(), completion.into())
        };
        gathered(heading, deliveries, opened, shared, price).await
    }
}

/// Waits for the first sign of work or of failure, so that a failure gets its own status; but no longer than
/// a silent connection is safe.
async fn streamed(
    heading: Heading,
    mut deliveries: Deliveries,
    opened: Opened,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    let patience = Instant::now() + shared.limits.keep_alive;
    let mut node = None;
    let ending = ended(opened.phase());
    tokio::pin!(ending);
    let first = loop {
        let next = tokio::select! {
            next = timeout_at(patience, deliveries.recv()) => next,
            () = &mut ending => return Err(Problem::draining()),
        };
        match next {
            Err(_) => break None,
            Ok(None) => return Err((&Trouble::Interrupted).into()),
            Ok(Some(Delivery::Waiting { .. })) => {}
            Ok(Some(Delivery::Failed(trouble))) => return Err((&trouble).into()),
            Ok(Some(delivery)) => {
                if let Delivery::Started { worker, .. } = &delivery {
                    node = Some(*worker);
                }
                break Some(delivery);
            }
        }
    };
    let body = SseBody::new(
        Stream::new(heading),
        first,
        deliveries,
        &shared.limits,
        opened,
    );
    let mut reply = Response::new(Either::Right(body));
    let headers = reply.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, fixed("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, fixed("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), fixed("no"));
    if let Some(node) = node {
        headers.insert(X_TROOP_NODE, node_header(node));
    }
    Ok(reply)
}

async fn gathered(
    heading: Heading,
    mut deliveries: Deliveries,
    opened: Opened,
    shared: &Arc<Shared>,
    price: impl Fn(Option<NodeId>, u32, u32) -> Option<Micros>,
) -> Result<Reply, Problem> {
    let mut gathered = Gathered::new(heading, shared.limits.answer_bytes_max);
    let (mut node, mut cost) = (None, None);
    let ending = ended(opened.phase());
    tokio::pin!(ending);
    loop {
        let next = tokio::select! {
            next = timeout(shared.limits.silence_max, deliveries.recv()) => next,
            () = &mut ending => return Err(Problem::draining()),
        };
        let delivery = match next {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Err((&Trouble::Interrupted).into()),
            Err(_) => return Err(silent()),
        };
        match &delivery {
            Delivery::Started { worker, .. } => node = Some(*worker),
            Delivery::Done {
                prompt_tokens,
                completion_tokens,
            } => cost = price(node, *prompt_tokens, *completion_tokens),
            _ => {}
        }
        if let Some(body) = gathered.take(delivery)? {
            let mut reply = json_bytes(StatusCode::OK, body);
            if let Some(node) = node {
                reply.headers_mut().insert(X_TROOP_NODE, node_header(node));
            }
            if let Some(cost) = cost {
                reply.headers_mut().insert(X_TROOP_COST, cost.into());
            }
            return Ok(reply);
        }
    }
}
