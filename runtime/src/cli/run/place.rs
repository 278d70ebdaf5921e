//! Where a model is asked: on the running node, which is made to load it if need be, or on a node that is
//! started for the occasion and ends with it.

use super::super::fault::{Code, Fault};
use super::super::interrupt::interruptible;
use super::super::{Context, client, models, node};
use super::chat::Model;
use crate::boot::{self, Running};
use ::tokio::runtime::Runtime;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use troop_gateway::control::{Engine, LoadWanted, Loaded, Ps};

/// A node that has the model.
pub(super) struct Place {
    /// Where it listens.
    pub(super) socket: PathBuf,
    /// What to ask for, and what is known of it.
    pub(super) model: Model,
    running: Option<Running>,
}

impl Place {
    /// Finds a node for `model`, or starts one.
    pub(super) fn open(context: &Context, model: &str, runtime: &Runtime) -> Result<Place, Fault> {
        let socket = context.socket();
        let seen = runtime.block_on(interruptible(look(&socket, model)));
        let (name, running) = match seen {
            Ok(model) => {
                return Ok(Place {
                    socket,
                    model,
                    running: None,
                });
            }
            // A node that is named is the one that is meant.
            Err(fault) if fault.code == Code::Unreachable && context.addr.is_none() => {
                let options = node::occasional(context, model)?;
                context.say("No node is running here; starting one until this ends");
                let started = boot::start(&context.home, options);
                let started = async { Ok(started.await?) };
                let running = runtime.block_on(interruptible(started))?;
                (model.to_owned(), Some(running))
            }
            Err(fault) if fault.name == "model_not_found" => (load(context, model, fault)?, None),
            // It has no model yet: it is starting.
            Err(fault) if fault.name == "overloaded" => (model.to_owned(), None),
            Err(fault) => return Err(fault),
        };
        let mut place = Place {
            model: Model::default(),
            socket,
            running,
        };
        match runtime.block_on(interruptible(ready(&place.socket, &name))) {
            Ok(model) => place.model = model,
            Err(fault) => {
                runtime.block_on(place.close());
                return Err(fault);
            }
        }
        Ok(place)
    }

    /// Ends the node that was started for the occasion, if one was.
    pub(super) async fn close(self) {
        if let Some(running) = self.running {
            running.stop(Duration::ZERO).await;
        }
    }
}

/// Has the running node serve a model that it does not serve yet; returns the name to ask it by. `refusal`
/// is what the node said, and stays what is wrong where the model is neither here nor known.
fn load(context: &Context, model: &str, refusal: Fault) -> Result<String, Fault> {
    if !models::knows(context, model)? {
        return Err(refusal);
    }
    models::fetch(context, model)?;
    context.say(format!("Loading {model} on the running node"));
    let wanted = LoadWanted {
        model: model.to_owned(),
    };
    let loaded: Loaded = client::post(context, "/v1/troop/models/load", &wanted)?;
    // The node may serve the same model by another name; its digest is right in either case.
    Ok(loaded.loading.digest)
}

/// The model, if it can be asked for now.
async fn look(socket: &Path, model: &str) -> Result<Model, Fault> {
    let path = format!("/v1/models/{}", client::encoded(model));
    let seen: Value = client::get_from(socket, &path).await?;
    Ok(Model {
        name: model.to_owned(),
        digest: seen["meta"]["digest"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        context: seen["meta"]["context"].as_u64().unwrap_or(0),
    })
}

/// Waits until the model can be asked for, or will never be.
async fn ready(socket: &Path, model: &str) -> Result<Model, Fault> {
    for _ in 0..READY_TRIES {
        match look(socket, model).await {
            Ok(model) => return Ok(model),
            Err(fault) if fault.code == Code::Unreachable => return Err(fault),
            Err(_) => {}
        }
        let ps: Ps = client::get_from(socket, "/v1/troop/ps").await?;
        let unfit = |engine: &&Engine| {
            let asked = engine.model == model || engine.digest == model;
            asked && engine.state == "unfit"
        };
        if let Some(engine) = ps.engines.iter().find(unfit) {
            let reason = engine.reason.as_deref().unwrap_or("it is unfit");
            return Err(Fault::failed(format!("{model} cannot be served")).because(reason));
        }
        ::tokio::time::sleep(READY_EVERY).await;
    }
    Err(Fault::new(Code::TimedOut, format!("{model} was not ready in time")).hint("troop ps"))
}

/// How often it is asked whether the model is there, and how many times.
const READY_EVERY: Duration = Duration::from_millis(25);
const READY_TRIES: u32 = 4_800;
