//! `key`: API keys for guests.

use super::fault::Fault;
use super::{Context, client, table};
use clap::{Args, Subcommand};
use troop_gateway::control::{KeyCreated, KeyRevoked, KeyWanted, Keys};

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Make a key for a member; it is shown this once
    Create {
        /// Whose it is: a name; a new one gets credits once
        #[arg(long, value_name = "NAME")]
        member: String,
        /// Whole credits for a new member [default: 100]
        #[arg(long, value_name = "N")]
        credits: Option<u64>,
    },
    /// List keys by their beginnings
    List,
    /// Forget the key that begins so; it is refused from now on
    Revoke {
        /// The beginning of the key
        prefix: String,
    },
}

pub(super) fn go(context: &Context, args: KeyArgs) -> Result<(), Fault> {
    match args.verb {
        KeyVerb::Create { member, credits } => {
            let wanted = KeyWanted { member, credits };
            let made: KeyCreated = client::post(context, "/v1/troop/keys", &wanted)?;
            if context.json {
                println!("{}", serde_json::to_string(&made).map_err(Fault::failed)?);
            } else {
                println!("{}", made.made.key);
                eprintln!(
                    "This is the only time the key of {} is shown.",
                    wanted.member
                );
            }
        }
        KeyVerb::List => {
            let keys: Keys = client::get(context, "/v1/troop/keys")?;
            if context.json {
                println!("{}", serde_json::to_string(&keys).map_err(Fault::failed)?);
                return Ok(());
            }
            let rows = keys
                .keys
                .iter()
                .map(|key| vec![key.prefix.clone(), key.name.clone()]);
            table::print(&["KEY", "MEMBER"], &rows.collect::<Vec<_>>());
        }
        KeyVerb::Revoke { prefix } => {
            let good = prefix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !good || prefix.is_empty() {
                return Err(Fault::usage(
                    "PREFIX: letters, digits and '-', as `troop key list` shows it",
                ));
            }
            let path = format!("/v1/troop/keys/{prefix}");
            let revoked: KeyRevoked = client::delete(context, &path)?;
            if context.json {
                println!(
                    "{}",
                    serde_json::to_string(&revoked).map_err(Fault::failed)?
                );
            } else {
                eprintln!("Revoked {prefix}");
            }
        }
    }
    Ok(())
}
