//! `ledger verify`: every entry recomputed, by the running node, or from its file when none runs.

use super::fault::{Code, Fault};
use super::{Context, client, print, print_json};
use clap::{Args, Subcommand};
use std::time::Duration;
use troop_actors::ledger::VERIFY_DEADLINE;
use troop_gateway::control::{LedgerVerified, Verified};

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    verb: LedgerVerb,
}

#[derive(Debug, Subcommand)]
enum LedgerVerb {
    /// Recompute every balance from the first entry on, and check the chain
    Verify,
}

pub(super) fn go(context: &Context, args: LedgerArgs) -> Result<(), Fault> {
    let LedgerVerb::Verify = args.verb;
    let asked: Result<LedgerVerified, Fault> = client::get_slow(
        context,
        "/v1/troop/ledger/verify",
        VERIFY_DEADLINE + ROAD,
        "Reading every entry of the books",
    );
    let answer = match asked {
        Err(fault) if fault.code == Code::Unreachable && context.addr.is_none() => {
            offline(context)?
        }
        answer => answer?,
    };
    let verified = &answer.verified;
    if context.json {
        print_json(&answer)?;
    } else if verified.ok {
        print(format_args!(
            "ok  {} entries  head {}",
            verified.entries, verified.head
        ))?;
    }
    match verified.faults.first() {
        Some(problem) => {
            Err(Fault::new(Code::Integrity, "the books are not right").because(problem))
        }
        None => Ok(()),
    }
}

/// Reads the file itself; the lock keeps a node from starting meanwhile.
fn offline(context: &Context) -> Result<LedgerVerified, Fault> {
    let path = context.home.path("ledger.redb");
    if !path.exists() {
        let fault = Fault::new(Code::NotFound, "there are no books here");
        return Err(fault.because(path.display()).hint("troop node"));
    }
    let _lock = context.home.lock()?;
    let verdict = troop_actors::ledger::verify_file(&path)
        .map_err(|error| Fault::new(Code::Integrity, "the books cannot be read").because(error))?;
    Ok(LedgerVerified {
        schema: "troop.ledger.verify/v1".to_owned(),
        verified: Verified {
            ok: verdict.faults.is_empty(),
            entries: verdict.entries,
            head: verdict.head.to_string(),
            accounts: verdict.accounts,
            holds_open: verdict.open_holds,
            supply_micros: verdict.supply,
            faults: verdict.faults,
        },
    })
}

/// The way to the ledger and back.
const ROAD: Duration = Duration::from_secs(5);
