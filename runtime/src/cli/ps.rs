//! `ps`: the engines that run, and the requests they serve.

use super::fault::Fault;
use super::watch::WatchArgs;
use super::{Context, client, print, table};
use troop_gateway::control::Ps;

pub(super) fn go(context: &Context, watch: &WatchArgs) -> Result<(), Fault> {
    let look = || client::get(context, "/v1/troop/ps");
    watch.show(context, look, |ps| draw(context, ps))
}

fn draw(context: &Context, ps: &Ps) -> Result<(), Fault> {
    let row = |engine: &troop_gateway::control::Engine| {
        vec![
            engine.model.clone(),
            engine.state.clone(),
            engine.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            engine.running.to_string(),
            engine.tokens.to_string(),
            engine.restarts.to_string(),
        ]
    };
    let rows: Vec<_> = ps.engines.iter().map(row).collect();
    table::show(
        context,
        &[
            "ENGINE",
            "STATE",
            "PID ",
            "RUNNING ",
            "TOKENS ",
            "RESTARTS ",
        ],
        &rows,
    )?;
    let row = |open: &troop_gateway::control::OpenRequest| {
        vec![
            open.request.clone(),
            open.model.clone(),
            open.member.chars().take(12).collect(),
            open.choices.to_string(),
            table::ago(open.since_ms / 1000),
        ]
    };
    let rows: Vec<_> = ps.requests.iter().map(row).collect();
    // Columns that are chosen are the engines'.
    if rows.is_empty() || !context.columns.is_empty() {
        return Ok(());
    }
    print("")?;
    let header = ["REQUEST", "MODEL", "MEMBER", "CHOICES ", "SINCE"];
    table::show(context, &header, &rows)
}
