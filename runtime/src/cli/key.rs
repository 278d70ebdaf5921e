//! `key` and `credit`: what guests are let in with, and what they can spend.

use super::fault::Fault;
use super::{Context, client, print, print_json, table};
use clap::{Args, Subcommand};
use troop_actors::ports::Entropy;
use troop_gateway::control::{CreditGiven, CreditWanted, KeyCreated, KeyRevoked, KeyWanted, Keys};

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
        /// Whole credits for a new member [default: 100]; a known one gets more by troop credit
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
                return print_json(&made);
            }
            print(made.made.key)?;
            context.say(format_args!(
                "This is the only time the key of {} is shown; {} credits to spend.",
                wanted.member,
                table::credits(made.made.available_micros)
            ));
        }
        KeyVerb::List => {
            let keys: Keys = client::get(context, "/v1/troop/keys")?;
            if context.json {
                return print_json(&keys);
            }
            let rows = keys.keys.iter().map(|key| {
                let made = table::ago(key.created_seconds);
                vec![key.prefix.clone(), key.name.clone(), made]
            });
            let rows: Vec<_> = rows.collect();
            table::show(context, &["KEY", "MEMBER", "MADE"], &rows)?;
        }
        KeyVerb::Revoke { prefix } => {
            let path = format!("/v1/troop/keys/{}", client::encoded(&prefix));
            let revoked: KeyRevoked = client::delete(context, &path)?;
            if context.json {
                return print_json(&revoked);
            }
            context.say(format_args!("Revoked {prefix}"));
        }
    }
    Ok(())
}

/// Arguments of `credit`.
#[derive(Debug, Args)]
pub(super) struct CreditArgs {
    /// Who gets them: a member who has a key or an account
    member: String,
    /// Whole credits
    credits: u64,
}

pub(super) fn credit(context: &Context, args: CreditArgs) -> Result<(), Fault> {
    let mut id = [0; 16];
    crate::leaves::SystemEntropy.fill(&mut id);
    let wanted = CreditWanted {
        member: args.member,
        credits: args.credits,
        id: u128::from_le_bytes(id).to_string(),
    };
    let given: CreditGiven = client::post(context, "/v1/troop/credits", &wanted)?;
    if context.json {
        return print_json(&given);
    }
    let available = table::credits(given.account.available_micros);
    context.say(format_args!(
        "{} has {available} credits to spend",
        given.account.name
    ));
    Ok(())
}
