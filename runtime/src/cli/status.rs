//! `status`: what runs where, and whether it is well.

use super::fault::Fault;
use super::watch::WatchArgs;
use super::{Context, client, nodes, print, table};
use troop_gateway::control::Status;

pub(super) fn go(context: &Context, watch: &WatchArgs) -> Result<(), Fault> {
    let look = || client::get(context, "/v1/troop/status");
    watch.show(context, look, draw)
}

fn draw(status: &Status) -> Result<(), Fault> {
    let state = match (status.draining, status.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let rest = status.worker.as_ref().and_then(|worker| {
        let reason = worker.reason.as_ref()?;
        Some(format!("{}: {reason}", worker.state))
    });
    let node = status.node.chars().take(12).collect::<String>();
    let up = table::span(status.uptime_seconds);
    print(format_args!(
        "node {node}  {state}  up {up}  troop {}",
        status.version
    ))?;
    print(format_args!("  listening  {}", status.listening.join(", ")))?;
    if let Some(coordinator) = &status.coordinator {
        let (name, state) = (&coordinator.name, &coordinator.state);
        let way = nodes::way(coordinator);
        print(format_args!("  troop of   {name}, {state}, {way}"))?;
    }
    let coordinator = status.coordinator.as_ref().map(|node| &node.node);
    let others = (status.peers.iter()).filter(|peer| Some(&peer.node) != coordinator);
    for peer in others.clone().take(PEERS_SHOWN) {
        let (name, way) = (nodes::name(peer), nodes::way(peer));
        let rest = peer.rest.as_ref();
        let rest = rest.map_or(String::new(), |rest| format!(", rests: {rest}"));
        print(format_args!(
            "  peer       {name}, {}, {}, {way}{rest}",
            peer.role, peer.state
        ))?;
    }
    let more = others.count().saturating_sub(PEERS_SHOWN);
    if more > 0 {
        print(format_args!(
            "  peers      and {more} more; troop nodes lists them"
        ))?;
    }
    let models: Vec<_> = status.models.iter().map(|model| &model.name[..]).collect();
    let models = match models[..] {
        [] => "none yet".to_owned(),
        _ => models.join(", "),
    };
    print(format_args!("  models     {models}"))?;
    if let Some(queue) = &status.queue {
        print(format_args!(
            "  requests   {} open, {} running, {} waiting, on {} worker{}",
            status.requests_open,
            queue.running,
            queue.waiting,
            queue.workers,
            if queue.workers == 1 { "" } else { "s" }
        ))?;
    }
    if let Some(rest) = &rest {
        print(format_args!("  worker     {rest}"))?;
    }
    for check in status.checks.iter().filter(|check| !check.ok) {
        print(format_args!(
            "  not well   {}: {}",
            check.name, check.detail
        ))?;
    }
    Ok(())
}

/// Peers that are listed one by one.
const PEERS_SHOWN: usize = 8;
