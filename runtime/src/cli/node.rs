//! `node`: runs a node until it is asked to stop.

use super::fault::{Code, Fault};
use super::lend::LendArgs;
use super::{Context, join, models, print, tokio};
use crate::boot::{self, NodeOptions, Running};
use crate::engine_child::{KvCache, cores};
use crate::leaves::EngineOptions;
use crate::tree::Roles;
use ::tokio::signal::unix::{Signal, SignalKind, signal};
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;
use troop_actors::certificate::RoleSet;
use troop_actors::invitation::Invitation;

/// Arguments of `node`.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeArgs {
    /// What this machine does for the troop
    #[arg(
        long,
        env = "TROOP_ROLE",
        value_enum,
        help = "What this machine does for the troop [default: both; worker with --join, where it may be one]"
    )]
    role: Option<Role>,
    /// Where to listen for HTTP; off the loopback every request needs a key
    #[arg(
        long,
        env = "TROOP_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9000"
    )]
    listen: Vec<SocketAddr>,
    /// A name that clients may reach this node by, besides localhost and its addresses; repeatable
    #[arg(
        long = "host",
        env = "TROOP_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = host_name
    )]
    hosts: Vec<String>,
    /// Ask for a key on this machine too, as where a proxy forwards requests from elsewhere
    #[arg(long, env = "TROOP_REQUIRE_KEY", value_parser = FalseyValueParser::new())]
    require_key: bool,
    /// Where to listen for other nodes (UDP) [default: 0.0.0.0:9001, or any port where that is taken]
    #[arg(long, env = "TROOP_QUIC", value_name = "ADDR")]
    quic: Option<SocketAddr>,
    /// A model to serve; repeatable, fetched if it is not here [default: smollm2]
    #[arg(
        long = "model",
        env = "TROOP_MODEL",
        value_name = "NAME",
        value_delimiter = ','
    )]
    models: Vec<String>,
    /// The token of an invitation to a troop, or file:PATH with one; needed once
    #[arg(
        long,
        env = "TROOP_JOIN",
        value_name = "TOKEN",
        hide_env_values = true,
        value_parser = super::invite::token
    )]
    join: Option<Invitation>,
    /// Threads of each engine [default: one for each physical core it may use]
    #[arg(long, env = "TROOP_THREADS", value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Bytes of memory for each engine's KV cache [default: the engine's choice]
    #[arg(long, env = "TROOP_KV_BYTES", value_name = "N")]
    kv_bytes: Option<u64>,
    /// How engines keep keys and values. int8 nearly halves the memory of contexts; answers are slightly other ones (the mean
    /// divergence from the model is 0.0028 instead of 0.0018), so no worker goes on with what was begun with f16, nor
    /// the other way round
    #[arg(long, env = "TROOP_KV_CACHE", value_enum, default_value_t)]
    kv_cache: KvCache,
    /// Keep engines from drafting what a text says again, which is done where it is faster and changes no word
    #[arg(long, env = "TROOP_NO_SPECULATION", value_parser = FalseyValueParser::new())]
    no_speculation: bool,
    #[command(flatten)]
    lend: LendArgs,
    /// Seconds that open requests get when the node is asked to stop
    #[arg(
        long,
        env = "TROOP_GRACE",
        value_name = "SECONDS",
        default_value_t = 30
    )]
    grace: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Serves models
    Worker,
    /// Keeps the queue, the books and the keys
    Coordinator,
    /// Does both
    Both,
    /// Does neither: a way into a troop for this machine's programs
    Client,
}

pub(super) fn go(context: &Context, args: NodeArgs) -> Result<(), Fault> {
    if let Err(error) = crate::descriptors::raise() {
        tracing::warn!(%error, "the limit on open files stays as it was");
    }
    let runtime = tokio()?;
    let wanted = args.role.map(Role::wanted);
    let joined = runtime.block_on(join::enrolment(context, args.join.as_ref(), wanted))?;
    let (enrolment, allowed) = joined.unzip();
    let roles = roles(args.role, allowed)?;
    let joined = enrolment.is_some();
    let options = NodeOptions {
        enrolment,
        policy: args.lend.policy(joined),
        ..options(context, &args, roles)?
    };
    runtime.block_on(serve(context, options, Duration::from_secs(args.grace)))
}

impl Role {
    /// What a joiner asks to be.
    fn wanted(self) -> RoleSet {
        match self {
            Role::Client => RoleSet::CLIENT,
            Role::Worker => RoleSet::WORKER,
            Role::Both => RoleSet::CLIENT.and(RoleSet::WORKER),
            Role::Coordinator => RoleSet::COORDINATOR,
        }
    }
}

/// What the node does: alone it is its own coordinator; in a troop it is what its certificate allows.
fn roles(wanted: Option<Role>, allowed: Option<RoleSet>) -> Result<Roles, Fault> {
    let Some(allowed) = allowed else {
        let (coordinator, worker) = match wanted.unwrap_or(Role::Both) {
            Role::Both => (true, true),
            Role::Coordinator => (true, false),
            Role::Worker | Role::Client => {
                let message = "--role: a worker or client needs a troop to belong to";
                return Err(Fault::usage(message).hint("troop node --join TOKEN"));
            }
        };
        return Ok(Roles {
            coordinator,
            worker,
        });
    };
    let worker = match wanted {
        None => RoleSet::WORKER.within(allowed),
        Some(Role::Worker | Role::Both) => true,
        Some(Role::Client) => false,
        Some(Role::Coordinator) => {
            return Err(Fault::usage(
                "--role coordinator: this node belongs to a troop that has one",
            )
            .hint("troop leave forgets it"));
        }
    };
    if worker && !RoleSet::WORKER.within(allowed) {
        let message = "--role: this node was invited as a client and may not serve models";
        return Err(Fault::usage(message).hint("troop invite --role worker, on the coordinator"));
    }
    Ok(Roles {
        coordinator: false,
        worker,
    })
}

/// A name as it stands in a Host header, without a port.
fn host_name(text: &str) -> Result<String, String> {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (1..=253).contains(&text.len()) && text.bytes().all(lawful) {
        return Ok(text.to_owned());
    }
    Err("a host name is 1 to 253 letters, digits, '.', '-' and '_', without a port".to_owned())
}

/// Fetches what is to be served, and says it all in the node's own terms.
fn options(context: &Context, args: &NodeArgs, roles: Roles) -> Result<NodeOptions, Fault> {
    let mut names = args.models.clone();
    if names.is_empty() && roles.worker {
        names.push(MODEL.to_owned());
    }
    if !roles.worker && !names.is_empty() {
        return Err(Fault::usage(
            "--model: a node that is no worker serves no models",
        ));
    }
    let mut manifests = Vec::new();
    for name in &names {
        manifests.push(models::fetch(context, name)?);
    }
    Ok(NodeOptions {
        roles,
        listen: args.listen.clone(),
        hosts: args.hosts.clone(),
        require_key: args.require_key,
        models: manifests,
        engines: EngineOptions {
            threads: args.threads.unwrap_or_else(cores::count),
            page_kind: args.kv_cache.into(),
            kv_bytes: args.kv_bytes,
            speculation: !args.no_speculation,
        },
        policy: args.lend.policy(false),
        quic: match args.quic {
            Some(address) => vec![address],
            None => QUIC
                .map(|port| SocketAddr::from(([0, 0, 0, 0], port)))
                .to_vec(),
        },
        enrolment: None,
    })
}

/// A node of its own for `run`: whatever port is free, one model.
pub(super) fn occasional(context: &Context, model: &str) -> Result<NodeOptions, Fault> {
    let args = NodeArgs {
        role: None,
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        hosts: Vec::new(),
        require_key: false,
        quic: None,
        models: vec![model.to_owned()],
        join: None,
        threads: None,
        kv_bytes: None,
        kv_cache: KvCache::default(),
        no_speculation: false,
        lend: LendArgs::default(),
        grace: 0,
    };
    let roles = Roles {
        coordinator: true,
        worker: true,
    };
    Ok(NodeOptions {
        quic: Vec::new(),
        ..options(context, &args, roles)?
    })
}

async fn serve(context: &Context, options: NodeOptions, grace: Duration) -> Result<(), Fault> {
    let listens =
        |error: std::io::Error| Fault::failed("signals cannot be listened for").because(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(listens)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listens)?;
    let models = options
        .models
        .iter()
        .map(|model| model.name.clone())
        .collect::<Vec<_>>();
    let roles = options.roles;
    let mut running = boot::start(&context.home, options).await?;
    let note = context.home.path("node.json");
    write_note(&note, &running)?;
    if context.json {
        print(facts(&running))?;
    } else if !context.quiet {
        banner(context, &running, roles, &models);
    }
    let stop_asked = running.stop_asked.clone();
    let fallen = ::tokio::select! {
        biased;
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = stop_asked.notified() => false,
        () = running.fallen() => true,
    };
    let _ = std::fs::remove_file(&note);
    if fallen {
        return Err(
            Fault::failed("the node gave up: an actor fell again and again")
                .hint("troop -v node … says which"),
        );
    }
    context.say(format_args!(
        "Stopping: open requests get {} s; once more to stop at once",
        grace.as_secs()
    ));
    let now = again(&mut terminate, &mut interrupt);
    ::tokio::select! {
        biased;
        () = now => Err(Fault::new(Code::Interrupted, "stopped at once")),
        left = running.stop(grace) => {
            if left > 0 {
                context.say(format_args!("{left} requests were ended"));
            }
            Ok(())
        }
    }
}

async fn again(terminate: &mut Signal, interrupt: &mut Signal) {
    ::tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn facts(running: &Running) -> serde_json::Value {
    serde_json::json!({
        "schema": "troop.node/v1",
        "pid": std::process::id(),
        "node": running.node.wiring.me.to_string(),
        "owner": running.owner.to_string(),
        "listen": running.addresses.first().map(ToString::to_string),
        "listening": running.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Says in the folder where the node listens: a port may have been chosen by the system.
fn write_note(path: &Path, running: &Running) -> Result<(), Fault> {
    let half = path.with_extension("json.new");
    std::fs::write(&half, facts(running).to_string())?;
    Ok(std::fs::rename(&half, path)?)
}

fn banner(context: &Context, running: &Running, roles: Roles, models: &[String]) {
    let role = match (roles.coordinator, roles.worker) {
        (true, true) => "coordinator and worker",
        (true, false) => "coordinator",
        (false, true) => "worker",
        (false, false) => "client",
    };
    let node = running.node.wiring.me.to_string();
    let list = |words: &[String], none: &str| match words.is_empty() {
        true => none.to_owned(),
        false => words.join(", "),
    };
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect();
    let listening: Vec<String> = texts(&running.addresses);
    let reached: Vec<String> = texts(&running.reached_at());
    let none = match roles.coordinator {
        true => "none here",
        false => "those of the troop: troop status",
    };
    let model = models.first().map_or("MODEL", String::as_str);
    let wiring = running.node.wiring;
    let whose = match wiring.me == wiring.coordinator {
        true => "its own".to_owned(),
        false => format!("that of {}", &wiring.coordinator.to_string()[..12]),
    };
    let more = match (roles.coordinator, roles.worker) {
        (true, _) => "Invite   troop invite    Share  troop key create --member NAME",
        (false, true) => "Rest     troop pause     Again  troop resume",
        (false, false) => "Credits  troop balance",
    };
    eprintln!(
        "troop {}  node {}  {role}",
        env!("CARGO_PKG_VERSION"),
        &node[..12]
    );
    let address = listening.first().map(String::as_str).unwrap_or_default();
    for line in [
        format!("API      http://{address}/v1  (any OpenAI client; key: troop)"),
        format!(
            "Troop    {whose}; others find it at {}",
            list(&reached, "no address")
        ),
        format!("Models   {}", list(models, none)),
        format!("Home     {}", context.home.folder().display()),
        format!("Ask      troop run {model} \"Why is the sky blue?\""),
        more.to_owned(),
        "Look     troop status    Stop   Ctrl-C".to_owned(),
    ] {
        eprintln!("  {line}");
    }
}

/// Ports for other nodes where none is named: the usual one, or any.
const QUIC: [u16; 2] = [9001, 0];
/// What is served when nothing is said.
const MODEL: &str = "smollm2";
