//! `rotate`: the next key that tickets are signed with.

use super::fault::Fault;
use super::{Context, client, print_json};
use clap::Args;
use troop_gateway::control::{RotateWanted, Rotated};

/// Arguments of `rotate`.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The present key may be known to somebody else: end every ticket that was issued so far
    #[arg(long)]
    revoke: bool,
}

pub(super) fn go(context: &Context, args: &RotateArgs) -> Result<(), Fault> {
    let wanted = RotateWanted {
        revoke: args.revoke,
    };
    let rotated: Rotated = client::post(context, "/v1/troop/rotate", &wanted)?;
    if context.json {
        return print_json(&rotated);
    }
    let keys = &rotated.keys;
    let (now, next) = (short(&keys.current), short(&keys.next));
    context.say(format_args!(
        "Tickets are signed with key {now} from now on; the next one will be {next}"
    ));
    context.say(match keys.previous {
        Some(_) => "Those that were issued before stay good for their two minutes",
        None => "None that was issued before is good any more; streams that run go on",
    });
    Ok(())
}

/// The beginning of a key's name.
fn short(name: &str) -> String {
    name.chars().take(12).collect()
}
