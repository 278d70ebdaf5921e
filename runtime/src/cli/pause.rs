//! `pause`, `drain` and `resume`: the machine is its owner's first.

use super::fault::{Code, Fault};
use super::{Context, client, print_json, spans};
use clap::Args;
use serde::Serialize;
use std::time::Duration;
use troop_gateway::control::{PauseWanted, Paused, Status, Worker};

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// How long what runs may go on here, as in 30s or 5m, before it goes on elsewhere [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = spans::patience)]
    grace: Option<Duration>,
}

pub(super) fn pause(context: &Context) -> Result<(), Fault> {
    let paused = take_back(context, Duration::ZERO)?;
    if context.json {
        return print_json(&paused);
    }
    context.say("Paused: nothing is served, and its memory is free; troop resume takes work again");
    Ok(())
}

/// Hands over what runs, and waits until nothing does.
pub(super) fn drain(context: &Context, args: &DrainArgs) -> Result<(), Fault> {
    let grace = args.grace.unwrap_or_default();
    take_back(context, grace)?;
    let mut said = None;
    for _ in 0..looks(grace) {
        let status: Status = client::get(context, "/v1/troop/status")?;
        let worker = status
            .worker
            .ok_or_else(|| Fault::failed("this node is no worker any more"))?;
        if worker.state == "serving" {
            return Err(Fault::failed("somebody has resumed it"));
        }
        let empty = worker.running == 0;
        if said != Some(worker.running) {
            said = Some(worker.running);
            match context.json {
                true => print_json(&Drained::new(&worker))?,
                false if empty => context.say(
                    "Empty: nothing runs here, and no work is taken; troop resume takes it again",
                ),
                false => context.say(format_args!("Draining: {} to go", worker.running)),
            }
        }
        if empty {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let what = "what runs here has not ended in time";
    Err(Fault::new(Code::TimedOut, what).hint("troop ps"))
}

fn take_back(context: &Context, grace: Duration) -> Result<Paused, Fault> {
    let wanted = PauseWanted {
        grace_ms: grace.as_millis() as u64,
    };
    client::post(context, "/v1/troop/pause", &wanted)
}

/// How often a worker is looked at that has `grace`: it ends what it runs within a second after that.
fn looks(grace: Duration) -> u128 {
    (grace + PATIENCE).as_millis() / LOOK_EVERY.as_millis()
}

/// How far a worker is that takes no more work.
#[derive(Serialize)]
struct Drained<'a> {
    schema: &'static str,
    #[serde(flatten)]
    worker: &'a Worker,
}

impl Drained<'_> {
    fn new(worker: &Worker) -> Drained<'_> {
        let schema = "troop.worker/v1";
        Drained { schema, worker }
    }
}

pub(super) fn resume(context: &Context) -> Result<(), Fault> {
    let paused: Paused = client::post(context, "/v1/troop/resume", &())?;
    if context.json {
        return print_json(&paused);
    }
    context.say("Resumed: engines are started again, and serve for an hour even if the machine is wanted now");
    Ok(())
}

/// How often a worker that is drained is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long it is looked at after its grace is over.
const PATIENCE: Duration = Duration::from_secs(30);
