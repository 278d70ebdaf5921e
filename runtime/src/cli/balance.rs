//! `balance`: the owner's account, a member's, or all.

use super::fault::Fault;
use super::{Context, client, print, table};
use clap::Args;
use troop_gateway::control::{Account, Accounts, Balance};

/// Arguments of `balance`.
#[derive(Debug, Args)]
pub(super) struct BalanceArgs {
    /// A member, by name or id [default: the owner of this node]
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Every account
    #[arg(long, conflicts_with = "member")]
    all: bool,
}

pub(super) fn go(context: &Context, args: BalanceArgs) -> Result<(), Fault> {
    let (text, accounts) = if args.all {
        let all: Accounts = client::get(context, "/v1/troop/accounts")?;
        (serde_json::to_string(&all), all.accounts)
    } else {
        let path = match &args.member {
            Some(member) => format!("/v1/troop/balance?member={}", client::encoded(member)),
            None => "/v1/troop/balance".to_owned(),
        };
        let one: Balance = client::get(context, &path)?;
        (serde_json::to_string(&one), vec![one.account])
    };
    if context.json {
        return print(text.map_err(Fault::failed)?);
    }
    let row = |account: &Account| {
        vec![
            account.name.clone(),
            table::credits(account.available_micros),
            table::credits(account.held_micros),
            table::credits(account.earned_micros),
            table::credits(account.spent_micros),
        ]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    let header = ["MEMBER", "AVAILABLE ", "HELD ", "EARNED ", "SPENT "];
    table::show(context, &header, &rows)
}
