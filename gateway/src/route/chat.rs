//! `POST /v1/chat/completions`: opens a session and carries its deliveries back.

use super::{carry, guard};
use crate::control::OpenRequest;
use crate::gateway::connection::Peer;
use crate::gateway::shared::Shared;
use crate::json;
use crate::openai::answer::{Gathered, Heading, Stream};
use crate::openai::chat::Chat;
use crate::openai::models;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request_body;
use crate::sources::Sources;
use hyper::Request;
use hyper::body::Incoming;
use std::sync::Arc;
use troop_actors::ids::RequestId;
use troop_actors::session::protocol::Order;

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
    let sources = Sources::new(shared, vec![order]);
    if stream {
        let events = Box::new(Stream::new(heading));
        return carry::streamed(events, sources, opened, shared).await;
    }
    let mut whole = Gathered::new(heading, shared.limits.answer_bytes_max);
    carry::gathered(&mut whole, sources, opened, shared, payer).await
}
