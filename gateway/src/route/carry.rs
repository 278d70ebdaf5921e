//! Carries what sessions deliver back to a client: event by event, or as one whole answer.

use super::{X_TROOP_COST, X_TROOP_NODE, node_header};
use crate::bill::Bill;
use crate::dialect::{Events, Whole};
use crate::gateway::shared::{Opened, Shared};
use crate::problem::Problem;
use crate::reply::{Reply, json_bytes};
use crate::sources::Sources;
use crate::sse::{SseBody, ended, silent};
use http_body_util::Either;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::sync::Arc;
use tokio::time::{Instant, timeout, timeout_at};
use troop_actors::ids::MemberId;
use troop_actors::session::protocol::Delivery;

/// Waits for the first sign of work or of failure, so that a failure gets its own status; but no longer than
/// a silent connection is safe, and for a moment only where it is known that there will be nothing to say for a while.
pub(super) async fn streamed(
    events: Box<dyn Events>,
    mut sources: Sources,
    opened: Opened,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    let mut patience = Instant::now() + shared.limits.keep_alive;
    let (mut node, mut place) = (None, None);
    let mut bill = sources.payer().map(|payer| Bill::new(payer, shared));
    let ending = ended(opened.phase());
    tokio::pin!(ending);
    let first = loop {
        let next = tokio::select! {
            next = timeout_at(patience, sources.next()) => next,
            () = &mut ending => return Err(Problem::draining()),
        };
        match next {
            Err(_) => break place,
            Ok((_, Err(problem))) => return Err(problem),
            Ok((source, Ok(delivery @ Delivery::Waiting { .. }))) => {
                place = Some((source, delivery));
                patience = patience.min(Instant::now() + shared.limits.queued_max);
            }
            Ok((source, Ok(Delivery::Failed(trouble)))) => {
                return Err(events.problem(source, &trouble));
            }
            Ok((source, Ok(delivery))) => {
                if let Delivery::Started { worker, .. } = &delivery {
                    node = Some(*worker);
                }
                if let Some(bill) = &mut bill {
                    bill.hear(source, &delivery);
                }
                break Some((source, delivery));
            }
        }
    };
    let body = SseBody::new(events, first, sources, bill, &shared.limits, opened);
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

/// Waits for the whole answer.
pub(super) async fn gathered(
    whole: &mut impl Whole,
    mut sources: Sources,
    opened: Opened,
    shared: &Arc<Shared>,
    payer: MemberId,
) -> Result<Reply, Problem> {
    let mut bill = Bill::new(payer, shared);
    let ending = ended(opened.phase());
    tokio::pin!(ending);
    loop {
        let next = tokio::select! {
            next = timeout(shared.limits.silence_max, sources.next()) => next,
            () = &mut ending => return Err(Problem::draining()),
        };
        let (source, delivery) = match next {
            Ok((source, delivery)) => (source, delivery?),
            Err(_) => return Err(silent()),
        };
        bill.hear(source, &delivery);
        if let Some(body) = whole.take(source, delivery)? {
            let mut reply = json_bytes(StatusCode::OK, body);
            if let Some(node) = bill.worker() {
                reply.headers_mut().insert(X_TROOP_NODE, node_header(node));
            }
            if let Some(cost) = bill.cost() {
                reply.headers_mut().insert(X_TROOP_COST, cost.into());
            }
            return Ok(reply);
        }
    }
}
