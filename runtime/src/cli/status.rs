//! `status`: what runs where, and whether it is well.

use super::fault::Fault;
use super::{Context, client};
use troop_gateway::control::Status;

pub(super) fn go(context: &Context) -> Result<(), Fault> {
    let status: Status = client::get(context, "/v1/troop/status")?;
    if context.json {
        println!("{}", serde_json::to_string(&status).map_err(Fault::failed)?);
        return Ok(());
    }
    let state = match (status.draining, status.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let node = status.node.chars().take(12).collect::<String>();
    println!(
        "node {node}  {state}  up {} s  troop {}",
        status.uptime_seconds, status.version
    );
    println!("  listening  {}", status.listening.join(", "));
    let models: Vec<_> = status.models.iter().map(|model| &model.name[..]).collect();
    println!(
        "  models     {}",
        if models.is_empty() {
            "none yet".into()
        } else {
            models.join(", ")
        }
    );
    if let Some(queue) = &status.queue {
        println!(
            "  requests   {} open, {} running, {} waiting, on {} worker{}",
            status.requests_open,
            queue.running,
            queue.waiting,
            queue.workers,
            if queue.workers == 1 { "" } else { "s" }
        );
    }
    for check in status.checks.iter().filter(|check| !check.ok) {
        println!("  not well   {}: {}", check.name, check.detail);
    }
    Ok(())
}
