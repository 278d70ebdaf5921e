//! `POST /v1/completions`, `/v1/embeddings`, `/tokenize` and `/detokenize`: a session for each prompt, and one
//! answer of them all.

use super::{carry, guard};
use crate::backend::Model;
use crate::control::OpenRequest;
use crate::gateway::connection::Peer;
use crate::gateway::shared::{Opened, Shared};
use crate::json;
use crate::openai::answer::Heading;
use crate::openai::completion::Completion;
use crate::openai::completion::answer::{Gathered, Several, Stream};
use crate::openai::embedding::{self, Embedding};
use crate::openai::models;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request_body::{self, Share};
use crate::sources::Sources;
use crate::text::shown;
use crate::words::{self, Question};
use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use std::sync::Arc;
use troop_actors::generate::Generate;
use troop_actors::ids::{MemberId, RequestId};
use troop_actors::session::protocol::Order;

/// A request whose body has been read.
struct Asking<'a> {
    id: RequestId,
    payer: MemberId,
    share: Share,
    peer: &'a Arc<Peer>,
    shared: &'a Arc<Shared>,
}

impl Asking<'_> {
    async fn model(&self, name: &str) -> Result<Model, Problem> {
        let models = self.shared.backend.models();
        let list = self.shared.ask("scheduler", models).await?;
        models::find(&list, name).cloned()
    }

    /// The model of that name, or the only one there is.
    async fn model_or_only(&self, name: Option<&str>) -> Result<Model, Problem> {
        if let Some(name) = name {
            return self.model(name).await;
        }
        let models = self.shared.backend.models();
        let list = self.shared.ask("scheduler", models).await?;
        match &list[..] {
            [only] => Ok(only.clone()),
            [] => Err(Problem::overloaded("no model is loaded yet", 1000)),
            several => {
                let names: Vec<String> = several.iter().map(|one| shown(&one.name)).collect();
                let message = format!("model is required; there is {}", names.join(", "));
                Err(Problem::field("model", message))
            }
        }
    }

    /// Enters it in the list of open ones, with a session for each of `generates`.
    fn begin(
        self,
        model: String,
        stream: bool,
        generates: Vec<Generate>,
    ) -> Result<(Opened, Sources), Problem> {
        let choices = generates.iter().map(|generate| generate.choices).sum();
        let entry = OpenRequest {
            request: self.id.to_string(),
            member: self.payer.to_string(),
            model,
            choices,
            stream,
            since_ms: self.shared.clock.now().0,
        };
        let opened = self.shared.begin(self.id, entry, self.peer, self.share)?;
        let order = |(index, generate)| Order {
            request: match index {
                0 => self.id,
                _ => RequestId(self.shared.draw()),
            },
            payer: self.payer,
            generate,
        };
        let orders = generates.into_iter().enumerate().map(order).collect();
        Ok((opened, Sources::new(self.shared, orders)))
    }
}

async fn read<'a>(
    request: Request<Incoming>,
    id: RequestId,
    peer: &'a Arc<Peer>,
    shared: &'a Arc<Shared>,
) -> Result<(Map<String, Value>, Asking<'a>), Problem> {
    let limits = &shared.limits;
    let payer = guard::payer(&request, peer, shared).await?;
    let whole = request_body::read(request, limits, &shared.bodies).await?;
    let body = json::object(&whole.bytes, limits.depth_max, limits.values_max)?;
    let share = whole.into_share();
    let asking = Asking {
        id,
        payer,
        share,
        peer,
        shared,
    };
    Ok((body, asking))
}

/// Continues prompts.
pub(super) async fn complete(
    request: Request<Incoming>,
    id: RequestId,
    peer: &Arc<Peer>,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    let (body, asking) = read(request, id, peer, shared).await?;
    let completion = Completion::read(&body)?;
    drop(body);
    let name = completion.asked.model.clone();
    let model = asking.model(&name).await?;
    let now = shared.clock.now().seconds();
    let several = Several {
        heading: Heading {
            request: id,
            created: now,
            model: name.clone(),
            passport: model.passport,
            choices: completion.asked.choices,
            include_usage: completion.asked.include_usage,
            logprobs: completion.logprobs.is_some(),
        },
        prompts: completion.prompts.len(),
    };
    let (stream, payer) = (completion.asked.stream, asking.payer);
    let seeds = || u64::from_le_bytes(shared.draw());
    let generates = completion.generate(model.passport, model.context, seeds, now);
    let (opened, sources) = asking.begin(name, stream, generates)?;
    if stream {
        return carry::streamed(Box::new(Stream::new(several)), sources, opened, shared).await;
    }
    let mut whole = Gathered::new(several, shared.limits.answer_bytes_max);
    carry::gathered(&mut whole, sources, opened, shared, payer).await
}

/// Makes vectors of inputs.
pub(super) async fn embed(
    request: Request<Incoming>,
    id: RequestId,
    peer: &Arc<Peer>,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    let (body, asking) = read(request, id, peer, shared).await?;
    let wanted = Embedding::read(&body)?;
    drop(body);
    let (name, form, inputs) = (wanted.model.clone(), wanted.form, wanted.inputs.len());
    let model = asking.model(&name).await?;
    let payer = asking.payer;
    let (opened, sources) = asking.begin(name.clone(), false, wanted.generate(model.passport))?;
    let bytes_max = shared.limits.answer_bytes_max;
    let mut whole = embedding::Gathered::new(name, form, inputs, bytes_max);
    carry::gathered(&mut whole, sources, opened, shared, payer).await
}

/// Tells the words of a text, or the text of words, as `question` reads it from the body.
pub(super) async fn words(
    request: Request<Incoming>,
    id: RequestId,
    peer: &Arc<Peer>,
    shared: &Arc<Shared>,
    question: fn(&Map<String, Value>) -> Result<Question, Problem>,
) -> Result<Reply, Problem> {
    let (body, asking) = read(request, id, peer, shared).await?;
    let question = question(&body)?;
    drop(body);
    let model = asking.model_or_only(question.model.as_deref()).await?;
    let payer = asking.payer;
    let mut whole = words::Gathered::new(question.answer);
    let generates = vec![question.generate(model.passport)];
    let (opened, sources) = asking.begin(model.name, false, generates)?;
    carry::gathered(&mut whole, sources, opened, shared, payer).await
}
