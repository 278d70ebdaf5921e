//! `pause`, `drain` and `resume`: the machine is its owner's first.

use super::fault::Fault;
use super::{Context, client, print_json, spans};
use clap::Args;
use std::time::Duration;
use troop_gateway::control::{PauseWanted, Paused};

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// How long what runs may go on, as in 30s or 5m; what is left then goes on elsewhere
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = spans::patience)]
    grace: Duration,
}

impl DrainArgs {
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }
}

pub(super) fn pause(context: &Context, grace: Duration) -> Result<(), Fault> {
    let wanted = PauseWanted {
        grace_ms: grace.as_millis() as u64,
    };
    let paused: Paused = client::post(context, "/v1/troop/pause", &wanted)?;
    if context.json {
        return print_json(&paused);
    }
    match grace.as_secs() {
        0 => context.say("Paused: nothing is served, and its memory is free; troop resume takes work again"),
        seconds => context.say(format_args!(
            "Draining: no new work is taken, what runs has {seconds} s; troop resume takes work again"
        )),
    }
    Ok(())
}

pub(super) fn resume(context: &Context) -> Result<(), Fault> {
    let paused: Paused = client::post(context, "/v1/troop/resume", &())?;
    if context.json {
        return print_json(&paused);
    }
    context.say("Resumed: engines are started again");
    Ok(())
}
